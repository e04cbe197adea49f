//! The leader's loops, started and stopped as one set.
//!
//! One background task watches the store. It hands what happened to every stage, then runs the
//! stages over one transaction, again and again until none has anything to add: a new service
//! goes from spec to assigned tasks in one commit. While a commit is on its way, events gather,
//! and the next transaction deals with all of them: batches grow with the load, and nothing waits
//! for a timer.

use std::collections::VecDeque;
use std::time::Duration;

use skep_rpc::Backoff;
use skep_store::{CommitError, Event, Object, Store, Tx, TxError, UpdateError, View, Watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::allocator::Allocator;
use crate::aside::Aside;
use crate::clock::{Clock, Monotonic, Now};
use crate::orchestrator::autoscale::Autoscaler;
use crate::orchestrator::{ConstraintEnforcer, NodeWatch, Orchestrator, TaskReaper};
use crate::pass::{CAPACITY, Pass, Stage};
use crate::scheduler::Scheduler;
use crate::usage::UsageBook;

/// Rounds of the stages in one transaction; what is left then waits for the next one.
const ROUNDS: usize = 8;
/// Pause after a transaction that could not be committed, and after many.
const RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(2);
/// Events taken into one transaction.
const EVENTS: usize = 20_000;

/// What the loops need beside the store.
#[derive(Debug, Clone)]
pub struct LoopsConfig {
    /// Where time comes from.
    pub clock: Clock,
    /// For the random placement strategy.
    pub seed: u64,
    /// What nodes say of their tasks' load.
    pub usage: UsageBook,
}

impl Default for LoopsConfig {
    fn default() -> Self {
        let clock = Clock::system();
        Self {
            usage: UsageBook::new(clock.clone()),
            clock,
            seed: rand::random(),
        }
    }
}

/// The running loops. Dropping it stops them without waiting.
#[derive(Debug)]
pub struct LeaderLoops {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl LeaderLoops {
    /// Starts the loops; only the leader may.
    #[must_use]
    pub fn spawn(store: Store, config: LoopsConfig) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(store, config, stop.clone()));
        Self {
            stop,
            task: Some(task),
        }
    }

    /// Stops the loops and waits until they have.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!(%error, "leader loops panicked");
        }
    }
}

impl Drop for LeaderLoops {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The stages in the order in which a service's change runs through them.
pub struct Stages {
    stages: Vec<Box<dyn Stage>>,
    aside: Aside,
    /// Versions of the last transactions made here: their events bring nothing new.
    own: VecDeque<u64>,
}

impl std::fmt::Debug for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.stages.iter().map(|stage| stage.name()))
            .finish()
    }
}

impl Stages {
    /// All stages, knowing nothing yet.
    #[must_use]
    pub fn new(seed: u64, usage: UsageBook) -> Self {
        Self {
            stages: vec![
                Box::new(Autoscaler::new(usage)),
                Box::new(NodeWatch::default()),
                Box::new(ConstraintEnforcer::default()),
                Box::new(Orchestrator::default()),
                Box::new(Allocator::default()),
                Box::new(Scheduler::new(seed)),
                Box::new(TaskReaper::default()),
            ],
            aside: Aside::default(),
            own: VecDeque::new(),
        }
    }

    /// Starts over from what the store holds.
    pub fn load(&mut self, view: &View, now: Now) {
        self.own.clear();
        for stage in &mut self.stages {
            stage.load(view, now);
        }
    }

    /// Takes in what happened and does what is to be done. Returns when to come back.
    pub fn pass(
        &mut self,
        tx: &mut Tx,
        events: &[Event],
        now: Now,
        capacity: usize,
    ) -> Result<Option<Monotonic>, TxError> {
        if events.iter().any(|event| self.aside.observe(event)) {
            self.load(&View::clone(tx), now);
        }
        for event in events {
            if is_own(&self.own, event) {
                continue;
            }
            for stage in &mut self.stages {
                stage.observe(event, tx, now);
            }
        }
        let mut told = tx.changes().len();
        let mut wake = None;
        for round in 0..ROUNDS {
            let before = tx.changes().len();
            let mut pass = Pass::new(tx, now, capacity, &self.aside);
            for at in 0..self.stages.len() {
                self.stages[at].plan(&mut pass)?;
                let changes = pass.tx.changes()[told..].to_vec();
                told += changes.len();
                for event in &changes {
                    for stage in &mut self.stages {
                        stage.observe(event, pass.tx, now);
                    }
                }
            }
            wake = pass.next_wake();
            let unfinished = wake == Some(now.monotonic);
            if tx.changes().len() == before || (unfinished && round > 0) {
                break;
            }
        }
        self.aside.look_into(tx);
        self.remember_own(tx);
        Ok(wake)
    }

