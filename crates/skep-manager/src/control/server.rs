//! The control API as a gRPC service over the store.

use std::{fmt, sync::Arc};

use skep_objects::swarmkit::*;
use skep_rpc::{NodeIdentity, swarmkit::control_server::Control};
use skep_store::Tx;
use tonic::{Request, Response, Status};

use super::{
    cluster, config, error::ControlError, extension, members::Members, network, node, secret,
    service, task, volume,
};
use crate::{ca, slot::LateStore};

/// Serves the control API of the leader.
#[derive(Clone)]
pub struct ControlServer {
    store: LateStore,
    members: Arc<dyn Members>,
    /// What external CAs are asked with; none where there are none, in tests.
    identity: Option<NodeIdentity>,
}

impl fmt::Debug for ControlServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlServer")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl ControlServer {
    /// A server over this store; `members` answers what only raft knows.
    pub fn new(store: impl Into<LateStore>, members: Arc<dyn Members>) -> Self {
        Self {
            store: store.into(),
            members,
            identity: None,
        }
    }

    /// Looks whether external CAs can be reached, as this node.
    #[must_use]
    pub fn with_identity(mut self, identity: NodeIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    async fn check_external_cas(&self, asked: &UpdateClusterRequest) -> Result<(), Status> {
        let config = asked.spec.as_ref().and_then(|s| s.ca_config.as_ref());
        let (Some(config), Some(identity)) = (config, &self.identity) else {
            return Ok(());
        };
        let view = self.store.get()?.view();
        let Some(cluster) = view.cluster(&asked.cluster_id) else {
            return Ok(());
        };
        let checked = ca::external::check_settings(cluster, config, identity).await;
        Ok(checked.map_err(ControlError::from)?)
    }

    async fn write<T>(
        &self,
        change: impl FnOnce(&mut Tx) -> Result<T, ControlError>,
    ) -> Result<Response<T>, Status> {
        let result = self.store.get()?.update(change).await;
        Ok(Response::new(
            result.map_err(|error| error.into::<ControlError>())?,
        ))
    }
}

fn answer<T>(result: Result<T, ControlError>) -> Result<Response<T>, Status> {
    Ok(Response::new(result?))
}

/// One method a line: the request's type, the answer's, and who answers.
macro_rules! control_api {
    ($($method:ident($request:ident) -> $response:ident = |$server:ident, $asked:ident| $body:expr;)*) => {
        #[tonic::async_trait]
        impl Control for ControlServer {
            $(async fn $method(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                let ($server, $asked) = (self, request.into_inner());
                $body
            })*
        }
    };
}

