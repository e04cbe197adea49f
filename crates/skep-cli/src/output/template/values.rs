//! How Go sees and prints values: truth, types, what is left out of JSON because it is empty.

use serde_json::Value;

/// The hidden field of a row that holds its labels, for `.Label "name"`.
pub(in crate::output) const LABELS: &str = "\0labels";

/// What an absent field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    Text,
    Number,
    Bool,
    List,
    Map,
    Pointer,
}

const TEXTS: &str = " Err Message Hostname Dir User StopSignal Isolation MacAddress Runtime Driver Author Comment Variant \
    OSVersion GraphDriver Propagation Source Consistency Subpath ContainerID Error Addr NodeAddr NodeID IPv4Address IPv6Address \
    Gateway IPRange IdentityToken RegistryToken ProductLicense ";
const NUMBERS: &str = " Slot Pid PID ExitCode ForceUpdate MaxReplicas NanoCPUs MemoryBytes Pids StopTimeout Retries Interval \
    Timeout StartPeriod StartInterval Delay Monitor MaxFailureRatio OomScoreAdj Nodes Managers DataPathPort SubnetSize \
    PublishedPort RunningTasks DesiredTasks CompletedTasks ";
const BOOLS: &str =
    " TTY OpenStdin ReadOnly Leader NetworkDisabled ArgsEscaped RootRotationInProgress Warnings ";
const LISTS: &str = " Env Command Args Groups Hosts Secrets Configs CapabilityAdd CapabilityDrop Ulimits Mounts Constraints \
    Preferences Platforms VirtualIPs Ports Shell OnBuild Entrypoint Cmd Binds Devices CapAdd CapDrop Links Aliases DNSNames \
    GenericResources NetworksAttachments Addresses Peers LinkLocalIPs RepoDigests RepoTags ExtraHosts SecurityOpt GroupAdd \
    VolumesFrom DnsSearch Dns DnsOptions DeviceRequests DeviceCgroupRules RemoteManagers Config ";
const MAPS: &str = " Labels Options Volumes ExposedPorts PortBindings Sysctls Tmpfs StorageOpt Annotations LogOpts DriverOpts \
    Networks Containers Services AuxAddress AuxiliaryAddresses Status Options EngineLabels ";
const POINTERS: &str = " Health Healthcheck Init SizeRw SizeRootFs UsageData ClusterVolume IPAMConfig OomKillDisable \
    MemorySwappiness PidsLimit UpdateStatus PreviousSpec UpdateConfig RollbackConfig ManagerStatus ServiceStatus JobStatus \
    ContainerStatus PortStatus EndpointSpec Privileges DNSConfig Limits Reservations RestartPolicy Placement LogDriver \
    StopGracePeriod Resources Replicated Global ReplicatedJob GlobalJob JobIteration Cluster CSIInfo MaxAttempts Window \
    Replicas BindOptions VolumeOptions TmpfsOptions ImageOptions DriverConfig Manifests Descriptor ConfigFrom TLSInfo ";

/// What a field is that the API leaves out where it is empty; nothing for names that it does not
/// leave out.
pub(super) fn absent(name: &str) -> Option<Absent> {
    let padded = format!(" {name} ");
    [
        (POINTERS, Absent::Pointer),
        (LISTS, Absent::List),
        (MAPS, Absent::Map),
        (TEXTS, Absent::Text),
        (NUMBERS, Absent::Number),
        (BOOLS, Absent::Bool),
    ]
    .into_iter()
    .find(|(names, _)| names.contains(&padded))
    .map(|(_, absent)| absent)
}

/// What Go prints for a field's value.
pub(super) fn print_named(name: &str, value: &Value) -> String {
    match (value, absent(name)) {
        (Value::Null, Some(Absent::List)) => "[]".to_owned(),
        (Value::Null, Some(Absent::Map)) => "map[]".to_owned(),
        (Value::Object(fields), Some(Absent::Map)) => print_map(fields),
        _ => print(value),
    }
}

/// What Go prints for a value.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(print).collect();
            format!("[{}]", items.join(" "))
        }
        // A structure prints its values in their order; names of maps are the user's.
        Value::Object(fields) if is_structure(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| print_named(name, value))
                .collect();
            format!("{{{}}}", fields.join(" "))
        }
        Value::Object(fields) => print_map(fields),
        other => other.to_string(),
    }
}

fn print_map(fields: &serde_json::Map<String, Value>) -> String {
    let mut items: Vec<_> = fields
        .iter()
        .map(|(name, value)| match value.as_object() {
            Some(empty) if empty.is_empty() => format!("{name}:{{}}"),
            _ => format!("{name}:{}", print(value)),
        })
        .collect();
    items.sort();
    format!("map[{}]", items.join(" "))
}

fn is_structure(fields: &serde_json::Map<String, Value>) -> bool {
    !fields.is_empty()
        && fields
            .keys()
            .all(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// Go's truth: not zero, not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A value's type, as messages name it.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
