//! One subscriber's wish, and how far the nodes are with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use skep_objects::{
    ids::new_id,
    swarmkit::{LogSelector, LogSubscriptionOptions, SubscribeLogsMessage, SubscriptionMessage},
};
use skep_store::View;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{broker::LogReceiver, delivered::Delivered, selection::is_selected};

/// Messages under way to a subscriber; nodes wait when it does not read.
pub(super) const BUFFER: usize = 64;

/// A subscription.
#[derive(Debug)]
pub struct Subscription {
    pub(super) id: String,
    pub(super) selector: LogSelector,
    pub(super) options: LogSubscriptionOptions,
    out: mpsc::Sender<Result<SubscribeLogsMessage, Status>>,
    progress: Mutex<Progress>,
    progressed: Notify,
    /// Nothing is delivered any more.
    closed: CancellationToken,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Nodes that were asked.
    pub(super) asked: BTreeSet<String>,
    /// Those of them that have not said that they are done.
    pub(super) waiting: BTreeSet<String>,
    problems: Vec<String>,
    /// By node.
    delivered: BTreeMap<String, Delivered>,
}

impl Subscription {
    pub(super) fn new(
        selector: LogSelector,
        options: LogSubscriptionOptions,
    ) -> (Self, LogReceiver) {
        let (out, receiver) = mpsc::channel(BUFFER);
        let subscription = Self {
            id: new_id(),
            selector,
            options,
            out,
            progress: Mutex::default(),
            progressed: Notify::new(),
            closed: CancellationToken::new(),
        };
        (subscription, receiver)
    }

    /// Hands on what a node published, but for what it published before; waits while the subscriber
    /// does not read.
    pub async fn deliver(
        &self,
        node: &str,
        mut message: SubscribeLogsMessage,
    ) -> Result<(), Status> {
        {
            let mut progress = self.progress();
            let delivered = progress.delivered.entry(node.to_owned()).or_default();
            message.messages.retain(|line| delivered.is_new(line));
        }
        if message.messages.is_empty() {
            return Ok(());
        }
        let gone = || Status::not_found("no such subscription");
        tokio::select! {
            () = self.closed.cancelled() => Err(gone()),
            sent = self.out.send(Ok(message)) => sent.map_err(|_| gone()),
        }
    }

    /// A node has no more to say, for whatever reason.
    pub fn done(&self, node: &str, problem: Option<String>) {
        let mut progress = self.progress();
        if progress.waiting.remove(node) {
            progress.problems.extend(problem);
            drop(progress);
            self.progressed.notify_one();
        }
    }

    pub(super) fn problem(&self, text: String) {
        self.progress().problems.push(text);
    }

    pub(super) async fn all_done(&self) {
        while !self.progress().waiting.is_empty() {
            self.progressed.notified().await;
        }
    }

    /// The subscriber went away.
    pub(super) async fn abandoned(&self) {
        self.out.closed().await;
    }

    /// Nodes get to hear that their lines are not wanted any more.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Tells the subscriber how it ended. One that does not read is not waited for once `stop` is.
    pub(super) async fn conclude(&self, stop: &CancellationToken) {
        let Some(problem) = self.summary(stop.is_cancelled()) else {
            return;
        };
        tokio::select! {
            // What there is room for is told even then.
            biased;
            _ = self.out.send(Err(problem)) => {}
            () = stop.cancelled() => {}
        }
    }

    pub(super) fn message(&self, close: bool) -> SubscriptionMessage {
        self.message_with(self.options.clone(), close)
    }

    /// To a node that listens again.
    pub(super) fn message_again(&self, node: &str, view: &View) -> SubscriptionMessage {
        let mut progress = self.progress();
        let delivered = progress.delivered.entry(node.to_owned()).or_default();
        delivered.begin_again();
        let selected = view
            .tasks_by_node(node)
            .filter(|task| is_selected(&self.selector, task));
        let has_others = selected.into_iter().any(|task| !delivered.knows(&task.id));
        let options = delivered.resume(self.options.clone(), has_others);
        drop(progress);
        self.message_with(options, false)
    }

    fn message_with(&self, options: LogSubscriptionOptions, close: bool) -> SubscriptionMessage {
        SubscriptionMessage {
            id: self.id.clone(),
            selector: Some(self.selector.clone()),
            options: Some(options),
            close,
        }
    }

    /// What the subscriber must know did not come.
    fn summary(&self, stopped: bool) -> Option<Status> {
        if stopped {
            return Some(Status::aborted("log broker is stopped"));
        }
        let problems = &self.progress().problems;
        if problems.is_empty() || self.options.follow {
            return None;
        }
        Some(Status::unknown(format!(
            "warning: incomplete log stream. some logs could not be retrieved for the following \
             reasons: {}",
            problems.join(", ")
        )))
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
