//! Who gets which port.

use std::net::{IpAddr, TcpListener};

use super::*;
use crate::error::NetError;
use crate::testing::{in_new_netns, shell};

fn mapping(host: &str, port: u16, end: u16) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp,
        host_ip: host.parse().ok(),
        host_port: port,
        host_port_end: end,
        container_ips: vec![IpAddr::from([172, 17, 0, 2])],
        container_port: 80,
        relay: false,
    }
}

fn with_ports(f: impl FnOnce(&mut Ports) + Send) {
    in_new_netns(|| {
        shell("ip link set lo up");
        f(&mut Ports::new((40000, 40002), true));
    });
}

fn message(result: Result<Vec<PublishedPort>, NetError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn two_containers_do_not_share_a_port() {
    with_ports(|ports| {
        ports.reserve("a", &[mapping("", 80, 0)]).unwrap();
        let text = message(ports.reserve("b", &[mapping("", 80, 0)]));
        assert_eq!(
            text,
            "Bind for 0.0.0.0:80 failed: port is already allocated"
        );
        let text = message(ports.reserve("b", &[mapping("127.0.0.1", 80, 0)]));
        assert_eq!(
            text,
            "Bind for 127.0.0.1:80 failed: port is already allocated"
        );
        ports.remove("a");
        ports.reserve("b", &[mapping("", 80, 0)]).unwrap();
    });
}

#[test]
fn different_addresses_share_a_port() {
    with_ports(|ports| {
        ports.reserve("a", &[mapping("127.0.0.1", 80, 0)]).unwrap();
        ports.reserve("b", &[mapping("127.0.0.2", 80, 0)]).unwrap();
    });
}

#[test]
fn a_process_of_the_host_keeps_its_port() {
    with_ports(|ports| {
        let listener = TcpListener::bind("0.0.0.0:81").unwrap();
        let text = message(ports.reserve("a", &[mapping("", 81, 0)]));
        assert_eq!(
            text,
            "failed to bind host port 0.0.0.0:81/tcp: address already in use"
        );
        drop(listener);
        ports.reserve("a", &[mapping("", 81, 0)]).unwrap();
        assert!(TcpListener::bind("0.0.0.0:81").is_err());
    });
}

#[test]
fn a_range_gives_its_first_free_port() {
    with_ports(|ports| {
        let first = ports.reserve("a", &[mapping("", 8000, 8001)]).unwrap();
        let second = ports.reserve("b", &[mapping("", 8000, 8001)]).unwrap();
        assert_eq!((first[0].host_port, second[0].host_port), (8000, 8001));
        assert!(matches!(
            ports.reserve("c", &[mapping("", 8000, 8001)]),
            Err(NetError::NoPortFree)
        ));
    });
}

#[test]
fn unchosen_ports_come_from_the_ephemeral_range() {
    with_ports(|ports| {
        for expect in 40000..=40002 {
            let got = ports
                .reserve(&expect.to_string(), &[mapping("", 0, 0)])
                .unwrap();
            assert_eq!(got[0].host_port, expect);
        }
        assert!(ports.reserve("x", &[mapping("", 0, 0)]).is_err());
        ports.remove("40001");
        assert_eq!(
            ports.reserve("x", &[mapping("", 0, 0)]).unwrap()[0].host_port,
            40001
        );
    });
}

#[test]
fn a_failed_reservation_takes_nothing() {
    with_ports(|ports| {
        ports.reserve("a", &[mapping("", 90, 0)]).unwrap();
        assert!(
            ports
                .reserve("b", &[mapping("", 91, 0), mapping("", 90, 0)])
                .is_err()
        );
        ports.reserve("c", &[mapping("", 91, 0)]).unwrap();
    });
}

#[test]
fn a_foreign_address_is_refused() {
    with_ports(|ports| {
        let text = message(ports.reserve("a", &[mapping("203.0.113.9", 80, 0)]));
        assert_eq!(
            text,
            "failed to bind host port 203.0.113.9:80/tcp: cannot assign requested address"
        );
    });
}

#[test]
fn a_family_that_the_container_has_not_is_relayed_where_that_may_be() {
    with_ports(|ports| {
        let mut ways = |host: &str, protocol, relay| {
            let mapping = PortMapping {
                protocol,
                relay,
                ..mapping(host, 80, 0)
            };
            let got = ports.reserve("a", &[mapping]).unwrap();
            ports.remove("a");
            let way =
                |p: &PublishedPort| (p.host_ip.to_string(), p.is_translated(), p.is_relayed());
            got.iter().map(way).collect::<Vec<_>>()
        };
        let v4 = ("0.0.0.0".to_owned(), true, false);
        let v6 = |ip: &str| (ip.to_owned(), false, true);
        assert_eq!(ways("", Protocol::Tcp, false), std::slice::from_ref(&v4));
        assert_eq!(ways("", Protocol::Sctp, true), std::slice::from_ref(&v4));
        assert_eq!(ways("", Protocol::Udp, true), [v4, v6("::")]);
        assert_eq!(ways("::1", Protocol::Tcp, true), [v6("::1")]);
        assert_eq!(ways("::1", Protocol::Tcp, false), []);
    });
}
