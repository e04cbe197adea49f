//! Subscriptions, and the nodes that listen for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skep_objects::{
    ids::new_id,
    swarmkit::{
        LogContext, LogSelector, LogSubscriptionOptions, Node, SubscribeLogsMessage,
        SubscriptionMessage, node_status,
    },
};
use skep_store::{Event, Object, Store, View, Watch};
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use super::selection::{is_selected, select};

/// Messages under way to a subscriber; nodes wait when it does not read.
const BUFFER: usize = 64;

type Listener = mpsc::UnboundedSender<SubscriptionMessage>;

/// What a subscriber gets.
pub type LogReceiver = mpsc::Receiver<Result<SubscribeLogsMessage, Status>>;

/// One subscriber's wish, and how far the nodes are with it.
#[derive(Debug)]
pub struct Subscription {
    id: String,
    selector: LogSelector,
    options: LogSubscriptionOptions,
    out: mpsc::Sender<Result<SubscribeLogsMessage, Status>>,
    progress: Mutex<Progress>,
    progressed: Notify,
}

#[derive(Debug, Default)]
struct Progress {
    /// Nodes that were asked.
    asked: BTreeSet<String>,
    /// Those of them that have not said that they are done.
    waiting: BTreeSet<String>,
    problems: Vec<String>,
}

/// The broker of a leader.
#[derive(Debug)]
pub struct LogBroker {
    store: Store,
    state: Mutex<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    subscriptions: BTreeMap<String, Arc<Subscription>>,
    /// By node; the number tells a listener from the one before.
    listeners: BTreeMap<String, (u64, Listener)>,
    last_listener: u64,
}

