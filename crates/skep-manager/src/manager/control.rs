//! The control API for this process: answered here while this manager leads, handed on otherwise.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use skep_objects::swarmkit::*;
use skep_rpc::{
    Leader, LeaderLink as _,
    swarmkit::{control_client::ControlClient, control_server::Control},
};
use skep_store::CommitError;
use tonic::{Code, Request, Response, Status};

use crate::{control::ControlServer, metrics::Counters, raft::Quorum};

/// Tries of a call that reached no leader.
const TRIES: usize = 5;
/// Pause before another.
const PAUSE: Duration = Duration::from_millis(100);

/// The leader's control API.
pub struct ForwardingControl {
    here: ControlServer,
    quorum: Quorum,
    counters: Arc<Counters>,
}

/// Notes how long a call took, when it is dropped.
struct Timer<'a>(&'a Counters, Instant);

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.0.control.observe(self.1.elapsed());
    }
}

impl fmt::Debug for ForwardingControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardingControl").finish_non_exhaustive()
    }
}

impl ForwardingControl {
    /// `here` answers while this manager leads.
    pub fn new(here: ControlServer, quorum: Quorum, counters: Arc<Counters>) -> Self {
        Self {
            here,
            quorum,
            counters,
        }
    }

    /// A manager whose disk is full hears of no election: what it takes for the leader is none.
    fn plainly(&self, status: Status) -> Status {
        self.quorum.trouble().map_or(status, Status::unavailable)
    }
}

/// What is answered from the own store when there is no leader: it may be old, and harms nobody. Who
/// the nodes are must be readable most when the quorum is lost.
const WITHOUT_LEADER: [&str; 4] = ["get_node", "list_nodes", "get_cluster", "list_clusters"];

/// Whether a method only reads.
fn is_read(method: &str) -> bool {
    ["get_", "list_"]
        .iter()
        .any(|prefix| method.starts_with(prefix))
}

/// Whether a call that found no leader is answered here.
fn is_answered_here(method: &str, quorum: &Quorum) -> bool {
    WITHOUT_LEADER.contains(&method) || is_read(method) && quorum.trouble().is_some()
}

/// Whether nothing can have come of the call, so that it may be made again.
fn was_not_taken(status: &Status) -> bool {
    let refused = [
        CommitError::NotLeader.to_string(),
        CommitError::Transferring.to_string(),
    ];
    status.code() == Code::Unavailable
        && (refused.iter().any(|text| status.message().contains(text))
            || status.message().contains("tcp connect error")
            || status.message().contains("Connection refused"))
}

/// Of a call that a leader did not answer before there was another: reads are made again, of
/// writes it is unknown what came.
fn unanswered(method: &str) -> Status {
    let error = if is_read(method) {
        CommitError::NotLeader
    } else {
        CommitError::LeadershipLost
    };
    Status::unavailable(error.to_string())
}

macro_rules! forward {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl Control for ForwardingControl {
            $(async fn $method(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                let _timer = Timer(&self.counters, Instant::now());
                let message = request.into_inner();
                let mut failed = false;
                for tries_left in (0..TRIES).rev() {
                    let leader = match self.quorum.leader(failed).await {
                        Ok(found) => found,
                        Err(_) if is_answered_here(stringify!($method), &self.quorum) => {
                            return self.here.$method(Request::new(message)).await;
                        }
                        Err(status) => return Err(status),
                    };
                    let answer = match leader {
                        Leader::Local => self.here.$method(Request::new(message.clone())).await,
                        Leader::Remote { raft_id, channel } => {
                            let mut client = ControlClient::new(channel)
                                .max_decoding_message_size(usize::MAX);
                            tokio::select! {
                                answer = client.$method(Request::new(message.clone())) => answer,
                                () = self.quorum.deposed(raft_id) => {
                                    Err(unanswered(stringify!($method)))
                                }
                            }
                        }
                    };
                    match answer {
                        Err(status) if tries_left > 0 && was_not_taken(&status) => {
                            failed = true;
                            tokio::time::sleep(PAUSE).await;
                        }
                        Err(status) if was_not_taken(&status) => {
                            return Err(self.plainly(status));
                        }
                        answer => return answer,
                    }
                }
                Err(Status::unavailable("no leader could be reached"))
            })*
        }
    };
}

forward! {
    get_node(GetNodeRequest) -> GetNodeResponse;
    list_nodes(ListNodesRequest) -> ListNodesResponse;
    update_node(UpdateNodeRequest) -> UpdateNodeResponse;
    remove_node(RemoveNodeRequest) -> RemoveNodeResponse;
    get_task(GetTaskRequest) -> GetTaskResponse;
    list_tasks(ListTasksRequest) -> ListTasksResponse;
    remove_task(RemoveTaskRequest) -> RemoveTaskResponse;
    get_service(GetServiceRequest) -> GetServiceResponse;
    list_services(ListServicesRequest) -> ListServicesResponse;
    create_service(CreateServiceRequest) -> CreateServiceResponse;
    update_service(UpdateServiceRequest) -> UpdateServiceResponse;
    remove_service(RemoveServiceRequest) -> RemoveServiceResponse;
    list_service_statuses(ListServiceStatusesRequest) -> ListServiceStatusesResponse;
    get_network(GetNetworkRequest) -> GetNetworkResponse;
    list_networks(ListNetworksRequest) -> ListNetworksResponse;
    create_network(CreateNetworkRequest) -> CreateNetworkResponse;
    remove_network(RemoveNetworkRequest) -> RemoveNetworkResponse;
    get_cluster(GetClusterRequest) -> GetClusterResponse;
    list_clusters(ListClustersRequest) -> ListClustersResponse;
    update_cluster(UpdateClusterRequest) -> UpdateClusterResponse;
    get_secret(GetSecretRequest) -> GetSecretResponse;
    update_secret(UpdateSecretRequest) -> UpdateSecretResponse;
    list_secrets(ListSecretsRequest) -> ListSecretsResponse;
    create_secret(CreateSecretRequest) -> CreateSecretResponse;
    remove_secret(RemoveSecretRequest) -> RemoveSecretResponse;
    get_config(GetConfigRequest) -> GetConfigResponse;
    update_config(UpdateConfigRequest) -> UpdateConfigResponse;
    list_configs(ListConfigsRequest) -> ListConfigsResponse;
    create_config(CreateConfigRequest) -> CreateConfigResponse;
    remove_config(RemoveConfigRequest) -> RemoveConfigResponse;
    get_extension(GetExtensionRequest) -> GetExtensionResponse;
    create_extension(CreateExtensionRequest) -> CreateExtensionResponse;
    remove_extension(RemoveExtensionRequest) -> RemoveExtensionResponse;
    get_resource(GetResourceRequest) -> GetResourceResponse;
    update_resource(UpdateResourceRequest) -> UpdateResourceResponse;
    list_resources(ListResourcesRequest) -> ListResourcesResponse;
    create_resource(CreateResourceRequest) -> CreateResourceResponse;
    remove_resource(RemoveResourceRequest) -> RemoveResourceResponse;
    create_volume(CreateVolumeRequest) -> CreateVolumeResponse;
    get_volume(GetVolumeRequest) -> GetVolumeResponse;
    update_volume(UpdateVolumeRequest) -> UpdateVolumeResponse;
    list_volumes(ListVolumesRequest) -> ListVolumesResponse;
    remove_volume(RemoveVolumeRequest) -> RemoveVolumeResponse;
}
