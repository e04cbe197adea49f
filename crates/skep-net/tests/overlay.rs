//! Overlay networks and service addresses, on hosts that are namespaces.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;
#[path = "support/swarm.rs"]
mod swarm;

use std::collections::BTreeMap;
use std::net::UdpSocket;

use skep_net::{SwarmSpec, Warning};
use support::{
    Server, Space, ask, ask_in_vain, ask_refused, ask_udp, ask_udp_in_vain, on_host, open_in,
    refused_udp, ruleset, shell, soon,
};
use swarm::{Swarm, overlay};

/// Answers of so many questions, counted.
fn tally(times: usize, mut ask: impl FnMut() -> String) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for _ in 0..times {
        *out.entry(ask()).or_default() += 1;
    }
    out
}

/// Two tasks of `web`, on two nodes, and a client on the first.
fn web(dir: &std::path::Path) -> (Swarm, [Space; 3]) {
    let mut swarm = Swarm::new(dir, 2);
    swarm.ensure(&overlay("n1", "10.0.1.0/24", 4097));
    swarm.service("n1", "web", &["10.0.1.2"]);
    swarm.task("n1", "web", "a", 0, &["10.0.1.3"]);
    swarm.task("n1", "web", "b", 1, &["10.0.1.4"]);
    swarm.task("n1", "", "c", 0, &["10.0.1.5"]);
    let a = swarm.container(0, "a", &[("n1", &["10.0.1.3/24"])]);
    let b = swarm.container(1, "b", &[("n1", &["10.0.1.4/24"])]);
    let c = swarm.container(0, "c", &[("n1", &["10.0.1.5/24"])]);
    swarm.apply();
    (swarm, [a, b, c])
}

#[test]
fn containers_reach_each_other_across_hosts() {
    on_host(|dir| {
        let (_swarm, [a, b, c]) = web(dir);
        let _a = Server::tcp(&a, "0.0.0.0:80", "a");
        let _b = Server::tcp(&b, "0.0.0.0:80", "b");
        assert_eq!(ask(&a, "10.0.1.4:80"), "b 10.0.1.3");
        assert_eq!(ask(&b, "10.0.1.3:80"), "a 10.0.1.4");
        assert_eq!(ask(&c, "10.0.1.3:80"), "a 10.0.1.5");
        let seen = a.run(|| shell("ip addr show eth0"));
        assert!(
            seen.contains("02:42:0a:00:01:03") && seen.contains("mtu 1450"),
            "{seen}"
        );
    });
}

#[test]
fn networks_are_isolated_even_with_the_same_subnet() {
    on_host(|dir| {
        let (mut swarm, [a, ..]) = web(dir);
        swarm.ensure(&overlay("n2", "10.0.1.0/24", 4098));
        swarm.task("n2", "", "d", 1, &["10.0.1.4"]);
        swarm.task("n2", "", "e", 0, &["10.0.1.9"]);
        let d = swarm.container(1, "d", &[("n2", &["10.0.1.4/24"])]);
        let e = swarm.container(0, "e", &[("n2", &["10.0.1.9/24"])]);
        swarm.apply();
        let _d = Server::tcp(&d, "0.0.0.0:80", "d");
        assert_eq!(ask(&e, "10.0.1.4:80"), "d 10.0.1.9");
        ask_in_vain(&a, "10.0.1.9:80");
        ask_in_vain(&a, "10.0.1.4:80");
    });
}

#[test]
fn a_service_address_is_balanced_over_all_tasks() {
    on_host(|dir| {
        let (_swarm, [a, b, c]) = web(dir);
        let _servers = [
            Server::tcp(&a, "0.0.0.0:80", "a"),
            Server::tcp(&b, "0.0.0.0:80", "b"),
            Server::udp(&a, "0.0.0.0:80", "a"),
            Server::udp(&b, "0.0.0.0:80", "b"),
        ];
        let even: BTreeMap<String, usize> =
            [("a 10.0.1.5".to_owned(), 10), ("b 10.0.1.5".to_owned(), 10)].into();
        assert_eq!(tally(20, || ask(&c, "10.0.1.2:80")), even);
        assert_eq!(tally(20, || ask_udp(&c, "10.0.1.2:80")), even);
        // A task that is its own backend half the time.
        let hairpin = tally(20, || ask(&a, "10.0.1.2:80"));
        assert_eq!(hairpin["b 10.0.1.3"], 10, "{hairpin:?}");
        assert_eq!(hairpin.values().sum::<usize>(), 20);
        assert!(
            hairpin
                .keys()
                .all(|k| k.starts_with("a ") || k.starts_with("b ")),
            "{hairpin:?}"
        );
    });
}

