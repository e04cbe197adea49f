//! The endpoints of each network, as the store has them now.

use std::{collections::BTreeMap, sync::Arc};

use skep_objects::{
    skep_v1::{NodeEndpoint, ServiceEndpoint, TaskEndpoint},
    swarmkit::{
        Annotations, EndpointSpec, Network, NetworkAttachment, Node, Service, Task, TaskState,
        endpoint_spec::ResolutionMode, node_status, port_config::PublishMode,
    },
};
use skep_store::{StoreObject, View};

pub use skep_objects::{DATA_PATH_LABEL, WIREGUARD_LABEL};
/// Labels of services that nodes get to see.
const NODE_LABELS: &str = "skep.";

/// All endpoints of one network.
#[derive(Debug, Default)]
pub struct NetworkTable {
    /// By service id.
    pub services: BTreeMap<String, ServiceEndpoint>,
    /// By task id.
    pub tasks: BTreeMap<String, TaskEndpoint>,
    /// By node id.
    pub nodes: BTreeMap<String, NodeEndpoint>,
}

/// Whether something runs, or soon will, on the node: until then it needs its networks.
pub fn is_present(task: &Task) -> bool {
    let state = task.observed_state();
    !task.node_id.is_empty() && (TaskState::Assigned..=TaskState::Running).contains(&state)
}

/// Whether it is to stop. A job's task is to complete from its beginning.
pub fn is_leaving(task: &Task) -> bool {
    task.wanted_state() > TaskState::Complete
}

/// What others must know of a task on a network; none while there is nothing to reach.
pub fn task_endpoint(view: &View, task: &Task, network: &str) -> Option<TaskEndpoint> {
    if !is_present(task) {
        return None;
    }
    let attachment = task
        .networks
        .iter()
        .find(|attachment| network_id(attachment) == Some(network))?;
    if attachment.addresses.is_empty() {
        return None;
    }
    let node = view.node(&task.node_id);
    let up = node.is_some_and(|node| {
        node.status
            .as_ref()
            .is_some_and(|status| status.state() != node_status::State::Down)
    });
    Some(TaskEndpoint {
        task_id: task.id.clone(),
        service_id: task.service_id.to_string(),
        slot: task.slot,
        node_id: task.node_id.to_string(),
        name: task.name().to_owned(),
        addresses: attachment
            .addresses
            .iter()
            .map(|address| bare(address))
            .collect(),
        node_addr: node.map(|node| data_path_address(node)).unwrap_or_default(),
        aliases: attachment.aliases.clone(),
        node_lost: !up,
        in_rotation: up && task.observed_state() == TaskState::Running && !is_leaving(task),
    })
}

/// What others must know of a service on a network; none where it has nothing to be reached by.
pub fn service_endpoint(view: &View, service: &Service, network: &str) -> Option<ServiceEndpoint> {
    let spec = service.spec.as_ref()?;
    let endpoint = service.endpoint.as_ref();
    let vips = endpoint.map_or(&[][..], |endpoint| &endpoint.virtual_ips);
    let virtual_ips: Vec<String> = vips
        .iter()
        .filter(|vip| vip.network_id == network && !vip.addr.is_empty())
        .map(|vip| bare(&vip.addr))
        .collect();
    let mode = spec
        .endpoint
        .as_ref()
        .map_or(ResolutionMode::Vip, EndpointSpec::mode);
    let round_robin = mode == ResolutionMode::Dnsrr && attached_to(spec).any(|id| id == network);
    if virtual_ips.is_empty() && !round_robin {
        return None;
    }
    let is_ingress = view.network(network).is_some_and(is_ingress);
    let ports = endpoint
        .filter(|_| is_ingress)
        .map_or(&[][..], |endpoint| &endpoint.ports);
    let ports = ports
        .iter()
        .filter(|port| port.publish_mode() == PublishMode::Ingress);
    let labels = spec
        .annotations
        .as_ref()
        .map(|annotations: &Annotations| &annotations.labels);
    let labels = labels
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(NODE_LABELS));
    Some(ServiceEndpoint {
        service_id: service.id.clone(),
        name: service.name().to_owned(),
        virtual_ips,
        mode: mode.into(),
        ports: ports.cloned().collect(),
        labels: labels
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    })
}

/// A node's own address on a network, from which its containers' answers leave.
pub fn node_endpoint(node: &Node, network: &str) -> Option<NodeEndpoint> {
    let attachment = node
        .attachments
        .iter()
        .find(|attachment| network_id(attachment) == Some(network))?;
    Some(NodeEndpoint {
        node_id: node.id.clone(),
        addresses: attachment
            .addresses
            .iter()
            .map(|address| bare(address))
            .collect(),
        node_addr: data_path_address(node),
        wireguard_public_key: wireguard_key(node),
    })
}

/// The networks that a task is attached to.
pub fn task_networks(task: &Task) -> impl Iterator<Item = &str> {
    task.networks.iter().filter_map(network_id)
}

/// The networks that a service may have an endpoint on.
pub fn service_networks(service: &Service) -> impl Iterator<Item = &str> {
    let vips = service
        .endpoint
        .iter()
        .flat_map(|endpoint| &endpoint.virtual_ips);
    let vips = vips.map(|vip| vip.network_id.as_str());
    vips.chain(service.spec.iter().flat_map(attached_to))
}

/// The networks that a node has an address on.
pub fn node_networks(node: &Node) -> impl Iterator<Item = &str> {
    node.attachments.iter().filter_map(network_id)
}

/// Whether it is the network of the routing mesh.
pub fn is_ingress(network: &Arc<Network>) -> bool {
    crate::control::network::is_ingress(network)
}

#[allow(deprecated)]
fn attached_to(spec: &skep_objects::swarmkit::ServiceSpec) -> impl Iterator<Item = &str> {
    let task = spec.task.iter().flat_map(|task| &task.networks);
    task.chain(&spec.networks)
        .map(|attachment| attachment.target.as_str())
}

fn network_id(attachment: &NetworkAttachment) -> Option<&str> {
    attachment
        .network
        .as_ref()
        .map(|network| network.id.as_str())
}

/// An address without its prefix length.
fn bare(address: &str) -> String {
    address
        .split_once('/')
        .map_or(address, |(address, _)| address)
        .to_owned()
}

fn engine_label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let engine = node.description.as_ref()?.engine.as_ref()?;
    engine
        .labels
        .get(key)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// Where a node takes packets of overlay networks.
pub(crate) fn data_path_address(node: &Node) -> String {
    let told = engine_label(node, DATA_PATH_LABEL);
    let seen = node.status.as_ref().map(|status| status.addr.as_str());
    told.or(seen).unwrap_or_default().to_owned()
}

fn wireguard_key(node: &Node) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let label = engine_label(node, WIREGUARD_LABEL);
    label
        .and_then(|label| STANDARD.decode(label).ok())
        .unwrap_or_default()
}
