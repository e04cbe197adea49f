//! Local bridge networks and published ports, on a host that is a namespace.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use skep_net::{
    BridgeSpec, BridgeSubnet, EndpointSpec, Net, NetError, PortMapping, Protocol, PublishedPort,
};
use support::{Server, Space, ask, ask_in_vain, ask_refused, ask_udp, on_host, open, shell};

fn bridge(id: &str, name: &str, gateways: &[&str]) -> BridgeSpec {
    let subnet = |g: &&str| BridgeSubnet {
        gateway: g.parse().unwrap(),
    };
    BridgeSpec {
        subnets: gateways.iter().map(subnet).collect(),
        ..BridgeSpec::new(id, name)
    }
}

fn endpoint(id: &str, network: &str, addresses: &[&str], gateways: &[&str]) -> EndpointSpec {
    EndpointSpec {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        default_gateways: gateways.iter().map(|a| a.parse().unwrap()).collect(),
        ..EndpointSpec::new(format!("ep-{id}"), network, id)
    }
}

/// A container on a network with one address.
fn container(net: &Net, id: &str, network: &str, address: &str, gateway: &str) -> Space {
    let path = net.create_netns(id).unwrap();
    net.attach(&endpoint(id, network, &[address], &[gateway]))
        .unwrap();
    Space::at(&path)
}

fn publish(
    net: &Net,
    owner: &str,
    host: &str,
    port: u16,
    protocol: Protocol,
    to: &[&str],
) -> Vec<PublishedPort> {
    try_publish(net, owner, host, port, protocol, to).unwrap()
}

fn try_publish(
    net: &Net,
    owner: &str,
    host: &str,
    port: u16,
    protocol: Protocol,
    to: &[&str],
) -> Result<Vec<PublishedPort>, NetError> {
    let mapping = PortMapping {
        protocol,
        host_ip: host.parse().ok(),
        host_port: port,
        host_port_end: 0,
        container_ips: to.iter().map(|a| a.parse().unwrap()).collect(),
        container_port: 80,
        relay: true,
    };
    net.publish(owner, &[mapping])
}

#[test]
fn containers_on_a_bridge_reach_each_other_and_the_host() {
    on_host(|dir| {
        let net = open(dir, "t1");
        net.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        let a = container(&net, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        let b = container(&net, "b", "n1", "172.17.0.3/16", "172.17.0.1");
        let _server = Server::tcp(&b, "0.0.0.0:80", "b");
        assert_eq!(ask(&a, "172.17.0.3:80"), "b 172.17.0.2");
        assert_eq!(ask(&Space::current(), "172.17.0.3:80"), "b 172.17.0.1");
        let seen = a.run(|| shell("ip addr show eth0"));
        assert!(
            seen.contains("02:42:ac:11:00:02") && seen.contains("mtu 1500"),
            "{seen}"
        );
        assert!(
            a.run(|| shell("ip route"))
                .contains("default via 172.17.0.1 dev eth0")
        );
        assert!(net.statistics("a").unwrap()["eth0"].rx_bytes > 0);
    });
}

#[test]
fn a_published_port_answers_from_outside_the_host_its_loopback_and_containers() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let net = open(dir, "t2");
        net.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        let a = container(&net, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        let b = container(&net, "b", "n1", "172.17.0.3/16", "172.17.0.1");
        let _tcp = Server::tcp(&a, "0.0.0.0:80", "a");
        let _udp = Server::udp(&a, "0.0.0.0:80", "a");
        publish(&net, "a", "", 8080, Protocol::Tcp, &["172.17.0.2"]);
        publish(&net, "a-udp", "", 8080, Protocol::Udp, &["172.17.0.2"]);
        let host = Space::current();
        assert_eq!(ask(&client, "192.0.2.1:8080"), "a 192.0.2.9");
        assert_eq!(ask_udp(&client, "192.0.2.1:8080"), "a 192.0.2.9");
        assert_eq!(ask(&host, "127.0.0.1:8080"), "a 172.17.0.1");
        assert_eq!(ask_udp(&host, "127.0.0.1:8080"), "a 172.17.0.1");
        assert_eq!(ask(&host, "192.0.2.1:8080"), "a 192.0.2.1");
        assert_eq!(ask(&b, "192.0.2.1:8080"), "a 172.17.0.1");
        assert_eq!(ask(&a, "192.0.2.1:8080"), "a 172.17.0.1");
        net.unpublish("a").unwrap();
        ask_in_vain(&client, "192.0.2.1:8080");
        assert_eq!(ask_udp(&client, "192.0.2.1:8080"), "a 192.0.2.9");
    });
}