#[test]
fn a_task_out_of_rotation_takes_no_new_traffic() {
    on_host(|dir| {
        let (mut swarm, [a, b, c]) = web(dir);
        let _a = Server::tcp(&a, "0.0.0.0:80", "a");
        let _b = Server::tcp(&b, "0.0.0.0:80", "b");
        swarm.set_rotation("n1", "b", false);
        swarm.apply();
        assert_eq!(tally(10, || ask(&c, "10.0.1.2:80")).len(), 1);
        // It is still reached by its own address.
        assert_eq!(ask(&c, "10.0.1.4:80"), "b 10.0.1.5");
        swarm.set_rotation("n1", "a", false);
        swarm.apply();
        ask_in_vain(&c, "10.0.1.2:80");
        swarm.set_rotation("n1", "b", true);
        swarm.apply();
        assert_eq!(ask(&c, "10.0.1.2:80"), "b 10.0.1.5");
    });
}

#[test]
fn an_active_udp_flow_leaves_a_removed_backend_at_once() {
    on_host(|dir| {
        let (mut swarm, [a, b, c]) = web(dir);
        let _a = Server::udp(&a, "0.0.0.0:80", "a");
        let _b = Server::udp(&b, "0.0.0.0:80", "b");
        let socket = c.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let ask = || {
            let mut buf = [0; 64];
            socket.send_to(b"?", "10.0.1.2:80").unwrap();
            let (n, _) = socket.recv_from(&mut buf).unwrap();
            String::from_utf8_lossy(&buf[..n]).into_owned()
        };
        let first = ask();
        assert_eq!(tally(5, ask).len(), 1);
        let (gone, other) = if first.starts_with('a') {
            ("a", "b")
        } else {
            ("b", "a")
        };
        swarm.remove_task("n1", gone);
        swarm.apply();
        assert_eq!(
            tally(5, ask).into_keys().next().unwrap(),
            format!("{other} 10.0.1.5")
        );
    });
}

#[test]
fn udp_to_a_service_without_tasks_is_refused_and_finds_the_next_one() {
    on_host(|dir| {
        let (mut swarm, [a, _b, c]) = web(dir);
        let _a = Server::udp(&a, "0.0.0.0:80", "a");
        for task in ["a", "b"] {
            swarm.set_rotation("n1", task, false);
        }
        swarm.apply();
        let socket = c.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
        socket.connect("10.0.1.2:80").unwrap();
        refused_udp(&socket);
        refused_udp(&socket);
        swarm.set_rotation("n1", "a", true);
        swarm.apply();
        let mut buf = [0; 64];
        socket.send(b"?").unwrap();
        let n = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..n], b"a 10.0.1.5");
    });
}

#[test]
fn an_address_that_comes_from_another_node_is_found_before_it_says_anything() {
    on_host(|dir| {
        let (mut swarm, [_a, b, c]) = web(dir);
        let server = Server::tcp(&b, "0.0.0.0:80", "b");
        // The bridge of the first node learns where the address is.
        assert_eq!(ask(&c, "10.0.1.4:80"), "b 10.0.1.5");
        drop(server);
        swarm.nodes[1].net.remove_netns("b").unwrap();
        swarm.task("n1", "web", "b", 0, &["10.0.1.4"]);
        let moved = swarm.container(0, "b2", &[("n1", &["10.0.1.4/24"])]);
        swarm.apply();
        let _server = Server::tcp(&moved, "0.0.0.0:80", "moved");
        // What the client knows is true still: the hardware address follows from the other.
        let mac = "02:42:0a:00:01:04";
        c.run(|| shell(&format!("ip neigh replace 10.0.1.4 lladdr {mac} dev eth0")));
        assert_eq!(ask(&c, "10.0.1.4:80"), "moved 10.0.1.5");
        // And back again, while the interface here may not be gone yet.
        swarm.nodes[0].net.remove_netns("b2").unwrap();
        swarm.task("n1", "web", "b", 1, &["10.0.1.4"]);
        let back = swarm.container(1, "b3", &[("n1", &["10.0.1.4/24"])]);
        swarm.apply();
        let _server = Server::tcp(&back, "0.0.0.0:80", "back");
        assert_eq!(ask(&c, "10.0.1.4:80"), "back 10.0.1.5");
    });
}

