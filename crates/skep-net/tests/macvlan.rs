//! Networks on the host's own wire, on a host that is a namespace.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use skep_net::{
    DnsSpec, EndpointSpec, IpvlanFlag, IpvlanMode, MacvlanMode, MacvlanSpec, Net, NetError, Wire,
};
use support::{Server, Space, ask, on_host, open, shell};

fn macvlan(parent: &str) -> MacvlanSpec {
    MacvlanSpec {
        network_id: "n1".into(),
        name: "wire".into(),
        parent: Some(parent.into()),
        wire: Wire::Macvlan(MacvlanMode::Bridge),
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
        net.remove_macvlan("n1").unwrap();
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

#[test]
fn without_a_parent_containers_reach_each_other_and_nobody_else() {
    on_host(|dir| {
        let links = shell("ip -o link");
        let alone = MacvlanSpec {
            parent: None,
            ..macvlan("")
        };
        let net = open(dir, "mv4");
        net.ensure_macvlan(&alone).unwrap();
        let a = container(&net, "a", "10.9.0.2/24");
        let b = container(&net, "b", "10.9.0.3/24");
        let _server = Server::tcp(&b, "0.0.0.0:80", "b");
        assert_eq!(ask(&a, "10.9.0.3:80"), "b 10.9.0.2");
        drop(net);
        let net = open(dir, "mv4");
        net.ensure_macvlan(&alone).unwrap();
        container(&net, "a", "10.9.0.2/24");
        container(&net, "b", "10.9.0.3/24");
        net.sweep().unwrap();
        assert_eq!(ask(&a, "10.9.0.3:80"), "b 10.9.0.2");
        for id in ["a", "b"] {
            net.remove_netns(id).unwrap();
        }
        net.remove_macvlan("n1").unwrap();
        assert_eq!(shell("ip -o link"), links);
    });
}

#[test]
fn one_that_has_the_parent_for_itself_shares_it_with_no_other() {
    on_host(|dir| {
        wire();
        let alone = MacvlanSpec {
            wire: Wire::Macvlan(MacvlanMode::Passthru),
            ..macvlan("p0")
        };
        let net = open(dir, "mv5");
        net.ensure_macvlan(&alone).unwrap();
        container(&net, "a", "10.9.0.2/24");
        let other = MacvlanSpec {
            network_id: "n2".into(),
            ..macvlan("p0")
        };
        let error = net.ensure_macvlan(&other).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use mode passthru, macvlan network n1 is using parent interface p0"
        );
        drop(net);
        // It is in use when the daemon comes back.
        let net = open(dir, "mv5");
        net.ensure_macvlan(&alone).unwrap();
        container(&net, "a", "10.9.0.2/24");
    });
}

/// Whether this kernel makes such links.
fn kernel_has(link: &str) -> bool {
    let words = format!("link add {link}");
    let made = std::process::Command::new("ip")
        .args(words.split(' '))
        .output();
    made.unwrap().status.success()
}

#[test]
fn a_vlan_interface_is_made_and_goes_with_its_last_network() {
    on_host(|dir| {
        wire();
        let has_vlan = kernel_has("link p0 name p0.9 type vlan id 9");
        let links = shell("ip -o link");
        let net = open(dir, "mv6");
        for (parent, text) in [
            ("p7.5", "-o parent interface does not exist on the host: p7"),
            ("p0.4095", "vlan id must be between 1-4094, received: 4095"),
            ("p0.x", "vlan id must be between 1-4094, received: x"),
            (
                "p0.1.2",
                "required interface name format is: name.vlan_tag, ex. eth0.10 for vlan 10, instead received p0.1.2",
            ),
            (
                "lo",
                "loopback interface is not a valid macvlan parent link",
            ),
        ] {
            let error = net.ensure_macvlan(&macvlan(parent)).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        let first = macvlan("p0.5");
        if !has_vlan {
            let error = net.ensure_macvlan(&first).unwrap_err();
            let text = "failed to create p0.5 vlan link: this kernel has no 8021q";
            assert_eq!(error.to_string(), text);
            assert_eq!(shell("ip -o link"), links);
            return;
        }
        net.ensure_macvlan(&first).unwrap();
        assert!(shell("ip -d link show p0.5").contains("vlan protocol 802.1Q id 5"));
        let second = MacvlanSpec {
            network_id: "n2".into(),
            ..first
        };
        net.ensure_macvlan(&second).unwrap();
        net.sweep().unwrap();
        net.remove_macvlan("n1").unwrap();
        assert!(shell("ip -o link").contains("p0.5"));
        net.remove_macvlan("n2").unwrap();
        assert_eq!(shell("ip -o link"), links);
    });
}

#[test]
fn ipvlan_is_made_or_the_kernel_is_named() {
    on_host(|dir| {
        wire();
        let has_ipvlan = kernel_has("link p0 name ip0 type ipvlan mode l2");
        if has_ipvlan {
            shell("ip link del ip0");
        }
        let net = open(dir, "mv7");
        let spec = MacvlanSpec {
            wire: Wire::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge),
            ..macvlan("p0")
        };
        if !has_ipvlan {
            let error = net.ensure_macvlan(&spec).unwrap_err();
            let text = "make an ipvlan interface on p0: this kernel has no ipvlan";
            assert_eq!(error.to_string(), text);
            return;
        }
        net.ensure_macvlan(&spec).unwrap();
        let a = container(&net, "a", "10.9.0.2/24");
        let b = container(&net, "b", "10.9.0.3/24");
        let _server = Server::tcp(&b, "0.0.0.0:80", "b");
        assert_eq!(ask(&a, "10.9.0.3:80"), "b 10.9.0.2");
    });
}
