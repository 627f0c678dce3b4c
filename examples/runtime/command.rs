//! What can be said on the command line: verbs, options, and the help about them.

use crate::arguments::{Choice, flag, value};

/// A verb.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    usage: &'static str,
    about: &'static str,
    pub(crate) choices: &'static [Choice],
    /// The fewest and the most positions.
    pub(crate) positions: (usize, usize),
}

impl Verb {
    /// Whether everything from the first position on belongs to somebody else: a command, or `ps`.
    pub(crate) fn is_greedy(&self) -> bool {
        self.positions.1 == MANY
    }

    pub(crate) fn help(&self) -> String {
        let Verb { name, usage, about, choices, .. } = self;
        format!(
            "NAME:\n   runtime {name} - {about}\n\nUSAGE:\n   runtime {name} {usage}\n\nOPTIONS:\n{}",
            list(choices)
        )
    }
}

/// No limit.
const MANY: usize = usize::MAX;

/// Before the verb.
pub(crate) const GLOBAL: &[Choice] = &[
    flag(&["debug"], "enable debug logging"),
    value(&["log"], "FILE", "write errors and warnings to this file (default: the standard error)"),
    value(&["log-format"], "FORMAT", "text (default) or json"),
    value(&["root"], "DIRECTORY", "state of the containers (default: /run/coracle-runtime, or in $XDG_RUNTIME_DIR)"),
    value(&["criu"], "PROGRAM", "program that checkpoints and restores (default: criu)"),
    flag(&["systemd-cgroup"], "control groups are made by systemd; cgroupsPath is SLICE:PREFIX:NAME"),
    value(&["rootless"], "MODE", "whether a container may go without control groups: true, false or auto (default)"),
    flag(&["help", "h"], "show help"),
    flag(&["version", "v"], "print the version"),
];

const HELP: Choice = flag(&["help", "h"], "show help");
const BUNDLE: Choice = value(&["bundle", "b"], "DIRECTORY", "the bundle (default: the current directory)");
const CONSOLE: Choice = value(&["console-socket"], "SOCKET", "where the master of the terminal is sent to");
const PID_FILE: Choice = value(&["pid-file"], "FILE", "where the number of the process is written");
const NO_PIVOT: Choice = flag(&["no-pivot"], "do not use pivot_root(2): for a root in a ramdisk");
const NO_KEYRING: Choice = flag(&["no-new-keyring"], "keep the caller's session keyring");
const PRESERVE: Choice = value(&["preserve-fds"], "COUNT", "hand on this many descriptors from 3 on");
const DETACH: Choice = flag(&["detach", "d"], "do not wait for the end");
const SUBREAPER: Choice = flag(&["no-subreaper"], "accepted; there is no subreaper");
const FORMAT: Choice = value(&["format", "f"], "FORMAT", "table (default) or json");

const fn only_id(name: &'static str, about: &'static str) -> Verb {
    Verb { name, usage: "ID", about, choices: &[HELP], positions: (1, 1) }
}

