//! Subscriptions, and the nodes that listen for them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skep_objects::swarmkit::{
    LogContext, LogSelector, LogSubscriptionOptions, Node, SubscribeLogsMessage,
    SubscriptionMessage, node_status,
};
use skep_store::{Event, Object, Store, Watch};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use super::{
    departed::Departed,
    selection::{is_selected, select},
    subscription::Subscription,
};

type Listener = mpsc::UnboundedSender<SubscriptionMessage>;

/// What a subscriber gets.
pub type LogReceiver = mpsc::Receiver<Result<SubscribeLogsMessage, Status>>;

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
    departed: Departed,
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
        let (subscription, receiver) = Subscription::new(selector, options);
        let subscription = Arc::new(subscription);
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
        let view = self.store.view();
        if view.node(node).is_none() {
            return Err(Status::not_found("node not registered"));
        }
        state.last_listener += 1;
        let number = state.last_listener;
        for subscription in state.subscriptions.values() {
            if subscription.progress().asked.contains(node) {
                let _ = sender.send(subscription.message_again(node, &view));
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

    /// Whether a line that a node published is to be handed on: it is of one of its own tasks. One of
    /// a task that nobody remembers is not, and proves nothing; another node's is refused.
    pub fn is_own(
        &self,
        node: &str,
        subscription: &Subscription,
        context: &LogContext,
    ) -> Result<bool, Status> {
        let refused = || Status::permission_denied("logs of another node cannot be published");
        let view = self.store.view();
        // A node that was removed may still be connected.
        if context.node_id != node || view.node(node).is_none() {
            return Err(refused());
        }
        let is_its = |on: &str, of: &str| on == node && of == context.service_id;
        let id = &context.task_id;
        let known = match view.task(id) {
            Some(task) => Some(is_its(&task.node_id, &task.service_id)),
            None => {
                let state = self.state();
                let departed = state.departed.find(id);
                departed.map(|(node, service)| is_its(node, service))
            }
        };
        match known {
            Some(true) => Ok(true),
            Some(false) => Err(refused()),
            None => Ok(subscription.selector.task_ids.contains(id)),
        }
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
            () = subscription.abandoned() => {}
            () = self.follow(&subscription, watch), if follow => {}
            () = subscription.all_done(), if !follow => {}
        }
        self.close(&subscription);
        subscription.conclude(&self.stop).await;
    }

    /// Nodes that are lost or removed are waited for no longer; tasks that are deleted are remembered.
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
                    Event::Removed(Object::Task(task)) => self.state().departed.note(&task),
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
        subscription.close();
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
