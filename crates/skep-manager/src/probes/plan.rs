//! Which node tries the way to which. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_objects::skep_v1::{ProbeReport, ProbeRequest, ProbeTarget};
use skep_objects::swarmkit::{Network, Node, WeightedPeer, node_status::State};
use skep_store::View;

use super::TEXT;
use crate::allocator::is_overlay;
use crate::endpoints::data_path_address;

/// Nodes that each node sends packets to, at most. In a swarm of up to one more than this, each way
/// is tried; in a larger one, those to the 1st, 2nd, 4th, 8th, … node after it by id.
pub(super) const TARGETS: usize = 8;
/// UDP port of the data path, unless the swarm says otherwise.
const DATA_PATH_PORT: u32 = 4789;
const MTU: &str = "com.docker.network.driver.mtu";

/// One node's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: String,
    pub(super) attends: bool,
    pub(super) targets: Vec<String>,
}

/// An examination to be made.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Every node that is ready.
    pub(super) nodes: Vec<Part>,
    pub(super) ports: Vec<u32>,
    /// 0: as large as the sender's interface takes, up to an Ethernet frame.
    pub(super) packet_bytes: u32,
    managers: Vec<String>,
    addresses: BTreeMap<String, String>,
}

impl Plan {
    /// Of the swarm as it is, with these nodes listening.
    pub(super) fn make(
        view: &View,
        managers: &[WeightedPeer],
        attending: &BTreeSet<String>,
    ) -> Self {
        let is_ready = |node: &&Node| {
            node.status
                .as_ref()
                .is_some_and(|s| s.state() == State::Ready)
        };
        let ready: Vec<&Node> = view.nodes().map(|node| &**node).filter(is_ready).collect();
        let addresses: BTreeMap<String, String> = ready
            .iter()
            .map(|node| (node.id.clone(), data_path_address(node)))
            .filter(|(id, addr)| attending.contains(id) && !addr.is_empty())
            .collect();
        let ring: Vec<&str> = addresses.keys().map(String::as_str).collect();
        let nodes = ready.iter().map(|node| Part {
            id: node.id.clone(),
            attends: attending.contains(&node.id),
            targets: targets(&ring, &node.id),
        });
        let managers = managers
            .iter()
            .filter_map(|manager| Some(manager.peer.as_ref()?.addr.clone()));
        let networks: Vec<&Network> = view
            .networks()
            .map(|network| &**network)
            .filter(|network| is_overlay(network))
            .collect();
        let told = view.the_cluster().map_or(0, |c| c.vxlanudp_port);
        let port = if told == 0 { DATA_PATH_PORT } else { told };
        let mut ports = vec![port];
        if networks.iter().any(|network| is_encrypted(network)) {
            // That of the mesh between nodes, which carries encrypted networks.
            ports.push(port + 1);
        }
        Self {
            nodes: nodes.collect(),
            ports,
            packet_bytes: packet_bytes(&networks),
            managers: managers.collect(),
            addresses,
        }
    }

    /// What a node is asked.
    pub(super) fn request(&self, part: &Part, id: &[u8], window: Duration) -> ProbeRequest {
        let target = |node: &String| ProbeTarget {
            node_id: node.clone(),
            addr: self.addresses.get(node).cloned().unwrap_or_default(),
        };
        ProbeRequest {
            id: id.to_vec(),
            targets: part.targets.iter().map(target).collect(),
            managers: self.managers.clone(),
            ports: self.ports.clone(),
            packet_bytes: self.packet_bytes,
            window_millis: u32::try_from(window.as_millis()).unwrap_or(u32::MAX),
        }
    }

