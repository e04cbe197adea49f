//! What the encoder writes, as the real `nft` reads it.

use super::*;
use crate::netlink::route::{LinkKind, NewLink, RouteSocket};
use crate::testing::{in_new_netns, shell};

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

/// Commits chains of one table and compares them, without indentation, to what `nft` lists.
fn check(rules: Vec<Rule>, expect: &[&str]) {
    check_with(|_, _| {}, rules, expect);
}

fn check_with(
    prepare: impl FnOnce(&mut Transaction, &Table) + Send,
    rules: Vec<Rule>,
    expect: &[&str],
) {
    let listed = in_new_netns(|| {
        let table = Table::new(Family::Ip, "t");
        let mut tx = Transaction::new();
        tx.reset_table(&table);
        prepare(&mut tx, &table);
        tx.set_chain(&table, &Chain::base("c", Hook::DNAT), rules);
        NftSocket::open().unwrap().commit(tx).unwrap();
        shell("nft -n list chain ip t c")
    });
    let lines: Vec<&str> = listed.lines().map(str::trim).collect();
    assert_eq!(lines[3..lines.len() - 2], *expect, "{listed}");
}

fn rule() -> Rule {
    Rule::new(Family::Ip)
}

#[test]
fn matches_read_as_written() {
    check(
        vec![
            rule()
                .iifname(false, "lo")
                .daddr(true, "127.0.0.0/8".parse().unwrap())
                .drop(),
            rule()
                .saddr(false, "172.17.0.0/16".parse().unwrap())
                .accept(),
            rule().daddr_is_local().l4proto(6).dport(80).ret(),
            rule().mark(false, 0).accept(),
            rule().ct_known().accept(),
            rule().ct_dnat().accept(),
            rule().ct_reply(false).ct_mark_from_source_mac(),
            rule().ct_reply(true).ct_marked().mark_from_ct(),
            rule().l4proto(17).saddr_is_local().redirect_to_nobody(),
        ],
        &[
            "iifname != \"lo\" ip daddr 127.0.0.0/8 drop",
            "ip saddr != 172.17.0.0/16 accept",
            "fib daddr type 2 tcp dport 80 return",
            "meta mark != 0x00000000 accept",
            "ct state 0x2,0x4 accept",
            "ct status 0x20 accept",
            "ct direction 0 ct mark set @ll,64,32",
            "ct direction 1 ct mark != 0x00000000 meta mark set ct mark",
            "meta l4proto 17 fib saddr type 2 redirect to :0",
        ],
    );
}

#[test]
fn load_balancing_reads_as_written() {
    check_with(
        |tx, t| {
            let backend = [Field::Ipv4, Field::Port];
            let slot = [Field::Proto, Field::Port, Field::Number];
            tx.add_set(t, &Set::map("backends", &slot, &backend));
            let port = [Field::Proto, Field::Port];
            tx.add_set(t, &Set::map("lanes", &port, &[Field::Number]));
            tx.add_set(t, &Set::vmap("chains", &[Field::Number]));
        },
        vec![
            rule()
                .daddr_is_local()
                .key_to_chain(Key::Port, "lanes", "chains"),
            rule().dnat_in_turn(Key::Port, Turn::Next, 2, "backends", true),
            rule().dnat_in_turn(Key::Port, Turn::Random, 3, "backends", true),
            rule().dnat_to(ip("10.0.0.5"), 80),
        ],
        &[
            "fib daddr type 2 meta priority set meta l4proto . th dport map @lanes meta priority vmap @chains",
            "meta priority set none dnat ip to meta l4proto . th dport . numgen inc mod 2 map @backends",
            "meta priority set none dnat ip to meta l4proto . th dport . numgen random mod 3 map @backends",
            "dnat to 10.0.0.5:80",
        ],
    );
}

