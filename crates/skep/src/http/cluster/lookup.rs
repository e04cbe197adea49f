//! Objects by what a user typed: the full id, then the exact name, then the beginning of an id.

use skep_objects::swarmkit as proto;
use tonic::Code;

use super::{Manager, ask};
use crate::http::error::{ApiError, Result};

/// Defines the look-up of one noun.
macro_rules! lookup {
    ($noun:ident, $object:ty, $get:ident($id:ident) -> $field:ident,
     $list:ident($filters:ident) -> $many:ident, $Get:ident, $List:ident) => {
        /// The one object that `reference` means.
        #[allow(clippy::needless_update)] // requests of some nouns have more fields than these
        pub async fn $noun(manager: &Manager, reference: &str) -> Result<$object> {
            let what = stringify!($noun);
            let request = proto::$Get {
                $id: reference.to_owned(),
                ..Default::default()
            };
            match ask!(manager, $get, request) {
                Ok(answer) => {
                    if let Some(object) = answer.$field {
                        return Ok(object);
                    }
                }
                Err(status) if is_no_such(&status) => {}
                Err(status) => return Err(status.into()),
            }
            let names = proto::$filters::Filters {
                names: vec![reference.to_owned()],
                ..Default::default()
            };
            let ids = proto::$filters::Filters {
                id_prefixes: vec![reference.to_owned()],
                ..Default::default()
            };
            for filters in [names, ids] {
                let request = proto::$List {
                    filters: Some(filters),
                    ..Default::default()
                };
                let mut found = ask!(manager, $list, request)?.$many;
                match found.len() {
                    0 => {}
                    1 => return Ok(found.remove(0)),
                    many => return Err(ambiguous(what, reference, many)),
                }
            }
            Err(ApiError::not_found(format!("{what} {reference} not found")))
        }
    };
}

/// Whether a look-up by id may go on with names: what is no id is not a failure.
fn is_no_such(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::InvalidArgument)
}

fn ambiguous(what: &str, reference: &str, many: usize) -> ApiError {
    ApiError::invalid(format!(
        "{what} {reference} is ambiguous ({many} matches found)"
    ))
}

lookup!(node, proto::Node, get_node(node_id) -> node,
    list_nodes(list_nodes_request) -> nodes, GetNodeRequest, ListNodesRequest);
lookup!(service, proto::Service, get_service(service_id) -> service,
    list_services(list_services_request) -> services, GetServiceRequest, ListServicesRequest);
lookup!(task, proto::Task, get_task(task_id) -> task,
    list_tasks(list_tasks_request) -> tasks, GetTaskRequest, ListTasksRequest);
lookup!(secret, proto::Secret, get_secret(secret_id) -> secret,
    list_secrets(list_secrets_request) -> secrets, GetSecretRequest, ListSecretsRequest);
lookup!(config, proto::Config, get_config(config_id) -> config,
    list_configs(list_configs_request) -> configs, GetConfigRequest, ListConfigsRequest);
lookup!(network, proto::Network, get_network(network_id) -> network,
    list_networks(list_networks_request) -> networks, GetNetworkRequest, ListNetworksRequest);

/// The one cluster that there is.
pub async fn cluster(manager: &Manager) -> Result<proto::Cluster> {
    let request = proto::ListClustersRequest::default();
    let mut clusters = ask!(manager, list_clusters, request)?.clusters;
    match clusters.len() {
        0 => Err(ApiError::not_found("no cluster found")),
        _ => Ok(clusters.swap_remove(0)),
    }
}
