//! The life of one task on this node: an actor that takes one step after another, each chosen by
//! [`step::next`] and judged by [`step::settle`]. This is the place to read first.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use skep_objects::swarmkit::task_status::RuntimeStatus as WireRuntimeStatus;
use skep_objects::swarmkit::{Task, TaskState, TaskStatus};
use skep_objects::timestamp::timestamp;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

use crate::disk::DiskWriter;
use crate::drain::DrainGate;
use crate::executor::{Controller, TaskError, UNHEALTHY};
use crate::reporter::Reporter;
use crate::step::{self, Action, Settled};

const RETRY: Duration = Duration::from_secs(1);

/// What every task of a node shares.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) reporter: Reporter,
    pub(crate) disk: DiskWriter,
    pub(crate) drain: DrainGate,
}

/// The way to a task's actor.
#[derive(Debug)]
pub(crate) struct TaskHandle {
    commands: mpsc::UnboundedSender<Command>,
    controller: Arc<dyn Controller>,
    /// As last sent by a manager.
    pub(crate) task: Arc<Task>,
}

impl std::fmt::Debug for dyn Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Controller")
    }
}

enum Command {
    Update(Box<Task>),
    Release,
    Remove(oneshot::Sender<()>),
}

impl TaskHandle {
    /// Starts the actor. A held task does nothing until [`TaskHandle::release`].
    pub(crate) fn spawn(
        task: Task,
        is_held: bool,
        controller: Arc<dyn Controller>,
        shared: Shared,
    ) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let status = task.status.clone().unwrap_or_default();
        let desired = task.wanted_state();
        let handle = Self {
            commands,
            controller: Arc::clone(&controller),
            task: Arc::new(task.clone()),
        };
        let life = Life {
            task,
            desired,
            status,
            is_held,
            controller,
            shared,
        };
        tokio::spawn(life.run(receiver));
        handle
    }

    pub(crate) fn controller(&self) -> Arc<dyn Controller> {
        Arc::clone(&self.controller)
    }

    /// A manager sent the task again.
    pub(crate) fn update(&mut self, task: Task) {
        self.task = Arc::new(task.clone());
        let _ = self.commands.send(Command::Update(Box::new(task)));
    }

    /// A manager has confirmed the task: it may go on.
    pub(crate) fn release(&self) {
        let _ = self.commands.send(Command::Release);
    }

    /// Stops and removes what the task has on this node; ends the actor.
    pub(crate) async fn remove(self) {
        let (done, removed) = oneshot::channel();
        if self.commands.send(Command::Remove(done)).is_ok() {
            let _ = removed.await;
        }
    }
}

/// Ends an unhealthy container; that is an exit, whatever its code.
async fn stop_unhealthy(controller: &dyn Controller) -> Result<(), TaskError> {
    controller.shutdown().await?;
    let (code, cause) = match controller.wait().await {
        Ok(()) => (0, None),
        Err(TaskError::Exit { code, cause }) => (code, cause),
        Err(other) => return Err(other),
    };
    let cause = cause.or_else(|| Some(UNHEALTHY.to_owned()));
    Err(TaskError::Exit { code, cause })
}

struct Life {
    task: Task,
    /// May only grow.
    desired: TaskState,
    status: TaskStatus,
    is_held: bool,
    controller: Arc<dyn Controller>,
    shared: Shared,
}

/// Why an action was left.
enum Left {
    Done(Result<(), TaskError>),
    Command(Option<Command>),
}