#[test]
fn maps_read_as_written() {
    check_with(
        |tx, t| {
            tx.add_set(
                t,
                &Set::map(
                    "pub",
                    &[Field::Proto, Field::Port],
                    &[Field::Ipv4, Field::Port],
                ),
            );
            let to = Value::ip(ip("172.17.0.2")).and_port(80);
            tx.add_elements(
                t,
                "pub",
                &[Element::pair(Value::proto(6).and_port(8080), to)],
            );
        },
        vec![rule().dnat_to_mapped(false, "pub")],
        &["dnat ip to meta l4proto . th dport map @pub"],
    );
}

#[test]
fn a_refused_change_leaves_nothing_of_its_transaction() {
    in_new_netns(|| {
        let table = Table::new(Family::Ip, "t");
        let mut nft = NftSocket::open().unwrap();
        let mut tx = Transaction::new();
        tx.add_table(&table).flush_chain(&table, "absent");
        assert!(nft.commit(tx).unwrap_err().missing());
        assert!(nft.tables(Family::Ip).unwrap().is_empty());
    });
}

#[test]
fn what_is_in_a_map_is_read_back() {
    in_new_netns(|| {
        let table = Table::new(Family::Ip6, "t");
        let mut nft = NftSocket::open().unwrap();
        let mut tx = Transaction::new();
        tx.add_table(&table);
        let set = Set::map(
            "m",
            &[Field::Proto, Field::Port],
            &[Field::Ipv6, Field::Port],
        );
        tx.add_set(&table, &set);
        let element = |port| {
            let to = Value::ip(ip("fd00::2")).and_port(80);
            Element::pair(Value::proto(6).and_port(port), to)
        };
        let elements: Vec<Element> = (1..=2000).map(element).collect();
        tx.add_elements(&table, "m", &elements);
        nft.commit(tx).unwrap();
        let read = nft.elements(&table, "m").unwrap();
        assert_eq!(read.len(), 2000);
        assert!(read.iter().any(|e| e.key == Value::proto(6).and_port(7)));
        assert!(
            read.iter()
                .all(|e| e.value == Value::ip(ip("fd00::2")).and_port(80))
        );
    });
}

#[test]
fn a_policy_of_somebody_else_is_seen() {
    in_new_netns(|| {
        shell("nft add table ip filter");
        shell(
            "nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
        );
        let chains = NftSocket::open().unwrap().base_chains(Family::Ip).unwrap();
        let expect = BaseChain {
            table: "filter".into(),
            name: "FORWARD".into(),
            hook: 2,
            policy: Policy::Drop,
        };
        assert_eq!(chains, [expect]);
    });
}

#[test]
fn ingress_reply_rules_read_as_written() {
    let listed = in_new_netns(|| {
        RouteSocket::open()
            .unwrap()
            .create_link(&NewLink::new("ing0", LinkKind::Bridge))
            .unwrap();
        let t = Table::new(Family::Ip, "t");
        let dev = Table::new(Family::Netdev, "t");
        let mut tx = Transaction::new();
        tx.add_table(&t).add_table(&dev);
        let flow = [Field::Ipv4, Field::Port, Field::Port];
        tx.add_set(&t, &Set::dynamic("uflows", &flow, 180_000, 65535));
        let rules = [
            t.rule().l4proto(17).remember_flow("uflows"),
            t.rule()
                .l4proto(17)
                .answers_flow("uflows")
                .set_saddr(ip("10.0.0.11")),
        ];
        tx.set_chain(&t, &Chain::base("c", Hook::RAW_OUTPUT), rules);
        let egress = dev.rule().mark(false, 0).destination_mac_from_mark();
        tx.set_chain(&dev, &Chain::base("eg", Hook::egress("ing0")), [egress]);
        NftSocket::open().unwrap().commit(tx).unwrap();
        shell("nft -n list ruleset")
    });
    for expect in [
        "update @uflows { ip saddr . udp sport . udp dport }",
        "ip daddr . udp dport . udp sport @uflows ip saddr set 10.0.0.11",
        "type filter hook egress device \"ing0\" priority 0; policy accept;",
        "meta mark != 0x00000000 @ll,16,32 set meta mark",
        "flags dynamic,timeout",
    ] {
        assert!(listed.contains(expect), "{expect}\n{listed}");
    }
}
