//! Networks on the host's own wire, on a host that is a namespace.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use skep_net::{DnsSpec, EndpointSpec, MacvlanMode, MacvlanSpec, Net, NetError};
use support::{Server, Space, ask, on_host, open, shell};

fn macvlan(parent: &str) -> MacvlanSpec {
    MacvlanSpec {
        network_id: "n1".into(),
        name: "wire".into(),
        parent: parent.into(),
        mode: MacvlanMode::Bridge,
        mtu: 1400,
    }
}

/// An interface of the host to be the parent.
fn wire() {
    shell("ip link add p0 type veth peer name p1");
    shell("ip link set p0 up");
    shell("ip link set p1 up");
}

fn container(net: &Net, id: &str, address: &str) -> Space {
    let path = net.create_netns(id).unwrap();
    let spec = EndpointSpec {
        addresses: vec![address.parse().unwrap()],
        default_gateways: vec!["10.9.0.1".parse().unwrap()],
        names: vec![id.to_owned()],
        ..EndpointSpec::new(format!("ep-{id}"), "n1", id)
    };
    let first = net.attach(&spec).unwrap();
    // Again changes nothing.
    assert_eq!(net.attach(&spec).unwrap(), first);
    net.serve_dns(id, &DnsSpec::default()).unwrap();
    Space::at(&path)
}

#[test]
fn containers_share_the_wire_of_an_interface() {
    on_host(|dir| {
        wire();
        let net = open(dir, "mv1");
        net.ensure_macvlan(&macvlan("p0")).unwrap();
        let a = container(&net, "a", "10.9.0.2/24");
        let b = container(&net, "b", "10.9.0.3/24");
        let seen = a.run(|| shell("ip -d link show eth0") + &shell("ip route"));
        assert!(
            seen.contains("macvlan mode bridge") && seen.contains("mtu 1400"),
            "{seen}"
        );
        assert!(seen.contains("default via 10.9.0.1"), "{seen}");
        let _server = Server::tcp(&b, "0.0.0.0:80", "b");
        assert_eq!(ask(&a, "10.9.0.3:80"), "b 10.9.0.2");
        assert_eq!(net.statistics("a").unwrap().len(), 1);
        net.detach("ep-a").unwrap();
        assert!(!a.run(|| shell("ip link")).contains("eth0"));
        net.remove_netns("a").unwrap();
        net.remove_netns("b").unwrap();
        net.remove_macvlan("n1");
        assert!(!shell("ip -d link").contains("macvlan"));
    });
}

#[test]
fn a_restarted_daemon_takes_the_interface_up_as_it_is() {
    on_host(|dir| {
        wire();
        let net = open(dir, "mv2");
        net.ensure_macvlan(&macvlan("p0")).unwrap();
        let a = container(&net, "a", "10.9.0.2/24");
        let before = a.run(|| shell("ip link show eth0"));
        drop(net);
        let net = open(dir, "mv2");
        net.ensure_macvlan(&macvlan("p0")).unwrap();
        container(&net, "a", "10.9.0.2/24");
        net.sweep().unwrap();
        assert_eq!(a.run(|| shell("ip link show eth0")), before);
    });
}

#[test]
fn a_parent_that_is_not_there_is_named() {
    on_host(|dir| {
        let net = open(dir, "mv3");
        let error = net.ensure_macvlan(&macvlan("nope")).unwrap_err();
        assert!(matches!(error, NetError::NoParent { .. }));
        assert_eq!(
            error.to_string(),
            "-o parent interface does not exist on the host: nope"
        );
    });
}
