//! The swarm itself in the Engine API: its spec, tokens, and how a node enters it.
#![allow(missing_docs)] // the names are Docker's and documented there
use super::container::StringMap;
use super::node::TlsInfo;
use super::omit::empty;
use super::service::{Driver, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
/// `GET /swarm`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Swarm {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Spec")]
    pub spec: SwarmSpec,
    #[serde(rename = "TLSInfo")]
    pub tls_info: TlsInfo,
    #[serde(rename = "RootRotationInProgress")]
    pub root_rotation_in_progress: bool,
    #[serde(rename = "DefaultAddrPool")]
    pub default_addr_pool: Option<Vec<String>>,
    #[serde(rename = "SubnetSize")]
    pub subnet_size: u32,
    #[serde(rename = "DataPathPort")]
    pub data_path_port: u32,
    #[serde(rename = "JoinTokens")]
    pub join_tokens: JoinTokens,
}

/// [`Swarm`] without its tokens, as `GET /info` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterInfo {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Spec")]
    pub spec: SwarmSpec,
    #[serde(rename = "TLSInfo")]
    pub tls_info: TlsInfo,
    #[serde(rename = "RootRotationInProgress")]
    pub root_rotation_in_progress: bool,
    #[serde(rename = "DefaultAddrPool")]
    pub default_addr_pool: Option<Vec<String>>,
    #[serde(rename = "SubnetSize")]
    pub subnet_size: u32,
    #[serde(rename = "DataPathPort")]
    pub data_path_port: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinTokens {
    #[serde(rename = "Worker")]
    pub worker: String,
    #[serde(rename = "Manager")]
    pub manager: String,
}

/// What the user wrote; also the body of `POST /swarm/update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwarmSpec {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Labels")]
    pub labels: Option<StringMap>,
    #[serde(rename = "Orchestration")]
    pub orchestration: OrchestrationConfig,
    #[serde(rename = "Raft")]
    pub raft: RaftConfig,
    #[serde(rename = "Dispatcher")]
    pub dispatcher: DispatcherConfig,
    #[serde(rename = "CAConfig")]
    pub ca_config: CaConfig,
    #[serde(rename = "TaskDefaults")]
    pub task_defaults: TaskDefaults,
    #[serde(rename = "EncryptionConfig")]
    pub encryption_config: EncryptionConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrchestrationConfig {
    #[serde(
        rename = "TaskHistoryRetentionLimit",
        skip_serializing_if = "Option::is_none"
    )]
    pub task_history_retention_limit: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaftConfig {
    #[serde(rename = "SnapshotInterval", skip_serializing_if = "empty")]
    pub snapshot_interval: u64,
    #[serde(rename = "KeepOldSnapshots", skip_serializing_if = "Option::is_none")]
    pub keep_old_snapshots: Option<u64>,
    #[serde(rename = "LogEntriesForSlowFollowers", skip_serializing_if = "empty")]
    pub log_entries_for_slow_followers: u64,
    #[serde(rename = "ElectionTick")]
    pub election_tick: i64,
    #[serde(rename = "HeartbeatTick")]
    pub heartbeat_tick: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DispatcherConfig {
    #[serde(rename = "HeartbeatPeriod", skip_serializing_if = "empty")]
    pub heartbeat_period: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaConfig {
    #[serde(rename = "NodeCertExpiry", skip_serializing_if = "empty")]
    pub node_cert_expiry: i64,
    #[serde(rename = "ExternalCAs", skip_serializing_if = "Vec::is_empty")]
    pub external_cas: Vec<ExternalCa>,
    #[serde(rename = "SigningCACert", skip_serializing_if = "empty")]
    pub signing_ca_cert: String,
    #[serde(rename = "SigningCAKey", skip_serializing_if = "empty")]
    pub signing_ca_key: String,
    #[serde(rename = "ForceRotate", skip_serializing_if = "empty")]
    pub force_rotate: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalCa {
    #[serde(rename = "Protocol")]
    pub protocol: String,
    #[serde(rename = "URL")]
    pub url: String,
    #[serde(rename = "Options", skip_serializing_if = "BTreeMap::is_empty")]
    pub options: StringMap,
    #[serde(rename = "CACert")]
    pub ca_cert: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskDefaults {
    #[serde(rename = "LogDriver", skip_serializing_if = "Option::is_none")]
    pub log_driver: Option<Driver>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncryptionConfig {
    #[serde(rename = "AutoLockManagers")]
    pub auto_lock_managers: bool,
}

/// The body of `POST /swarm/init`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InitRequest {
    #[serde(rename = "ListenAddr")]
    pub listen_addr: String,
    #[serde(rename = "AdvertiseAddr")]
    pub advertise_addr: String,
    #[serde(rename = "DataPathAddr")]
    pub data_path_addr: String,
    #[serde(rename = "DataPathPort")]
    pub data_path_port: u32,
    #[serde(rename = "ForceNewCluster")]
    pub force_new_cluster: bool,
    #[serde(rename = "Spec")]
    pub spec: SwarmSpec,
    #[serde(rename = "AutoLockManagers")]
    pub auto_lock_managers: bool,
    #[serde(rename = "Availability")]
    pub availability: String,
    #[serde(rename = "DefaultAddrPool")]
    pub default_addr_pool: Option<Vec<String>>,
    #[serde(rename = "SubnetSize")]
    pub subnet_size: u32,
}

/// The body of `POST /swarm/join`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinRequest {
    #[serde(rename = "ListenAddr")]
    pub listen_addr: String,
    #[serde(rename = "AdvertiseAddr")]
    pub advertise_addr: String,
    #[serde(rename = "DataPathAddr")]
    pub data_path_addr: String,
    #[serde(rename = "RemoteAddrs")]
    pub remote_addrs: Option<Vec<String>>,
    #[serde(rename = "JoinToken")]
    pub join_token: String,
    #[serde(rename = "Availability")]
    pub availability: String,
}

/// The body of `POST /swarm/unlock`, and the answer of `GET /swarm/unlockkey`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnlockKey {
    #[serde(rename = "UnlockKey")]
    pub unlock_key: String,
}

/// The block `Swarm` of `GET /info`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    #[serde(rename = "NodeAddr")]
    pub node_addr: String,
    /// `inactive`, `pending`, `active`, `error` or `locked`.
    #[serde(rename = "LocalNodeState")]
    pub local_node_state: String,
    #[serde(rename = "ControlAvailable")]
    pub control_available: bool,
    #[serde(rename = "Error")]
    pub error: String,
    #[serde(rename = "RemoteManagers")]
    pub remote_managers: Option<Vec<Peer>>,
    #[serde(rename = "Nodes", skip_serializing_if = "empty")]
    pub nodes: u64,
    #[serde(rename = "Managers", skip_serializing_if = "empty")]
    pub managers: u64,
    #[serde(rename = "Cluster", skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterInfo>,
    #[serde(rename = "Warnings", skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    #[serde(rename = "Addr")]
    pub addr: String,
}
