//! The kernel's view of the table, by `nft`, against the same table written for `nft`.

use super::*;

/// The table as an administrator would write it.
fn reference(subnet: &str, elements: &str, selves: &str) -> String {
    format!(
        r#"table ip coracle0 {{
    map published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
    map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; {elements} }}
    set selves {{ type ipv4_addr . ipv4_addr; {selves} }}
    map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map service_ports_at {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map service_ports {{ type inet_proto . inet_service : verdict; }}
    set members {{ type ipv4_addr . inet_service; }}
    set member_selves {{ type ipv4_addr . ipv4_addr; }}
    set down {{ type ipv4_addr; }}
    map senders {{ type ipv4_addr : verdict; }}
    set outsiders {{ type ipv4_addr; }}
    chain guard {{
        type filter hook prerouting priority raw; policy accept;
        iifgroup 1668415488 ip daddr 127.0.0.0/8 drop
        iifgroup 1668415488 ip saddr 127.0.0.0/8 drop
        iifgroup 1668415488 fib saddr . iif oif 0 drop
    }}
    chain refusals {{
        type filter hook prerouting priority mangle; policy accept;
        iifgroup 1668415488 meta l4proto tcp tcp flags & rst != 0 tcp sequence 0 ct status dnat ip saddr . tcp sport @members drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr 127.0.0.0/8 iifname != "lo" accept
        iifgroup 1668415488 ip daddr . meta l4proto . th dport vmap @services
        ip daddr . meta l4proto . th dport vmap @service_ports_at
        dnat ip to ip daddr . meta l4proto . th dport map @published_at
        fib daddr type local meta l4proto . th dport vmap @service_ports
        fib daddr type local dnat ip to meta l4proto . th dport map @published
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        ip daddr . meta l4proto . th dport vmap @services
        ip daddr . meta l4proto . th dport vmap @service_ports_at
        dnat ip to ip daddr . meta l4proto . th dport map @published_at
        fib daddr type local meta l4proto . th dport vmap @service_ports
        fib daddr type local dnat ip to meta l4proto . th dport map @published
    }}
    chain redirects {{
        type filter hook output priority filter; policy accept;
        oifgroup 1668415488 icmp type redirect drop
    }}
    chain lost {{
        type filter hook postrouting priority filter; policy accept;
        oifname "coracle0" ct state new ct status dnat drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifgroup != 1668415488 masquerade
        ip saddr 127.0.0.0/8 oifgroup 1668415488 masquerade
        oifgroup 1668415488 ct status dnat ip saddr . ip daddr @selves masquerade
        oifgroup 1668415488 ct status dnat ip saddr . ip daddr @member_selves masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifgroup 1668415488 oifgroup 1668415488 ip saddr vmap @senders
        iifgroup 1668415488 oifgroup 1668415488 ip daddr @outsiders drop
        iifgroup 1668415488 accept
        oifgroup 1668415488 ct state established,related accept
        oifgroup 1668415488 ct status dnat accept
        oifgroup 1668415488 drop
    }}
}}
"#
    )
}

/// The ruleset without handles, sorted: what was made in another order is the same.
fn listing() -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(&ruleset()).unwrap();
    let mut all: Vec<String> = value["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(|mut entry| {
            for (_, object) in entry.as_object_mut().unwrap() {
                object.as_object_mut().unwrap().remove("handle");
            }
            entry.to_string()
        })
        .collect();
    // Rules keep their order within a chain, so only whole kinds may be moved: the sort is stable.
    all.sort_by_key(|entry| entry.contains("\"rule\":").then_some(()).is_some());
    all.sort_by_key(|entry| if entry.contains("\"rule\":") { String::new() } else { entry.clone() });
    all
}

#[test]
fn the_table_is_the_one_nft_makes() {
    let ours = on_host(|| {
        let engine = Engine::new();
        let web = engine.start(&[PublishedPort::new(8000, 80)]);
        assert_eq!(web.address(), Ipv4Addr::new(10, 77, 0, 2));
        let listing = listing();
        engine.leave_no_trace(vec![web]);
        listing
    });
    let theirs = on_host(|| {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let text = reference(
            "10.77.0.0/20",
            "elements = { tcp . 8000 : 10.77.0.2 . 80 }",
            "elements = { 10.77.0.2 . 10.77.0.2 }",
        );
        std::fs::write(scratch.path(), text).unwrap();
        tool("nft", &["-f", scratch.path().to_str().unwrap()]);
        listing()
    });
    assert_eq!(ours, theirs);
}

