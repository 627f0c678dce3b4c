//! The client's side: a network namespace on a wire of its own to the host.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;

/// The host's address on the wire.
pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// Another one of the host, whose connections are not tracked.
pub const UNTRACKED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);

/// Gives the host its addresses, which stay while clients come and go.
pub fn prepare_host() {
    run("ip", &["address", "add", &format!("{HOST}/32"), "dev", "lo"]);
    run("ip", &["address", "add", &format!("{UNTRACKED}/32"), "dev", "lo"]);
    allow_many_connections();
}

/// A namespace with the far end of the wire; both end when it is dropped, and the ports that it kept with them.
pub struct Client(File);

impl Client {
    /// Lays the wire from the namespace of the calling thread.
    pub fn new() -> Client {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            File::open("/proc/thread-self/ns/net").expect("the namespace")
        };
        let namespace = std::thread::scope(|scope| scope.spawn(make).join()).expect("a network namespace");
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        let client = Client(namespace);
        run("ip", &["link", "add", "wire", "type", "veth", "peer", "name", "far", "netns", &path]);
        run("ip", &["link", "set", "wire", "up"]);
        client.inside(|| {
            run("ip", &["address", "add", &format!("{CLIENT}/24"), "dev", "far"]);
            run("ip", &["link", "set", "far", "up"]);
            allow_many_connections();
        });
        run("ip", &["route", "add", &CLIENT.to_string(), "dev", "wire"]);
        client
    }

    /// Runs `work` on a thread in the client's namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the client's namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The kernel takes its time with a namespace; the next client needs the name of the wire at once.
        let _ = Command::new("ip").args(["link", "delete", "wire"]).status();
    }
}

/// Lets connections from and to [`UNTRACKED`] pass without connection tracking; whether that could be done.
pub fn stop_tracking() -> bool {
    let rules = |hook: &str| {
        format!(
            "add chain ip bench {hook} {{ type filter hook {hook} priority raw; }}\n\
             add rule ip bench {hook} ip saddr {UNTRACKED} notrack\n\
             add rule ip bench {hook} ip daddr {UNTRACKED} notrack\n"
        )
    };
    let text = format!("add table ip bench\n{}{}", rules("prerouting"), rules("output"));
    Command::new("nft").arg(text).status().is_ok_and(|status| status.success())
}

/// One client makes more connections than one usually does: ports and the kernel's memory of closed connections are let
/// go sooner, on both sides of the wire and for all contestants alike.
fn allow_many_connections() {
    for (file, value) in [
        ("ipv4/ip_local_port_range", "1024 65535"),
        ("ipv4/tcp_tw_reuse", "1"),
        ("ipv4/tcp_max_tw_buckets", "1048576"),
        ("netfilter/nf_conntrack_tcp_timeout_time_wait", "1"),
        ("netfilter/nf_conntrack_tcp_timeout_close", "1"),
    ] {
        std::fs::write(format!("/proc/sys/net/{file}"), value).unwrap_or_else(|error| panic!("set {file}: {error}"));
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?} failed");
}