pub(crate) const VERBS: &[Verb] = &[
    Verb {
        name: "create",
        usage: "[options] ID",
        about: "create a container",
        choices: &[BUNDLE, CONSOLE, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE, HELP],
        positions: (1, 1),
    },
    Verb {
        name: "run",
        usage: "[options] ID",
        about: "create and start a container",
        choices: &[
            BUNDLE,
            CONSOLE,
            DETACH,
            flag(&["keep"], "do not delete the container when it ends"),
            PID_FILE,
            SUBREAPER,
            NO_PIVOT,
            NO_KEYRING,
            PRESERVE,
            HELP,
        ],
        positions: (1, 1),
    },
    only_id("start", "start the process of a created container"),
    only_id("state", "print the state of a container"),
    Verb {
        name: "kill",
        usage: "[options] ID [SIGNAL]",
        about: "send a signal (default: SIGTERM) to the first process of a container",
        choices: &[flag(&["all", "a"], "send it to all processes"), HELP],
        positions: (1, 2),
    },
    Verb {
        name: "delete",
        usage: "[options] ID",
        about: "delete a container",
        choices: &[flag(&["force", "f"], "kill it where it runs; one that does not exist is no error"), HELP],
        positions: (1, 1),
    },
    Verb {
        name: "list",
        usage: "[options]",
        about: "list the containers",
        choices: &[FORMAT, flag(&["quiet", "q"], "ids only"), HELP],
        positions: (0, 0),
    },
    Verb {
        name: "ps",
        usage: "[options] ID [options of ps]",
        about: "list the processes of a container",
        choices: &[FORMAT, HELP],
        positions: (1, MANY),
    },
    Verb {
        name: "exec",
        usage: "[options] ID COMMAND [arguments], or -p FILE ID",
        about: "execute another process in a container that runs",
        choices: EXEC,
        positions: (1, MANY),
    },
    only_id("pause", "suspend all processes of a container"),
    only_id("resume", "let all processes of a container go on"),
    Verb {
        name: "events",
        usage: "[options] ID",
        about: "print what a container uses, and when it runs out of memory",
        choices: &[
            value(&["interval"], "DURATION", "between statistics (default: 5s)"),
            flag(&["stats"], "print statistics once"),
            HELP,
        ],
        positions: (1, 1),
    },
    Verb { name: "update", usage: "[options] ID", about: "change limits", choices: UPDATE, positions: (1, 1) },
    Verb {
        name: "checkpoint",
        usage: "[options] ID",
        about: "write the processes of a container down, by criu",
        choices: CHECKPOINT,
        positions: (1, 1),
    },
    Verb {
        name: "restore",
        usage: "[options] ID",
        about: "bring a container back from a checkpoint",
        choices: RESTORE,
        positions: (1, 1),
    },
    Verb {
        name: "spec",
        usage: "[options]",
        about: "write a config.json to begin with",
        choices: &[BUNDLE, flag(&["rootless"], "for an ordinary user"), HELP],
        positions: (0, 0),
    },
    Verb { name: "features", usage: "", about: "print what this runtime can do", choices: &[HELP], positions: (0, 0) },
];

/// What `exec` decides.
const EXEC: &[Choice] = &[
    CONSOLE,
    value(&["cwd"], "DIRECTORY", "the working directory in the container"),
    value(&["env", "e"], "NAME=VALUE", "add a variable"),
    flag(&["tty", "t"], "give it a terminal"),
    value(&["user", "u"], "UID[:GID]", "its user"),
    value(&["additional-gids", "g"], "GID", "add a group"),
    value(&["process", "p"], "FILE", "the process as JSON"),
    DETACH,
    PID_FILE,
    value(&["process-label"], "LABEL", "its SELinux label"),
    value(&["apparmor"], "PROFILE", "its AppArmor profile"),
    flag(&["no-new-privs"], "it can gain no privileges"),
    value(&["cap", "c"], "NAME", "add a capability"),
    PRESERVE,
    value(&["cgroup"], "PATH", "the control group below the container's to run in"),
    flag(&["ignore-paused"], "also in a paused container"),
    SUBREAPER,
    HELP,
];

const IMAGES: Choice = value(&["image-path"], "DIRECTORY", "the images (default: checkpoint)");
const WORK: Choice = value(&["work-path"], "DIRECTORY", "where criu writes logs");
const TCP: Choice = flag(&["tcp-established"], "take open TCP connections along");
const SOCKETS: Choice = flag(&["ext-unix-sk"], "take Unix sockets to the outside along");
const SHELL: Choice = flag(&["shell-job"], "processes may have a terminal of the caller's");
const LOCKS: Choice = flag(&["file-locks"], "take locks of files along");
const LAZY: Choice = flag(&["lazy-pages"], "hand memory on when it is needed");
const CGROUPS: Choice = value(&["manage-cgroups-mode"], "MODE", "soft (default), full, strict or ignore");
const EMPTY: Choice = value(&["empty-ns"], "KIND", "a namespace that begins empty: network");
const DEDUP: Choice = flag(&["auto-dedup"], "write memory of earlier images once");

