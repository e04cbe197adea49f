//! Names, asked at 127.0.0.11 inside containers.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;
#[path = "support/swarm.rs"]
mod swarm;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use skep_net::{BridgeSpec, BridgeSubnet, DnsSpec, EndpointSpec, Net};
use support::{PATIENCE, Space, on_host, open, shell};
use swarm::{Swarm, overlay};

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
    query.to_vec().unwrap()
}

fn lookup(space: &Space, name: &str, kind: RecordType) -> Message {
    let packet = query(name, kind);
    space.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect("127.0.0.11:53").unwrap();
        socket.send(&packet).unwrap();
        let mut buf = [0; 4096];
        let n = socket.recv(&mut buf).unwrap();
        Message::from_vec(&buf[..n]).unwrap()
    })
}

fn lookup_tcp(space: &Space, name: &str) -> Message {
    let packet = query(name, RecordType::A);
    space.run(|| {
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes())
            .unwrap();
        stream.write_all(&packet).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    })
}

/// Sorted answers, or the error's name.
fn answers(message: &Message) -> Vec<String> {
    if message.metadata.response_code != ResponseCode::NoError {
        return vec![message.metadata.response_code.to_string()];
    }
    let mut out: Vec<String> = message.answers.iter().map(|r| r.data.to_string()).collect();
    out.sort();
    out
}

fn a(space: &Space, name: &str) -> Vec<String> {
    answers(&lookup(space, name, RecordType::A))
}

/// A name server on the host that answers every name with 203.0.113.7.
fn upstream(space: &Space, address: &str) {
    let socket = space.run(|| UdpSocket::bind(address).unwrap());
    std::thread::spawn(move || {
        let mut buf = [0; 4096];
        while let Ok((n, peer)) = socket.recv_from(&mut buf) {
            let query = Message::from_vec(&buf[..n]).unwrap();
            let mut reply = Message::response(query.metadata.id, OpCode::Query);
            let name = query.queries[0].name().clone();
            reply.add_queries(query.queries);
            reply.add_answer(Record::from_rdata(
                name,
                60,
                RData::A(A([203, 0, 113, 7].into())),
            ));
            let _ = socket.send_to(&reply.to_vec().unwrap(), peer);
        }
    });
}

fn bridge(net: &Net, id: &str, gateway: &str) {
    let subnets = vec![BridgeSubnet {
        gateway: gateway.parse().unwrap(),
    }];
    let name = format!("{id}-name");
    let spec = BridgeSpec {
        subnets,
        name,
        ..BridgeSpec::new(id, format!("br-{id}"))
    };
    net.ensure_bridge(&spec).unwrap();
}

fn container(net: &Net, id: &str, networks: &[(&str, &str)], spec: &DnsSpec) -> Space {
    let path = net.create_netns(id).unwrap();
    for (network, address) in networks {
        let endpoint = EndpointSpec {
            addresses: vec![address.parse().unwrap()],
            names: vec![id.into(), format!("{id}-alias")],
            ..EndpointSpec::new(format!("{id}-{network}"), *network, id)
        };
        net.attach(&endpoint).unwrap();
    }
    net.serve_dns(id, spec).unwrap();
    Space::at(&path)
}

fn no_forward() -> DnsSpec {
    DnsSpec {
        no_forward: true,
        ..DnsSpec::default()
    }
}

#[test]
fn containers_find_each_other_on_networks_they_share_only() {
    on_host(|dir| {
        let net = open(dir, "d1");
        bridge(&net, "one", "172.18.0.1/16");
        bridge(&net, "two", "172.19.0.1/16");
        let x = container(&net, "x", &[("one", "172.18.0.2/16")], &no_forward());
        let y = container(&net, "y", &[("two", "172.19.0.2/16")], &no_forward());
        let both = [("one", "172.18.0.3/16"), ("two", "172.19.0.3/16")];
        let z = container(&net, "z", &both, &no_forward());
        assert_eq!(a(&x, "z"), ["172.18.0.3"]);
        assert_eq!(a(&y, "Z.two-name."), ["172.19.0.3"]);
        assert_eq!(a(&z, "x-alias"), ["172.18.0.2"]);
        assert_eq!(a(&z, "y"), ["172.19.0.2"]);
        assert_eq!(a(&x, "y"), [ResponseCode::NXDomain.to_string()]);
        assert_eq!(answers(&lookup(&x, "z", RecordType::AAAA)), [""; 0]);
        let pointer = lookup(&x, "3.0.18.172.in-addr.arpa.", RecordType::PTR);
        assert_eq!(answers(&pointer), ["z.one-name."]);
        net.rename("z-one", vec!["zz".into()]).unwrap();
        assert_eq!(a(&x, "zz"), ["172.18.0.3"]);
        net.detach("z-one").unwrap();
        assert_eq!(a(&x, "zz"), [ResponseCode::NXDomain.to_string()]);
        assert_eq!(a(&z, "x"), [ResponseCode::NXDomain.to_string()]);
    });
}

