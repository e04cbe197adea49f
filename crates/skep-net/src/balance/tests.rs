use super::*;
use crate::netlink::nft::{Family, Hook, NftSocket};
use crate::testing::{in_new_netns, shell};

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

fn share(keys: &[&str], backends: &[&str]) -> Option<Share> {
    let value = |text: &&str| Value::ip(ip(text));
    Some(Share {
        keys: keys.iter().map(value).collect(),
        backends: backends.iter().map(value).collect(),
    })
}

/// One table with its balancer and its socket.
struct Bench {
    nft: NftSocket,
    table: Table,
    balancer: Balancer<&'static str>,
}

impl Bench {
    fn new(v4: bool) -> Bench {
        let family = if v4 { Family::Ip } else { Family::Ip6 };
        let table = Table::new(family, "t");
        let mut balancer = Balancer::new(Key::Address, false);
        let (mut tx, mut nft) = (Transaction::new(), NftSocket::open().unwrap());
        tx.reset_table(&table);
        balancer.write_frame(&mut tx, &table, v4);
        let rule = balancer.rule(&table);
        tx.set_chain(&table, &Chain::base("output", Hook::DNAT_OUTPUT), [rule]);
        nft.commit(tx).unwrap();
        Bench {
            nft,
            table,
            balancer,
        }
    }

    fn change(&mut self, id: &'static str, share: Option<Share>) {
        let mut tx = Transaction::new();
        let plan = self
            .balancer
            .plan(&mut tx, &self.table, [(id, share)].into());
        self.nft.commit(tx).unwrap();
        self.balancer.accept(plan);
    }

    /// Elements of the maps of lanes and of backends, as texts.
    fn sizes(&mut self) -> [usize; 2] {
        [LANES, BACKENDS].map(|map| self.nft.elements(&self.table, map).unwrap().len())
    }
}

#[test]
fn rules_read_as_written() {
    let listed = in_new_netns(|| {
        let mut bench = Bench::new(true);
        bench.change("web", share(&["10.0.1.2"], &["10.0.1.3", "10.0.1.4"]));
        shell("nft -n list ruleset")
    });
    for expect in [
        "meta priority set ip daddr map @lanes meta priority vmap @chains",
        "meta priority set none dnat to ip daddr . numgen inc mod 2 map @backends",
        "reject with tcp reset",
    ] {
        assert!(listed.contains(expect), "{expect}\n{listed}");
    }
}

#[test]
fn a_change_in_the_number_of_backends_touches_no_chain() {
    in_new_netns(|| {
        let mut bench = Bench::new(false);
        bench.change("web", share(&["fd00::2"], &["fd00::3", "fd00::4"]));
        bench.change("web", share(&["fd00::2"], &["fd00::4"]));
        assert_eq!(bench.sizes(), [1, 1]);
        let chains = bench.nft.chains(&bench.table).unwrap();
        assert_eq!(chains, ["nobody", "output", "turn-2-0", "turn-1-0"]);
        let before = shell("nft -a list table ip6 t");
        bench.change("web", share(&["fd00::2"], &["fd00::4", "fd00::5"]));
        bench.change("api", share(&["fd00::8"], &[]));
        let after = shell("nft -a list table ip6 t");
        let rules = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|l| l.contains("# handle"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(rules(&before), rules(&after));
        assert_eq!(bench.sizes(), [2, 2]);
    });
}

#[test]
fn what_goes_leaves_nothing_and_keys_may_change_hands() {
    in_new_netns(|| {
        let mut bench = Bench::new(true);
        let many: Vec<String> = (1..=40).map(|n| format!("10.0.2.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        bench.change("web", share(&["10.0.1.2", "10.0.1.9"], &many));
        assert_eq!(bench.sizes(), [2, 80]);
        bench.change("web", share(&["10.0.1.9"], &many[1..]));
        assert_eq!(bench.sizes(), [1, 39]);
        bench.change("api", share(&["10.0.1.2"], &many[..1]));
        bench.change("web", None);
        assert_eq!(bench.sizes(), [1, 1]);
        let chains = bench.nft.chains(&bench.table).unwrap();
        assert_eq!(chains, ["nobody", "output", "turn-1-0"]);
    });
}