#[test]
fn a_port_published_on_one_address_answers_there_only() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24", "192.0.2.2/24"], &["192.0.2.9/24"]);
        let net = open(dir, "t3");
        net.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        let a = container(&net, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        let _server = Server::tcp(&a, "0.0.0.0:80", "a");
        publish(&net, "a", "192.0.2.2", 8080, Protocol::Tcp, &["172.17.0.2"]);
        assert_eq!(ask(&client, "192.0.2.2:8080"), "a 192.0.2.9");
        ask_in_vain(&client, "192.0.2.1:8080");
        publish(&net, "a", "127.0.0.1", 8080, Protocol::Tcp, &["172.17.0.2"]);
        assert_eq!(ask(&Space::current(), "127.0.0.1:8080"), "a 172.17.0.1");
        ask_in_vain(&client, "192.0.2.2:8080");
    });
}

#[test]
fn nobody_outside_reaches_unpublished_ports_or_the_host_s_loopback() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
        client.run(|| shell("ip route add default via 192.0.2.1"));
        let net = open(dir, "t4");
        net.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        let a = container(&net, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        let _server = Server::tcp(&a, "0.0.0.0:81", "a");
        ask_in_vain(&client, "172.17.0.2:81");
        let _host = Server::tcp(&Space::current(), "127.0.0.1:82", "host");
        client.run(|| {
            shell("ip addr del 127.0.0.1/8 dev lo");
            shell("ip route add 127.0.0.0/8 via 192.0.2.1 src 192.0.2.9");
            shell("sysctl -q -w net.ipv4.conf.eth0.route_localnet=1");
        });
        ask_in_vain(&client, "127.0.0.1:82");
    });
}

#[test]
fn bridges_are_isolated_but_for_published_ports() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let net = open(dir, "t5");
        net.ensure_bridge(&bridge("n1", "br-one", &["172.18.0.1/16"]))
            .unwrap();
        net.ensure_bridge(&bridge("n2", "br-two", &["172.19.0.1/16"]))
            .unwrap();
        let a = container(&net, "a", "n1", "172.18.0.2/16", "172.18.0.1");
        let b = container(&net, "b", "n2", "172.19.0.2/16", "172.19.0.1");
        let _server = Server::tcp(&b, "0.0.0.0:80", "b");
        ask_in_vain(&a, "172.19.0.2:80");
        publish(&net, "b", "", 8080, Protocol::Tcp, &["172.19.0.2"]);
        assert_eq!(ask(&a, "192.0.2.1:8080"), "b 172.19.0.1");
        // The outside is reached as the host.
        let _outside = Server::tcp(&client, "0.0.0.0:80", "client");
        assert_eq!(ask(&a, "192.0.2.9:80"), "client 192.0.2.1");
    });
}

#[test]
fn icc_off_leaves_published_ports_only() {
    check_icc_off("0");
}

#[test]
fn icc_off_leaves_published_ports_only_where_bridged_frames_are_filtered() {
    check_icc_off("1");
}

