//! Firewall tables that another program takes away are written again, on a host that is a namespace.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::path::Path;

use skep_net::{
    BridgeSpec, BridgeSubnet, EndpointSpec, Net, OpenPort, PortMapping, Protocol, Warning,
};
use support::{Server, Space, ask, ask_udp, on_host, open, ruleset, shell, soon};

/// A container with a server, on a network without talk between containers, and a client outside.
struct Host {
    net: Net,
    client: Space,
    container: Space,
    _servers: [Server; 2],
}

const CONTAINER: &str = "172.18.0.2";

fn host(dir: &Path) -> Host {
    let client = Space::new();
    client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
    let net = open(dir, "fl");
    net.ensure_bridge(&BridgeSpec {
        icc: false,
        subnets: vec![BridgeSubnet {
            gateway: "172.18.0.1/16".parse().unwrap(),
        }],
        ..BridgeSpec::new("n1", "br-one")
    })
    .unwrap();
    let path = net.create_netns("a").unwrap();
    net.attach(&EndpointSpec {
        addresses: vec![format!("{CONTAINER}/16").parse().unwrap()],
        default_gateways: vec!["172.18.0.1".parse().unwrap()],
        ..EndpointSpec::new("ep-a", "n1", "a")
    })
    .unwrap();
    let container = Space::at(&path);
    let _servers = [
        Server::tcp(&container, "0.0.0.0:80", "a"),
        Server::udp(&container, "0.0.0.0:80", "a"),
    ];
    publish(&net, "tcp", 8080, Protocol::Tcp);
    publish(&net, "udp", 8080, Protocol::Udp);
    let open_port = OpenPort {
        protocol: Protocol::Tcp,
        container_ip: CONTAINER.parse().unwrap(),
        container_port: 80,
    };
    net.open_ports("open", &[open_port]).unwrap();
    Host {
        net,
        client,
        container,
        _servers,
    }
}

fn publish(net: &Net, owner: &str, port: u16, protocol: Protocol) {
    let mapping = PortMapping {
        protocol,
        host_ip: None,
        host_port: port,
        host_port_end: 0,
        container_ips: vec![CONTAINER.parse().unwrap()],
        container_port: 80,
        relay: true,
    };
    net.publish(owner, &[mapping]).unwrap();
}

#[test]
fn a_flush_of_all_rules_is_undone_at_once() {
    on_host(|dir| {
        let host = host(dir);
        let answer = "a 192.0.2.9".to_owned();
        assert_eq!(ask(&host.client, "192.0.2.1:8080"), answer);
        let before = ruleset();
        shell("nft flush ruleset");
        assert_eq!(soon(&before, ruleset), before);
        assert_eq!(ask(&host.client, "192.0.2.1:8080"), answer);
        assert_eq!(ask_udp(&host.client, "192.0.2.1:8080"), answer);
        let outside = Server::tcp(&host.client, "0.0.0.0:81", "client");
        assert_eq!(ask(&host.container, "192.0.2.9:81"), "client 192.0.2.1");
        drop(outside);
        shell("nft delete table ip skep-fl");
        assert_eq!(soon(&before, ruleset), before);
    });
}

#[test]
fn what_is_published_right_after_a_flush_is_there() {
    on_host(|dir| {
        let host = host(dir);
        let answer = "a 192.0.2.9".to_owned();
        for round in 0..8 {
            let port = 9000 + round;
            shell("nft flush ruleset");
            publish(&host.net, "new", port, Protocol::Tcp);
            let at = format!("192.0.2.1:{port}");
            assert_eq!(soon(&answer, || ask(&host.client, &at)), answer);
            shell("nft flush ruleset");
            host.net.unpublish("new").unwrap();
            let spec = BridgeSpec::new("n2", format!("br-{round}"));
            shell("nft flush ruleset");
            host.net.ensure_bridge(&spec).unwrap();
            shell("nft flush ruleset");
            host.net.remove_bridge("n2").unwrap();
            let at = "192.0.2.1:8080";
            assert_eq!(soon(&answer, || ask(&host.client, at)), answer);
        }
    });
}

#[test]
fn rules_that_were_saved_bring_nothing_old_back() {
    on_host(|dir| {
        let host = host(dir);
        publish(&host.net, "old", 8081, Protocol::Tcp);
        let saved = format!("flush ruleset\n{}", shell("nft list ruleset"));
        host.net.unpublish("old").unwrap();
        let before = ruleset();
        let file = dir.join("saved.nft");
        std::fs::write(&file, saved).unwrap();
        shell(&format!("nft -f {}", file.display()));
        assert_eq!(soon(&before, ruleset), before);
    });
}

#[test]
fn a_firewall_that_comes_later_is_passed() {
    on_host(|dir| {
        let host = host(dir);
        let answer = "a 192.0.2.9".to_owned();
        let drop_all = "{ type filter hook forward priority 0 ; policy drop ; }";
        let ask = || ask(&host.client, "192.0.2.1:8080");
        shell("nft add table ip filter");
        shell(&format!("nft add chain ip filter FORWARD {drop_all}"));
        assert_eq!(soon(&answer, ask), answer);
        // As `iptables -F`, which leaves the policy.
        shell("nft flush chain ip filter FORWARD");
        assert_eq!(soon(&answer, ask), answer);
        assert!(host.net.warnings().is_empty());
        shell("nft add table inet other");
        shell(&format!("nft add chain inet other passing {drop_all}"));
        let chain = "other/passing".to_owned();
        let warned = [Warning::ForwardDropped { chain }].into();
        assert_eq!(soon(&warned, || host.net.warnings()), warned);
        // It passes nobody's daemon that is gone.
        host.net.destroy().unwrap();
        let left = shell("nft list ruleset");
        assert!(!left.contains("br-one") && !left.contains("skep"), "{left}");
    });
}