#[test]
fn rules_of_others_are_left_alone() {
    on_host(|| {
        tool("nft", &["add table ip theirs; add chain ip theirs input { type filter hook input priority 0; }"]);
        tool("nft", &["add table inet coracle_theirs"]);
        let before = ruleset();
        let engine = Engine::new();
        let web = engine.start(&[PublishedPort::new(8000, 80)]);
        engine.networks.detach(&web.attachment.record).unwrap();
        assert!(engine.networks.remove_unused().unwrap());
        assert_eq!(ruleset(), before);
    });
}

#[test]
fn a_flushed_table_comes_back_with_the_ports_of_the_living() {
    on_host(|| {
        let engine = Engine::new();
        let ports = [PublishedPort::new(8000, 80), PublishedPort::new(8002, 80).address(Ipv4Addr::LOCALHOST)];
        let web = engine.start(&ports);
        let before = listing();
        tool("nft", &["flush", "ruleset"]);
        let other = engine.start(&[]);
        assert_eq!(listing(), before);
        let server = web.serve(80, 2);
        ask(Ipv4Addr::LOCALHOST, 8000);
        ask(Ipv4Addr::LOCALHOST, 8002);
        server.join().unwrap();
        engine.leave_no_trace(vec![web, other]);
    });
}

#[test]
fn the_undo_message_takes_the_elements_that_are_there_and_ours() {
    on_host(|| {
        let engine = Engine::new();
        let local = PublishedPort::new(8003, Port::udp(80)).address(Ipv4Addr::LOCALHOST);
        let web = engine.start(&[PublishedPort::new(8000, 80), PublishedPort::new(8001, 81), local]);
        let record = web.attachment.record.clone();
        let table = record.bridge.clone();
        let undo = undo_message(&record).unwrap();
        let send = || crate::kernel::NetlinkSocket::open(crate::kernel::NetlinkFamily::Netfilter).unwrap().send(&undo);
        // One is missing already: the others must still go.
        tool("nft", &["delete", "element", "ip", &table, "published", "{ tcp . 8000 }"]);
        send().unwrap();
        assert!(!ruleset().contains("\"elem\""), "{}", ruleset());
        send().unwrap();
        assert!(!ruleset().contains("\"elem\""), "{}", ruleset());
        // Another container has the port by now: it keeps it.
        tool("nft", &["add", "element", "ip", &table, "published", "{ tcp . 8000 : 10.99.0.9 . 80 }"]);
        send().unwrap();
        engine.networks.detach(&record).unwrap();
        assert!(ruleset().contains("10.99.0.9"));
        let silent = engine.start(&[]);
        assert!(undo_message(&silent.attachment.record).unwrap().is_empty());
        engine.leave_no_trace(vec![web, silent]);
    });
}

#[test]
fn an_element_that_a_crash_left_is_replaced() {
    on_host(|| {
        let engine = Engine::new();
        let first = engine.start(&[]);
        let table = &first.attachment.record.bridge;
        for stale in ["{ tcp . 8000 : 10.99.0.9 . 80 }", "{ tcp . 8001 : 10.99.0.9 . 80 }"] {
            tool("nft", &["add", "element", "ip", table, "published", stale]);
        }
        let ports: Vec<PublishedPort> = (8000..8600).map(|port| PublishedPort::new(port, 80)).collect();
        let web = engine.start(&ports);
        assert!(!ruleset().contains("10.99.0.9"));
        let server = web.serve(80, 2);
        ask(Ipv4Addr::LOCALHOST, 8000);
        ask(Ipv4Addr::LOCALHOST, 8599);
        server.join().unwrap();
        let undo = undo_message(&web.attachment.record).unwrap();
        crate::kernel::NetlinkSocket::open(crate::kernel::NetlinkFamily::Netfilter).unwrap().send(&undo).unwrap();
        assert!(!ruleset().contains("\"elem\""));
        engine.leave_no_trace(vec![first, web]);
    });
}