impl Life {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let action = self.action();
            let left = match action {
                Action::Idle => Left::Command(commands.recv().await),
                Action::Advance(_) => Left::Done(Ok(())),
                Action::Prepare | Action::Start | Action::Wait | Action::Shutdown => {
                    self.perform(action, &mut commands).await
                }
            };
            match left {
                Left::Done(outcome) => {
                    let settled = step::settle(self.status.task_state(), action, outcome);
                    if self.advance(settled).await {
                        continue;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        command = commands.recv() => {
                            if !self.obey(command).await {
                                return;
                            }
                        }
                    }
                }
                Left::Command(command) => {
                    if !self.obey(command).await {
                        return;
                    }
                }
            }
        }
    }

    fn action(&self) -> Action {
        if self.is_held {
            return Action::Idle;
        }
        step::next(self.status.task_state(), self.desired)
    }

    /// Runs an action until it is done, or until a command makes another one due.
    async fn perform(
        &mut self,
        action: Action,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Left {
        let controller = Arc::clone(&self.controller);
        let (drain, task) = (self.shared.drain.clone(), self.task.clone());
        let observed = self.status.task_state();
        let mut work = Box::pin(async move {
            match action {
                Action::Prepare => controller.prepare().await,
                Action::Start => controller.start().await,
                Action::Wait => match controller.wait().await {
                    Err(TaskError::Unhealthy) => {
                        drain.withdraw(&[&task]).await;
                        stop_unhealthy(&*controller).await
                    }
                    ended => ended,
                },
                Action::Shutdown => {
                    drain.pass(&task, observed).await;
                    controller.shutdown().await
                }
                Action::Idle | Action::Advance(_) => Ok(()),
            }
        });
        loop {
            tokio::select! {
                outcome = &mut work => return Left::Done(outcome),
                command = commands.recv() => match command {
                    Some(Command::Update(task)) => {
                        self.update(*task).await;
                        if self.action() != action {
                            debug!(task.id = %self.task.id, ?action, "task is wanted otherwise");
                            return Left::Command(Some(Command::Release));
                        }
                    }
                    Some(Command::Release) => {}
                    end => return Left::Command(end),
                },
            }
        }
    }

    /// False ends the actor.
    async fn obey(&mut self, command: Option<Command>) -> bool {
        match command {
            Some(Command::Update(task)) => self.update(*task).await,
            Some(Command::Release) => self.is_held = false,
            Some(Command::Remove(done)) => {
                if let Err(error) = self.controller.remove().await {
                    debug!(%error, task.id = %self.task.id, "task left something behind");
                }
                self.shared.disk.remove_task(&self.task.id);
                self.shared.reporter.forget(&self.task.id);
                self.shared.drain.forget(&self.task.id);
                let _ = done.send(());
                return false;
            }
            // The worker is gone: the daemon ends, and containers go on.
            None => return false,
        }
        true
    }

    async fn update(&mut self, mut task: Task) {
        self.is_held = false;
        self.desired = self.desired.max(task.wanted_state());
        task.status = Some(self.status.clone());
        task.desired_state = self.desired.into();
        if task != self.task {
            self.controller.update(&task).await;
            self.shared.disk.set_task(&task);
            self.task = task;
        }
    }

    /// Takes over an outcome; false asks for a pause before the same action again.
    async fn advance(&mut self, settled: Settled) -> bool {
        let (state, message, err, exit_code) = match settled {
            Settled::Retry(reason) => {
                debug!(task.id = %self.task.id, %reason, "task step is tried again");
                return false;
            }
            Settled::State {
                state,
                message,
                err,
                exit_code,
            } => (state, message, err, exit_code),
        };
        let from = self.status.task_state();
        let mut status = self.status.clone();
        status.state = state.into();
        status.err = err.into();
        if let Some(message) = message {
            status.message = message.into();
        }
        if state >= TaskState::Starting {
            let seen = self.controller.status().await;
            if let Some(mut container) = seen.container {
                if let Some(code) = exit_code {
                    container.exit_code = i32::try_from(code).unwrap_or(i32::MAX);
                }
                status.runtime_status = Some(WireRuntimeStatus::Container(container));
            }
            if let Some(ports) = seen.ports {
                status.port_status = Some(Box::new(ports));
            }
        }
        status.timestamp = Some(timestamp(SystemTime::now()));
        if state == TaskState::Failed || state == TaskState::Rejected {
            info!(task.id = %self.task.id, from = from.name(), to = state.name(),
                err = %status.err, "task failed");
        } else {
            debug!(task.id = %self.task.id, from = from.name(), to = state.name(), "task state");
        }
        self.status = status;
        self.task.status = Some(self.status.clone());
        self.shared.disk.set_status(&self.task.id, &self.status);
        self.shared
            .reporter
            .report(&self.task.id, self.status.clone());
        true
    }
}
