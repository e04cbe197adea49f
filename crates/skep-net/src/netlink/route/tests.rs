//! What rtnetlink requests do, as the real `ip` and `bridge` see it.

use super::*;
use crate::addr::Mac;
use crate::netlink::route::link::{LinkKind, NewLink, Vxlan};
use crate::testing::{in_new_netns, shell};

fn bridge(route: &mut RouteSocket, name: &str) -> u32 {
    let new = NewLink {
        up: true,
        alias: Some("mine"),
        ..NewLink::new(name, LinkKind::Bridge)
    };
    route.create_link(&new).unwrap();
    route.link(name).unwrap().unwrap().index
}

#[test]
fn a_veth_pair_joins_its_bridge() {
    in_new_netns(|| {
        let mut route = RouteSocket::open().unwrap();
        let master = bridge(&mut route, "br0");
        let mac = "02:42:0a:00:00:02".parse().unwrap();
        let kind = LinkKind::Veth {
            peer: "eth0".into(),
            peer_mac: Some(mac),
            peer_netns: None,
        };
        let new = NewLink {
            mtu: Some(1450),
            master: Some(master),
            up: true,
            ..NewLink::new("veth0", kind)
        };
        route.create_link(&new).unwrap();
        assert!(
            route
                .create_link(&NewLink::new("veth0", LinkKind::Bridge))
                .unwrap_err()
                .exists()
        );
        let port = route.link("veth0").unwrap().unwrap();
        route.set_port(port.index, true, true).unwrap();
        let seen = shell("ip -d link show veth0");
        for expect in ["master br0", "mtu 1450", "hairpin on", "isolated on"] {
            assert!(seen.contains(expect), "{seen}");
        }
        assert!(shell("ip link show eth0").contains("02:42:0a:00:00:02"));
        assert_eq!(route.link("br0").unwrap().unwrap().alias, "mine");
        route.delete_link("veth0").unwrap();
        route.delete_link("veth0").unwrap();
        assert_eq!(route.link("eth0").unwrap(), None);
    });
}

#[test]
fn addresses_and_routes_are_set_once() {
    in_new_netns(|| {
        let mut route = RouteSocket::open().unwrap();
        let index = bridge(&mut route, "br0");
        for _ in 0..2 {
            route
                .add_address(index, "10.1.0.1/24".parse().unwrap())
                .unwrap();
            route
                .add_address(index, "fd01::1/64".parse().unwrap())
                .unwrap();
            route
                .set_route(&Route::default_via("10.1.0.254".parse().unwrap(), index))
                .unwrap();
            route
                .set_route(&Route::default_via("fd01::254".parse().unwrap(), index))
                .unwrap();
            let rule = Rule {
                priority: 100,
                mark: 0x0a,
                mask: 0xff,
                table: 1000,
                v4: true,
            };
            route.add_rule(&rule).unwrap();
        }
        assert!(shell("ip -4 addr show br0").contains("inet 10.1.0.1/24"));
        assert!(shell("ip -6 addr show br0").contains("inet6 fd01::1/64"));
        assert_eq!(
            shell("ip route show default").trim(),
            "default via 10.1.0.254 dev br0 proto static"
        );
        assert!(shell("ip -6 route show default").contains("via fd01::254 dev br0"));
        assert!(shell("ip rule").contains("fwmark 0xa/0xff lookup 1000"));
        let default = route
            .routes()
            .unwrap()
            .into_iter()
            .find(|r| r.v4 && r.to.is_none());
        assert_eq!(
            default.unwrap(),
            Route::default_via("10.1.0.254".parse().unwrap(), index)
        );
        assert!(
            route
                .addresses()
                .unwrap()
                .iter()
                .any(|a| a.cidr == "10.1.0.1/24".parse().unwrap())
        );
        route
            .delete_address(index, "10.1.0.1/24".parse().unwrap())
            .unwrap();
        route
            .delete_address(index, "10.1.0.1/24".parse().unwrap())
            .unwrap();
    });
}

#[test]
fn vxlan_entries_are_replaced_not_doubled() {
    in_new_netns(|| {
        let mut route = RouteSocket::open().unwrap();
        let vxlan = Vxlan {
            vni: 4097,
            port: 4789,
            local: "127.0.0.1".parse().unwrap(),
        };
        let new = NewLink {
            up: true,
            ..NewLink::new("vx0", LinkKind::Vxlan(vxlan))
        };
        shell("ip link set lo up");
        route.create_link(&new).unwrap();
        let link = route.link("vx0").unwrap().unwrap();
        assert_eq!((link.kind.as_str(), link.vni), ("vxlan", Some(4097)));
        let ip = "10.0.1.3".parse().unwrap();
        let mac = Mac::from_ip(ip);
        for node in ["192.0.2.1", "192.0.2.2"] {
            let fdb = FdbEntry {
                mac,
                node: node.parse().unwrap(),
            };
            route.set_fdb(link.index, &[fdb]).unwrap();
            route
                .set_neighbours(link.index, &[Neighbour { ip, mac }])
                .unwrap();
            assert_eq!(route.fdb(link.index).unwrap(), [fdb]);
        }
        assert!(
            shell("bridge fdb show dev vx0")
                .contains("02:42:0a:00:01:03 dst 192.0.2.2 self permanent")
        );
        assert!(
            shell("ip neigh show dev vx0").contains("10.0.1.3 lladdr 02:42:0a:00:01:03 PERMANENT")
        );
        let shown = shell("ip -d link show vx0");
        assert!(
            shown.contains("nolearning") && shown.contains("proxy"),
            "{shown}"
        );
        route
            .delete_neighbours(link.index, &[Neighbour { ip, mac }])
            .unwrap();
        route
            .delete_neighbours(link.index, &[Neighbour { ip, mac }])
            .unwrap();
        assert_eq!(route.neighbours(link.index).unwrap(), []);
    });
}
