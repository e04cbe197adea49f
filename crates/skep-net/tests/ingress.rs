//! The routing mesh, on hosts that are namespaces.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;
#[path = "support/swarm.rs"]
mod swarm;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use skep_net::{
    BridgeSpec, BridgeSubnet, EndpointSpec, IngressSpec, OverlaySpec, SwarmSpec, Warning,
};
use skep_objects::swarmkit::PortConfig;
use skep_objects::swarmkit::port_config::{Protocol, PublishMode};
use socket2::{Domain, Socket, Type};
use support::{
    PATIENCE, Server, Space, ask, ask_in_vain, ask_refused, ask_udp, ask_udp_in_vain, on_host,
    open_in, refused_udp, ruleset, shell, soon,
};
use swarm::{Swarm, overlay};

const TASK_PREFIX: &str = "10.0.0.";

fn ingress_network() -> OverlaySpec {
    OverlaySpec {
        ingress: true,
        ..overlay("ing", "10.0.0.0/24", 4096)
    }
}

fn port(protocol: Protocol, published: u32, target: u32) -> PortConfig {
    PortConfig {
        protocol: protocol as i32,
        published_port: published,
        target_port: target,
        publish_mode: PublishMode::Ingress as i32,
        ..PortConfig::default()
    }
}

fn join_ingress(swarm: &Swarm, n: usize) {
    let node_addresses = vec![format!("10.0.0.{}/24", n + 2).parse().unwrap()];
    let spec = IngressSpec {
        network_id: "ing".into(),
        node_addresses,
    };
    swarm.nodes[n].net.ensure_ingress(&spec).unwrap();
    let gateway = BridgeSubnet {
        gateway: "172.18.0.1/16".parse().unwrap(),
    };
    let bridge = BridgeSpec {
        subnets: vec![gateway],
        icc: false,
        ..BridgeSpec::new("gw", "docker_gwbridge")
    };
    swarm.nodes[n].net.ensure_bridge(&bridge).unwrap();
}

/// A task with its ingress address and the way out over docker_gwbridge.
fn task(swarm: &Swarm, n: usize, id: &str, last: u8) -> Space {
    let space = swarm.container(n, id, &[("ing", &[&format!("{TASK_PREFIX}{last}/24")])]);
    let spec = EndpointSpec {
        addresses: vec![format!("172.18.0.{last}/16").parse().unwrap()],
        default_gateways: vec!["172.18.0.1".parse().unwrap()],
        ..EndpointSpec::new(format!("{id}-gw"), "gw", id)
    };
    swarm.nodes[n].net.attach(&spec).unwrap();
    space
}

struct Mesh {
    swarm: Swarm,
    tasks: Vec<Space>,
    servers: Vec<Server>,
    client: Space,
}

/// `web`, published as 8080, with a task on each of the first two of three nodes.
fn mesh(dir: &Path) -> Mesh {
    let mut swarm = Swarm::new(dir, 3);
    swarm.ensure(&ingress_network());
    (0..3).for_each(|n| join_ingress(&swarm, n));
    let ports = vec![port(Protocol::Tcp, 8080, 80), port(Protocol::Udp, 8080, 80)];
    swarm.service("ing", "web", &["10.0.0.5"]).ports = ports;
    swarm.node_addresses("ing", TASK_PREFIX);
    let (mut tasks, mut servers) = (Vec::new(), Vec::new());
    for n in 0..2_u8 {
        let (id, last) = (format!("t{n}"), 11 + n);
        let node = usize::from(n);
        swarm.task("ing", "web", &id, node, &[&format!("{TASK_PREFIX}{last}")]);
        let space = task(&swarm, node, &id, last);
        servers.push(Server::tcp(&space, "0.0.0.0:80", &id));
        servers.push(Server::udp(&space, "0.0.0.0:80", &id));
        tasks.push(space);
    }
    swarm.apply();
    let client = swarm.client("192.0.2.50/24");
    Mesh {
        swarm,
        tasks,
        servers,
        client,
    }
}