impl LogBroker {
    /// A broker with nobody to serve yet, which minds the nodes until it is stopped.
    pub fn new(store: Store) -> Arc<Self> {
        let (_, watch) = store.watch();
        let broker = Arc::new(Self {
            store,
            state: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        broker.tasks.spawn(broker.clone().mind_nodes(watch));
        broker
    }

    /// Ends all subscriptions.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.state().listeners.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Asks the nodes concerned for their logs.
    pub fn subscribe(
        self: &Arc<Self>,
        selector: LogSelector,
        options: LogSubscriptionOptions,
    ) -> Result<LogReceiver, Status> {
        let nothing = selector.service_ids.is_empty()
            && selector.node_ids.is_empty()
            && selector.task_ids.is_empty();
        if nothing {
            return Err(Status::invalid_argument("log selector must be provided"));
        }
        let (out, receiver) = mpsc::channel(BUFFER);
        let subscription = Arc::new(Subscription {
            id: new_id(),
            selector,
            options,
            out,
            progress: Mutex::default(),
            progressed: Notify::new(),
        });
        self.state()
            .subscriptions
            .insert(subscription.id.clone(), subscription.clone());
        self.tasks.spawn(self.clone().drive(subscription));
        Ok(receiver)
    }

    /// A node listens for subscriptions: those that concern it already, and those to come.
    pub fn listen(
        &self,
        node: &str,
    ) -> Result<(u64, mpsc::UnboundedReceiver<SubscriptionMessage>), Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        if self.store.view().node(node).is_none() {
            return Err(Status::not_found("node not registered"));
        }
        state.last_listener += 1;
        let number = state.last_listener;
        for subscription in state.subscriptions.values() {
            if subscription.progress().asked.contains(node) {
                let _ = sender.send(subscription.message(false));
            }
        }
        state.listeners.insert(node.to_owned(), (number, sender));
        Ok((number, receiver))
    }

    /// A node does not listen any more: what it was asked for will not come.
    pub fn unlisten(&self, node: &str, number: u64) {
        let mut state = self.state();
        if state
            .listeners
            .get(node)
            .is_some_and(|(current, _)| *current == number)
        {
            state.listeners.remove(node);
            for subscription in state.subscriptions.values() {
                subscription.done(node, Some(format!("node {node} disconnected unexpectedly")));
            }
        }
    }

    /// The subscription of this id, for a node that was asked for it.
    pub fn find(&self, id: &str, node: &str) -> Result<Arc<Subscription>, Status> {
        let found = self.state().subscriptions.get(id).cloned();
        let found = found.filter(|subscription| subscription.progress().asked.contains(node));
        found.ok_or_else(|| Status::not_found("no such subscription"))
    }

    /// Whether a node may speak for this task: it is its own.
    pub fn is_own(&self, node: &str, context: &LogContext) -> bool {
        let is_its_task = |view: &View| {
            let task = view.task(&context.task_id);
            // The task may have been deleted since it wrote that.
            task.is_none_or(|task| task.node_id == node && task.service_id == context.service_id)
        };
        let view = self.store.view();
        // A node that was removed may still be connected.
        context.node_id == node && view.node(node).is_some() && is_its_task(&view)
    }

    /// Sees a subscription through.
    async fn drive(self: Arc<Self>, subscription: Arc<Subscription>) {
        let (view, watch) = self.store.watch();
        let follow = subscription.options.follow;
        let selection = select(&view, &subscription.selector, follow);
        for task in selection.unscheduled.iter().filter(|_| !follow) {
            subscription.problem(format!("task {task} has not been scheduled"));
        }
        for node in &selection.nodes {
            self.ask(&subscription, node);
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = subscription.out.closed() => {}
            () = self.follow(&subscription, watch), if follow => {}
            () = subscription.all_done(), if !follow => {}
        }
        self.close(&subscription);
        if let Some(problem) = subscription.summary(self.stop.is_cancelled()) {
            let _ = subscription.out.send(Err(problem)).await;
        }
    }

    /// Nodes that are lost or removed are waited for no longer.
    async fn mind_nodes(self: Arc<Self>, mut watch: Watch) {
        let events = async {
            while let Some(event) = watch.recv().await {
                match event {
                    Event::Removed(Object::Node(node)) => {
                        self.give_up(&node.id);
                        // Its stream ends with the sender.
                        self.state().listeners.remove(&node.id);
                    }
                    Event::Updated {
                        new: Object::Node(node),
                        ..
                    } if is_down(&node) => self.give_up(&node.id),
                    _ => {}
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = events => {}
        }
    }

    fn give_up(&self, node: &str) {
        let state = self.state();
        for subscription in state.subscriptions.values() {
            subscription.done(node, Some(not_available(node)));
        }
    }

    /// Asks every node that gets a task that is followed.
    async fn follow(&self, subscription: &Subscription, mut watch: Watch) {
        while let Some(event) = watch.recv().await {
            if let Event::Created(Object::Task(task))
            | Event::Updated {
                new: Object::Task(task),
                ..
            } = event
                && !task.node_id.is_empty()
                && is_selected(&subscription.selector, &task)
            {
                self.ask(subscription, &task.node_id);
            }
        }
    }

    fn ask(&self, subscription: &Subscription, node: &str) {
        // Under this lock nodes are given up, too: none is waited for that was before.
        let state = self.state();
        // One that was lost may seem to be connected for a while.
        let is_there = self.store.view().node(node).is_some_and(|n| !is_down(n));
        if !subscription.progress().asked.insert(node.to_owned()) {
            return;
        }
        let asked = state
            .listeners
            .get(node)
            .filter(|_| is_there)
            .is_some_and(|(_, listener)| listener.send(subscription.message(false)).is_ok());
        if asked {
            subscription.progress().waiting.insert(node.to_owned());
        } else if !subscription.options.follow {
            subscription.problem(not_available(node));
        }
    }

    fn close(&self, subscription: &Subscription) {
        let mut state = self.state();
        state.subscriptions.remove(&subscription.id);
        for node in &subscription.progress().asked {
            if let Some((_, listener)) = state.listeners.get(node) {
                let _ = listener.send(subscription.message(true));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_down(node: &Node) -> bool {
    let status = node.status.as_ref();
    status.is_some_and(|status| status.state() == node_status::State::Down)
}

fn not_available(node: &str) -> String {
    format!("node {node} is not available")
}

impl Subscription {
    /// Hands on what a node published; waits while the subscriber does not read.
    pub async fn deliver(&self, message: SubscribeLogsMessage) -> Result<(), Status> {
        let gone = |_| Status::not_found("no such subscription");
        self.out.send(Ok(message)).await.map_err(gone)
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

    fn problem(&self, text: String) {
        self.progress().problems.push(text);
    }

    async fn all_done(&self) {
        while !self.progress().waiting.is_empty() {
            self.progressed.notified().await;
        }
    }

    fn message(&self, close: bool) -> SubscriptionMessage {
        SubscriptionMessage {
            id: self.id.clone(),
            selector: Some(self.selector.clone()),
            options: Some(self.options.clone()),
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

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
