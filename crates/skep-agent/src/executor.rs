//! What the agent asks of the machine. [`crate::engine::EngineExecutor`] answers with containers;
//! tests answer with [`crate::testing::FakeExecutor`].

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;
use skep_objects::skep_v1::EndpointsMessage;
use skep_objects::swarmkit::{
    ContainerStatus, LogMessage, LogSubscriptionOptions, Node, NodeDescription, PortStatus, Task,
};

use crate::dependencies::Dependencies;

/// Why a phase of a task did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The container ended, and not well.
    #[error("task: non-zero exit ({code}){}", .cause.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    Exit {
        /// As the kernel says; 128 + n for signal n.
        code: i64,
        /// Why it was ended, if something ended it.
        cause: Option<String>,
    },
    /// The container runs, and its health check says that it should not: it is to be stopped.
    #[error("{UNHEALTHY}")]
    Unhealthy,
    /// The same again in a moment may go well.
    #[error("{0}")]
    Temporary(String),
    /// No use trying again; the text goes to `docker service ps`.
    #[error("{0}")]
    Fatal(String),
}

/// Why an unhealthy container was ended, as `docker service ps` shows it.
pub(crate) const UNHEALTHY: &str = "dockerexec: unhealthy container";

/// What is reported beside a task's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeStatus {
    /// Container id, pid, exit code.
    pub container: Option<ContainerStatus>,
    /// Ports published on this host.
    pub ports: Option<PortStatus>,
}

/// What a running task uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since it started, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory, without what the kernel could take back at once.
    pub memory_bytes: u64,
    /// Open TCP connections to ports that it listens on.
    pub connections: u64,
}

/// Lines of a task's log.
pub type LogStream = Pin<Box<dyn Stream<Item = LogMessage> + Send>>;

/// A machine that runs tasks.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// What this machine is and has, without TLS info.
    fn describe(&self) -> NodeDescription;

    /// Takes over what the manager says about this node: its addresses on networks.
    async fn configure(&self, node: &Node) -> Result<(), TaskError>;

    /// The hands on one task. Does nothing by itself: the container may run already.
    fn controller(&self, task: &Task, dependencies: &Dependencies) -> Arc<dyn Controller>;

    /// Takes over endpoint tables; returns when the kernel has them.
    async fn apply_endpoints(&self, message: &EndpointsMessage) -> Result<(), TaskError>;

    /// Removes what is left of tasks other than these.
    async fn retain_tasks(&self, tasks: &BTreeSet<String>);
}

/// The hands on one task. Every phase may be asked for again after a crash, and then finds the work
/// done. Dropping a phase's future abandons it.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    /// The task changed in something other than its desired state.
    async fn update(&self, task: &Task);
    /// Pulls and creates.
    async fn prepare(&self) -> Result<(), TaskError>;
    /// Starts; returns when the container runs, and is healthy where it has a health check.
    async fn start(&self) -> Result<(), TaskError>;
    /// Returns when the container has ended; well only if by itself with 0. Or when it has become
    /// unhealthy: it runs still, and is to be stopped.
    async fn wait(&self) -> Result<(), TaskError>;
    /// Stops the container within its grace period; there may be none.
    async fn shutdown(&self) -> Result<(), TaskError>;
    /// Removes all that is left of the task, stopping it if need be.
    async fn remove(&self) -> Result<(), TaskError>;
    /// What to report beside the state.
    async fn status(&self) -> RuntimeStatus;
    /// What the task uses; none when it does not run.
    async fn usage(&self) -> Option<Usage> {
        None
    }
    /// Reads the log; with `follow` until the container is gone.
    async fn logs(&self, options: &LogSubscriptionOptions) -> Result<LogStream, TaskError>;
}
