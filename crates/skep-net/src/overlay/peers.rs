//! Who is on other nodes of a network, as the kernel has it, and what a change makes of that. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::addr::Mac;
use crate::netlink::route::{FdbEntry, Neighbour};

/// Neighbours and forwarding entries of one VXLAN device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Peers {
    pub neighbours: BTreeSet<Neighbour>,
    pub fdb: BTreeSet<FdbEntry>,
}

/// Where addresses are: a hardware address, and its node's outer address. `None` is not on another
/// node. An endpoint's addresses are all there, or none is.
pub(crate) type Places = BTreeMap<IpAddr, Option<(Mac, IpAddr)>>;

/// What is to be done, in the order of the fields: an address that moved must not be in two places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PeerChange {
    pub stale_neighbours: Vec<Neighbour>,
    pub stale_fdb: Vec<FdbEntry>,
    pub new_fdb: Vec<FdbEntry>,
    pub new_neighbours: Vec<Neighbour>,
}

impl Peers {
    /// What leads from these to others.
    pub fn change_to(&self, wanted: &Peers) -> PeerChange {
        let macs: BTreeSet<Mac> = wanted.neighbours.iter().map(|n| n.mac).collect();
        let stale_fdb = self.fdb.difference(&wanted.fdb);
        let of_nobody = |e: &&FdbEntry| !macs.contains(&e.mac);
        let minus = |a: &BTreeSet<Neighbour>, b| a.difference(b).copied().collect();
        PeerChange {
            stale_neighbours: minus(&self.neighbours, &wanted.neighbours),
            // An entry of the same hardware address is replaced.
            stale_fdb: stale_fdb.filter(of_nobody).copied().collect(),
            new_fdb: wanted.fdb.difference(&self.fdb).copied().collect(),
            new_neighbours: minus(&wanted.neighbours, &self.neighbours),
        }
    }

    /// What has these addresses where they are now, and leaves all others.
    pub fn change_at(&self, places: &Places) -> PeerChange {
        let mut change = PeerChange::default();
        for (ip, place) in places {
            let old = self.neighbour_at(*ip);
            let new = place.map(|(mac, _)| Neighbour { ip: *ip, mac });
            if old == new {
                continue;
            }
            change.stale_neighbours.extend(old);
            change.new_neighbours.extend(new);
        }
        let now: BTreeMap<Mac, IpAddr> = places.values().flatten().copied().collect();
        let left = change.stale_neighbours.iter().map(|n| n.mac);
        let left: BTreeSet<Mac> = left.filter(|mac| !now.contains_key(mac)).collect();
        let stale_fdb = left.iter().filter_map(|mac| self.entry_of(*mac));
        change.stale_fdb = stale_fdb.collect();
        let entries = now.into_iter().map(|(mac, node)| FdbEntry { mac, node });
        change.new_fdb = entries.filter(|e| !self.fdb.contains(e)).collect();
        change
    }

    /// The kernel has carried the change out.
    pub fn apply(&mut self, change: &PeerChange) {
        for stale in &change.stale_neighbours {
            self.neighbours.remove(stale);
        }
        for stale in &change.stale_fdb {
            self.fdb.remove(stale);
        }
        for new in &change.new_fdb {
            if let Some(old) = self.entry_of(new.mac) {
                self.fdb.remove(&old);
            }
            self.fdb.insert(*new);
        }
        self.neighbours.extend(&change.new_neighbours);
    }

    fn neighbour_at(&self, ip: IpAddr) -> Option<Neighbour> {
        let first = Neighbour {
            ip,
            mac: Mac([0; 6]),
        };
        let found = self.neighbours.range(first..).next().copied();
        found.filter(|n| n.ip == ip)
    }

    fn entry_of(&self, mac: Mac) -> Option<FdbEntry> {
        let first = FdbEntry {
            mac,
            node: [0, 0, 0, 0].into(),
        };
        let found = self.fdb.range(first..).next().copied();
        found.filter(|e| e.mac == mac)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use skep_objects::skep_v1::{NetworkEndpoints, NodeEndpoint, TaskEndpoint};

    use super::*;
    use crate::overlay::table::NetworkTable;

    const OWN: &str = "n0";

    /// A step: a task is set on a node with its address of a generation, or removed.
    type Step = (u8, Option<(u8, u8, bool)>);

    fn addresses(task: u8, generation: u8, both: bool) -> Vec<String> {
        let v4 = format!("10.0.{generation}.{task}");
        let v6 = format!("fd00::{generation}:{task}");
        if both { vec![v4, v6] } else { vec![v4] }
    }

    fn message(step: &Step) -> NetworkEndpoints {
        let (task, place) = step;
        let id = format!("t{task}");
        let set = place.map(|(node, generation, both)| TaskEndpoint {
            task_id: id.clone(),
            service_id: "web".into(),
            node_id: format!("n{node}"),
            node_addr: format!("192.0.2.{node}"),
            addresses: addresses(*task, generation, both),
            ..TaskEndpoint::default()
        });
        NetworkEndpoints {
            removed_tasks: if set.is_none() { vec![id] } else { Vec::new() },
            set_tasks: set.into_iter().collect(),
            ..NetworkEndpoints::default()
        }
    }

    fn whole(table: &NetworkTable, local: &BTreeSet<IpAddr>) -> Peers {
        table.peers(OWN, local, |_, outer| Some(outer))
    }

    proptest! {
        #[test]
        fn a_change_leads_to_where_the_whole_table_does(
            steps in proptest::collection::vec(
                (0u8..6, proptest::option::of((0u8..4, 0u8..3, any::<bool>()))),
                0..40,
            ),
        ) {
            let mut table = NetworkTable::default();
            table.merge(&NetworkEndpoints {
                set_nodes: vec![NodeEndpoint {
                    node_id: "n1".into(),
                    node_addr: "192.0.2.1".into(),
                    addresses: vec!["10.0.9.9".into()],
                    ..NodeEndpoint::default()
                }],
                ..NetworkEndpoints::default()
            });
            // What is here is nowhere else, whatever the table says.
            let local: BTreeSet<IpAddr> = ["10.0.1.2".parse().unwrap()].into();
            let mut peers = whole(&table, &local);
            for step in &steps {
                let changed = table.merge(&message(step));
                let change = peers.change_at(&table.places(OWN, &local, &changed.places));
                peers.apply(&change);
                prop_assert_eq!(&peers, &whole(&table, &local));
            }
        }
    }

    #[test]
    fn a_change_costs_what_it_changes() {
        let mut table = NetworkTable::default();
        for task in 1..=200 {
            table.merge(&message(&(task, Some((1, 0, true)))));
        }
        let local = BTreeSet::new();
        let peers = whole(&table, &local);
        let changed = table.merge(&message(&(7, Some((2, 0, true)))));
        let change = peers.change_at(&table.places(OWN, &local, &changed.places));
        let moved = FdbEntry {
            mac: Mac::from_ip([10, 0, 0, 7].into()),
            node: [192, 0, 2, 2].into(),
        };
        let expect = PeerChange {
            new_fdb: vec![moved],
            ..PeerChange::default()
        };
        assert_eq!(change, expect);
    }
}