    /// Takes out of a node's report what it was not asked: packets of nodes that sent it none, other
    /// managers, endless text.
    pub(super) fn restrict(&self, node: &str, report: &mut ProbeReport) {
        let sends = |from: &str| {
            let part = self.nodes.iter().find(|part| part.id == from);
            part.is_some_and(|part| part.targets.iter().any(|target| target == node))
        };
        let mut seen = BTreeSet::new();
        report.heard.retain(|heard| {
            self.ports.contains(&heard.port)
                && sends(&heard.node_id)
                && seen.insert((heard.node_id.clone(), heard.port))
        });
        let mut seen = BTreeSet::new();
        report
            .managers
            .retain(|way| self.managers.contains(&way.addr) && seen.insert(way.addr.clone()));
        report.failures.truncate(4);
        let texts = report.managers.iter_mut().map(|way| &mut way.error);
        let texts = texts.chain(&mut report.failures);
        for text in texts.chain([
            &mut report.disk_path,
            &mut report.interface,
            &mut report.addr,
        ]) {
            if text.len() > TEXT {
                *text = text.chars().take(TEXT / 4).collect();
            }
        }
    }
}

/// The nodes of the ring that come so many after `node`.
fn targets(ring: &[&str], node: &str) -> Vec<String> {
    let Ok(place) = ring.binary_search(&node) else {
        return Vec::new();
    };
    let others = ring.len() - 1;
    let steps: Vec<usize> = if others <= TARGETS {
        (1..=others).collect()
    } else {
        let steps = (0..usize::BITS).map(|power| 1_usize << power);
        steps
            .take_while(|step| *step <= others)
            .take(TARGETS)
            .collect()
    };
    steps
        .into_iter()
        .map(|step| ring[(place + step) % ring.len()].to_owned())
        .collect()
}

fn options(network: &Network) -> Option<&BTreeMap<String, String>> {
    let driver = network.spec.as_ref()?.driver_config.as_ref()?;
    Some(&driver.options)
}

fn is_encrypted(network: &Network) -> bool {
    options(network).is_some_and(|options| options.contains_key("encrypted"))
}

/// The largest packet that the networks make; 0 where one of them goes by the interface.
fn packet_bytes(networks: &[&Network]) -> u32 {
    let given = |network: &&Network| options(network)?.get(MTU)?.parse().ok();
    let all: Option<Vec<u32>> = networks.iter().map(given).collect();
    all.unwrap_or_default().into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_swarm_tries_each_way_and_a_large_one_a_few_from_each_node() {
        let ids: Vec<String> = (0..500).map(|n| format!("{n:03}")).collect();
        let ring: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(targets(&ring[..3], "001"), ["002", "000"]);
        assert_eq!(targets(&ring[..9], "000").len(), 8);
        assert_eq!(
            targets(&ring, "499"),
            ["000", "001", "003", "007", "015", "031", "063", "127"]
        );
        assert!(targets(&ring, "nobody").is_empty());
        assert!(targets(&ring[..1], "000").is_empty());
    }

    #[test]
    fn what_a_node_was_not_asked_it_does_not_report() {
        use skep_objects::skep_v1::{ProbeHeard, ProbeManager};
        let part = |id: &str, target: &str| Part {
            id: id.to_owned(),
            attends: true,
            targets: vec![target.to_owned()],
        };
        let plan = Plan {
            nodes: vec![part("a", "b"), part("b", "c"), part("c", "a")],
            ports: vec![4789],
            managers: vec!["m".to_owned()],
            ..Plan::default()
        };
        let heard = |node: &str, port| ProbeHeard {
            node_id: node.to_owned(),
            port,
            ..ProbeHeard::default()
        };
        let way = |addr: &str| ProbeManager {
            addr: addr.to_owned(),
            error: "x".repeat(1000),
        };
        let mut report = ProbeReport {
            heard: vec![
                heard("a", 4789),
                heard("a", 4789),
                heard("c", 4789),
                heard("a", 1),
            ],
            managers: vec![way("m"), way("m"), way("other")],
            failures: vec!["no".to_owned(); 100],
            ..ProbeReport::default()
        };
        plan.restrict("b", &mut report);
        assert_eq!(report.heard, [heard("a", 4789)]);
        assert_eq!(report.managers.len(), 1);
        assert!(report.managers[0].error.len() <= TEXT);
        assert_eq!(report.failures.len(), 4);
    }
}
