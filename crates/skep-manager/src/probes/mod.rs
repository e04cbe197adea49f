//! Has nodes try the ways among themselves, for `swarm doctor`.
//!
//! Every agent of skep's attends here. An examination asks all of them at once, each with a few
//! others to send packets to, and gathers what they report; a report counts only for what its node
//! was asked. The leader spends a message each way for a node, however many there are.

mod plan;
mod server;

pub use server::ProbesServer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use skep_objects::skep_v1::{ExamineResponse, ExaminedNode, ProbeReport, ProbeRequest};
use skep_objects::swarmkit::WeightedPeer;
use skep_store::Store;
use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc, watch};
use tonic::Status;

use plan::Plan;

/// How long nodes listen for each other's packets.
const WINDOW: Duration = Duration::from_millis(2500);
/// How long a report may take beyond that: connecting to a manager that drops packets is given up.
const REPORT: Duration = Duration::from_millis(2500);
/// Text of a node's that is passed on.
const TEXT: usize = 300;

type Attendant = mpsc::UnboundedSender<Result<ProbeRequest, Status>>;

/// The nodes that attend, and the examination under way.
#[derive(Debug)]
pub struct Probes {
    store: Store,
    managers: watch::Receiver<Vec<WeightedPeer>>,
    state: Mutex<State>,
    reported: Notify,
    /// One examination at a time.
    examining: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// By node; the number tells an attendant from the one before.
    attendants: BTreeMap<String, (u64, Attendant)>,
    last: u64,
    open: Option<Examination>,
}

#[derive(Debug)]
struct Examination {
    id: Vec<u8>,
    waiting: BTreeSet<String>,
    reports: BTreeMap<String, ProbeReport>,
}

impl Probes {
    /// Nobody attends yet. `managers` is the list that nodes are told.
    pub fn new(store: Store, managers: watch::Receiver<Vec<WeightedPeer>>) -> Arc<Self> {
        Arc::new(Self {
            store,
            managers,
            state: Mutex::default(),
            reported: Notify::new(),
            examining: tokio::sync::Mutex::default(),
        })
    }

    /// Ends every stream.
    pub fn stop(&self) {
        let mut state = self.state();
        state.attendants.clear();
        state.open = None;
        drop(state);
        self.reported.notify_one();
    }

    fn attend(&self, node: &str) -> (u64, mpsc::UnboundedReceiver<Result<ProbeRequest, Status>>) {
        let (sender, requests) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.attendants.insert(node.to_owned(), (number, sender));
        (number, requests)
    }

    fn leave(&self, node: &str, number: u64) {
        let mut state = self.state();
        let is_current = state
            .attendants
            .get(node)
            .is_some_and(|(current, _)| *current == number);
        if is_current {
            state.attendants.remove(node);
            if let Some(open) = &mut state.open {
                open.waiting.remove(node);
            }
            drop(state);
            self.reported.notify_one();
        }
    }

    fn report(&self, node: &str, report: ProbeReport) {
        let mut state = self.state();
        let Some(open) = &mut state.open else { return };
        if open.id == report.id && open.waiting.remove(node) {
            open.reports.insert(node.to_owned(), report);
            drop(state);
            self.reported.notify_one();
        }
    }

    /// Has all nodes try their ways; answers when all have reported, or are given up on.
    pub async fn examine(&self) -> ExamineResponse {
        let _one = self.examining.lock().await;
        let plan = {
            let attending = self.state().attendants.keys().cloned().collect();
            Plan::make(&self.store.view(), &self.managers.borrow(), &attending)
        };
        let asked_nanos = i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos());
        self.ask(&plan);
        let all = async {
            while self.is_waiting() {
                self.reported.notified().await;
            }
        };
        let _ = tokio::time::timeout(WINDOW + REPORT, all).await;
        let open = self.state().open.take();
        let mut reports = open.map(|open| open.reports).unwrap_or_default();
        let nodes = plan.nodes.iter().map(|node| {
            let mut report = reports.remove(&node.id);
            if let Some(report) = &mut report {
                plan.restrict(&node.id, report);
            }
            ExaminedNode {
                node_id: node.id.clone(),
                attends: node.attends,
                targets: node.targets.clone(),
                asked_nanos: asked_nanos.unwrap_or_default(),
                report,
            }
        });
        ExamineResponse {
            nodes: nodes.collect(),
            ports: plan.ports.clone(),
            packet_bytes: plan.packet_bytes,
        }
    }

    fn ask(&self, plan: &Plan) {
        let id = rand::random::<[u8; 16]>().to_vec();
        let mut state = self.state();
        let mut waiting = BTreeSet::new();
        for node in &plan.nodes {
            let Some((_, attendant)) = state.attendants.get(&node.id) else {
                continue;
            };
            if node.attends && attendant.send(Ok(plan.request(node, &id, WINDOW))).is_ok() {
                waiting.insert(node.id.clone());
            }
        }
        state.open = Some(Examination {
            id,
            waiting,
            reports: BTreeMap::new(),
        });
    }

    fn is_waiting(&self) -> bool {
        let state = self.state();
        let open = state.open.as_ref();
        open.is_some_and(|open| !open.waiting.is_empty())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