control_api! {
    get_node(GetNodeRequest) -> GetNodeResponse =
        |s, asked| answer(node::get(&s.store.get()?.view(), &*s.members, &asked));
    list_nodes(ListNodesRequest) -> ListNodesResponse =
        |s, asked| answer(node::list(&s.store.get()?.view(), &*s.members, asked));
    update_node(UpdateNodeRequest) -> UpdateNodeResponse =
        |s, asked| s.write(|tx| node::update(tx, &*s.members, asked)).await;
    remove_node(RemoveNodeRequest) -> RemoveNodeResponse =
        |s, asked| s.write(|tx| node::remove(tx, &*s.members, &asked)).await;

    get_task(GetTaskRequest) -> GetTaskResponse =
        |s, asked| answer(task::get(&s.store.get()?.view(), &asked));
    list_tasks(ListTasksRequest) -> ListTasksResponse =
        |s, asked| answer(task::list(&s.store.get()?.view(), asked));
    remove_task(RemoveTaskRequest) -> RemoveTaskResponse =
        |s, asked| s.write(|tx| task::remove(tx, &asked)).await;

    get_service(GetServiceRequest) -> GetServiceResponse =
        |s, asked| answer(service::get(&s.store.get()?.view(), &asked));
    list_services(ListServicesRequest) -> ListServicesResponse =
        |s, asked| answer(service::list(&s.store.get()?.view(), asked));
    create_service(CreateServiceRequest) -> CreateServiceResponse =
        |s, asked| s.write(|tx| service::create(tx, asked)).await;
    update_service(UpdateServiceRequest) -> UpdateServiceResponse =
        |s, asked| s.write(|tx| service::update(tx, asked)).await;
    remove_service(RemoveServiceRequest) -> RemoveServiceResponse =
        |s, asked| s.write(|tx| service::remove(tx, &asked)).await;
    list_service_statuses(ListServiceStatusesRequest) -> ListServiceStatusesResponse =
        |s, asked| answer(service::list_statuses(&s.store.get()?.view(), &asked));

    get_network(GetNetworkRequest) -> GetNetworkResponse =
        |s, asked| answer(network::get(&s.store.get()?.view(), &asked));
    list_networks(ListNetworksRequest) -> ListNetworksResponse =
        |s, asked| answer(network::list(&s.store.get()?.view(), asked));
    create_network(CreateNetworkRequest) -> CreateNetworkResponse =
        |s, asked| s.write(|tx| network::create(tx, asked)).await;
    remove_network(RemoveNetworkRequest) -> RemoveNetworkResponse =
        |s, asked| s.write(|tx| network::remove(tx, &asked)).await;

    get_cluster(GetClusterRequest) -> GetClusterResponse =
        |s, asked| answer(cluster::get(&s.store.get()?.view(), &asked));
    list_clusters(ListClustersRequest) -> ListClustersResponse =
        |s, asked| answer(cluster::list(&s.store.get()?.view(), asked));
    update_cluster(UpdateClusterRequest) -> UpdateClusterResponse =
        |s, asked| {
            s.check_external_cas(&asked).await?;
            s.write(|tx| cluster::update(tx, asked)).await
        };

    get_secret(GetSecretRequest) -> GetSecretResponse =
        |s, asked| answer(secret::get(&s.store.get()?.view(), &asked));
    update_secret(UpdateSecretRequest) -> UpdateSecretResponse =
        |s, asked| s.write(|tx| secret::update(tx, asked)).await;
    list_secrets(ListSecretsRequest) -> ListSecretsResponse =
        |s, asked| answer(secret::list(&s.store.get()?.view(), asked));
    create_secret(CreateSecretRequest) -> CreateSecretResponse =
        |s, asked| s.write(|tx| secret::create(tx, asked)).await;
    remove_secret(RemoveSecretRequest) -> RemoveSecretResponse =
        |s, asked| s.write(|tx| secret::remove(tx, &asked)).await;

    get_config(GetConfigRequest) -> GetConfigResponse =
        |s, asked| answer(config::get(&s.store.get()?.view(), &asked));
    update_config(UpdateConfigRequest) -> UpdateConfigResponse =
        |s, asked| s.write(|tx| config::update(tx, asked)).await;
    list_configs(ListConfigsRequest) -> ListConfigsResponse =
        |s, asked| answer(config::list(&s.store.get()?.view(), asked));
    create_config(CreateConfigRequest) -> CreateConfigResponse =
        |s, asked| s.write(|tx| config::create(tx, asked)).await;
    remove_config(RemoveConfigRequest) -> RemoveConfigResponse =
        |s, asked| s.write(|tx| config::remove(tx, &asked)).await;

    get_extension(GetExtensionRequest) -> GetExtensionResponse =
        |s, asked| answer(extension::get(&s.store.get()?.view(), &asked));
    create_extension(CreateExtensionRequest) -> CreateExtensionResponse =
        |s, asked| s.write(|tx| extension::create(tx, asked)).await;
    remove_extension(RemoveExtensionRequest) -> RemoveExtensionResponse =
        |s, asked| s.write(|tx| extension::remove(tx, &asked)).await;

    get_resource(GetResourceRequest) -> GetResourceResponse =
        |s, asked| answer(extension::get_resource(&s.store.get()?.view(), &asked));
    update_resource(UpdateResourceRequest) -> UpdateResourceResponse =
        |s, asked| s.write(|tx| extension::update_resource(tx, asked)).await;
    list_resources(ListResourcesRequest) -> ListResourcesResponse =
        |s, asked| answer(extension::list_resources(&s.store.get()?.view(), asked));
    create_resource(CreateResourceRequest) -> CreateResourceResponse =
        |s, asked| s.write(|tx| extension::create_resource(tx, asked)).await;
    remove_resource(RemoveResourceRequest) -> RemoveResourceResponse =
        |s, asked| s.write(|tx| extension::remove_resource(tx, &asked)).await;

    create_volume(CreateVolumeRequest) -> CreateVolumeResponse =
        |_s, _asked| answer(volume::create());
    get_volume(GetVolumeRequest) -> GetVolumeResponse =
        |s, asked| answer(volume::get(&s.store.get()?.view(), &asked));
    update_volume(UpdateVolumeRequest) -> UpdateVolumeResponse =
        |s, asked| s.write(|tx| volume::update(tx, asked)).await;
    list_volumes(ListVolumesRequest) -> ListVolumesResponse =
        |s, asked| answer(volume::list(&s.store.get()?.view(), asked));
    remove_volume(RemoveVolumeRequest) -> RemoveVolumeResponse =
        |s, asked| s.write(|tx| volume::remove(tx, &asked)).await;
}
