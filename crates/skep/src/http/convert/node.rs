//! Nodes.

use proto::{NodeRole, node_spec::Availability, node_status, raft_member_status::Reachability};
use skep_objects::api::node as api;
use skep_objects::api::service::{Platform, Resources};
use skep_objects::swarmkit as proto;

use super::task::from_generic_resources;
use super::{ConvertError, annotations, invalid, meta, proto_name, to_annotations, word};

/// A node as the API shows it.
pub fn from_node(node: &proto::Node) -> api::Node {
    let (version, created_at, updated_at) = meta(node.meta.as_ref());
    let status = node.status.clone().unwrap_or_default();
    api::Node {
        id: node.id.clone(),
        version,
        created_at,
        updated_at,
        spec: from_spec(&node.spec.clone().unwrap_or_default()),
        description: node
            .description
            .as_ref()
            .map(from_description)
            .unwrap_or_default(),
        status: api::NodeStatus {
            state: state(status.state()),
            message: status.message,
            addr: status.addr,
        },
        manager_status: node
            .manager_status
            .as_ref()
            .map(|manager| api::ManagerStatus {
                leader: manager.leader,
                reachability: reachability(manager.reachability()),
                addr: manager.addr.clone(),
            }),
    }
}

/// `unknown`, `down`, `ready` or `disconnected`.
pub fn state(state: node_status::State) -> String {
    word(state.as_str_name(), "STATE_")
}

/// `unknown`, `unreachable` or `reachable`.
pub fn reachability(reachability: Reachability) -> String {
    word(reachability.as_str_name(), "REACHABILITY_")
}

/// `worker` or `manager`.
pub fn role(role: NodeRole) -> String {
    word(role.as_str_name(), "NODE_ROLE_")
}

/// `active`, `pause` or `drain`.
pub fn availability(availability: Availability) -> String {
    word(availability.as_str_name(), "AVAILABILITY_")
}

/// The availability that a word means; the empty one is active.
pub fn to_availability(text: &str) -> Result<Availability, ConvertError> {
    if text.is_empty() {
        return Ok(Availability::Active);
    }
    Availability::from_str_name(&proto_name("AVAILABILITY_", text))
        .ok_or_else(|| invalid("Availability", text))
}

fn from_spec(spec: &proto::NodeSpec) -> api::NodeSpec {
    let (name, labels) = annotations(spec.annotations.as_ref());
    api::NodeSpec {
        name,
        labels,
        role: role(spec.desired_role()),
        availability: availability(spec.availability()),
    }
}

fn from_description(description: &proto::NodeDescription) -> api::NodeDescription {
    let platform = description.platform.clone().unwrap_or_default();
    let resources = description.resources.clone().unwrap_or_default();
    let engine = description.engine.clone().unwrap_or_default();
    let tls = description.tls_info.clone().unwrap_or_default();
    let plugin = |p: proto::PluginDescription| api::PluginDescription {
        kind: p.r#type,
        name: p.name,
    };
    api::NodeDescription {
        hostname: description.hostname.clone(),
        platform: Platform {
            architecture: platform.architecture,
            os: platform.os,
        },
        resources: Resources {
            nano_cpus: resources.nano_cpus,
            memory_bytes: resources.memory_bytes,
            generic_resources: from_generic_resources(&resources.generic),
        },
        engine: api::EngineDescription {
            engine_version: engine.engine_version,
            labels: engine.labels,
            plugins: engine.plugins.into_iter().map(plugin).collect(),
        },
        tls_info: api::TlsInfo {
            trust_root: String::from_utf8_lossy(&tls.trust_root).into_owned(),
            cert_issuer_subject: tls.cert_issuer_subject,
            cert_issuer_public_key: tls.cert_issuer_public_key,
        },
        csi_info: description.csi_info.iter().map(from_csi).collect(),
    }
}

fn from_csi(info: &proto::NodeCsiInfo) -> api::NodeCsiInfo {
    api::NodeCsiInfo {
        plugin_name: info.plugin_name.clone(),
        node_id: info.node_id.clone(),
        max_volumes_per_node: info.max_volumes_per_node,
        accessible_topology: info.accessible_topology.as_ref().map(|t| api::Topology {
            segments: t.segments.clone(),
        }),
    }
}

/// A node's spec as managers keep it. Membership is not the API's to change: it stays accepted.
pub fn to_spec(spec: api::NodeSpec) -> Result<proto::NodeSpec, ConvertError> {
    let role = match spec.role.as_str() {
        "" => NodeRole::Worker,
        text => NodeRole::from_str_name(&proto_name("NODE_ROLE_", text))
            .ok_or_else(|| invalid("Role", text))?,
    };
    Ok(proto::NodeSpec {
        annotations: to_annotations(spec.name, spec.labels),
        desired_role: role.into(),
        membership: proto::node_spec::Membership::Accepted.into(),
        availability: to_availability(&spec.availability)?.into(),
    })
}
