//! Scenarios of a container's life, for engines with docker's command line.

use crate::client::Client;
use crate::ground::within_patience;
use crate::image::TINY;
use crate::sight::in_terminal;

/// A container that says when it hears a signal, and ends on SIGTERM with the code 9.
const HEARS: &str =
    "trap 'echo stopped; exit 9' TERM; trap 'echo heard' USR1; echo ready; while true; do sleep 0.1; done";

pub fn run(client: &Client) {
    let script = "echo $GREETING; echo $ONE; pwd; hostname; cat /proc/self/comm";
    let said = client.run(&["-e", "ONE=1", "-w", "/tmp", "--hostname", "boat", TINY, "sh", "-c", script]);
    assert_eq!(said, "hello\n1\n/tmp\nboat\ncat");
    assert_eq!(client.say_run(&["--rm", TINY, "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(client.say_run(&["--rm", TINY, "/not/there"]).code, 127);
    assert_eq!(client.say_run(&["--rm", TINY, "/etc/passwd"]).code, 126);
    let said = client.say_to(&client.run_words(&["--rm", "-i", TINY, "cat"]), "through\n");
    assert_eq!((said.code, said.out.as_str()), (0, "through\n"), "{said:?}");
    let said = client.run(&["--init", TINY, "sh", "-c", "cat /proc/1/comm"]);
    assert!(["docker-init", "podman-init"].contains(&said.as_str()), "{said}");
}

pub fn detached(client: &Client) {
    client.start("server", &[TINY, "sh", "-c", "sleep 1000; exit 3"]);
    assert_eq!(client.inspect("server", "{{.State.Status}}"), "running");
    assert!(client.done(&["ps"]).contains("server"));
    client.start("worker", &[TINY, "sh", "-c", "exit 3"]);
    assert_eq!(client.done(&["wait", "worker"]), "3");
    // podman says `stopped` until it has cleaned up.
    let state = || client.inspect("worker", "{{.State.Status}} {{.State.ExitCode}}");
    assert!(within_patience(|| state() == "exited 3"), "{}", state());
    client.done(&["start", "worker"]);
    assert_eq!(client.done(&["wait", "worker"]), "3");
    client.done(&["rm", "worker"]);
    assert_ne!(client.say(&["rm", "server"]).code, 0, "a running container is not removed");
    client.done(&["rm", "--force", "server"]);
    assert_eq!(client.done(&["ps", "--all", "--quiet"]), "");
}

pub fn exec(client: &Client) {
    client.start("server", &["-e", "ONE=1", TINY, "sleep", "1000"]);
    let said = client.done(&["exec", "-e", "TWO=2", "-w", "/tmp", "server", "sh", "-c", "echo $ONE $TWO; pwd"]);
    assert_eq!(said, "1 2\n/tmp");
    let said = client.done(&["exec", "-u", "ann", "server", "id"]);
    assert!(said.starts_with("uid=1000(ann) gid=1000(ann)") && said.contains("2000(friends)"), "{said}");
    let said = client.say_to(&["exec", "-i", "server", "sh", "-c", "cat; echo error >&2; exit 5"], "in\n");
    assert_eq!((said.code, said.out.as_str(), said.err.contains("error")), (5, "in\n", true), "{said:?}");
    let said = client.say(&["exec", "server", "/not/there"]);
    assert!([126, 127].contains(&said.code), "{said:?}");
    client.done(&["exec", "-d", "server", "sh", "-c", "exec sleep 1001"]);
    let both = |top: &str| top.contains("sleep 1000") && top.contains("sleep 1001");
    assert!(within_patience(|| both(&client.done(&["top", "server"]))));
}

pub fn terminal(client: &Client) {
    let sized = "until stty size | grep -qx '33 44'; do sleep 0.05; done; echo sized; test -t 2 && tty";
    let words = client.run_words(&["--rm", "-it", TINY, "sh", "-c", sized]);
    let said = in_terminal(client.command(&words));
    assert!(said.contains("sized\r\n/dev/pts/0\r\n"), "{said:?}");
    client.start("server", &["-t", TINY, "sh", "-c", "tty; sleep 1000"]);
    assert!(within_patience(|| client.done(&["logs", "server"]).contains("/dev/pts/0")));
    let said = in_terminal(client.command(&["exec", "-it", "server", "sh", "-c", sized]));
    assert!(said.contains("sized\r\n/dev/pts/1\r\n"), "{said:?}");
}

pub fn stop(client: &Client) {
    client.start("polite", &[TINY, "sh", "-c", HEARS]);
    assert!(within_patience(|| client.done(&["logs", "polite"]).contains("ready")));
    client.done(&["stop", "-t", "50", "polite"]);
    assert_eq!(client.inspect("polite", "{{.State.Status}} {{.State.ExitCode}}"), "exited 9");
    assert!(client.done(&["logs", "polite"]).contains("stopped"));
    client.start("deaf", &[TINY, "sleep", "1000"]);
    client.done(&["stop", "-t", "0", "deaf"]);
    assert_eq!(client.inspect("deaf", "{{.State.ExitCode}}"), "137");
    client.done(&["restart", "-t", "0", "deaf"]);
    assert_eq!(client.inspect("deaf", "{{.State.Status}}"), "running");
}

pub fn kill(client: &Client) {
    client.start("server", &[TINY, "sh", "-c", HEARS]);
    assert!(within_patience(|| client.done(&["logs", "server"]).contains("ready")));
    client.done(&["kill", "--signal", "USR1", "server"]);
    assert!(within_patience(|| client.done(&["logs", "server"]).contains("heard")));
    assert_eq!(client.inspect("server", "{{.State.Status}}"), "running");
    client.done(&["kill", "server"]);
    assert_eq!(client.done(&["wait", "server"]), "137");
}

pub fn pause(client: &Client) {
    client.start("server", &[TINY, "sleep", "1000"]);
    client.done(&["pause", "server"]);
    assert_eq!(client.inspect("server", "{{.State.Status}}"), "paused");
    assert_ne!(client.say(&["exec", "server", "true"]).code, 0, "nothing runs in a paused container");
    client.done(&["unpause", "server"]);
    assert_eq!(client.done(&["exec", "server", "echo", "awake"]), "awake");
    client.done(&["pause", "server"]);
    client.done(&["rm", "--force", "server"]);
}

pub fn logs(client: &Client) {
    client.start("talker", &[TINY, "sh", "-c", "echo one; echo two >&2; echo -n three"]);
    assert_eq!(client.done(&["wait", "talker"]), "0");
    let said = client.say(&["logs", "--follow", "talker"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("one\nthree", "two\n"), "{said:?}");
    client.start("later", &[TINY, "sh", "-c", "sleep 0.3; echo late"]);
    assert_eq!(client.done(&["logs", "--follow", "later"]), "late");
}
