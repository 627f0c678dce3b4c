//! Processes executed in running containers: where they run, with which rights, and what those within can do to them.

#[path = "support/bundle.rs"]
mod bundle;
#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/mapped.rs"]
mod mapped;
#[path = "support/program.rs"]
mod program;

use bundle::{Bundle, wait_until};
use coracle::runtime::{Container, Exec, Executed, Status};
use coracle::{ErrorKind, ExitStatus, Stream};
use mapped::in_user_namespace;
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A container that runs until it is told to end.
fn running(bundle: &Bundle) -> Container {
    let container = bundle.create().unwrap();
    container.start().unwrap();
    container
}

fn piped(exec: Exec<'_>) -> (Exec<'_>, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let output = writer.try_clone().unwrap();
    let streams = [Stream::Null, Stream::Descriptor(output.into()), Stream::Descriptor(writer.into())];
    (exec.streams(streams), reader)
}

fn output(exec: Exec<'_>) -> String {
    let (exec, mut reader) = piped(exec);
    let mut executed = exec.spawn().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(executed.wait().unwrap().status, ExitStatus::Exited(0), "{text}");
    text
}

fn shell<'a>(container: &'a Container, script: &str) -> Exec<'a> {
    container.exec(["/bin/sh", "-c", script])
}

fn spawned(exec: Exec<'_>) -> Executed {
    exec.streams([Stream::Null, Stream::Null, Stream::Null]).spawn().unwrap()
}

const KINDS: [&str; 8] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"];

fn check_place(bundle: Bundle) {
    let container = running(&bundle);
    let first = container.state().unwrap().pid;
    let script = KINDS.map(|kind| format!("readlink /proc/self/ns/{kind};")).concat();
    let expected = KINDS
        .map(|kind| std::fs::read_link(format!("/proc/{first}/ns/{kind}")).unwrap().display().to_string() + "\n")
        .concat();
    assert_eq!(output(shell(&container, &script)), expected);
    assert_eq!(output(shell(&container, "pwd; hostname; echo $A")), "/\nbundle\n\n");
    let mut groups = std::fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap();
    let mut sleeping = spawned(container.exec(["/bin/sleep", "1000"]));
    let pid = sleeping.process().pid();
    assert_eq!(std::mem::take(&mut groups), std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap());
    // A session of its own, led by it.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(stat.split(' ').nth(5), Some(pid.to_string().as_str()));
    drop(sleeping);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "dropping it has killed it");
}

#[test]
fn it_runs_where_the_first_process_does() {
    check_place(Bundle::new("exec-place", "sleep 1000"));
}

#[test]
fn rootless_it_runs_where_the_first_process_does() {
    check_place(in_user_namespace(Bundle::new("exec-place-rootless", "sleep 1000")));
}

#[test]
fn what_is_asked_for_is_what_it_gets() {
    let mut bundle = Bundle::new("exec-wishes", "sleep 1000");
    bundle.config["process"]["capabilities"] =
        json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] });
    let container = running(&bundle);
    let status = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status";
    assert_eq!(
        output(shell(&container, status)),
        "CapEff:\t0000000000000020\nCapBnd:\t0000000000000020\nNoNewPrivs:\t1\n"
    );
    let net_admin = "CAP_NET_ADMIN".parse().unwrap();
    let wished = shell(&container, &format!("id -u; id -g; id -G; pwd; echo $A $PATH; {status}"));
    let wished = wished.user(12, Some(34)).additional_group(56).cwd("/tmp").env("A=b c").env("PATH=/bin:/x");
    assert_eq!(
        output(wished.capability(net_admin).no_new_privileges(false)),
        "12\n34\n34 56\n/tmp\nb c /bin:/x\nCapEff:\t0000000000001000\nCapBnd:\t0000000000001020\nNoNewPrivs:\t0\n"
    );
    let file = bundle.scratch().join("process.json");
    let process =
        json!({ "args": ["/bin/sh", "-c", "pwd; env"], "cwd": "/bin", "env": ["X=y"], "user": { "uid": 1, "gid": 1 } });
    std::fs::write(&file, process.to_string()).unwrap();
    let text = output(container.exec_file(&file));
    assert!(text.starts_with("/bin\n") && text.contains("X=y\n") && !text.contains(":/x"), "{text}");
}