#[test]
fn a_task_that_moves_is_followed() {
    on_host(|dir| {
        let (mut swarm, [_a, b, c]) = web(dir);
        swarm.set_rotation("n1", "a", false);
        let server = Server::tcp(&b, "0.0.0.0:80", "b");
        assert_eq!(ask(&c, "10.0.1.4:80"), "b 10.0.1.5");
        drop(server);
        swarm.nodes[1].net.remove_netns("b").unwrap();
        swarm.task("n1", "web", "b", 0, &["10.0.1.4"]);
        let moved = swarm.container(0, "b2", &[("n1", &["10.0.1.4/24"])]);
        swarm.apply();
        let _server = Server::tcp(&moved, "0.0.0.0:80", "moved");
        c.run(|| shell("ip neigh flush all"));
        assert_eq!(ask(&c, "10.0.1.4:80"), "moved 10.0.1.5");
        assert_eq!(ask(&c, "10.0.1.2:80"), "moved 10.0.1.5");
    });
}

#[test]
fn a_network_is_in_the_kernel_from_its_first_endpoint_to_its_last() {
    on_host(|dir| {
        let swarm = Swarm::new(dir, 1);
        let (net, host) = (&swarm.nodes[0].net, &swarm.nodes[0].host);
        let pins = || {
            std::fs::read_dir(net.netns_path("x").parent().unwrap())
                .unwrap()
                .count()
        };
        swarm.ensure(&overlay("n1", "10.0.1.0/24", 4097));
        assert_eq!(pins(), 0);
        for _ in 0..3 {
            swarm.container(0, "a", &[("n1", &["10.0.1.3/24"])]);
            assert_eq!(pins(), 2);
            assert!(net.warnings().is_empty());
            net.remove_netns("a").unwrap();
            assert_eq!(pins(), 0);
        }
        net.destroy().unwrap();
        assert_eq!(host.run(|| shell("nft list ruleset")), "");
        assert_eq!(host.run(|| shell("ip -o link")).lines().count(), 2);
    });
}

#[test]
fn a_taken_data_path_port_costs_cross_host_traffic_only() {
    on_host(|dir| {
        let swarm = Swarm::new(dir, 1);
        let host = &swarm.nodes[0].host;
        let taken = host.run(|| UdpSocket::bind("0.0.0.0:4789").unwrap());
        swarm.ensure(&overlay("n1", "10.0.1.0/24", 4097));
        let a = swarm.container(0, "a", &[("n1", &["10.0.1.3/24"])]);
        let b = swarm.container(0, "b", &[("n1", &["10.0.1.4/24"])]);
        let _a = Server::tcp(&a, "0.0.0.0:80", "a");
        assert_eq!(ask(&b, "10.0.1.3:80"), "a 10.0.1.4");
        let net = &swarm.nodes[0].net;
        assert_eq!(
            net.warnings(),
            [Warning::DataPathPortTaken { port: 4789 }].into()
        );
        drop(taken);
        swarm.container(0, "c", &[("n1", &["10.0.1.5/24"])]);
        assert_eq!(net.warnings(), [].into());
    });
}

#[test]
fn a_second_daemon_on_a_host_works_locally_and_says_so() {
    on_host(|dir| {
        let swarm = Swarm::new(dir, 1);
        let second = open_in(&swarm.nodes[0].host, dir, "second");
        second
            .set_swarm(Some(SwarmSpec {
                node_id: "other".into(),
                data_path_addr: "192.0.2.1".parse().unwrap(),
                data_path_port: 4789,
            }))
            .unwrap();
        let spec = overlay("n1", "10.0.1.0/24", 4097);
        swarm.ensure(&spec);
        second.ensure_overlay(&spec).unwrap();
        swarm.container(0, "a", &[("n1", &["10.0.1.3/24"])]);
        let path = second.create_netns("b").unwrap();
        let mut endpoint = skep_net::EndpointSpec::new("b", "n1", "b");
        endpoint.addresses = vec!["10.0.1.4/24".parse().unwrap()];
        second.attach(&endpoint).unwrap();
        assert!(
            Space::at(&path)
                .run(|| shell("ip addr show eth0"))
                .contains("10.0.1.4")
        );
        let taken = Warning::VniTaken {
            network_id: "n1".into(),
            vni: 4097,
        };
        assert_eq!(second.warnings(), [taken].into());
        assert_eq!(swarm.nodes[0].net.warnings(), [].into());
    });
}

