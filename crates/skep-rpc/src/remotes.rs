//! The managers that a node knows, each with a weight that follows how well it answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_objects::swarmkit::Peer;
use tokio::sync::watch;

const STEP: f64 = 10.0;
const LIMIT: f64 = 256.0;
/// So that a manager with a bad record is still drawn now and then.
const BIAS: f64 = 0.001;

/// Shared by everything on a node that calls managers; clones are the same set.
#[derive(Clone, Debug)]
pub struct Remotes {
    inner: Arc<Mutex<BTreeMap<String, Remote>>>,
    changed: Arc<watch::Sender<u64>>,
}

#[derive(Clone, Debug)]
struct Remote {
    node_id: String,
    weight: f64,
}

impl Remotes {
    /// Starts with the given managers.
    pub fn new(peers: impl IntoIterator<Item = Peer>) -> Self {
        let remotes = Self {
            inner: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
        };
        remotes.replace(peers.into_iter().map(|peer| (peer, 0)));
        remotes
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Remote>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the set by what a manager says; weights of those already known move half way.
    pub fn replace(&self, peers: impl IntoIterator<Item = (Peer, i64)>) {
        let mut new = BTreeMap::new();
        let is_changed = {
            let mut known = self.lock();
            for (peer, weight) in peers {
                let old = known.get(&peer.addr).map_or(0.0, |r| r.weight);
                let weight = if weight == 0 {
                    old
                } else {
                    moved(old, weight as f64)
                };
                new.insert(
                    peer.addr,
                    Remote {
                        node_id: peer.node_id,
                        weight,
                    },
                );
            }
            let is_changed = new
                .iter()
                .map(|(a, r)| (a, &r.node_id))
                .ne(known.iter().map(|(a, r)| (a, &r.node_id)));
            *known = new;
            is_changed
        };
        if is_changed {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// Marks changes of the set (not of weights), for saving it to disk.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The managers, by address.
    pub fn peers(&self) -> Vec<Peer> {
        let lock = self.lock();
        lock.iter()
            .map(|(addr, r)| Peer {
                node_id: r.node_id.clone(),
                addr: addr.clone(),
            })
            .collect()
    }

    /// Draws one by weight, leaving out the given addresses unless no other is there.
    pub fn pick(&self, excluded: &[&str]) -> Option<Peer> {
        let lock = self.lock();
        let draw = |candidates: Vec<(&String, &Remote)>| {
            let weight = |r: &Remote| r.weight.max(0.0) + BIAS;
            let total: f64 = candidates.iter().map(|(_, r)| weight(r)).sum();
            let mut at = rand::random::<f64>() * total;
            let found = candidates.iter().find(|(_, r)| {
                at -= weight(r);
                at < 0.0
            });
            let (addr, remote) = found.or(candidates.last())?;
            Some(Peer {
                node_id: remote.node_id.clone(),
                addr: (*addr).clone(),
            })
        };
        let wanted = lock
            .iter()
            .filter(|(addr, _)| !excluded.contains(&addr.as_str()))
            .collect();
        draw(wanted).or_else(|| draw(lock.iter().collect()))
    }

    /// A call went well.
    pub fn succeeded(&self, addr: &str) {
        self.observe(addr, STEP);
    }

    /// A call failed.
    pub fn failed(&self, addr: &str) {
        self.observe(addr, -STEP);
    }

    fn observe(&self, addr: &str, towards: f64) {
        if let Some(remote) = self.lock().get_mut(addr) {
            remote.weight = moved(remote.weight, towards);
        }
    }
}

fn moved(weight: f64, towards: f64) -> f64 {
    (weight + (towards - weight) / 2.0).clamp(-LIMIT, LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addr: &str) -> Peer {
        Peer {
            node_id: format!("node-{addr}"),
            addr: addr.to_owned(),
        }
    }

    #[test]
    fn a_failing_manager_is_hardly_drawn() {
        let remotes = Remotes::new([peer("a"), peer("b")]);
        for _ in 0..5 {
            remotes.failed("a");
            remotes.succeeded("b");
        }
        let drawn_a = (0..1000)
            .filter(|_| remotes.pick(&[]).unwrap().addr == "a")
            .count();
        assert!(drawn_a < 10, "{drawn_a}");
    }

    #[test]
    fn the_only_manager_is_drawn_even_when_excluded() {
        let remotes = Remotes::new([peer("a")]);
        assert_eq!(remotes.pick(&["a"]).unwrap().addr, "a");
        assert!(Remotes::new([]).pick(&[]).is_none());
    }

    #[test]
    fn a_new_list_forgets_the_others() {
        let remotes = Remotes::new([peer("a"), peer("b")]);
        let watch = remotes.watch();
        remotes.replace([(peer("b"), 10), (peer("a"), 10)]);
        assert!(!watch.has_changed().unwrap());
        remotes.replace([(peer("b"), 10)]);
        assert!(watch.has_changed().unwrap());
        assert_eq!(remotes.peers(), [peer("b")]);
    }
}