#[test]
fn other_names_are_asked_from_the_host() {
    on_host(|dir| {
        upstream(&Space::current(), "127.0.0.1:53");
        let net = open(dir, "d2");
        bridge(&net, "one", "172.18.0.1/16");
        let upstreams = vec!["127.0.0.1".parse().unwrap()];
        let spec = DnsSpec {
            upstreams,
            ..DnsSpec::default()
        };
        let x = container(&net, "x", &[("one", "172.18.0.2/16")], &spec);
        assert_eq!(a(&x, "example.org."), ["203.0.113.7"]);
        assert_eq!(a(&x, "x"), ["172.18.0.2"]);
        // Settings may change while it runs.
        net.serve_dns("x", &no_forward()).unwrap();
        assert_eq!(a(&x, "example.org."), [ResponseCode::NXDomain.to_string()]);
    });
}

#[test]
fn a_silent_server_is_passed_over() {
    on_host(|dir| {
        upstream(&Space::current(), "127.0.0.2:53");
        let silent = UdpSocket::bind("127.0.0.3:53").unwrap();
        let net = open(dir, "d3");
        bridge(&net, "one", "172.18.0.1/16");
        let upstreams = ["127.0.0.1", "127.0.0.2"]
            .map(|s| s.parse().unwrap())
            .to_vec();
        let x = container(
            &net,
            "x",
            &[("one", "172.18.0.2/16")],
            &DnsSpec {
                upstreams,
                ..DnsSpec::default()
            },
        );
        assert_eq!(a(&x, "example.org."), ["203.0.113.7"]);
        let upstreams = ["127.0.0.3", "127.0.0.2"]
            .map(|s| s.parse().unwrap())
            .to_vec();
        net.serve_dns(
            "x",
            &DnsSpec {
                upstreams,
                ..DnsSpec::default()
            },
        )
        .unwrap();
        assert_eq!(a(&x, "example.org."), ["203.0.113.7"]);
        drop(silent);
    });
}

#[test]
fn links_are_known_to_their_container_only() {
    on_host(|dir| {
        let net = open(dir, "d4");
        bridge(&net, "one", "172.18.0.1/16");
        let spec = DnsSpec {
            extra_names: vec![("db".into(), "172.18.0.9".parse().unwrap())],
            ..no_forward()
        };
        let x = container(&net, "x", &[("one", "172.18.0.2/16")], &spec);
        let y = container(&net, "y", &[("one", "172.18.0.3/16")], &no_forward());
        assert_eq!(a(&x, "DB"), ["172.18.0.9"]);
        assert_eq!(a(&y, "db"), [ResponseCode::NXDomain.to_string()]);
    });
}

#[test]
fn a_container_may_have_port_53_itself() {
    on_host(|dir| {
        let net = open(dir, "d5");
        bridge(&net, "one", "172.18.0.1/16");
        let x = container(&net, "x", &[("one", "172.18.0.2/16")], &no_forward());
        let _own = x.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        assert_eq!(a(&x, "x"), ["172.18.0.2"]);
    });
}

#[test]
fn services_are_found_as_swarm_has_them() {
    on_host(|dir| {
        let mut swarm = Swarm::new(dir, 1);
        swarm.ensure(&overlay("n1", "10.0.1.0/24", 4097));
        swarm.service("n1", "web", &["10.0.1.2"]);
        for n in 3..=5 {
            swarm.task("n1", "web", &format!("t{n}"), 0, &[&format!("10.0.1.{n}")]);
        }
        let c = swarm.container(0, "c", &[("n1", &["10.0.1.9/24"])]);
        swarm.nodes[0].net.serve_dns("c", &no_forward()).unwrap();
        swarm.apply();
        assert_eq!(a(&c, "web"), ["10.0.1.2"]);
        assert_eq!(a(&c, "tasks.web"), ["10.0.1.3", "10.0.1.4", "10.0.1.5"]);
        assert_eq!(answers(&lookup_tcp(&c, "web.1.t4")), ["10.0.1.4"]);
        let pointer = lookup(&c, "4.1.0.10.in-addr.arpa.", RecordType::PTR);
        assert_eq!(answers(&pointer), ["web.1.t4.n1-name."]);
        swarm.set_rotation("n1", "t4", false);
        swarm.apply();
        assert_eq!(a(&c, "tasks.web"), ["10.0.1.3", "10.0.1.5"]);
        for n in 6..=200 {
            swarm.task("n1", "web", &format!("t{n}"), 0, &[&format!("10.0.1.{n}")]);
        }
        swarm.apply();
        assert!(lookup(&c, "tasks.web", RecordType::A).metadata.truncation);
        assert_eq!(answers(&lookup_tcp(&c, "tasks.web")).len(), 197);
    });
}

#[test]
fn a_removed_container_leaves_no_server() {
    on_host(|dir| {
        let net = open(dir, "d6");
        bridge(&net, "one", "172.18.0.1/16");
        let x = container(&net, "x", &[("one", "172.18.0.2/16")], &no_forward());
        let rules = x.run(|| shell("nft list ruleset"));
        assert_eq!(rules.matches("dport 53").count(), 2, "{rules}");
        net.remove_netns("x").unwrap();
        let waits = std::time::Instant::now();
        // The runtime closes the sockets; nothing else holds them.
        while x.run(|| shell("ss -Hlnup")).contains("127.0.0.11") {
            assert!(waits.elapsed() < PATIENCE, "the socket stays");
            std::thread::yield_now();
        }
    });
}
