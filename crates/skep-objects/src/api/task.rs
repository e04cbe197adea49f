//! Tasks in the Engine API.
#![allow(missing_docs)] // the names are Docker's and documented there
use super::container::StringMap;
use super::network::ConfigReference;
use super::omit::empty;
use super::service::{Driver, GenericResource, PortConfig, TaskSpec, Version};
use serde::{Deserialize, Serialize};
/// `GET /tasks/{id}`, and a row of `GET /tasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Labels")]
    pub labels: Option<StringMap>,
    #[serde(rename = "Spec")]
    pub spec: TaskSpec,
    #[serde(rename = "ServiceID", skip_serializing_if = "empty")]
    pub service_id: String,
    #[serde(rename = "Slot", skip_serializing_if = "empty")]
    pub slot: u64,
    #[serde(rename = "NodeID", skip_serializing_if = "empty")]
    pub node_id: String,
    #[serde(rename = "Status")]
    pub status: TaskStatus,
    #[serde(rename = "DesiredState", skip_serializing_if = "empty")]
    pub desired_state: String,
    #[serde(rename = "NetworksAttachments", skip_serializing_if = "Vec::is_empty")]
    pub networks_attachments: Vec<NetworkAttachment>,
    #[serde(rename = "GenericResources", skip_serializing_if = "Vec::is_empty")]
    pub generic_resources: Vec<GenericResource>,
    #[serde(rename = "JobIteration", skip_serializing_if = "Option::is_none")]
    pub job_iteration: Option<Version>,
    #[serde(rename = "Volumes")]
    pub volumes: Option<Vec<VolumeAttachment>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskStatus {
    #[serde(rename = "Timestamp")]
    pub timestamp: String,
    #[serde(rename = "State", skip_serializing_if = "empty")]
    pub state: String,
    #[serde(rename = "Message", skip_serializing_if = "empty")]
    pub message: String,
    #[serde(rename = "Err", skip_serializing_if = "empty")]
    pub err: String,
    #[serde(rename = "ContainerStatus", skip_serializing_if = "Option::is_none")]
    pub container_status: Option<ContainerStatus>,
    #[serde(rename = "PortStatus")]
    pub port_status: PortStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    #[serde(rename = "PID")]
    pub pid: i32,
    #[serde(rename = "ExitCode")]
    pub exit_code: i32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortStatus {
    #[serde(rename = "Ports", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeAttachment {
    #[serde(rename = "ID", skip_serializing_if = "empty")]
    pub id: String,
    #[serde(rename = "Source", skip_serializing_if = "empty")]
    pub source: String,
    #[serde(rename = "Target", skip_serializing_if = "empty")]
    pub target: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachment {
    #[serde(rename = "Network")]
    pub network: SwarmNetwork,
    #[serde(rename = "Addresses", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// A network as tasks show it: the managers' object, not the one of `GET /networks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwarmNetwork {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Spec")]
    pub spec: NetworkSpec,
    #[serde(rename = "DriverState")]
    pub driver_state: Driver,
    #[serde(rename = "IPAMOptions", skip_serializing_if = "Option::is_none")]
    pub ipam_options: Option<IpamOptions>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Labels")]
    pub labels: Option<StringMap>,
    #[serde(
        rename = "DriverConfiguration",
        skip_serializing_if = "Option::is_none"
    )]
    pub driver_configuration: Option<Driver>,
    #[serde(rename = "IPv6Enabled", skip_serializing_if = "empty")]
    pub ipv6_enabled: bool,
    #[serde(rename = "Internal", skip_serializing_if = "empty")]
    pub internal: bool,
    #[serde(rename = "Attachable", skip_serializing_if = "empty")]
    pub attachable: bool,
    #[serde(rename = "Ingress", skip_serializing_if = "empty")]
    pub ingress: bool,
    #[serde(rename = "IPAMOptions", skip_serializing_if = "Option::is_none")]
    pub ipam_options: Option<IpamOptions>,
    #[serde(rename = "ConfigFrom", skip_serializing_if = "Option::is_none")]
    pub config_from: Option<ConfigReference>,
    #[serde(rename = "Scope", skip_serializing_if = "empty")]
    pub scope: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamOptions {
    #[serde(rename = "Driver")]
    pub driver: Driver,
    #[serde(rename = "Configs", skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<IpamConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    #[serde(rename = "Subnet", skip_serializing_if = "empty")]
    pub subnet: String,
    #[serde(rename = "Range", skip_serializing_if = "empty")]
    pub range: String,
    #[serde(rename = "Gateway", skip_serializing_if = "empty")]
    pub gateway: String,
}
