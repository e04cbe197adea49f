//! Nodes in the Engine API.
#![allow(missing_docs)] // the names are Docker's and documented there
use super::container::StringMap;
use super::encode::bytes;
use super::omit::empty;
use super::service::{Platform, Resources, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
/// `GET /nodes/{id}`, and a row of `GET /nodes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Spec")]
    pub spec: NodeSpec,
    #[serde(rename = "Description")]
    pub description: NodeDescription,
    #[serde(rename = "Status")]
    pub status: NodeStatus,
    #[serde(rename = "ManagerStatus", skip_serializing_if = "Option::is_none")]
    pub manager_status: Option<ManagerStatus>,
}

/// What a manager may change of a node; also the body of `POST /nodes/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Labels")]
    pub labels: Option<StringMap>,
    /// `worker` or `manager`.
    #[serde(rename = "Role", skip_serializing_if = "empty")]
    pub role: String,
    /// `active`, `pause` or `drain`.
    #[serde(rename = "Availability", skip_serializing_if = "empty")]
    pub availability: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDescription {
    #[serde(rename = "Hostname", skip_serializing_if = "empty")]
    pub hostname: String,
    #[serde(rename = "Platform")]
    pub platform: Platform,
    #[serde(rename = "Resources")]
    pub resources: Resources,
    #[serde(rename = "Engine")]
    pub engine: EngineDescription,
    #[serde(rename = "TLSInfo")]
    pub tls_info: TlsInfo,
    #[serde(rename = "CSIInfo", skip_serializing_if = "Vec::is_empty")]
    pub csi_info: Vec<NodeCsiInfo>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineDescription {
    #[serde(rename = "EngineVersion", skip_serializing_if = "empty")]
    pub engine_version: String,
    #[serde(rename = "Labels", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: StringMap,
    #[serde(rename = "Plugins", skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginDescription>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PluginDescription {
    #[serde(rename = "Type", skip_serializing_if = "empty")]
    pub kind: String,
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsInfo {
    #[serde(rename = "TrustRoot", skip_serializing_if = "empty")]
    pub trust_root: String,
    #[serde(
        rename = "CertIssuerSubject",
        skip_serializing_if = "Vec::is_empty",
        with = "bytes"
    )]
    pub cert_issuer_subject: Vec<u8>,
    #[serde(
        rename = "CertIssuerPublicKey",
        skip_serializing_if = "Vec::is_empty",
        with = "bytes"
    )]
    pub cert_issuer_public_key: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeCsiInfo {
    #[serde(rename = "PluginName", skip_serializing_if = "empty")]
    pub plugin_name: String,
    #[serde(rename = "NodeID", skip_serializing_if = "empty")]
    pub node_id: String,
    #[serde(rename = "MaxVolumesPerNode", skip_serializing_if = "empty")]
    pub max_volumes_per_node: i64,
    #[serde(rename = "AccessibleTopology", skip_serializing_if = "Option::is_none")]
    pub accessible_topology: Option<Topology>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    #[serde(rename = "Segments", skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: StringMap,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    #[serde(rename = "State", skip_serializing_if = "empty")]
    pub state: String,
    #[serde(rename = "Message", skip_serializing_if = "empty")]
    pub message: String,
    #[serde(rename = "Addr", skip_serializing_if = "empty")]
    pub addr: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagerStatus {
    #[serde(rename = "Leader", skip_serializing_if = "empty")]
    pub leader: bool,
    #[serde(rename = "Reachability", skip_serializing_if = "empty")]
    pub reachability: String,
    #[serde(rename = "Addr", skip_serializing_if = "empty")]
    pub addr: String,
}