#[test]
fn the_exit_status_is_the_command_s_and_the_number_is_written() {
    let bundle = Bundle::new("exec-status", "sleep 1000");
    let container = running(&bundle);
    let file = bundle.scratch().join("pid");
    let mut executed = spawned(shell(&container, "exit 42").pid_file(&file));
    let pid = executed.process().pid();
    assert_eq!(executed.wait().unwrap().status, ExitStatus::Exited(42));
    assert_eq!(std::fs::read_to_string(file).unwrap(), pid.to_string());
    assert_eq!(spawned(shell(&container, "kill -9 $$")).wait().unwrap().status, ExitStatus::Signaled(9));
}

#[test]
fn a_detached_process_runs_on_and_others_are_told_apart() {
    let bundle = Bundle::new("exec-detach", "sleep 1000");
    let container = running(&bundle);
    let exec = shell(&container, "sleep 1000").streams([Stream::Null, Stream::Null, Stream::Null]);
    let pid = exec.detach().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}/ns/pid")).exists());
    let (other, first) = (format!("/proc/{pid}/ns/pid"), format!("/proc/{}/ns/pid", container.state().unwrap().pid));
    assert_eq!(std::fs::read_link(other).unwrap(), std::fs::read_link(first).unwrap());
    // As long as this process lives it is the parent.
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    nix::sys::wait::waitpid(pid, None).unwrap();
}

#[test]
fn what_cannot_be_executed_is_explained_in_the_words_engines_look_for() {
    let bundle = Bundle::new("exec-missing", "sleep 1000");
    std::fs::write(bundle.within("plain"), "x").unwrap();
    let container = running(&bundle);
    let error = |exec: Exec<'_>| exec.streams([Stream::Null, Stream::Null, Stream::Null]).spawn().unwrap_err();
    let none = error(container.exec(["none"])).to_string();
    assert!(
        none.contains("executable file not found in $PATH") && none.contains("no such file or directory"),
        "{none}"
    );
    let none = error(container.exec(["/none"])).to_string();
    assert!(none.contains("/none: no such file or directory"), "{none}");
    let plain = error(container.exec(["/plain"])).to_string();
    assert!(plain.contains("/plain: permission denied"), "{plain}");
    let directory = error(container.exec(["/bin"])).to_string();
    assert!(directory.contains("/bin: permission denied"), "{directory}");
    let cwd = error(container.exec(["true"]).cwd("/nowhere")).to_string();
    assert!(cwd.contains("enter the working directory /nowhere: no such file or directory"), "{cwd}");
    assert_eq!(error(container.exec(["true"]).cwd("relative")).kind(), ErrorKind::InvalidInput);
    let missing = error(container.exec(["true"]).cgroup("none"));
    assert!(missing.to_string().contains("open the group none"), "{missing}");
}