    /// A transaction whose changes cancel out is not committed, and its version is used again.
    fn remember_own(&mut self, tx: &Tx) {
        let lasting = |event: &&Event| match event.object() {
            Some(Object::Task(task)) => tx.task(&task.id).is_some(),
            Some(Object::Service(service)) => tx.service(&service.id).is_some(),
            Some(Object::Node(node)) => tx.node(&node.id).is_some(),
            Some(Object::Network(network)) => tx.network(&network.id).is_some(),
            _ => false,
        };
        let version = tx
            .changes()
            .iter()
            .rev()
            .filter(lasting)
            .find_map(written_at);
        self.own.extend(version);
        if self.own.len() > 64 {
            self.own.pop_front();
        }
    }
}

fn is_own(own: &VecDeque<u64>, event: &Event) -> bool {
    written_at(event).is_some_and(|version| own.contains(&version))
}

/// Version of the transaction that wrote the event's object.
fn written_at(event: &Event) -> Option<u64> {
    match event {
        Event::Created(object) | Event::Updated { new: object, .. } => object
            .meta()
            .and_then(|meta| meta.version)
            .map(|version| version.index),
        Event::Removed(_) | Event::Committed(_) => None,
    }
}

/// How fast the loops go, by how the last transactions went.
struct Pace {
    /// Changes of a transaction.
    capacity: usize,
    backoff: Backoff,
}

impl Pace {
    fn new() -> Self {
        Self {
            capacity: CAPACITY,
            backoff: Backoff::doubling(RETRY, MAX_RETRY),
        }
    }

    /// Objects of this swarm are large: fewer of them in a transaction.
    fn slow_down(&mut self) {
        self.capacity = (self.capacity / 2).max(1);
    }

    /// One went well. The capacity comes back by and by, or it would soon be too large again.
    fn note_success(&mut self) {
        self.backoff.reset();
        self.capacity = (self.capacity + self.capacity / 8 + 1).min(CAPACITY);
    }
}

async fn run(store: Store, config: LoopsConfig, stop: CancellationToken) {
    let mut stages = Stages::new(config.seed, config.usage.clone());
    let mut pace = Pace::new();
    loop {
        let (view, watch) = store.watch();
        let now = config.clock.now();
        stages.load(&view, now);
        drop(view);
        tokio::select! {
            () = stop.cancelled() => return,
            end = follow(&store, &config.clock, &mut stages, watch, &mut pace) => match end {
                End::Closed => return,
                End::Failed(error) => {
                    let too_large = matches!(error, UpdateError::Commit(CommitError::TooLarge { .. }));
                    if !stages.aside.take_found() && too_large {
                        pace.slow_down();
                    }
                    tracing::warn!(%error, "leader loops start over");
                }
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pace.backoff.next_delay()) => {}
        }
    }
}

enum End {
    Closed,
    Failed(UpdateError<TxError>),
}

/// Runs passes until one fails: what the stages remember then is ahead of the store.
async fn follow(
    store: &Store,
    clock: &Clock,
    stages: &mut Stages,
    mut watch: Watch,
    pace: &mut Pace,
) -> End {
    let mut events = Vec::new();
    loop {
        let now = clock.now();
        let batch = std::mem::take(&mut events);
        let result = store
            .update(|tx| stages.pass(tx, &batch, now, pace.capacity))
            .await;
        let wake = match result {
            Ok(next) => next,
            Err(UpdateError::Commit(CommitError::Stopped)) => return End::Closed,
            Err(error) => return End::Failed(error),
        };
        pace.note_success();
        while events.is_empty() {
            tokio::select! {
                event = watch.recv() => match event {
                    Some(event) => keep(&mut events, event),
                    None => return End::Closed,
                },
                () = sleep_until(clock, wake) => break,
            }
        }
        while events.len() < EVENTS
            && let Some(event) = watch.try_recv()
        {
            keep(&mut events, event);
        }
    }
}

fn keep(events: &mut Vec<Event>, event: Event) {
    if !matches!(event, Event::Committed(_)) {
        events.push(event);
    }
}

async fn sleep_until(clock: &Clock, wake: Option<Monotonic>) {
    match wake {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