fn some(times: usize, mut ask: impl FnMut() -> String) -> BTreeSet<String> {
    (0..times).map(|_| ask()).collect()
}

fn from(client: &str) -> BTreeSet<String> {
    ["t0", "t1"].map(|t| format!("{t} {client}")).into()
}

#[test]
fn every_node_answers_and_the_service_sees_the_client() {
    on_host(|dir| {
        let m = mesh(dir);
        for node in ["192.0.2.1:8080", "192.0.2.2:8080", "192.0.2.3:8080"] {
            assert_eq!(
                some(8, || ask(&m.client, node)),
                from("192.0.2.50"),
                "{node}"
            );
            assert_eq!(
                some(8, || ask_udp(&m.client, node)),
                from("192.0.2.50"),
                "udp {node}"
            );
        }
        drop(m.servers);
    });
}

#[test]
fn a_flush_of_a_node_s_rules_is_undone_at_once() {
    on_host(|dir| {
        let m = mesh(dir);
        let node = &m.swarm.nodes[2];
        let before = node.host.run(ruleset);
        node.host.run(|| shell("nft flush ruleset"));
        assert_eq!(soon(&before, || node.host.run(ruleset)), before);
        let address = "192.0.2.3:8080";
        assert_eq!(some(8, || ask(&m.client, address)), from("192.0.2.50"));
        assert_eq!(some(8, || ask_udp(&m.client, address)), from("192.0.2.50"));
        // A change that comes before is no worse off.
        node.host.run(|| shell("nft flush ruleset"));
        m.swarm.apply();
        assert_eq!(soon(&before, || node.host.run(ruleset)), before);
        drop(m.servers);
    });
}

#[test]
fn the_node_itself_is_answered_on_its_loopback() {
    on_host(|dir| {
        let m = mesh(dir);
        for (n, node) in m.swarm.nodes.iter().enumerate() {
            let expect = from(&format!("10.0.0.{}", n + 2));
            assert_eq!(some(6, || ask(&node.host, "127.0.0.1:8080")), expect);
            assert_eq!(some(6, || ask_udp(&node.host, "127.0.0.1:8080")), expect);
            let address = format!("{}:8080", node.addr);
            assert_eq!(some(6, || ask(&node.host, &address)), expect);
        }
    });
}

#[test]
fn one_client_port_may_come_by_one_node_after_another() {
    on_host(|dir| {
        let m = mesh(dir);
        let socket = m.client.run(|| UdpSocket::bind("0.0.0.0:40000").unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for round in 0..12 {
            let node = format!("192.0.2.{}:8080", round % 3 + 1);
            socket.send_to(b"?", &node).unwrap();
            let mut buf = [0; 64];
            let (n, peer) = socket.recv_from(&mut buf).unwrap();
            assert!(buf[..n].ends_with(b" 192.0.2.50"));
            assert_eq!(peer.to_string(), node);
        }
    });
}

/// A connection from this port of the client.
fn connect_from(port: u16, to: &str) -> TcpStream {
    let to: SocketAddr = to.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let own: SocketAddr = ([0, 0, 0, 0], port).into();
    socket.bind(&own.into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn say(stream: &mut TcpStream, word: &str) -> String {
    stream.write_all(word.as_bytes()).unwrap();
    let mut buf = [0; 64];
    let n = stream.read(&mut buf).unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

#[test]
fn one_client_port_may_be_connected_by_several_nodes_at_once() {
    on_host(|dir| {
        let mut m = mesh(dir);
        m.swarm.remove_task("ing", "t1");
        m.swarm.apply();
        drop(m.servers);
        m.swarm.service("ing", "web", &["10.0.0.5"]).ports = vec![port(Protocol::Tcp, 8080, 81)];
        m.swarm.apply();
        let listener = m.tasks[0].run(|| TcpListener::bind("0.0.0.0:81"));
        let listener = listener.unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let client = stream.peer_addr().unwrap().ip();
                    let mut buf = [0; 64];
                    while let Ok(n @ 1..) = stream.read(&mut buf) {
                        let word = String::from_utf8_lossy(&buf[..n]).into_owned();
                        let _ = stream.write_all(format!("{word} {client}").as_bytes());
                    }
                });
            }
        });
        m.client.run(|| {
            let node = |n: usize| format!("192.0.2.{}:8080", n + 1);
            let mut open: Vec<_> = (0..3).map(|n| connect_from(40001, &node(n))).collect();
            for word in ["one", "two"] {
                for stream in &mut open {
                    assert_eq!(say(stream, word), format!("{word} 192.0.2.50"));
                }
            }
        });
    });
}

