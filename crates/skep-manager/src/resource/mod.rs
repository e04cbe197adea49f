//! Networks for containers that no service made: `docker run --network <attachable overlay>`.
//!
//! The container gets a task without a service, on its own node, so that the allocator gives it
//! an address and the endpoint tables know it.

use prost::Message;
use skep_objects::{
    ids::new_id,
    swarmkit::{
        Annotations, AttachNetworkRequest, AttachNetworkResponse, DetachNetworkRequest,
        DetachNetworkResponse, NetworkAttachmentSpec, Task, TaskSpec, TaskState, TaskStatus,
        task_spec::Runtime,
    },
};
use skep_rpc::{caller_of, swarmkit::resource_allocator_server::ResourceAllocator};
use skep_store::{Tx, TxError, UpdateError, View};
use tonic::{Request, Response, Status};

use crate::{
    dispatcher::Dispatcher,
    orchestrator::slot::is_live,
    slot::{LateStore, Slot},
};

/// Containers that a node may have attached at a time.
const MAX_ATTACHMENTS: usize = 1024;
/// The largest wish: aliases, addresses and options together.
const MAX_CONFIG_BYTES: usize = 16 << 10;
/// Engines' ids of containers have 64 bytes.
const MAX_ID_BYTES: usize = 256;

/// Why a container gets no network.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttachError {
    /// The request names no network.
    #[error("invalid argument")]
    Argument,
    /// No such network.
    #[error("network {0} not found")]
    Network(String),
    /// Only services may use it.
    #[error("network {0} not manually attachable")]
    NotAttachable(String),
    /// No such attachment.
    #[error("attachment {0} not found")]
    Attachment(String),
    /// The attachment is another node's.
    #[error("attachment {attachment} doesn't belong to this node {node}")]
    OtherNode {
        /// The attachment.
        attachment: String,
        /// The node that asks.
        node: String,
    },
    /// The request is larger than any that makes sense.
    #[error("network attachment of {bytes} bytes is larger than {MAX_CONFIG_BYTES} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The node has as many as it may have.
    #[error("node {0} has {MAX_ATTACHMENTS} network attachments, the most that a node may have")]
    TooMany(String),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] TxError),
}

impl From<AttachError> for Status {
    fn from(error: AttachError) -> Self {
        let text = error.to_string();
        match error {
            AttachError::Argument | AttachError::TooLarge { .. } => Status::invalid_argument(text),
            AttachError::TooMany(_) => Status::resource_exhausted(text),
            AttachError::Network(_) | AttachError::Attachment(_) => Status::not_found(text),
            AttachError::NotAttachable(_) | AttachError::OtherNode { .. } => {
                Status::permission_denied(text)
            }
            AttachError::Store(_) => Status::unknown(text),
        }
    }
}

/// Makes the task that attaches a container, unless it is there; answers its id.
pub fn attach(
    tx: &mut Tx,
    node: &str,
    request: AttachNetworkRequest,
) -> Result<String, AttachError> {
    let config = request.config.filter(|config| !config.target.is_empty());
    let mut config = config.ok_or(AttachError::Argument)?;
    let bytes = config.encoded_len();
    if bytes > MAX_CONFIG_BYTES {
        return Err(AttachError::TooLarge { bytes });
    }
    if request.container_id.len() > MAX_ID_BYTES {
        return Err(AttachError::Argument);
    }
    let target = &config.target;
    let network = tx.network(target).or_else(|| tx.network_by_name(target));
    let network = network.ok_or_else(|| AttachError::Network(target.clone()))?;
    if !network.spec.as_ref().is_some_and(|spec| spec.attachable) {
        return Err(AttachError::NotAttachable(target.clone()));
    }
    config.target = network.id.clone();
    let container_id = request.container_id;
    let view: &View = tx;
    let live = || attachments(view, node).filter(|(task, _)| is_live(task) && !task.has_stopped());
    // Asked for again, since the answer was lost.
    let known = live().find(|(task, attachment)| {
        let networks = task.spec.as_ref().map(|spec| spec.networks.as_slice());
        attachment.container_id == container_id && networks == Some(std::slice::from_ref(&config))
    });
    if let Some((task, _)) = known.filter(|_| !container_id.is_empty()) {
        return Ok(task.id.clone());
    }
    if live().count() >= MAX_ATTACHMENTS {
        return Err(AttachError::TooMany(node.to_owned()));
    }
    let spec = TaskSpec {
        runtime: Some(Runtime::Attachment(NetworkAttachmentSpec { container_id })),
        networks: vec![config],
        ..TaskSpec::default()
    };
    let task = Task {
        id: new_id(),
        node_id: node.into(),
        annotations: Some(Annotations::default().into()),
        service_annotations: Some(Annotations::default().into()),
        spec: Some(spec.into()),
        status: Some(TaskStatus {
            timestamp: Some(tx.now()),
            state: TaskState::New.into(),
            message: "created".into(),
            ..TaskStatus::default()
        }),
        desired_state: TaskState::Running.into(),
        ..Task::default()
    };
    Ok(tx.create_task(task)?.id.clone())
}