fn check_icc_off(filtered: &str) {
    on_host(|dir| {
        for kind in ["iptables", "ip6tables"] {
            // A kernel without br_netfilter filters no frames, and has nothing to set.
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{kind}");
            let _ = std::fs::write(path, filtered);
        }
        let net = open(dir, "t6");
        net.ensure_bridge(&BridgeSpec {
            icc: false,
            ..bridge("n1", "br-one", &["172.18.0.1/16"])
        })
        .unwrap();
        let a = container(&net, "a", "n1", "172.18.0.2/16", "172.18.0.1");
        let b = container(&net, "b", "n1", "172.18.0.3/16", "172.18.0.1");
        let _server = Server::tcp(&b, "0.0.0.0:80", "b");
        ask_in_vain(&a, "172.18.0.3:80");
        // Nor by way of the gateway.
        a.run(|| shell("ip route add 172.18.0.3/32 via 172.18.0.1"));
        ask_in_vain(&a, "172.18.0.3:80");
        publish(&net, "b", "", 8080, Protocol::Tcp, &["172.18.0.3"]);
        assert_eq!(ask(&a, "172.18.0.1:8080"), "b 172.18.0.1");
    });
}

#[test]
fn an_internal_network_has_no_way_out() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
        client.run(|| shell("ip route add default via 192.0.2.1"));
        let net = open(dir, "t7");
        let spec = BridgeSpec {
            internal: true,
            ..bridge("n1", "br-one", &["172.18.0.1/16"])
        };
        net.ensure_bridge(&spec).unwrap();
        let a = container(&net, "a", "n1", "172.18.0.2/16", "172.18.0.1");
        let b = container(&net, "b", "n1", "172.18.0.3/16", "172.18.0.1");
        let _out = Server::tcp(&client, "0.0.0.0:80", "client");
        let _in = Server::tcp(&b, "0.0.0.0:80", "b");
        ask_in_vain(&a, "192.0.2.9:80");
        ask_in_vain(&client, "172.18.0.3:80");
        assert_eq!(ask(&a, "172.18.0.3:80"), "b 172.18.0.2");
    });
}

#[test]
fn ipv6_is_published_and_masqueraded_too() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["fd99::1/64"], &["fd99::9/64"]);
        let net = open(dir, "t8");
        let spec = bridge("n1", "br-one", &["172.18.0.1/16", "fd18::1/64"]);
        net.ensure_bridge(&spec).unwrap();
        let path = net.create_netns("a").unwrap();
        let addresses = ["172.18.0.2/16", "fd18::2/64"];
        net.attach(&endpoint("a", "n1", &addresses, &["172.18.0.1", "fd18::1"]))
            .unwrap();
        let a = Space::at(&path);
        let _server = Server::tcp(&a, "[::]:80", "a");
        let ports = publish(
            &net,
            "a",
            "",
            8080,
            Protocol::Tcp,
            &["172.18.0.2", "fd18::2"],
        );
        assert_eq!(ports.len(), 2);
        assert_eq!(ask(&client, "[fd99::1]:8080"), "a fd99::9");
        let host = Space::current();
        assert_eq!(ask(&host, "[fd99::1]:8080"), "a fd99::1");
        let _outside = Server::tcp(&client, "[::]:80", "client");
        assert_eq!(ask(&a, "[fd99::9]:80"), "client fd99::1");
    });
}