#[test]
fn a_client_port_is_not_slow_to_come_by_another_node() {
    on_host(|dir| {
        let mut m = mesh(dir);
        m.swarm.remove_task("ing", "t1");
        m.swarm.apply();
        m.client.run(|| {
            // The task ends each connection first, and remembers it for a minute.
            for n in [1, 2, 3, 2, 1] {
                let began = Instant::now();
                let mut stream = connect_from(40002, &format!("192.0.2.{n}:8080"));
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                assert_eq!(text, "t0 192.0.2.50");
                // A first packet that is misunderstood is sent again after a second.
                assert!(
                    began.elapsed() < Duration::from_millis(900),
                    "{n}: {:?}",
                    began.elapsed()
                );
            }
        });
    });
}

#[test]
fn udp_without_a_task_is_refused_and_finds_the_next_one() {
    on_host(|dir| {
        let mut m = mesh(dir);
        for task in ["t0", "t1"] {
            m.swarm.set_rotation("ing", task, false);
        }
        m.swarm.apply();
        let host = &m.swarm.nodes[2].host;
        let socket = |space: &Space| {
            let socket = space.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect("192.0.2.3:8080").unwrap();
            socket
        };
        let sockets = [socket(&m.client), socket(host)];
        sockets.iter().for_each(refused_udp);
        m.swarm.set_rotation("ing", "t1", true);
        m.swarm.apply();
        for (socket, seen) in sockets.iter().zip(["192.0.2.50", "10.0.0.4"]) {
            let mut buf = [0; 64];
            socket.send(b"?").unwrap();
            let n = socket.recv(&mut buf).unwrap();
            assert_eq!(String::from_utf8_lossy(&buf[..n]), format!("t1 {seen}"));
        }
    });
}

#[test]
fn containers_reach_published_ports_of_any_node() {
    on_host(|dir| {
        let m = mesh(dir);
        // By the node's own ingress address, since the container's would not be answered.
        assert_eq!(
            some(6, || ask(&m.tasks[0], "172.18.0.1:8080")),
            from("10.0.0.2")
        );
        assert_eq!(
            some(6, || ask(&m.tasks[0], "192.0.2.1:8080")),
            from("10.0.0.2")
        );
        assert_eq!(
            some(6, || ask(&m.tasks[0], "192.0.2.3:8080")),
            from("192.0.2.1")
        );
        // The way out.
        let _outside = Server::tcp(&m.client, "0.0.0.0:80", "client");
        assert_eq!(ask(&m.tasks[1], "192.0.2.50:80"), "client 192.0.2.2");
    });
}

#[test]
fn only_published_ports_are_reached_over_the_mesh() {
    on_host(|dir| {
        let mut m = mesh(dir);
        let _secret = Server::tcp(&m.tasks[0], "0.0.0.0:81", "secret");
        let _host = Server::tcp(&m.swarm.nodes[1].host, "0.0.0.0:82", "host");
        ask_in_vain(&m.tasks[1], "10.0.0.11:81");
        ask_in_vain(&m.tasks[1], "10.0.0.3:82");
        m.client
            .run(|| shell("ip route add 10.0.0.0/24 via 192.0.2.1"));
        ask_in_vain(&m.client, "10.0.0.11:81");
        ask_in_vain(&m.client, "10.0.0.11:80");
        // A port that is published later is.
        let web = m.swarm.service("ing", "web", &["10.0.0.5"]);
        web.ports = vec![port(Protocol::Tcp, 8081, 81), port(Protocol::Tcp, 8080, 80)];
        m.swarm.remove_task("ing", "t1");
        m.swarm.apply();
        assert_eq!(ask(&m.client, "192.0.2.3:8081"), "secret 192.0.2.50");
        ask_udp_in_vain(&m.client, "192.0.2.3:8080");
    });
}