/// The node's tasks that attach containers.
fn attachments<'a>(
    view: &'a View,
    node: &str,
) -> impl Iterator<Item = (&'a Task, &'a NetworkAttachmentSpec)> {
    view.tasks_by_node(node).filter_map(|task| {
        match task.spec.as_ref().and_then(|spec| spec.runtime.as_ref()) {
            Some(Runtime::Attachment(attachment)) => Some((&**task, attachment)),
            _ => None,
        }
    })
}

/// Removes the task that attaches a container.
pub fn detach(tx: &mut Tx, node: &str, attachment: &str) -> Result<(), AttachError> {
    if attachment.is_empty() {
        return Err(AttachError::Argument);
    }
    let task = tx.task(attachment);
    let task = task.ok_or_else(|| AttachError::Attachment(attachment.to_owned()))?;
    if task.node_id != node {
        let (attachment, node) = (attachment.to_owned(), node.to_owned());
        return Err(AttachError::OtherNode { attachment, node });
    }
    tx.remove_task(attachment)?;
    Ok(())
}

/// SwarmKit's ResourceAllocator service, over the store.
#[derive(Debug, Clone)]
pub struct ResourceServer {
    store: LateStore,
    dispatcher: Slot<Dispatcher>,
}

impl ResourceServer {
    /// A server over this store, for nodes with a session of the dispatcher in the slot.
    pub fn new(store: impl Into<LateStore>, dispatcher: Slot<Dispatcher>) -> Self {
        Self {
            store: store.into(),
            dispatcher,
        }
    }

    async fn write<T>(
        &self,
        change: impl FnOnce(&mut Tx) -> Result<T, AttachError>,
    ) -> Result<T, Status> {
        self.store
            .get()?
            .update(change)
            .await
            .map_err(|error| match error {
                UpdateError::Refused(error) => error.into(),
                UpdateError::Commit(error) => Status::unavailable(error.to_string()),
            })
    }
}

#[tonic::async_trait]
impl ResourceAllocator for ResourceServer {
    async fn attach_network(
        &self,
        request: Request<AttachNetworkRequest>,
    ) -> Result<Response<AttachNetworkResponse>, Status> {
        let node = caller_of(&request)?.node_id;
        // Without a session it would never hear of the addresses.
        self.dispatcher
            .get()?
            .current_session(&node)
            .map_err(|error| Status::unavailable(error.message().to_owned()))?;
        let request = request.into_inner();
        let attachment_id = self.write(|tx| attach(tx, &node, request)).await?;
        Ok(Response::new(AttachNetworkResponse { attachment_id }))
    }

