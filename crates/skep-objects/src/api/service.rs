//! Services in the Engine API: specs as users send them, objects as managers answer.
//! Durations are nanoseconds.
#![allow(missing_docs)] // the names are Docker's and documented there
use super::container::{HealthConfig, Mount, StringMap, Ulimit};
use super::encode::{bytes, float32};
use super::omit::empty;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
/// An object's place in the order of changes; updates must name the current one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Version {
    #[serde(rename = "Index", skip_serializing_if = "empty")]
    pub index: u64,
}

/// `GET /services/{id}`, and a row of `GET /services`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Spec")]
    pub spec: ServiceSpec,
    #[serde(rename = "PreviousSpec", skip_serializing_if = "Option::is_none")]
    pub previous_spec: Option<ServiceSpec>,
    #[serde(rename = "Endpoint")]
    pub endpoint: Endpoint,
    #[serde(rename = "UpdateStatus", skip_serializing_if = "Option::is_none")]
    pub update_status: Option<UpdateStatus>,
    #[serde(rename = "ServiceStatus", skip_serializing_if = "Option::is_none")]
    pub service_status: Option<ServiceStatus>,
    #[serde(rename = "JobStatus", skip_serializing_if = "Option::is_none")]
    pub job_status: Option<JobStatus>,
}

/// What the user wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Labels")]
    pub labels: Option<StringMap>,
    #[serde(rename = "TaskTemplate")]
    pub task_template: TaskSpec,
    #[serde(rename = "Mode")]
    pub mode: ServiceMode,
    #[serde(rename = "UpdateConfig", skip_serializing_if = "Option::is_none")]
    pub update_config: Option<UpdateConfig>,
    #[serde(rename = "RollbackConfig", skip_serializing_if = "Option::is_none")]
    pub rollback_config: Option<UpdateConfig>,
    /// Clients below API 1.44 put networks here; later ones in the task template.
    #[serde(rename = "Networks", skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<NetworkAttachmentConfig>>,
    #[serde(rename = "EndpointSpec", skip_serializing_if = "Option::is_none")]
    pub endpoint_spec: Option<EndpointSpec>,
}