#[test]
fn a_task_out_of_rotation_takes_no_traffic_of_the_mesh() {
    on_host(|dir| {
        let mut m = mesh(dir);
        let socket = m.client.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let flow = || {
            let mut buf = [0; 64];
            socket.send_to(b"?", "192.0.2.3:8080").unwrap();
            let (n, _) = socket.recv_from(&mut buf).unwrap();
            String::from_utf8_lossy(&buf[..n]).into_owned()
        };
        let first = flow();
        let gone = first.split(' ').next().unwrap().to_owned();
        m.swarm.set_rotation("ing", &gone, false);
        m.swarm.apply();
        assert_ne!(flow(), first);
        assert_eq!(some(6, || ask(&m.client, "192.0.2.3:8080")).len(), 1);
    });
}

#[test]
fn a_restarted_daemon_serves_on_without_a_gap() {
    on_host(|dir| {
        let mut m = mesh(dir);
        let node = &mut m.swarm.nodes[0];
        node.net = open_in(&node.host, dir, "h1");
        let serves = |m: &Mesh| {
            assert_eq!(
                some(6, || ask(&m.client, "192.0.2.1:8080")),
                from("192.0.2.50")
            );
        };
        serves(&m);
        let swarm = SwarmSpec {
            node_id: "node1".into(),
            data_path_addr: "192.0.2.1".parse().unwrap(),
            data_path_port: 4789,
        };
        m.swarm.nodes[0].net.set_swarm(Some(swarm)).unwrap();
        m.swarm.nodes[0]
            .net
            .ensure_overlay(&ingress_network())
            .unwrap();
        join_ingress(&m.swarm, 0);
        serves(&m);
        task(&m.swarm, 0, "t0", 11);
        serves(&m);
        m.swarm.apply();
        m.swarm.nodes[0].net.sweep().unwrap();
        serves(&m);
        assert_eq!(m.swarm.nodes[0].net.warnings(), [].into());
    });
}

#[test]
fn a_forward_policy_of_drop_does_not_stop_the_mesh() {
    on_host(|dir| {
        let m = mesh(dir);
        let node = &m.swarm.nodes[2];
        node.host.run(|| {
            shell("nft add table ip filter");
            shell("nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }");
        });
        join_ingress(&m.swarm, 2);
        // Ensured again with nothing changed: the host's firewall is looked at all the same.
        assert_eq!(
            some(6, || ask(&m.client, "192.0.2.3:8080")),
            from("192.0.2.50")
        );
    });
}

#[test]
fn leaving_the_swarm_leaves_nothing() {
    on_host(|dir| {
        let mut m = mesh(dir);
        m.swarm.remove_task("ing", "t0");
        m.swarm.apply();
        let node = &m.swarm.nodes[0];
        node.net.remove_netns("t0").unwrap();
        node.net.set_swarm(None).unwrap();
        node.net.remove_bridge("gw").unwrap();
        node.net.sweep().unwrap();
        let rules = node.host.run(|| shell("nft list ruleset"));
        assert!(
            !rules.contains("8080") && !rules.contains("ingress"),
            "{rules}"
        );
        assert_eq!(node.host.run(|| shell("ip -o link")).lines().count(), 2);
        ask_in_vain(&m.client, "192.0.2.1:8080");
        assert_eq!(
            ask(&m.client, "192.0.2.2:8080").split(' ').nth(1),
            Some("192.0.2.50")
        );
    });
}

