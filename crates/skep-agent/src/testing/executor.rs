//! A machine whose tasks do what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use skep_objects::skep_v1::EndpointsMessage;
use skep_objects::swarmkit::{
    ContainerStatus, LogMessage, LogSubscriptionOptions, Node, NodeDescription, Task,
};
use tokio::sync::watch;

use crate::dependencies::Dependencies;
use crate::executor::{Controller, Executor, LogStream, RuntimeStatus, TaskError};

/// Where a fake container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Prepared.
    Created,
    /// Started.
    Running,
    /// Ended with this code.
    Exited(i64),
    /// Stopped on request.
    Stopped,
    /// Nothing is left of it.
    Removed,
}

/// Runs tasks in memory only. Clones are the same machine.
#[derive(Clone, Debug, Default)]
pub struct FakeExecutor {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    containers: Mutex<BTreeMap<String, watch::Sender<Option<Phase>>>>,
    /// Every phase that was asked for, in order: `prepare t1`, …
    log: Mutex<Vec<String>>,
    failures: Mutex<BTreeMap<String, TaskError>>,
    endpoints: Mutex<Vec<u64>>,
}

impl FakeExecutor {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Option<Phase>>>> {
        self.inner
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: &str, task_id: &str) {
        let mut log = self
            .inner
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        log.push(format!("{what} {task_id}"));
    }

    /// What was asked for since the last call.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(
            &mut self
                .inner
                .log
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The next phase of this name for this task fails: `fail_next("start t1", …)`.
    pub fn fail_next(&self, what: &str, error: TaskError) {
        let mut failures = self
            .inner
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failures.insert(what.to_owned(), error);
    }

    fn failure(&self, what: &str, task_id: &str) -> Result<(), TaskError> {
        let mut failures = self
            .inner
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failures
            .remove(&format!("{what} {task_id}"))
            .map_or(Ok(()), Err)
    }

    /// Follows a task's container.
    pub fn watch(&self, task_id: &str) -> watch::Receiver<Option<Phase>> {
        self.cell(task_id)
    }

    fn cell(&self, task_id: &str) -> watch::Receiver<Option<Phase>> {
        let mut containers = self.containers();
        let sender = containers.entry(task_id.to_owned());
        sender
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    fn set(&self, task_id: &str, phase: Phase) {
        let _ = self.cell(task_id);
        if let Some(sender) = self.containers().get(task_id) {
            sender.send_replace(Some(phase));
        }
    }

    /// Where a task's container is.
    pub fn phase(&self, task_id: &str) -> Option<Phase> {
        self.cell(task_id).borrow().clone()
    }

    /// The container ends by itself.
    pub fn exit(&self, task_id: &str, code: i64) {
        self.set(task_id, Phase::Exited(code));
    }

    /// Sequence numbers of the endpoint tables applied.
    pub fn endpoints(&self) -> Vec<u64> {
        self.inner
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Executor for FakeExecutor {
    fn describe(&self) -> NodeDescription {
        NodeDescription {
            hostname: "fake".into(),
            ..Default::default()
        }
    }

    async fn configure(&self, _node: &Node) -> Result<(), TaskError> {
        Ok(())
    }

    fn controller(&self, task: &Task, dependencies: &Dependencies) -> Arc<dyn Controller> {
        Arc::new(FakeController {
            machine: self.clone(),
            task: Mutex::new(task.clone()),
            dependencies: dependencies.clone(),
        })
    }

    async fn apply_endpoints(&self, message: &EndpointsMessage) -> Result<(), TaskError> {
        let mut endpoints = self
            .inner
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        endpoints.push(message.sequence);
        Ok(())
    }

    async fn retain_tasks(&self, tasks: &BTreeSet<String>) {
        self.containers().retain(|id, _| tasks.contains(id));
    }
}

struct FakeController {
    machine: FakeExecutor,
    task: Mutex<Task>,
    dependencies: Dependencies,
}

impl FakeController {
    fn task(&self) -> Task {
        self.task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn begin(&self, what: &str) -> Result<String, TaskError> {
        let id = self.task().id;
        self.machine.note(what, &id);
        self.machine.failure(what, &id)?;
        Ok(id)
    }
}

#[async_trait]
impl Controller for FakeController {
    async fn update(&self, task: &Task) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = task.clone();
    }

    async fn prepare(&self) -> Result<(), TaskError> {
        let id = self.begin("prepare")?;
        let spec = self.task().spec.unwrap_or_default();
        for reference in &spec.resource_references {
            if self
                .dependencies
                .secret(&id, &reference.resource_id)
                .is_none()
            {
                return Err(TaskError::Temporary("secret is not here yet".into()));
            }
        }
        self.machine.set(&id, Phase::Created);
        Ok(())
    }

    async fn start(&self) -> Result<(), TaskError> {
        let id = self.begin("start")?;
        self.machine.set(&id, Phase::Running);
        Ok(())
    }

    async fn wait(&self) -> Result<(), TaskError> {
        let id = self.begin("wait")?;
        let mut cell = self.machine.cell(&id);
        let ended = |p: &Option<Phase>| !matches!(p, Some(Phase::Running));
        let phase = cell.wait_for(ended).await.ok().and_then(|p| p.clone());
        match phase {
            Some(Phase::Exited(0)) => Ok(()),
            Some(Phase::Exited(code)) => Err(TaskError::Exit { code, cause: None }),
            _ => Err(TaskError::Fatal("No such container".into())),
        }
    }

    async fn shutdown(&self) -> Result<(), TaskError> {
        let id = self.begin("shutdown")?;
        self.machine.set(&id, Phase::Stopped);
        Ok(())
    }

    async fn remove(&self) -> Result<(), TaskError> {
        let id = self.begin("remove")?;
        self.machine.set(&id, Phase::Removed);
        Ok(())
    }

    async fn status(&self) -> RuntimeStatus {
        let container = ContainerStatus {
            container_id: format!("container-of-{}", self.task().id),
            ..Default::default()
        };
        RuntimeStatus {
            container: Some(container),
            ports: None,
        }
    }

    async fn logs(&self, _options: &LogSubscriptionOptions) -> Result<LogStream, TaskError> {
        let line = format!("hello from {}\n", self.task().id);
        let line = LogMessage {
            data: line.into_bytes(),
            ..Default::default()
        };
        Ok(Box::pin(futures::stream::iter([line])))
    }
}
