//! Networks.

use std::{collections::BTreeMap, sync::Arc};

use skep_objects::{
    ids::new_id,
    swarmkit::{
        Annotations, CreateNetworkRequest, CreateNetworkResponse, GetNetworkRequest,
        GetNetworkResponse, ListNetworksRequest, ListNetworksResponse, Network,
        RemoveNetworkRequest, RemoveNetworkResponse, TaskState,
    },
};
use skep_store::{StoreObject, Tx, TxError, View};

use super::{
    error::ControlError, filter::name_filter, service::needs_ingress,
    validate::validate_network_spec,
};

/// The label of networks that every node has by itself.
pub const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";

type Answer<T> = Result<T, ControlError>;

/// Makes a network; the allocator gives it addresses.
pub fn create(tx: &mut Tx, request: CreateNetworkRequest) -> Answer<CreateNetworkResponse> {
    let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
    validate_network_spec(&spec)?;
    if spec.ingress
        && let Some(present) = ingress_network(tx)
    {
        let text = format!("ingress network ({}) is already present", present.id);
        return Err(ControlError::Exists(text));
    }
    let network = Network {
        id: new_id(),
        spec: Some(spec),
        ..Network::default()
    };
    match tx.create_network(network) {
        Ok(network) => Ok(CreateNetworkResponse {
            network: Some(Network::clone(&network)),
        }),
        Err(TxError::NameConflict { name, .. }) => Err(ControlError::Exists(format!(
            "network with name {name} already exists"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// One network, by id, or by name where no id is given.
pub fn get(view: &View, request: &GetNetworkRequest) -> Answer<GetNetworkResponse> {
    let network = find(view, &request.network_id, &request.name)?;
    Ok(GetNetworkResponse {
        network: Some(Network::clone(network)),
    })
}

/// The networks that pass the filters.
pub fn list(view: &View, request: ListNetworksRequest) -> Answer<ListNetworksResponse> {
    let filters = request.filters.unwrap_or_default();
    let empty = BTreeMap::new();
    let passing = view.networks().filter(|network| {
        let labels = annotations(network).map_or(&empty, |annotations| &annotations.labels);
        name_filter!(filters).passes(&network.id, network.name(), labels)
    });
    Ok(ListNetworksResponse {
        networks: passing.map(|network| Network::clone(network)).collect(),
    })
}

/// Removes a network that nothing uses.
pub fn remove(tx: &mut Tx, request: &RemoveNetworkRequest) -> Answer<RemoveNetworkResponse> {
    let network = find(tx, &request.network_id, &request.name)?.clone();
    if is_predefined(&network) {
        return Err(ControlError::Precondition(format!(
            "{} is a pre-defined network and cannot be removed",
            network.name()
        )));
    }
    if is_ingress(&network) {
        if let Some(service) = tx
            .services()
            .find(|service| needs_ingress(service.spec.as_ref()))
        {
            return Err(ControlError::Precondition(format!(
                "ingress network cannot be removed because service {} depends on it",
                service.id
            )));
        }
    } else {
        refuse_used(tx, &network.id)?;
    }
    tx.remove_network(&network.id)?;
    Ok(RemoveNetworkResponse {})
}

/// The network of the routing mesh.
pub fn ingress_network(view: &View) -> Option<&Arc<Network>> {
    view.networks().find(|network| is_ingress(network))
}

/// Whether it is the network of the routing mesh; clusters of Docker 1.12 marked it by a label.
pub fn is_ingress(network: &Network) -> bool {
    network.spec.as_ref().is_some_and(|spec| spec.ingress)
        || annotations(network).is_some_and(|annotations| {
            annotations.labels.contains_key("com.docker.swarm.internal")
                && annotations.name == "ingress"
        })
}

fn is_predefined(network: &Network) -> bool {
    annotations(network)
        .is_some_and(|annotations| annotations.labels.contains_key(PREDEFINED_LABEL))
}

fn annotations(network: &Network) -> Option<&Annotations> {
    network.spec.as_ref()?.annotations.as_ref()
}

fn find<'a>(view: &'a View, id: &str, name: &str) -> Answer<&'a Arc<Network>> {
    let (found, asked) = match (id, name) {
        ("", "") => return Err(ControlError::missing_argument()),
        ("", name) => (view.network_by_name(name), name),
        (id, _) => (view.network(id), id),
    };
    found.ok_or_else(|| ControlError::not_found("network", asked))
}

fn refuse_used(view: &View, id: &str) -> Answer<()> {
    if let Some(service) = view.services_by_network(id).next() {
        return Err(ControlError::Precondition(format!(
            "network {id} is in use by service {}",
            service.id
        )));
    }
    // Containers that were attached by hand, and tasks of a spec that their service had before. No
    // index: every task would pay for what is asked when a network is removed.
    let live = view.tasks().find(|task| {
        let networks = task.spec.iter().flat_map(|spec| &spec.networks);
        task.wants_to_run()
            && task.observed_state() <= TaskState::Running
            && networks.into_iter().any(|network| network.target == id)
    });
    match live {
        None => Ok(()),
        Some(task) => {
            let text = format!("network {id} is in use by task {}", task.id);
            Err(ControlError::Precondition(text))
        }
    }
}