#[test]
fn what_the_kernel_cannot_translate_is_relayed() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["fd99::1/64", "fd99::2/64"], &["fd99::9/64"]);
        let net = open(dir, "t14");
        let spec = bridge("n1", "br-one", &["172.18.0.1/16", "fd18::1/64"]);
        net.ensure_bridge(&spec).unwrap();
        let a = container(&net, "a", "n1", "172.18.0.2/16", "172.18.0.1");
        let _tcp = Server::tcp(&a, "0.0.0.0:80", "a");
        let _udp = Server::udp(&a, "0.0.0.0:80", "a");
        let host = Space::current();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let owner = format!("a-{protocol}");
            let ports = publish(&net, &owner, "", 8080, protocol, &["172.18.0.2"]);
            let hosts: Vec<String> = ports.iter().map(|p| p.host_ip.to_string()).collect();
            assert_eq!(hosts, ["0.0.0.0", "::"]);
        }
        for to in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "[fd99::1]:8080",
            "[fd99::2]:8080",
        ] {
            assert_eq!(ask(&host, to), "a 172.18.0.1", "{to}");
            assert_eq!(ask_udp(&host, to), "a 172.18.0.1", "{to}");
        }
        for to in ["[fd99::1]:8080", "[fd99::2]:8080"] {
            assert_eq!(ask(&client, to), "a 172.18.0.1");
            assert_eq!(ask_udp(&client, to), "a 172.18.0.1");
        }
        // Its port is free as soon as it is taken back, also after connections.
        for _ in 0..3 {
            net.unpublish("a-tcp").unwrap();
            ask_refused(&host, "[::1]:8080");
            publish(&net, "a-tcp", "::", 8080, Protocol::Tcp, &["172.18.0.2"]);
            assert_eq!(ask(&host, "[::1]:8080"), "a 172.18.0.1");
        }
        net.unpublish("a-tcp").unwrap();
        // A container with both families is translated to, but for ::1.
        let path = net.create_netns("b").unwrap();
        let addresses = ["172.18.0.3/16", "fd18::3/64"];
        net.attach(&endpoint("b", "n1", &addresses, &["172.18.0.1", "fd18::1"]))
            .unwrap();
        let b = Space::at(&path);
        let _b = Server::tcp(&b, "[::]:80", "b");
        let to = ["172.18.0.3", "fd18::3"];
        publish(&net, "b", "", 8080, Protocol::Tcp, &to);
        assert_eq!(ask(&client, "[fd99::1]:8080"), "b fd99::9");
        assert_eq!(ask(&host, "[::1]:8080"), "b fd18::1");
        publish(&net, "b", "::1", 8081, Protocol::Tcp, &to);
        assert_eq!(ask(&host, "[::1]:8081"), "b fd18::1");
        ask_refused(&client, "[fd99::1]:8081");
        net.remove_netns("b").unwrap();
        ask_refused(&host, "[::1]:8081");
    });
}

/// The checksum of SCTP (CRC32c), as it lies in a packet.
fn crc32c(data: &[u8]) -> [u8; 4] {
    let bit = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), bit);
    (!data.iter().fold(!0, byte)).to_le_bytes()
}

/// The first packet of an SCTP association: ports, tag, checksum, and an INIT chunk.
fn sctp_init(from: u16, to: u16) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend([0; 8]);
    packet.extend([
        1, 0, 0, 20, 0, 0, 0, 7, 0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 9,
    ]);
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum);
    packet
}

#[test]
fn sctp_is_translated_also_by_a_kernel_that_does_not_speak_it() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let net = open(dir, "t15");
        net.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        let a = container(&net, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        let ports = publish(&net, "a", "", 1234, Protocol::Sctp, &["172.17.0.2"]);
        assert_eq!(ports.len(), 1);
        let raw = || {
            let sctp = Some(socket2::Protocol::from(132));
            let kind = socket2::Type::from(libc::SOCK_RAW);
            socket2::Socket::new(socket2::Domain::IPV4, kind, sctp).unwrap()
        };
        let mut inside = a.run(raw);
        inside.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let to: std::net::SocketAddr = "192.0.2.1:0".parse().unwrap();
        let packet = sctp_init(5000, 1234);
        client.run(|| raw().send_to(&packet, &to.into()).unwrap());
        let mut seen = [0; 128];
        let n = std::io::Read::read(&mut inside, &mut seen).unwrap();
        // After a header of IP without options.
        assert_eq!(seen[12..20], [192, 0, 2, 9, 172, 17, 0, 2]);
        assert_eq!(seen[20..n], sctp_init(5000, 80));
    });
}

