//! How Go sees and prints values: truth, types, what is left out of JSON because it is empty.

use serde_json::Value;

use super::held::{Held, Shape};
use super::printf::shortest;
use super::types::Form;
use crate::go_duration;

/// The hidden field of a row that holds its labels, for `.Label "name"`.
pub const LABELS: &str = "\0labels";

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

/// What Go prints for a value.
pub(super) fn print(held: &Held) -> String {
    if matches!(held.form(), Form::Pointer(_)) && held.value.is_null() {
        return "<nil>".to_owned();
    }
    let held = held.clone().pointed();
    match &held.shape {
        Shape::Nothing => "<no value>".to_owned(),
        Shape::Go(of) => print_go(&held.value, of),
        Shape::Guess(name) => print_named(name, &held.value),
        Shape::Raw | Shape::Row(_) => print_json(&held.value),
    }
}

/// Where a pointer within a structure points to: nobody can tell.
const ADDRESS: &str = "0xc000000000";

fn print_go(value: &Value, of: &'static str) -> String {
    match (super::types::form(of), value) {
        (Form::Pointer(_), Value::Null) => "<nil>".to_owned(),
        (Form::Pointer(_), _) => ADDRESS.to_owned(),
        (Form::Struct(_), value) if of == "swarm.Version" => print_go(&value["Index"], "uint64"),
        (Form::Struct(fields), value) => {
            let shown = |field: super::types::Field| {
                let own = match field.is_embedded {
                    true => value,
                    false => value.get(field.json).unwrap_or(&Value::Null),
                };
                print_go(own, field.of)
            };
            let fields: Vec<String> = fields.into_iter().map(shown).collect();
            format!("{{{}}}", fields.join(" "))
        }
        (Form::List(item), value) => {
            let items = value.as_array().into_iter().flatten();
            let items: Vec<String> = items.map(|value| print_go(value, item)).collect();
            format!("[{}]", items.join(" "))
        }
        (Form::Map(item), value) => {
            let fields = value.as_object().into_iter().flatten();
            let mut fields: Vec<String> = fields
                .map(|(name, value)| format!("{name}:{}", print_go(value, item)))
                .collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        (Form::Bytes, value) => {
            let bytes: Vec<String> = bytes_of(value).iter().map(u8::to_string).collect();
            format!("[{}]", bytes.join(" "))
        }
        (Form::Text, _) if of == "time.Time" => print_time(value.as_str().unwrap_or_default()),
        (Form::Text, value) => value.as_str().unwrap_or_default().to_owned(),
        (Form::Number, value) => match of {
            "time.Duration" => go_duration::print(value.as_i64().unwrap_or(0)),
            "os.FileMode" => print_mode(value.as_u64().unwrap_or(0)),
            _ => number_text(value),
        },
        (Form::Bool, value) => value.as_bool().unwrap_or_default().to_string(),
        (Form::Any, value) => print_json(value),
    }
}

fn number_text(value: &Value) -> String {
    match value.as_f64() {
        None => "0".to_owned(),
        Some(number) if value.is_f64() => shortest(number),
        Some(_) => value.to_string(),
    }
}

/// `2026-11-28 09:26:21.943 +0000 UTC` of RFC 3339's.
fn print_time(text: &str) -> String {
    let plain = text.trim_end_matches('Z');
    match plain.split_once('T') {
        Some((date, time)) if plain.len() < text.len() => {
            let time = match time.split_once('.') {
                Some((time, part)) if part.trim_end_matches('0').is_empty() => time.to_owned(),
                Some((time, part)) => format!("{time}.{}", part.trim_end_matches('0')),
                None => time.to_owned(),
            };
            format!("{date} {time} +0000 UTC")
        }
        Some(_) => text.to_owned(),
        None => "0001-01-01 00:00:00 +0000 UTC".to_owned(),
    }
}

/// `-r--r--r--`
fn print_mode(mode: u64) -> String {
    let letters = "rwxrwxrwx".chars().enumerate();
    let shown = letters.map(|(at, c)| if mode >> (8 - at) & 1 == 1 { c } else { '-' });
    std::iter::once('-').chain(shown).collect()
}

fn bytes_of(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    let text = value.as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default()
}

impl Held {
    /// What the API has in base64.
    pub(super) fn bytes(&self) -> Vec<u8> {
        bytes_of(&self.value)
    }
}

/// What Go prints for a field's value.
fn print_named(name: &str, value: &Value) -> String {
    match (value, absent(name)) {
        (Value::Null, Some(Absent::List)) => "[]".to_owned(),
        (Value::Null, Some(Absent::Map)) => "map[]".to_owned(),
        (Value::Object(fields), Some(Absent::Map)) => print_map(fields),
        _ => print_json(value),
    }
}

fn print_json(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(print_json).collect();
            format!("[{}]", items.join(" "))
        }
        // A structure prints its values in their order; names of maps are the user's.
        Value::Object(fields) if is_structure(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .filter(|(name, _)| *name != LABELS)
                .map(|(name, value)| print_named(name, value))
                .collect();
            format!("{{{}}}", fields.join(" "))
        }
        Value::Object(fields) => print_map(fields),
        other => number_or_bool(other),
    }
}

fn number_or_bool(value: &Value) -> String {
    match value {
        Value::Number(_) => number_text(value),
        other => other.to_string(),
    }
}

fn print_map(fields: &serde_json::Map<String, Value>) -> String {
    let mut items: Vec<_> = fields
        .iter()
        .map(|(name, value)| match value.as_object() {
            Some(empty) if empty.is_empty() => format!("{name}:{{}}"),
            _ => format!("{name}:{}", print_json(value)),
        })
        .collect();
    items.sort();
    format!("map[{}]", items.join(" "))
}

fn is_structure(fields: &serde_json::Map<String, Value>) -> bool {
    !fields.is_empty()
        && fields
            .keys()
            .all(|name| name == LABELS || name.starts_with(|c: char| c.is_ascii_uppercase()))
}