/// How many tasks; at most one is set, none means replicated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceMode {
    #[serde(rename = "Replicated", skip_serializing_if = "Option::is_none")]
    pub replicated: Option<ReplicatedService>,
    #[serde(rename = "Global", skip_serializing_if = "Option::is_none")]
    pub global: Option<GlobalService>,
    #[serde(rename = "ReplicatedJob", skip_serializing_if = "Option::is_none")]
    pub replicated_job: Option<ReplicatedJob>,
    #[serde(rename = "GlobalJob", skip_serializing_if = "Option::is_none")]
    pub global_job: Option<GlobalJob>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicatedService {
    #[serde(rename = "Replicas", skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GlobalService {}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicatedJob {
    #[serde(rename = "MaxConcurrent", skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u64>,
    #[serde(rename = "TotalCompletions", skip_serializing_if = "Option::is_none")]
    pub total_completions: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GlobalJob {}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    #[serde(rename = "Parallelism")]
    pub parallelism: u64,
    #[serde(rename = "Delay", skip_serializing_if = "empty")]
    pub delay: i64,
    /// `pause`, `continue` or `rollback`.
    #[serde(rename = "FailureAction", skip_serializing_if = "empty")]
    pub failure_action: String,
    #[serde(rename = "Monitor", skip_serializing_if = "empty")]
    pub monitor: i64,
    #[serde(rename = "MaxFailureRatio", with = "float32")]
    pub max_failure_ratio: f32,
    /// `stop-first` or `start-first`.
    #[serde(rename = "Order", skip_serializing_if = "empty")]
    pub order: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateStatus {
    #[serde(rename = "State", skip_serializing_if = "empty")]
    pub state: String,
    #[serde(rename = "StartedAt", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(rename = "CompletedAt", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    #[serde(rename = "Message", skip_serializing_if = "empty")]
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceStatus {
    #[serde(rename = "RunningTasks")]
    pub running_tasks: u64,
    #[serde(rename = "DesiredTasks")]
    pub desired_tasks: u64,
    #[serde(rename = "CompletedTasks")]
    pub completed_tasks: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    #[serde(rename = "JobIteration")]
    pub job_iteration: Version,
    #[serde(rename = "LastExecution")]
    pub last_execution: String,
}

/// What each task runs, and under which rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSpec {
    #[serde(rename = "ContainerSpec", skip_serializing_if = "Option::is_none")]
    pub container_spec: Option<ContainerSpec>,
    #[serde(rename = "PluginSpec", skip_serializing_if = "Option::is_none")]
    pub plugin_spec: Option<serde_json::Value>,
    #[serde(
        rename = "NetworkAttachmentSpec",
        skip_serializing_if = "Option::is_none"
    )]
    pub network_attachment_spec: Option<NetworkAttachmentSpec>,
    #[serde(rename = "Resources", skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    #[serde(rename = "RestartPolicy", skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    #[serde(rename = "Placement", skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    #[serde(rename = "Networks", skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkAttachmentConfig>,
    #[serde(rename = "LogDriver", skip_serializing_if = "Option::is_none")]
    pub log_driver: Option<Driver>,
    #[serde(rename = "ForceUpdate")]
    pub force_update: u64,
    /// `container` (or empty), `plugin` or `attachment`.
    #[serde(rename = "Runtime", skip_serializing_if = "empty")]
    pub runtime: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachmentSpec {
    #[serde(rename = "ContainerID")]
    pub container_id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    #[serde(rename = "Image", skip_serializing_if = "empty")]
    pub image: String,
    #[serde(rename = "Labels", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: StringMap,
    #[serde(rename = "Command", skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    #[serde(rename = "Args", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(rename = "Hostname", skip_serializing_if = "empty")]
    pub hostname: String,
    #[serde(rename = "Env", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(rename = "Dir", skip_serializing_if = "empty")]
    pub dir: String,
    #[serde(rename = "User", skip_serializing_if = "empty")]
    pub user: String,
    #[serde(rename = "Groups", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(rename = "Privileges", skip_serializing_if = "Option::is_none")]
    pub privileges: Option<Privileges>,
    #[serde(rename = "Init", skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    #[serde(rename = "StopSignal", skip_serializing_if = "empty")]
    pub stop_signal: String,
    #[serde(rename = "TTY", skip_serializing_if = "empty")]
    pub tty: bool,
    #[serde(rename = "OpenStdin", skip_serializing_if = "empty")]
    pub open_stdin: bool,
    #[serde(rename = "ReadOnly", skip_serializing_if = "empty")]
    pub read_only: bool,
    #[serde(rename = "Mounts", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(rename = "StopGracePeriod", skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<i64>,
    #[serde(rename = "Healthcheck", skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    #[serde(rename = "Hosts", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    #[serde(rename = "DNSConfig", skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,
    #[serde(rename = "Secrets", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretReference>,
    #[serde(rename = "Configs", skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<ConfigReference>,
    #[serde(rename = "Isolation", skip_serializing_if = "empty")]
    pub isolation: String,
    #[serde(rename = "Sysctls", skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: StringMap,
    #[serde(rename = "CapabilityAdd", skip_serializing_if = "Vec::is_empty")]
    pub capability_add: Vec<String>,
    #[serde(rename = "CapabilityDrop", skip_serializing_if = "Vec::is_empty")]
    pub capability_drop: Vec<String>,
    #[serde(rename = "Ulimits", skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<Ulimit>,
    #[serde(rename = "OomScoreAdj", skip_serializing_if = "empty")]
    pub oom_score_adj: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsConfig {
    #[serde(rename = "Nameservers", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    #[serde(rename = "Search", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    #[serde(rename = "Options", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Privileges {
    #[serde(rename = "CredentialSpec")]
    pub credential_spec: Option<CredentialSpec>,
    #[serde(rename = "SELinuxContext")]
    pub selinux_context: Option<SeLinuxContext>,
    #[serde(rename = "Seccomp", skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<SeccompOpts>,
    #[serde(rename = "AppArmor", skip_serializing_if = "Option::is_none")]
    pub app_armor: Option<AppArmorOpts>,
    #[serde(rename = "NoNewPrivileges")]
    pub no_new_privileges: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CredentialSpec {
    #[serde(rename = "Config")]
    pub config: String,
    #[serde(rename = "File")]
    pub file: String,
    #[serde(rename = "Registry")]
    pub registry: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeLinuxContext {
    #[serde(rename = "Disable")]
    pub disable: bool,
    #[serde(rename = "User")]
    pub user: String,
    #[serde(rename = "Role")]
    pub role: String,
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Level")]
    pub level: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeccompOpts {
    /// `default`, `unconfined` or `custom`.
    #[serde(rename = "Mode", skip_serializing_if = "empty")]
    pub mode: String,
    #[serde(
        rename = "Profile",
        skip_serializing_if = "Vec::is_empty",
        with = "bytes"
    )]
    pub profile: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppArmorOpts {
    /// `default` or `disabled`.
    #[serde(rename = "Mode", skip_serializing_if = "empty")]
    pub mode: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretReference {
    #[serde(rename = "File")]
    pub file: Option<FileTarget>,
    #[serde(rename = "SecretID")]
    pub secret_id: String,
    #[serde(rename = "SecretName")]
    pub secret_name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigReference {
    #[serde(rename = "File", skip_serializing_if = "Option::is_none")]
    pub file: Option<FileTarget>,
    #[serde(rename = "Runtime", skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeTarget>,
    #[serde(rename = "ConfigID")]
    pub config_id: String,
    #[serde(rename = "ConfigName")]
    pub config_name: String,
}

/// A file in the container; the mode is Go's `os.FileMode`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileTarget {
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "UID")]
    pub uid: String,
    #[serde(rename = "GID")]
    pub gid: String,
    #[serde(rename = "Mode")]
    pub mode: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeTarget {}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceRequirements {
    #[serde(rename = "Limits", skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limit>,
    #[serde(rename = "Reservations", skip_serializing_if = "Option::is_none")]
    pub reservations: Option<Resources>,
    #[serde(rename = "SwapBytes", skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<i64>,
    #[serde(rename = "MemorySwappiness", skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    #[serde(rename = "NanoCPUs", skip_serializing_if = "empty")]
    pub nano_cpus: i64,
    #[serde(rename = "MemoryBytes", skip_serializing_if = "empty")]
    pub memory_bytes: i64,
    #[serde(rename = "Pids", skip_serializing_if = "empty")]
    pub pids: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    #[serde(rename = "NanoCPUs", skip_serializing_if = "empty")]
    pub nano_cpus: i64,
    #[serde(rename = "MemoryBytes", skip_serializing_if = "empty")]
    pub memory_bytes: i64,
    #[serde(rename = "GenericResources", skip_serializing_if = "Vec::is_empty")]
    pub generic_resources: Vec<GenericResource>,
}

/// One of the two is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenericResource {
    #[serde(rename = "NamedResourceSpec", skip_serializing_if = "Option::is_none")]
    pub named_resource_spec: Option<NamedGenericResource>,
    #[serde(
        rename = "DiscreteResourceSpec",
        skip_serializing_if = "Option::is_none"
    )]
    pub discrete_resource_spec: Option<DiscreteGenericResource>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedGenericResource {
    #[serde(rename = "Kind", skip_serializing_if = "empty")]
    pub kind: String,
    #[serde(rename = "Value", skip_serializing_if = "empty")]
    pub value: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscreteGenericResource {
    #[serde(rename = "Kind", skip_serializing_if = "empty")]
    pub kind: String,
    #[serde(rename = "Value", skip_serializing_if = "empty")]
    pub value: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `none`, `on-failure` or `any`.
    #[serde(rename = "Condition", skip_serializing_if = "empty")]
    pub condition: String,
    #[serde(rename = "Delay", skip_serializing_if = "Option::is_none")]
    pub delay: Option<i64>,
    #[serde(rename = "MaxAttempts", skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    #[serde(rename = "Window", skip_serializing_if = "Option::is_none")]
    pub window: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    #[serde(rename = "Constraints", skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    #[serde(rename = "Preferences", skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<PlacementPreference>,
    #[serde(rename = "MaxReplicas", skip_serializing_if = "empty")]
    pub max_replicas: u64,
    #[serde(rename = "Platforms", skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlacementPreference {
    #[serde(rename = "Spread")]
    pub spread: Option<SpreadOver>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpreadOver {
    #[serde(rename = "SpreadDescriptor")]
    pub spread_descriptor: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    #[serde(rename = "Architecture", skip_serializing_if = "empty")]
    pub architecture: String,
    #[serde(rename = "OS", skip_serializing_if = "empty")]
    pub os: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachmentConfig {
    #[serde(rename = "Target", skip_serializing_if = "empty")]
    pub target: String,
    #[serde(rename = "Aliases", skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    #[serde(rename = "DriverOpts", skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: StringMap,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Driver {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Options", skip_serializing_if = "BTreeMap::is_empty")]
    pub options: StringMap,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// `vip` or `dnsrr`.
    #[serde(rename = "Mode", skip_serializing_if = "empty")]
    pub mode: String,
    #[serde(rename = "Ports", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortConfig {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Protocol", skip_serializing_if = "empty")]
    pub protocol: String,
    #[serde(rename = "TargetPort", skip_serializing_if = "empty")]
    pub target_port: u32,
    #[serde(rename = "PublishedPort", skip_serializing_if = "empty")]
    pub published_port: u32,
    /// `ingress` or `host`.
    #[serde(rename = "PublishMode", skip_serializing_if = "empty")]
    pub publish_mode: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    #[serde(rename = "Spec")]
    pub spec: EndpointSpec,
    #[serde(rename = "Ports", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
    #[serde(rename = "VirtualIPs", skip_serializing_if = "Vec::is_empty")]
    pub virtual_ips: Vec<EndpointVirtualIp>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointVirtualIp {
    #[serde(rename = "NetworkID", skip_serializing_if = "empty")]
    pub network_id: String,
    #[serde(rename = "Addr", skip_serializing_if = "empty")]
    pub addr: String,
}

/// Answer to `POST /services/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceCreateResponse {
    #[serde(rename = "ID", skip_serializing_if = "empty")]
    pub id: String,
    #[serde(rename = "Warnings")]
    pub warnings: Option<Vec<String>>,
}

/// Answer to `POST /services/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceUpdateResponse {
    #[serde(rename = "Warnings")]
    pub warnings: Option<Vec<String>>,
}