    async fn detach_network(
        &self,
        request: Request<DetachNetworkRequest>,
    ) -> Result<Response<DetachNetworkResponse>, Status> {
        let node = caller_of(&request)?.node_id;
        let attachment = request.into_inner().attachment_id;
        self.write(|tx| detach(tx, &node, &attachment)).await?;
        Ok(Response::new(DetachNetworkResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::{Network, NetworkAttachmentConfig, NetworkSpec};
    use skep_store::Store;

    use super::*;

    async fn store() -> Store {
        let store = Store::in_memory();
        for (id, attachable) in [("open", true), ("closed", false)] {
            let annotations = Annotations {
                name: format!("{id}-name"),
                ..Default::default()
            };
            let spec = NetworkSpec {
                annotations: Some(annotations),
                attachable,
                ..Default::default()
            };
            let network = Network {
                id: id.to_owned(),
                spec: Some(spec),
                ..Default::default()
            };
            store.update(|tx| tx.create_network(network)).await.unwrap();
        }
        store
    }

    async fn ask(store: &Store, target: &str) -> Result<String, String> {
        let config = NetworkAttachmentConfig {
            target: target.to_owned(),
            ..Default::default()
        };
        ask_for(store, "c1", config).await
    }

    async fn ask_for(
        store: &Store,
        container: &str,
        config: NetworkAttachmentConfig,
    ) -> Result<String, String> {
        let request = AttachNetworkRequest {
            config: Some(config),
            container_id: container.to_owned(),
        };
        store
            .update(|tx| attach(tx, "n1", request))
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_container_gets_a_task_on_its_own_node() {
        let store = store().await;
        for target in ["open", "open-name"] {
            let id = ask(&store, target).await.unwrap();
            let view = store.view();
            let task = view.task(&id).unwrap();
            assert_eq!(task.node_id, "n1");
            assert_eq!(task.spec.as_ref().unwrap().networks[0].target, "open");
        }
    }

    #[tokio::test]
    async fn the_same_wish_has_the_same_answer() {
        let store = store().await;
        let first = ask(&store, "open").await.unwrap();
        assert_eq!(ask(&store, "open-name").await.unwrap(), first);
        let addressed = NetworkAttachmentConfig {
            target: "open".to_owned(),
            addresses: vec!["10.0.1.7".to_owned()],
            ..Default::default()
        };
        assert_ne!(ask_for(&store, "c1", addressed).await.unwrap(), first);
        store.update(|tx| detach(tx, "n1", &first)).await.unwrap();
        assert_ne!(ask(&store, "open").await.unwrap(), first);
    }

    #[tokio::test]
    async fn a_node_has_so_many_attachments_of_so_many_bytes() {
        let store = store().await;
        let config = || NetworkAttachmentConfig {
            target: "open".to_owned(),
            ..Default::default()
        };
        let large = NetworkAttachmentConfig {
            aliases: vec!["a".repeat(1000); 20],
            ..config()
        };
        let refused = ask_for(&store, "c", large).await.unwrap_err();
        assert!(refused.ends_with("is larger than 16384 bytes"), "{refused}");
        let long = "c".repeat(1000);
        assert!(ask_for(&store, &long, config()).await.is_err());
        let fill = |tx: &mut Tx| {
            (0..MAX_ATTACHMENTS).try_for_each(|number| {
                let request = AttachNetworkRequest {
                    config: Some(config()),
                    container_id: format!("c{number}"),
                };
                attach(tx, "n1", request).map(drop)
            })
        };
        store.update(fill).await.unwrap();
        let refused = ask_for(&store, "one more", config()).await.unwrap_err();
        assert!(refused.starts_with("node n1 has 1024"), "{refused}");
        ask_for(&store, "c7", config()).await.unwrap();
    }

    #[tokio::test]
    async fn only_attachable_networks_are_given() {
        let store = store().await;
        assert_eq!(ask(&store, "").await.unwrap_err(), "invalid argument");
        assert_eq!(
            ask(&store, "none").await.unwrap_err(),
            "network none not found"
        );
        assert_eq!(
            ask(&store, "closed").await.unwrap_err(),
            "network closed not manually attachable"
        );
    }

    #[tokio::test]
    async fn a_node_gives_back_only_what_is_its_own() {
        let store = store().await;
        let id = ask(&store, "open").await.unwrap();
        let error = store.update(|tx| detach(tx, "n2", &id)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("attachment {id} doesn't belong to this node n2")
        );
        store.update(|tx| detach(tx, "n1", &id)).await.unwrap();
        let error = store.update(|tx| detach(tx, "n1", &id)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("attachment {id} not found"));
    }
}
