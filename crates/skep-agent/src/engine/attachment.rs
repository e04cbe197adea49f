//! Containers outside services on attachable networks: the manager answers a request to join with a
//! task for this node, whose only work is to say which addresses the container got.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use skep_objects::swarmkit::{LogSubscriptionOptions, NetworkAttachment, Task};
use tokio::sync::watch;

use super::Host;
use crate::executor::{Controller, LogStream, RuntimeStatus, TaskError};

/// The state of one attachment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attached {
    /// The task that stands for it.
    pub task_id: String,
    /// Network and addresses, once the manager has given them.
    pub network: Option<NetworkAttachment>,
    /// The manager wants it ended.
    pub is_revoked: bool,
}

type Cell = Arc<watch::Sender<Attached>>;

/// All attachments of a host, by container id and network id. Clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct Attachments {
    cells: Arc<Mutex<BTreeMap<(String, String), Cell>>>,
}

impl Attachments {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, container_id: &str, network_id: &str) -> Cell {
        let key = (container_id.to_owned(), network_id.to_owned());
        let cell = self.lock();
        let mut cells = cell;
        Arc::clone(
            cells
                .entry(key)
                .or_insert_with(|| Arc::new(watch::Sender::default())),
        )
    }

    /// Follows an attachment; it has no network until the manager's task arrives.
    pub fn watch(&self, container_id: &str, network_id: &str) -> watch::Receiver<Attached> {
        self.cell(container_id, network_id).subscribe()
    }

    /// Nobody follows the attachment any more.
    pub fn forget(&self, container_id: &str, network_id: &str) {
        self.lock()
            .remove(&(container_id.to_owned(), network_id.to_owned()));
    }
}

/// The hands on one attachment task.
pub(super) struct AttachmentController {
    host: Arc<Host>,
    task: Task,
    cell: Option<Cell>,
}

impl AttachmentController {
    pub(super) fn new(host: Arc<Host>, task: &Task, container_id: &str) -> Self {
        let network = task.networks.first().and_then(|a| a.network.as_ref());
        let cell = network.map(|n| host.attachments.cell(container_id, &n.id));
        Self {
            host,
            task: task.clone(),
            cell,
        }
    }

    fn cell(&self) -> Result<&Cell, TaskError> {
        let missing = || TaskError::Fatal("attachment names no network".to_owned());
        self.cell.as_ref().ok_or_else(missing)
    }
}

#[async_trait]
impl Controller for AttachmentController {
    async fn update(&self, _task: &Task) {}

    async fn prepare(&self) -> Result<(), TaskError> {
        self.cell()?;
        self.host.use_networks(&self.task).await
    }

    async fn start(&self) -> Result<(), TaskError> {
        let network = self.task.networks.first().cloned();
        let task_id = self.task.id.clone();
        self.cell()?.send_replace(Attached {
            task_id,
            network,
            is_revoked: false,
        });
        Ok(())
    }

    async fn wait(&self) -> Result<(), TaskError> {
        std::future::pending().await
    }

    async fn shutdown(&self) -> Result<(), TaskError> {
        self.cell()?.send_modify(|a| a.is_revoked = true);
        Ok(())
    }

    async fn remove(&self) -> Result<(), TaskError> {
        let revoked = self.shutdown().await;
        self.host.release(&self.task.id).await;
        revoked
    }

    async fn status(&self) -> RuntimeStatus {
        RuntimeStatus::default()
    }

    async fn logs(&self, _options: &LogSubscriptionOptions) -> Result<LogStream, TaskError> {
        Err(TaskError::Fatal(
            "a network attachment has no log".to_owned(),
        ))
    }
}