#[test]
fn a_busy_port_of_the_host_is_reported() {
    on_host(|dir| {
        let mut m = mesh(dir);
        let _busy = Server::tcp(&m.swarm.nodes[0].host, "0.0.0.0:9090", "host");
        let web = m.swarm.service("ing", "web", &["10.0.0.5"]);
        web.ports = vec![port(Protocol::Tcp, 9090, 80)];
        m.swarm.apply();
        let busy = Warning::IngressPortBusy {
            port: "tcp/9090".into(),
        };
        assert_eq!(m.swarm.nodes[0].net.warnings(), [busy].into());
        assert_eq!(m.swarm.nodes[1].net.warnings(), [].into());
    });
}

#[test]
fn ipv6_clients_are_seen_too() {
    on_host(|dir| {
        let mut swarm = Swarm::new(dir, 2);
        let mut spec = ingress_network();
        spec.subnets
            .extend(overlay("ing", "fd00:1::/64", 4096).subnets);
        swarm.ensure(&spec);
        for (n, node) in swarm.nodes.iter().enumerate() {
            let address = format!("fd99::{}/64", n + 1);
            node.host.run(|| support::address("eth0", &[&address]));
            let node_addresses = [
                format!("10.0.0.{}/24", n + 2),
                format!("fd00:1::{}/64", n + 2),
            ];
            let node_addresses = node_addresses.map(|a| a.parse().unwrap()).to_vec();
            let spec = IngressSpec {
                network_id: "ing".into(),
                node_addresses,
            };
            node.net.ensure_ingress(&spec).unwrap();
        }
        let ports = vec![port(Protocol::Tcp, 8080, 80), port(Protocol::Udp, 8080, 80)];
        swarm.service("ing", "web", &["10.0.0.5"]).ports = ports;
        swarm.node_addresses("ing", TASK_PREFIX);
        swarm.task("ing", "web", "t0", 0, &["10.0.0.11", "fd00:1::11"]);
        let space = swarm.container(0, "t0", &[("ing", &["10.0.0.11/24", "fd00:1::11/64"])]);
        swarm.apply();
        let _tcp = Server::tcp(&space, "[::]:80", "t0");
        let _udp = Server::udp(&space, "[::]:80", "t0");
        let client = swarm.client("fd99::50/64");
        for node in ["[fd99::1]:8080", "[fd99::2]:8080"] {
            assert_eq!(ask(&client, node), "t0 fd99::50");
            assert_eq!(ask_udp(&client, node), "t0 fd99::50");
        }
        // The hosts themselves, with a task here and elsewhere.
        for (n, own) in [(0, "fd00:1::2"), (1, "fd00:1::3")] {
            let host = &swarm.nodes[n].host;
            for node in ["[::1]:8080", &format!("[fd99::{}]:8080", n + 1)] {
                assert_eq!(ask(host, node), format!("t0 {own}"), "{node}");
            }
        }
        let busy = swarm.nodes[0].host.run(|| UdpSocket::bind("[::]:8080"));
        assert!(busy.is_err());
        swarm.set_rotation("ing", "t0", false);
        swarm.apply();
        ask_refused(&client, "[fd99::1]:8080");
        let host = &swarm.nodes[0].host;
        let socket = |space: &Space, to: &str| {
            let socket = space.run(|| UdpSocket::bind("[::]:0").unwrap());
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(to).unwrap();
            socket
        };
        let sockets = [
            socket(&client, "[fd99::1]:8080"),
            socket(host, "[fd99::1]:8080"),
            socket(host, "[::1]:8080"),
        ];
        sockets.iter().for_each(refused_udp);
        swarm.set_rotation("ing", "t0", true);
        swarm.apply();
        for socket in &sockets {
            let mut buf = [0; 64];
            socket.send(b"?").unwrap();
            let n = socket.recv(&mut buf).unwrap();
            assert!(buf[..n].starts_with(b"t0 fd"), "{:?}", &buf[..n]);
        }
    });
}
