//! The classes of holes that container engines have had, and what makes each impossible here.
//!
//! Each row names tests that fail on a naive implementation. Most are in `tests/escape.rs`.
//!
//! | class of holes | known cases | what prevents it here | tests |
//! |---|---|---|---|
//! | overwriting the engine through `/proc/self/exe` | CVE-2019-5736 | behind a container is a sealed memory file, never the host's binary, and it is not dumpable | `the_program_behind_a_container_is_sealed_memory_and_never_the_host`, `executing_the_engine_itself_leads_nowhere`, `a_script_of_the_runtime_itself_reaches_no_binary_of_the_host` |
//! | descriptors of the host in the container | CVE-2024-21626 | the first operation of each start closes everything that is not on the plan's list | `no_descriptor_of_the_host_leaks`, `it_holds_no_descriptor_but_its_streams_and_those_it_is_to_have` |
//! | a working directory outside | CVE-2024-21626 | it is resolved within the root, without magic links | `a_working_directory_leads_out_by_no_link` |
//! | mount points that are links or change | CVE-2019-19921, CVE-2021-30465, CVE-2023-27561, CVE-2024-45310, CVE-2025-52881 | `fsmount`, `open_tree` and `move_mount` from descriptor to descriptor; targets by `openat2` below the root | `a_system_mount_on_a_link_is_refused`, `mount_points_behind_links_stay_in_the_root`, `a_racing_link_never_leads_a_mount_out`, `a_swapped_mount_point_never_leads_out_of_the_root`, `proc_and_sys_land_on_directories_of_their_name_or_not_at_all`, `nothing_is_mounted_within_proc_by_way_of_a_link`, `links_in_dev_lead_nowhere_else`, `the_console_is_no_link` |
//! | masks that do not mask | CVE-2025-31133, CVE-2025-52565 | masked with an empty file and directory of the container's own, reached through the descriptors of the very mounts | `the_dangerous_parts_of_proc_and_sys_are_closed`, `masks_and_read_only_paths_stay_within_the_root` |
//! | devices | image with a device file, `mknod` in the container | every mount but the container's own `/dev` is `nodev`; `/dev` holds only the harmless ones | `no_device_file_opens_but_those_of_the_sandbox`; by rule in a runtime: `containers_have_their_devices_and_no_others` |
//! | control groups as a way out | CVE-2022-0492 | a control group namespace; hierarchies of version 1 are not mounted inside, version 2 is read-only; no `CAP_SYS_ADMIN`. A runtime mounts what the configuration lists, of version 1 the container's own groups alone; no group gets a release agent | `the_container_mounts_nothing_and_enters_no_other_root`, `the_container_s_own_control_groups_are_mounted_and_no_others`, `no_group_has_a_release_agent` |
//! | capabilities that come back | CVE-2022-24769, CVE-2022-27649 | inheritable and ambient sets are empty unless a configuration fills them; all five are read back; the bounding set is cut before ids change; `no_new_privs` | `the_payload_has_dockers_capabilities_and_no_more` |
//! | system calls nobody needs | | Docker's default profile as a filter, the last thing before the exec, with `no_new_privs` | `the_default_start_is_the_golden_one`, tests of `isolate::seccomp` (each number against the profile that Debian installs) |
//! | the memory of the container's init | | not dumpable before the payload exists, `CAP_KILL` alone; the keeper believes only its own children | `an_init_has_one_capability_and_its_memory_is_closed`, `a_container_that_writes_into_its_init_leads_the_keeper_to_no_other_process` |
//! | entering a running container with rights that its processes can take over | CVE-2016-9962 | not dumpable; rights are lowered by the start's own operations before anything appears in its PID namespace | `no_process_with_more_rights_than_theirs_is_seen_within`, `a_command_check_is_confined_as_the_container_is`, `nobody_within_sees_a_process_of_more_rights`, `those_within_find_no_process_of_more_rights` |
//! | the stage in a shared PID namespace: no more rights than its neighbours, its filter still to come | | from the operation before its rights are lowered it is not dumpable, so nobody without rights over the host traces it; the parent follows its own children alone | `the_default_start_is_the_golden_one` (`hide`) |
//! | a filter that is loaded early and refuses what the start still needs | | each later system call is asked of the filter before anything is cloned: an error by its name | `a_filter_that_refuses_what_the_start_needs_is_refused_by_name` |
//! | terminals | CVE-2017-5226 | a session and a pty of its own, from the container's own devpts | `nothing_typed_by_a_container_reaches_a_terminal_of_the_host` |
//! | settings written through a replaced `/proc` | CVE-2025-52881 | written through a procfs that is attached nowhere, or through descriptors opened before anything is joined | `sysctls_are_those_of_the_containers_own_namespaces`, `a_namespace_of_the_hosts_is_not_the_containers` |
//! | paths of control groups that lead out | | no `..`, no file of the kernel's, no foreign component; a group with processes is not taken over; groups inside may have any name and are still seen | `no_path_leads_out_of_the_hierarchies`, `a_group_of_any_name_is_seen_and_ended` |
//! | links in the place of files that the runtime writes or reads | | made anew, never followed; what the kernel makes up is not read in the place of a file | `the_pid_file_follows_no_link_that_was_planted`, `files_of_the_kernel_are_not_read_in_the_place_of_others` |
//! | a health check as a weapon | | connections of the keeper never wait, and read 256 bytes at most; children that a check gives the keeper are reaped beside its other work | `a_hostile_server_fails_its_check_and_disturbs_nothing`, `a_check_that_makes_children_of_its_keeper_disturbs_nothing` |
//! | a full disk as a weapon | | the record of the end has its room before the container runs; an engine opens and removes without room | `a_container_that_fills_the_disk_is_on_record_and_can_be_removed` |
//! | planted directories | | root and run directory must belong to the caller | `directories_of_others_are_refused` |
//! | the keyring of the host | | a session keyring of its own | tests of `sandbox` |
//! | archives that leave their directory | CVE-2018-15664, CVE-2025-62518 | extraction by descriptor, nothing followed; one strict reading, where what is malformed is an error | tests of `archive`, fuzz target `layer` |
//! | copies of what a container made | CVE-2018-15664, CVE-2019-14271 | volumes are copied from descriptor to descriptor while no container runs; links are copied, not followed; devices are never opened | tests of `volume` and `container::volumes` |
//! | bombs | | a budget of bytes, entries and depth on each stream and document | tests of `archive` and `registry`, all fuzz targets |
//! | confusion of digests and tags | CVE-2021-41190, CVE-2024-3727 | a digest exists only validated; bytes are verified before they have a name; documents are kept as raw bytes | tests of `store` and `registry`, fuzz target `manifest` |
//! | image data as configuration of the host | CVE-2022-23648 | labels, annotations and volumes of an image are inert | tests of `container` |
//! | users | CVE-2024-40635 | ids are strict 32-bit numbers; digits never fall back to a name; overflow is an error | tests of `value` and `container` |
//! | credentials sent elsewhere | CVE-2020-15157 | bound to scheme, host and port; never follow a redirect | `a_redirect_to_another_host_carries_no_credentials` |
//! | services of the host's loopback reached over the bridge | CVE-2020-8558 | packets from containers to and from 127.0.0.0/8 are dropped before everything else | tests of `network` |
//! | a container that speaks as another, or listens in its place | | cables from the host to one container each: no container sees another's frames; a source that its cable does not lead to is dropped before everything else | `a_container_cannot_speak_for_another` |
//! | the host's IPv6 reached, or led away, over a cable | CVE-2020-13401 | the host's end of a cable speaks IPv4 alone | `a_cable_carries_no_ipv6` |
//! | containers of other networks | | all is routed by the host; the destination must be in a network of the source, also in a conversation that is known: an address may have a new holder | `containers_reach_those_of_their_networks`, `a_conversation_does_not_outlive_the_holder_of_its_address` |
//! | a hosts file that holds up the services of others | | a file that its container has made too long or unwritable is left alone | `hosts_files_name_the_services_and_stay_the_same_file` |
//! | files of the host reached by a build | CVE-2024-1753, CVE-2024-23651 | contexts are read below a descriptor; `RUN` mounts are made like all others; secrets are in no layer and no history | tests of `build`, fuzz target `dockerfile` |
//! | lengths in netlink messages | CVE-2021-43784 | checked conversions only | tests of `network`, fuzz target `netlink` |
//!
//! # What a container may do by default
//!
//! It has namespaces of its own for processes, mounts, IPC, host name, control groups and network. It has the fourteen
//! capabilities that Docker gives, `no_new_privs`, and Docker's masked and read-only paths. Root in a container of root
//! is root of the host, less those things. An ordinary user's containers run in a user namespace: root in them is that
//! user.
//!
//! # What must be trusted
//!
//! - The kernel. A hole in it is a hole here. For hostile code, a system call filter and a user namespace make the
//!   surface smaller; a virtual machine is another wall altogether.
//! - Whoever may open the root directory. It has mode 0700. Who can write there owns the containers.
//! - Whoever writes a `config.json`: hooks, binds and namespace paths in it are obeyed. Annotations are not, but for
//!   properties of a systemd scope where systemd makes the groups.
//! - A container with `CAP_SYS_PTRACE` in the host's user namespace that shares a PID namespace with others, or has the
//!   host's: it can look into the starts of those, which are for a moment not confined yet, as under every other runtime.
//! - Whoever writes the binds, networks and limits into the builder. [`Network::Host`](crate::Network::Host) and a bind
//!   of the host's `/` are obeyed.
//!
//! # Untrusted input
//!
//! Layers, manifests, configurations, answers of registries, Dockerfiles and references come from strangers. Each has a
//! budget and a fuzz target (`fuzz/`), which `tests/run` runs for some seconds each. So has the verifier of plans.