#[test]
fn a_restarted_daemon_takes_its_overlays_over() {
    on_host(|dir| {
        let (mut swarm, [a, b, c]) = web(dir);
        let _a = Server::tcp(&a, "0.0.0.0:80", "a");
        let _b = Server::tcp(&b, "0.0.0.0:80", "b");
        let node = &mut swarm.nodes[0];
        // The same instance again on the same directory.
        node.net = open_in(&node.host, dir, "h1");
        assert_eq!(tally(4, || ask(&c, "10.0.1.2:80")).len(), 2);
        let net = &node.net;
        net.set_swarm(Some(SwarmSpec {
            node_id: "node1".into(),
            data_path_addr: "192.0.2.1".parse().unwrap(),
            data_path_port: 4789,
        }))
        .unwrap();
        net.ensure_overlay(&overlay("n1", "10.0.1.0/24", 4097))
            .unwrap();
        swarm.container(0, "a", &[("n1", &["10.0.1.3/24"])]);
        swarm.container(0, "c", &[("n1", &["10.0.1.5/24"])]);
        swarm.apply();
        swarm.nodes[0].net.sweep().unwrap();
        assert_eq!(tally(4, || ask(&c, "10.0.1.2:80")).len(), 2);
        assert_eq!(swarm.nodes[0].net.warnings(), [].into());
        swarm.remove_task("n1", "b");
        swarm.apply();
        assert_eq!(tally(4, || ask(&c, "10.0.1.2:80")).len(), 1);
    });
}

#[test]
fn word_of_one_task_changes_it_alone() {
    on_host(|dir| {
        let (mut swarm, [a, b, c]) = web(dir);
        let _a = Server::tcp(&a, "0.0.0.0:80", "a");
        let _b = Server::tcp(&b, "0.0.0.0:80", "b");
        assert_eq!(tally(4, || ask(&c, "10.0.1.2:80")).len(), 2);
        swarm.set_rotation("n1", "b", false);
        swarm.tell_task("n1", "b");
        assert_eq!(tally(4, || ask(&c, "10.0.1.2:80")).len(), 1);
        swarm.set_rotation("n1", "b", true);
        swarm.tell_task("n1", "b");
        assert_eq!(tally(4, || ask(&c, "10.0.1.2:80")).len(), 2);
        for task in ["a", "b"] {
            swarm.remove_task("n1", task);
            swarm.tell_task("n1", task);
        }
        // Nobody left: refused, not waited for.
        ask_refused(&c, "10.0.1.2:80");
    });
}

#[test]
fn both_families_work_where_the_network_has_both() {
    on_host(|dir| {
        let mut swarm = Swarm::new(dir, 2);
        let mut spec = overlay("n1", "10.0.1.0/24", 4097);
        let v6 = overlay("n1", "fd10:1::/64", 4097).subnets;
        spec.subnets.extend(v6);
        swarm.ensure(&spec);
        swarm.service("n1", "web", &["10.0.1.2", "fd10:1::2"]);
        swarm.task("n1", "web", "a", 0, &["10.0.1.3", "fd10:1::3"]);
        swarm.task("n1", "web", "b", 1, &["10.0.1.4", "fd10:1::4"]);
        let a = swarm.container(0, "a", &[("n1", &["10.0.1.3/24", "fd10:1::3/64"])]);
        let b = swarm.container(1, "b", &[("n1", &["10.0.1.4/24", "fd10:1::4/64"])]);
        swarm.apply();
        let _a = Server::tcp(&a, "[::]:80", "a");
        let _b = Server::tcp(&b, "[::]:80", "b");
        assert_eq!(ask(&a, "[fd10:1::4]:80"), "b fd10:1::3");
        let seen = tally(4, || ask(&b, "[fd10:1::2]:80"));
        assert_eq!(seen["a fd10:1::4"], 2, "{seen:?}");
        assert_eq!(ask(&a, "10.0.1.4:80"), "b ::ffff:10.0.1.3");
        // Nobody is there in either family, and then somebody is.
        let _udp = Server::udp(&b, "[::]:80", "b");
        for task in ["a", "b"] {
            swarm.set_rotation("n1", task, false);
        }
        swarm.apply();
        ask_refused(&a, "[fd10:1::2]:80");
        let socket = a.run(|| UdpSocket::bind("[::]:0").unwrap());
        socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
        socket.connect("[fd10:1::2]:80").unwrap();
        refused_udp(&socket);
        refused_udp(&socket);
        swarm.set_rotation("n1", "b", true);
        swarm.tell_task("n1", "b");
        let mut buf = [0; 64];
        socket.send(b"?").unwrap();
        let n = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..n], b"b fd10:1::3");
    });
}

