//! Nodes: an address on the ingress network, and on each overlay network that their tasks use.
//!
//! Without them a dockerd refuses the tasks of that network; skep nodes use the ingress one.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_objects::swarmkit::{Network, NetworkAttachment, Node};
use skep_store::{Event, Object, TxError, View};

use super::{Allocator, ingress_network, networks};
use crate::pass::Pass;

impl Allocator {
    pub(super) fn restore_node(&mut self, node: &Node) {
        let mut held = Vec::new();
        for attachment in &node.attachments {
            let Some(network) = &attachment.network else {
                continue;
            };
            for address in &attachment.addresses {
                self.networks.restore_address(&network.id, address);
                held.push((network.id.clone(), address.clone()));
            }
        }
        self.nodes.insert(node.id.clone(), held);
    }

    pub(super) fn observe_node(&mut self, event: &Event, id: &str, view: &View) {
        if view.node(id).is_none() {
            let held = self.nodes.remove(id);
            self.release(held);
        } else if let Event::Updated {
            old: Object::Node(old),
            new: Object::Node(new),
        } = event
            && old.attachments == new.attachments
        {
            // Nothing that addresses depend on.
        } else {
            self.pending.nodes.insert(id.to_owned());
        }
    }

    pub(super) fn plan_node(&mut self, id: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let Some(node) = pass.tx.node(id).cloned() else {
            return Ok(());
        };
        let wanted = networks_of(id, pass.tx);
        let held = self.nodes.remove(id).unwrap_or_default();
        let (kept, dropped): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|(network, _)| wanted.contains_key(network));
        let mut kept = kept;
        let mut attachments = Vec::new();
        for (network_id, network) in &wanted {
            let mut addresses: Vec<String> = kept
                .iter()
                .filter(|(network, _)| network == network_id)
                .map(|(_, address)| address.clone())
                .collect();
            if addresses.is_empty() {
                match self.networks.take_addresses(network_id, &[]) {
                    Ok(taken) => addresses = taken,
                    Err(error) => {
                        tracing::warn!(node.id = id, network.id = network_id, %error,
                            "node gets no address on a network");
                        self.blocked.nodes.insert(id.to_owned());
                        continue;
                    }
                }
                kept.extend(addresses.iter().map(|a| (network_id.clone(), a.clone())));
            }
            attachments.push(NetworkAttachment {
                network: Some(network.into()),
                addresses,
                ..Default::default()
            });
        }
        self.nodes.insert(id.to_owned(), kept);
        self.release(Some(dropped));
        if !same(&node.attachments, &attachments) {
            pass.tx
                .edit_node(id, |node| node.attachments = attachments)?;
        }
        Ok(())
    }
}

/// Overlay networks that a node needs an address on, the ingress network first by its id's order.
fn networks_of(node: &str, view: &View) -> BTreeMap<String, Arc<Network>> {
    let mut wanted = BTreeMap::new();
    let ready =
        |network: &Network| networks::is_overlay(network) && networks::is_allocated(network);
    if let Some(ingress) = ingress_network(view).filter(|ingress| ready(ingress)) {
        wanted.insert(ingress.id.clone(), Arc::clone(ingress));
    }
    for task in view.tasks_by_node(node).filter(|task| !task.has_stopped()) {
        for attachment in &task.networks {
            let Some(id) = attachment.network.as_ref().map(|network| &network.id) else {
                continue;
            };
            if !wanted.contains_key(id)
                && let Some(network) = view.network(id).filter(|network| ready(network))
            {
                wanted.insert(id.clone(), Arc::clone(network));
            }
        }
    }
    wanted
}

/// Whether two lists give the same addresses on the same networks.
fn same(one: &[NetworkAttachment], other: &[NetworkAttachment]) -> bool {
    fn key(list: &[NetworkAttachment]) -> Vec<(&str, &[String])> {
        list.iter()
            .map(|a| {
                (
                    a.network.as_ref().map_or("", |n| n.id.as_str()),
                    a.addresses.as_slice(),
                )
            })
            .collect()
    }
    key(one) == key(other)
}