#[test]
fn nothing_runs_in_a_container_that_has_ended() {
    let bundle = Bundle::new("exec-stopped", "true");
    let container = running(&bundle);
    wait_until("the end", || container.state().unwrap().status == Status::Stopped);
    let error = container.exec(["true"]).spawn().unwrap_err();
    assert!(error.to_string().contains("stopped container"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn it_enters_a_container_that_is_created_only() {
    let bundle = Bundle::new("exec-created", "sleep 1000");
    let container = bundle.create().unwrap();
    assert_eq!(output(container.exec(["/bin/hostname"])), "bundle\n");
    assert_eq!(container.state().unwrap().status, Status::Created);
}

/// CVE-2024-21626, and leaks of any other kind.
#[test]
fn it_holds_no_descriptor_but_its_streams_and_those_it_is_to_have() {
    let bundle = Bundle::new("exec-descriptors", "sleep 1000");
    let container = running(&bundle);
    let list = "for f in /proc/self/fd/*; do echo ${f##*/}; done; echo; ls /proc/$$/fd; true";
    let lines = output(shell(&container, list));
    let after: Vec<&str> = lines.split("\n\n").nth(1).unwrap().lines().collect();
    assert_eq!(after, ["0", "1", "2"], "{lines}");
    for number in 3..64 {
        let text = format!("/proc/self/fd/{number}");
        let exec = container.exec(["pwd"]).cwd(&text).streams([Stream::Null, Stream::Null, Stream::Null]);
        assert!(exec.spawn().is_err(), "{text} is no way out");
    }
    // As a link of the image, and from the start on.
    for number in 3..16 {
        let mut bundle = Bundle::new("exec-cwd", "pwd; ls -l");
        symlink(format!("/proc/self/fd/{number}"), bundle.within("way")).unwrap();
        bundle.config["process"]["cwd"] = json!("/way");
        assert!(bundle.create().is_err(), "/way to {number}");
    }
}

/// CVE-2019-5736: the image makes the runtime execute itself.
#[test]
fn a_script_of_the_runtime_itself_reaches_no_binary_of_the_host() {
    let bundle = Bundle::new("exec-self", "sleep 1000");
    let script = bundle.within("bin/evil");
    std::fs::write(&script, "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/proc/self/exe", bundle.within("bin/link")).unwrap();
    let container = running(&bundle);
    let own = std::fs::read("/proc/self/exe").unwrap();
    for command in ["evil", "link"] {
        let (exec, mut reader) = piped(container.exec([command]));
        let mut text = String::new();
        if let Ok(mut executed) = exec.spawn() {
            // The stage, without a plan: it ends at once.
            assert!(!executed.wait().unwrap().status.success());
            reader.read_to_string(&mut text).unwrap();
        }
    }
    assert!(std::fs::read("/proc/self/exe").unwrap() == own);
}

/// Runs twenty processes in a container that has `capabilities` and watches all others: what it has found.
fn watched(name: &str, capabilities: &[&str]) -> (String, String) {
    let mut bundle = Bundle::new(name, "true");
    bundle.config["process"]["capabilities"] =
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    let watch = "while [ ! -e /stop ]; do for p in /proc/[0-9]*; do grep CapEff $p/status 2>/dev/null >> /caps; \
                 case \"$(readlink $p/exe 2>/dev/null)\" in *stage*) echo seen; ls -l $p/fd 2>/dev/null;; esac; \
                 done; done > /found";
    bundle.config["process"]["args"] = json!(["/bin/sh", "-c", watch]);
    let container = running(&bundle);
    for _ in 0..20 {
        let mut executed = spawned(container.exec(["/bin/true"]));
        assert!(executed.wait().unwrap().status.success());
    }
    File::create(bundle.within("stop")).unwrap();
    wait_until("the end", || container.state().unwrap().status == Status::Stopped);
    let read = |name: &str| std::fs::read_to_string(bundle.within(name)).unwrap();
    (read("found"), read("caps"))
}

/// CVE-2016-9962: those within see nothing of the way in that has more rights than they, and cannot open what it holds.
#[test]
fn those_within_find_no_process_of_more_rights() {
    let (found, rights) = watched("exec-watch", &["CAP_KILL", "CAP_DAC_OVERRIDE"]);
    assert_eq!(found, "", "the stage can be looked into");
    let allowed = format!("CapEff:\t{:016x}", 1u64 << 5 | 1 << 1);
    assert!(rights.lines().count() > 0 && rights.lines().all(|line| line == allowed), "{rights}");
    // Who may trace all of the host's processes finds nothing in it that leads out.
    let (found, _) = watched("exec-trace", &["CAP_KILL", "CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE"]);
    for line in found.lines().filter_map(|line| line.split_once(" -> ")) {
        let end = line.1;
        assert!(["/dev/null", "pipe:", "socket:"].iter().any(|harmless| end.starts_with(harmless)), "{end} in {found}");
    }
}

/// The default profile of engines refuses clone3, and without `noNewPrivileges` it is loaded before the way in is over.
#[test]
fn filters_that_refuse_newer_calls_do_not_stand_in_the_way() {
    let mut bundle = Bundle::new("exec-filter", "sleep 1000");
    bundle.config["process"]["noNewPrivileges"] = json!(false);
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
                     { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
    });
    let container = running(&bundle);
    assert_eq!(output(shell(&container, "mkdir /x 2>&1; grep Seccomp: /proc/self/status")).lines().count(), 2);
}