/// The first services of a size have a counter each, the others are shared out by chance: either
/// way all tasks of each are found, whatever order services are asked in.
#[test]
fn many_services_of_one_size_do_not_spoil_each_other_s_turns() {
    on_host(|dir| {
        let mut swarm = Swarm::new(dir, 1);
        swarm.ensure(&overlay("n1", "10.0.1.0/24", 4097));
        let tasks: Vec<(Space, [Server; 1])> = (0..2)
            .map(|n| {
                let (id, ip) = (format!("t{n}"), format!("10.0.1.{}/24", 101 + n));
                let space = swarm.container(0, &id, &[("n1", &[&ip])]);
                let server = Server::tcp(&space, "0.0.0.0:80", &id);
                (space, [server])
            })
            .collect();
        let client = swarm.container(0, "c", &[("n1", &["10.0.1.100/24"])]);
        for n in 0..20 {
            let id = format!("s{n:02}");
            swarm.service("n1", &id, &[&format!("10.0.1.{}", n + 2)]);
            for task in 0..2 {
                let ip = format!("10.0.1.{}", 101 + task);
                swarm.task("n1", &id, &format!("{id}-{task}"), 0, &[&ip]);
            }
        }
        swarm.apply();
        let both = |seen: &BTreeMap<String, usize>| seen.len() == 2;
        for (one, other) in [
            ("10.0.1.2:80", "10.0.1.3:80"),
            ("10.0.1.20:80", "10.0.1.21:80"),
        ] {
            let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
            for _ in 0..40 {
                of_one.push(ask(&client, one));
                of_other.push(ask(&client, other));
            }
            for seen in [of_one, of_other] {
                let mut seen = seen.into_iter();
                let seen = tally(40, || seen.next().unwrap());
                assert!(both(&seen), "{seen:?}");
                if one == "10.0.1.2:80" {
                    assert_eq!(seen["t0 10.0.1.100"], 20, "{seen:?}");
                }
            }
        }
        drop(tasks);
    });
}

/// Two containers on an encrypted network, on two nodes.
fn encrypted(dir: &std::path::Path) -> (Swarm, [Space; 2]) {
    let mut swarm = Swarm::new(dir, 2);
    let mut spec = overlay("n1", "10.0.1.0/24", 4097);
    spec.encrypted = true;
    swarm.ensure(&spec);
    swarm.task("n1", "", "a", 0, &["10.0.1.3"]);
    swarm.task("n1", "", "b", 1, &["10.0.1.4"]);
    let a = swarm.container(0, "a", &[("n1", &["10.0.1.3/24"])]);
    let b = swarm.container(1, "b", &[("n1", &["10.0.1.4/24"])]);
    (swarm, [a, b])
}

/// What passes the switch while `f` runs, as one heap of bytes.
fn captured(f: impl FnOnce()) -> Vec<u8> {
    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket,
    };
    use std::os::fd::AsRawFd;
    let flags = SockFlag::SOCK_NONBLOCK;
    let all = SockProtocol::EthAll;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
    f();
    let (mut out, mut buf) = (Vec::new(), vec![0; 65536]);
    while let Ok(n) = recv(fd.as_raw_fd(), &mut buf, MsgFlags::empty()) {
        out.extend_from_slice(&buf[..n]);
    }
    out
}