const CHECKPOINT: &[Choice] = &[
    IMAGES,
    WORK,
    value(&["parent-path"], "DIRECTORY", "images of a pre-dump"),
    flag(&["leave-running"], "the processes go on"),
    TCP,
    SOCKETS,
    SHELL,
    LAZY,
    value(&["status-fd"], "NUMBER", "gets a zero byte once lazy pages are ready"),
    value(&["page-server"], "ADDRESS:PORT", "where memory goes"),
    LOCKS,
    flag(&["pre-dump"], "memory alone; the processes go on"),
    CGROUPS,
    EMPTY,
    DEDUP,
    HELP,
];

const RESTORE: &[Choice] = &[
    CONSOLE,
    IMAGES,
    WORK,
    TCP,
    SOCKETS,
    SHELL,
    LOCKS,
    CGROUPS,
    BUNDLE,
    DETACH,
    PID_FILE,
    SUBREAPER,
    NO_PIVOT,
    EMPTY,
    DEDUP,
    LAZY,
    value(&["lsm-profile"], "TYPE:NAME", "profile of a security module"),
    value(&["lsm-mount-context"], "CONTEXT", "context of mounts of a security module"),
    HELP,
];

/// What `update` changes.
const UPDATE: &[Choice] = &[
    value(&["resources", "r"], "FILE", "read linux.resources from this file, - for the standard input"),
    value(&["blkio-weight"], "WEIGHT", "10 to 1000"),
    value(&["cpu-period"], "MICROSECONDS", "period of the quota"),
    value(&["cpu-quota"], "MICROSECONDS", "processor time in a period; -1 takes the limit away"),
    value(&["cpu-burst"], "MICROSECONDS", "time of earlier periods that may be made up for"),
    value(&["cpu-share", "cpu-shares"], "SHARES", "weight against other containers, 2 to 262144"),
    value(&["cpu-rt-period"], "MICROSECONDS", "period of real-time"),
    value(&["cpu-rt-runtime"], "MICROSECONDS", "real-time in a period"),
    value(&["cpuset-cpus"], "LIST", "processors, as 0-3,7"),
    value(&["cpuset-mems"], "LIST", "memory nodes, as 0-3,7"),
    value(&["cpu-idle"], "0|1", "whether it runs only when nothing else wants to"),
    value(&["memory"], "BYTES", "memory; -1 takes the limit away"),
    value(&["memory-reservation"], "BYTES", "memory that is taken away last"),
    value(&["memory-swap"], "BYTES", "memory and swap together; -1 takes the limit away"),
    value(&["kernel-memory"], "BYTES", "memory of the kernel; version 1"),
    value(&["kernel-memory-tcp"], "BYTES", "memory of TCP buffers; version 1"),
    value(&["pids-limit"], "COUNT", "processes; -1 takes the limit away"),
    value(&["l3-cache-schema"], "SCHEMA", "not supported: Intel RDT"),
    value(&["mem-bw-schema"], "SCHEMA", "not supported: Intel RDT"),
    HELP,
];

/// What `--version` prints: the form is what engines read.
pub(crate) fn version() -> String {
    let commit = option_env!("CORACLE_COMMIT").unwrap_or("unknown");
    format!("coracle-runtime version {}\ncommit: {commit}\nspec: 1.3.0", env!("CARGO_PKG_VERSION"))
}

/// What `--help` prints.
pub(crate) fn help() -> String {
    let verbs: String = VERBS.iter().map(|verb| format!("   {:<12}{}\n", verb.name, verb.about)).collect();
    format!(
        "NAME:\n   runtime - run containers by the OCI runtime specification, as runc\n\nUSAGE:\n   runtime [global options] \
         VERB [options] [arguments]\n\nVERBS:\n{verbs}\nGLOBAL OPTIONS:\n{}",
        list(GLOBAL)
    )
}

fn list(choices: &[Choice]) -> String {
    let names = |choice: &Choice| {
        let names =
            choice.names.iter().map(|name| if name.len() > 1 { format!("--{name}") } else { format!("-{name}") });
        format!("{} {}", names.collect::<Vec<_>>().join(", "), choice.value.unwrap_or_default())
    };
    choices.iter().map(|choice| format!("   {:<34}{}\n", names(choice), choice.about)).collect()
}