#[test]
fn a_forward_policy_of_drop_does_not_stop_published_ports() {
    on_host(|dir| {
        shell("nft add table ip filter");
        shell(
            "nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
        );
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let net = open(dir, "t9");
        net.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        let a = container(&net, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        let _server = Server::tcp(&a, "0.0.0.0:80", "a");
        publish(&net, "a", "", 8080, Protocol::Tcp, &["172.17.0.2"]);
        assert_eq!(ask(&client, "192.0.2.1:8080"), "a 192.0.2.9");
        assert!(net.warnings().is_empty());
        net.destroy().unwrap();
        assert!(!shell("nft list table ip filter").contains("docker0"));
    });
}

#[test]
fn a_restarted_daemon_adopts_what_is_there_and_sweeps_the_rest() {
    on_host(|dir| {
        let client = Space::new();
        client.cable("eth0", &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let spec = bridge("n1", "docker0", &["172.17.0.1/16"]);
        let first = open(dir, "ta");
        first.ensure_bridge(&spec).unwrap();
        first
            .ensure_bridge(&bridge("n2", "br-gone", &["172.18.0.1/16"]))
            .unwrap();
        let a = container(&first, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        container(&first, "gone", "n1", "172.17.0.3/16", "172.17.0.1");
        let _server = Server::tcp(&a, "0.0.0.0:80", "a");
        publish(&first, "a", "", 8080, Protocol::Tcp, &["172.17.0.2"]);
        publish(&first, "gone", "", 8081, Protocol::Tcp, &["172.17.0.3"]);
        drop(first);
        // As one that was killed before it had marked its bridge.
        shell("ip link add new-ta type bridge");

        let second = open(dir, "ta");
        assert_eq!(ask(&client, "192.0.2.1:8080"), "a 192.0.2.9");
        second.ensure_bridge(&spec).unwrap();
        assert_eq!(ask(&client, "192.0.2.1:8080"), "a 192.0.2.9");
        let index = a.run(|| shell("ip -o link show eth0"));
        container(&second, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        publish(&second, "a", "", 8080, Protocol::Tcp, &["172.17.0.2"]);
        second.sweep().unwrap();
        assert_eq!(index, a.run(|| shell("ip -o link show eth0")));
        assert_eq!(ask(&client, "192.0.2.1:8080"), "a 192.0.2.9");
        assert!(!second.netns_path("gone").exists());
        let links = shell("ip link");
        assert!(
            !links.contains("br-gone")
                && !links.contains("new-ta")
                && links.matches("veth").count() == 1,
            "{links}"
        );
        let rules = shell("nft list ruleset");
        assert!(
            !rules.contains("8081") && !rules.contains("br-gone"),
            "{rules}"
        );
    });
}

#[test]
fn nothing_remains_after_destroy() {
    on_host(|dir| {
        let links = shell("ip -o link");
        let net = open(dir, "tb");
        net.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        container(&net, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        publish(&net, "a", "", 8080, Protocol::Tcp, &["172.17.0.2"]);
        net.destroy().unwrap();
        assert_eq!(shell("nft list ruleset"), "");
        assert_eq!(shell("ip -o link"), links);
        assert!(!net.netns_path("a").exists());
    });
}

#[test]
fn daemons_sharing_a_host_do_not_disturb_each_other() {
    on_host(|dir| {
        let (one, two) = (open(dir, "one"), open(dir, "two"));
        one.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]))
            .unwrap();
        let refused = two.ensure_bridge(&bridge("n1", "docker0", &["172.17.0.1/16"]));
        assert!(matches!(refused, Err(NetError::ForeignInterface { .. })));
        two.ensure_bridge(&bridge("n1", "docker1", &["172.20.0.1/16"]))
            .unwrap();
        let a = container(&one, "a", "n1", "172.17.0.2/16", "172.17.0.1");
        let b = container(&two, "a", "n1", "172.20.0.2/16", "172.20.0.1");
        let _a = Server::tcp(&a, "0.0.0.0:80", "a");
        let _b = Server::tcp(&b, "0.0.0.0:80", "b");
        publish(&one, "a", "", 8080, Protocol::Tcp, &["172.17.0.2"]);
        let taken = try_publish(&two, "a", "", 8080, Protocol::Tcp, &["172.20.0.2"]);
        assert!(matches!(taken, Err(NetError::PortInUse { .. })));
        publish(&two, "a", "", 8081, Protocol::Tcp, &["172.20.0.2"]);
        one.sweep().unwrap();
        let host = Space::current();
        assert_eq!(ask(&host, "127.0.0.1:8080"), "a 172.17.0.1");
        assert_eq!(ask(&host, "127.0.0.1:8081"), "b 172.20.0.1");
        one.destroy().unwrap();
        assert_eq!(ask(&host, "127.0.0.1:8081"), "b 172.20.0.1");
    });
}