fn shows(heap: &[u8], text: &str) -> bool {
    heap.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn an_encrypted_network_is_unreadable_between_hosts() {
    on_host(|dir| {
        let (mut swarm, [a, b]) = encrypted(dir);
        swarm.node_keys("n1");
        swarm.apply();
        let _tcp = Server::tcp(&b, "0.0.0.0:80", "a-secret");
        let heap = captured(|| assert_eq!(ask(&a, "10.0.1.4:80"), "a-secret 10.0.1.3"));
        assert!(!heap.is_empty() && !shows(&heap, "a-secret"));
        assert!(a.run(|| shell("ip addr show eth0")).contains("mtu 1370"));
        assert_eq!(swarm.nodes[0].net.warnings(), [].into());
        // More than one packet, the largest among them.
        let big = Server::tcp(&b, "0.0.0.0:81", &"x".repeat(200_000));
        assert_eq!(ask(&a, "10.0.1.4:81").len(), 200_009);
        drop(big);
        // The last container takes the tunnel along.
        let host = &swarm.nodes[0].host;
        swarm.nodes[0].net.remove_netns("a").unwrap();
        // The kernel takes a namespace apart in its own time.
        let removed = std::time::Instant::now();
        while host.run(|| shell("ip -o link")).lines().count() > 2 {
            let patience = std::time::Duration::from_secs(10);
            assert!(
                removed.elapsed() < patience,
                "{}",
                host.run(|| shell("ip -o link"))
            );
        }
        assert!(!host.run(|| shell("nft list ruleset")).contains("wg"));
    });
}

#[test]
fn a_change_of_keys_loses_nothing() {
    on_host(|dir| {
        let (mut swarm, [a, b]) = encrypted(dir);
        swarm.node_keys("n1");
        swarm.apply();
        let _servers = [
            Server::udp(&a, "0.0.0.0:80", "a"),
            Server::udp(&b, "0.0.0.0:80", "b"),
        ];
        let both = || {
            assert_eq!(ask_udp(&a, "10.0.1.4:80"), "b 10.0.1.3");
            assert_eq!(ask_udp(&b, "10.0.1.3:80"), "a 10.0.1.4");
        };
        both();
        for node in &swarm.nodes {
            let before = node.net.wireguard_public_key();
            node.net.rotate_wireguard_key().unwrap();
            assert_ne!(node.net.wireguard_public_key(), before);
        }
        // Nobody has heard of it.
        both();
        swarm.node_keys("n1");
        swarm.apply();
        // An unanswered packet is not sent again: each of these must arrive.
        (0..50).for_each(|_| both());
        let switched = std::time::Instant::now();
        while switched.elapsed() < std::time::Duration::from_millis(800) {
            both();
        }
        for node in &swarm.nodes {
            node.net.retire_wireguard_keys();
        }
        (0..20).for_each(|_| both());
    });
}

#[test]
fn without_keys_an_encrypted_network_does_not_leave_the_host() {
    on_host(|dir| {
        let (swarm, [a, b]) = encrypted(dir);
        swarm.apply();
        let _udp = Server::udp(&b, "0.0.0.0:80", "b");
        ask_udp_in_vain(&a, "10.0.1.4:80");
        let warnings = swarm.nodes[0].net.warnings();
        assert!(matches!(
            warnings.first(),
            Some(Warning::EncryptionUnavailable { network_id, .. }) if network_id == "n1"
        ));
    });
}

#[test]
fn an_encrypted_network_does_not_fall_back_when_the_tunnel_is_gone() {
    on_host(|dir| {
        let (mut swarm, [a, b]) = encrypted(dir);
        swarm.node_keys("n1");
        swarm.apply();
        let _udp = Server::udp(&b, "0.0.0.0:80", "b");
        assert_eq!(ask_udp(&a, "10.0.1.4:80"), "b 10.0.1.3");
        let host = &swarm.nodes[0].host;
        // The guard is back after somebody flushed the firewall.
        let guarded = host.run(ruleset);
        host.run(|| shell("nft flush ruleset"));
        assert_eq!(soon(&guarded, || host.run(ruleset)), guarded);
        host.run(|| {
            shell("ip link del wg-h1");
            // Every destination has a route now, the tunnel addresses too.
            shell("ip -6 addr add fd99::1/64 dev eth0 nodad");
            shell("ip -6 route add default dev eth0");
        });
        let heap = captured(|| {
            let packet = UdpSocket::bind("127.0.0.1:0");
            drop(packet);
            a.run(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                for _ in 0..10 {
                    socket.send_to(b"a-secret", "10.0.1.4:80").unwrap();
                }
            });
            ask_udp_in_vain(&a, "10.0.1.4:80");
        });
        assert!(!shows(&heap, "a-secret"));
    });
}
