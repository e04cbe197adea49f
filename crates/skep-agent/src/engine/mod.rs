//! Runs tasks as containers of this host's engine.

mod attachment;
mod container;
mod controller;
mod extras;
mod files;
mod mounts;
mod pull;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use skep_engine::image::Images;
use skep_engine::{Engine, Filters, ListOptions, RemoveOptions};
use skep_objects::extras::AllowedExtras;
use skep_objects::skep_v1::EndpointsMessage;
use skep_objects::swarmkit::task_spec::Runtime;
use skep_objects::swarmkit::{Node, NodeDescription, Task};
use tokio::sync::Mutex as AsyncMutex;
use tracing::{debug, warn};

use crate::dependencies::Dependencies;
use crate::executor::{Controller, Executor, TaskError};
pub use attachment::{Attached, Attachments};
use container::{is_made_here, is_node_local};
use controller::EngineController;
use pull::Puller;

const TASK_LABEL: &str = "com.docker.swarm.task.id";

/// How tasks are run.
#[derive(Clone, Debug, Default)]
pub struct EngineExecutorConfig {
    /// Do not ask a registry for an image that is here (`DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1`).
    pub prefer_local_images: bool,
    /// Which of Docker's missing features services may use here (`--service-extras`).
    pub extras: AllowedExtras,
}

/// An [`Executor`] over an [`Engine`]. A cheap clone.
#[derive(Clone, Debug)]
pub struct EngineExecutor {
    host: Arc<Host>,
}

/// What all tasks of this host share.
#[derive(Debug)]
struct Host {
    engine: Engine,
    puller: Puller,
    attachments: Attachments,
    extras: AllowedExtras,
    /// Tasks that have a controller, with the overlay networks each uses.
    live: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// One change of the set of networks at a time: a network is not removed while it is joined.
    networks: AsyncMutex<()>,
}

impl EngineExecutor {
    /// Tasks run in `engine`, from `images`.
    pub fn new(engine: Engine, images: Images, config: EngineExecutorConfig) -> Self {
        let host = Host {
            engine,
            puller: Puller::new(images, config.prefer_local_images),
            attachments: Attachments::default(),
            extras: config.extras,
            live: Mutex::default(),
            networks: AsyncMutex::default(),
        };
        Self {
            host: Arc::new(host),
        }
    }

    /// Containers outside services that join attachable networks.
    pub fn attachments(&self) -> &Attachments {
        &self.host.attachments
    }
}

impl Host {
    fn live(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Extends the task's overlay networks to this host.
    async fn use_networks(&self, task: &Task) -> Result<(), TaskError> {
        let networks: Vec<_> = task
            .networks
            .iter()
            .filter_map(|a| a.network.as_ref())
            .filter(|n| !is_node_local(n) || is_made_here(n))
            .collect();
        if networks.is_empty() {
            return Ok(());
        }
        let _one = self.networks.lock().await;
        let ids = networks.iter().map(|n| n.id.clone()).collect();
        self.live().insert(task.id.clone(), ids);
        for network in networks {
            let networks = self.engine.networks();
            let ensured = if is_made_here(network) {
                networks.ensure_local_part(network).await
            } else {
                networks.ensure_swarm_network(network).await
            };
            ensured.map_err(|e| TaskError::Fatal(e.to_string()))?;
        }
        Ok(())
    }

    /// The task is gone; so are the networks that no other task here uses.
    async fn release(&self, task_id: &str) {
        let _one = self.networks.lock().await;
        let unused: Vec<String> = {
            let mut live = self.live();
            let own = live.remove(task_id).unwrap_or_default();
            let is_used = |id: &String| live.values().any(|others| others.contains(id));
            own.into_iter().filter(|id| !is_used(id)).collect()
        };
        for id in unused {
            // The engine refuses while it has a use of its own, as for the ingress network.
            if let Err(error) = self.engine.networks().remove_swarm_network(&id).await {
                debug!(%error, network.id = %id, "network stays on this node");
            }
        }
    }
}

#[async_trait]
impl Executor for EngineExecutor {
    fn describe(&self) -> NodeDescription {
        self.host.engine.describe()
    }

    async fn configure(&self, node: &Node) -> Result<(), TaskError> {
        for attachment in &node.attachments {
            let set = self
                .host
                .engine
                .networks()
                .set_node_attachment(attachment)
                .await;
            set.map_err(|e| TaskError::Temporary(e.to_string()))?;
        }
        Ok(())
    }

    fn controller(&self, task: &Task, dependencies: &Dependencies) -> Arc<dyn Controller> {
        let overlays = task.networks.iter().filter_map(|a| a.network.as_ref());
        let overlays = overlays
            .filter(|n| !is_node_local(n) || is_made_here(n))
            .map(|n| n.id.clone())
            .collect();
        // A task taken up after a restart uses its networks already; a new one not yet.
        let is_prepared = task.observed_state() > skep_objects::swarmkit::TaskState::Preparing;
        let networks = if is_prepared {
            overlays
        } else {
            BTreeSet::new()
        };
        self.host.live().insert(task.id.clone(), networks);
        if let Some(Runtime::Attachment(spec)) = task.spec.as_ref().and_then(|s| s.runtime.as_ref())
        {
            let host = Arc::clone(&self.host);
            return Arc::new(attachment::AttachmentController::new(
                host,
                task,
                &spec.container_id,
            ));
        }
        Arc::new(EngineController::new(
            Arc::clone(&self.host),
            task,
            dependencies,
        ))
    }

    async fn apply_endpoints(&self, message: &EndpointsMessage) -> Result<(), TaskError> {
        let applied = self.host.engine.networks().apply_endpoints(message).await;
        applied.map_err(|e| TaskError::Temporary(e.to_string()))
    }

    async fn retain_tasks(&self, tasks: &BTreeSet<String>) {
        let options = ListOptions {
            all: true,
            filters: Filters::default().with("label", TASK_LABEL),
            ..Default::default()
        };
        let containers = match self.host.engine.list(&options).await {
            Ok(containers) => containers,
            Err(error) => {
                warn!(%error, "containers of former tasks cannot be listed");
                return;
            }
        };
        for container in containers {
            let Some(task_id) = container.labels.get(TASK_LABEL) else {
                continue;
            };
            // A live one is being removed by its own controller, in its own time.
            if tasks.contains(task_id) || self.host.live().contains_key(task_id) {
                continue;
            }
            let options = RemoveOptions {
                force: true,
                volumes: true,
                link: false,
            };
            if let Err(error) = self.host.engine.remove(&container.id, options).await {
                warn!(%error, container.id = %container.id, "container of a former task stays");
            }
        }
    }
}
