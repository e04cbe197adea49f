//! What services of skep have beyond Docker's API, as labels of their containers: devices, GPUs,
//! privileges, namespaces, shared memory and security options.
//!
//! The labels are the one form in which they travel: Docker's clients can write them, the store and
//! dockerd peers carry them, and a node reads them when it makes a container. A container label goes
//! over a label of the service. Described for users in `docs/design/service-extras.md`.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::container::{DeviceMapping, DeviceRequest};

mod gpus;

pub use gpus::parse_gpus;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extra {
    /// All of the host's devices and every capability.
    Privileged,
    /// Device nodes of the host.
    Device,
    /// GPUs.
    Gpus,
    /// The host's processes.
    Pid,
    /// The host's System V IPC and shared memory.
    Ipc,
    /// The size of `/dev/shm`.
    ShmSize,
    /// Seccomp, AppArmor and SELinux.
    SecurityOpt,
}

impl Extra {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Privileged,
        Self::Device,
        Self::Gpus,
        Self::Pid,
        Self::Ipc,
        Self::ShmSize,
        Self::SecurityOpt,
    ];

    /// As flags and labels call it: `shm-size`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Device => "device",
            Self::Gpus => "gpus",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::ShmSize => "shm-size",
            Self::SecurityOpt => "security-opt",
        }
    }

    /// Its label: `skep.shm-size`.
    pub fn label(self) -> String {
        format!("skep.{}", self.name())
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extra| extra.name() == name)
    }
}

/// A label whose value is not what it can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value:?} of label skep.{}: {reason}", .extra.name())]
pub struct ExtraError {
    /// Which.
    pub extra: Extra,
    /// What was written.
    pub value: String,
    /// What would do.
    pub reason: String,
}

/// What a service's labels ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// `skep.privileged`
    pub privileged: bool,
    /// `skep.device`: `/dev/x[:/dev/y[:rwm]]`, separated by commas.
    pub devices: Vec<DeviceMapping>,
    /// `skep.device`: names of CDI devices, which may stand among them.
    pub named_devices: Vec<String>,
    /// `skep.gpus`: `all`, a number, or `key=value` pairs as `docker run --gpus` has them.
    pub gpus: Option<DeviceRequest>,
    /// `skep.pid`: `host`.
    pub pid: String,
    /// `skep.ipc`: `host`, `none`, `private` or `shareable`.
    pub ipc: String,
    /// `skep.shm-size`
    pub shm_bytes: Option<i64>,
    /// `skep.security-opt`: separated by commas, or a JSON array of texts.
    pub security: Vec<String>,
    used: BTreeSet<Extra>,
}

impl Extras {
    /// Reads labels of containers, and of their service where a container has none of its own.
    pub fn read(
        container: &BTreeMap<String, String>,
        service: Option<&BTreeMap<String, String>>,
    ) -> Result<Self, ExtraError> {
        let mut extras = Self::default();
        for extra in Extra::ALL {
            let label = extra.label();
            let value = container
                .get(&label)
                .or_else(|| service.and_then(|labels| labels.get(&label)));
            if let Some(value) = value.map(|value| value.trim()).filter(|v| !v.is_empty()) {
                extras.take(extra, value)?;
            }
        }
        Ok(extras)
    }

    fn take(&mut self, extra: Extra, value: &str) -> Result<(), ExtraError> {
        let bad = |reason: &str| ExtraError {
            extra,
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        match extra {
            Extra::Privileged => {
                self.privileged = boolean(value).ok_or_else(|| bad("must be true or false"))?;
                if !self.privileged {
                    return Ok(());
                }
            }
            Extra::Device => {
                for text in parts(value).map_err(|reason| bad(&reason))? {
                    match parse_device(&text).map_err(|r| bad(&r))? {
                        Device::Node(node) => self.devices.push(node),
                        Device::Named(name) => self.named_devices.push(name),
                    }
                }
            }
            Extra::Gpus => self.gpus = Some(parse_gpus(value).map_err(|reason| bad(&reason))?),
            Extra::Pid => {
                if value != "host" {
                    return Err(bad("must be host"));
                }
                self.pid = value.to_owned();
            }
            Extra::Ipc => {
                if !matches!(value, "host" | "none" | "private" | "shareable") {
                    return Err(bad("must be host, none, private or shareable"));
                }
                self.ipc = value.to_owned();
            }
            Extra::ShmSize => {
                let bytes = parse_size(value).filter(|bytes| *bytes > 0);
                self.shm_bytes = Some(bytes.ok_or_else(|| bad("must be a size such as 64m"))?);
            }
            Extra::SecurityOpt => {
                self.security = parts(value).map_err(|reason| bad(&reason))?;
                for option in &self.security {
                    check_security(option).map_err(|reason| bad(&reason))?;
                }
            }
        }
        self.used.insert(extra);
        Ok(())
    }

    /// Which of them are asked for.
    pub fn used(&self) -> impl Iterator<Item = Extra> {
        self.used.iter().copied()
    }
}

/// Which of them a node lets services have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedExtras(BTreeSet<Extra>);

impl Default for AllowedExtras {
    /// All: who may create a service may mount the host's root directory too.
    fn default() -> Self {
        Self(Extra::ALL.into())
    }
}

impl AllowedExtras {
    /// Reads `all`, `none`, or names separated by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "all" => return Ok(Self::default()),
            "none" => return Ok(Self(BTreeSet::new())),
            _ => {}
        }
        let one = |name: &str| {
            Extra::from_name(name.trim()).ok_or_else(|| {
                let known = Extra::ALL.map(Extra::name).join(", ");
                format!("{name:?} is not one of all, none, {known}")
            })
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }

    /// The first that is asked for and not allowed.
    pub fn refused(&self, extras: &Extras) -> Option<Extra> {
        extras.used().find(|extra| !self.0.contains(extra))
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A JSON array of texts, or texts separated by commas.
fn parts(value: &str) -> Result<Vec<String>, String> {
    if value.starts_with('[') {
        return serde_json::from_str(value).map_err(|_| "is not a JSON array of texts".to_owned());
    }
    Ok(value
        .split(',')
        .map(|part| part.trim().to_owned())
        .collect())
}

/// Texts in the form that [`Extras::read`] takes apart: with commas where none of them has one.
pub fn join_parts(parts: &[String]) -> String {
    if parts
        .iter()
        .any(|part| part.contains(',') || part.starts_with('['))
    {
        serde_json::Value::from(parts).to_string()
    } else {
        parts.join(",")
    }
}

/// What [`join_parts`] joined.
pub fn split_parts(value: &str) -> Vec<String> {
    if value.is_empty() {
        return Vec::new();
    }
    parts(value).unwrap_or_default()
}

/// A device, as users name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A node below `/dev`.
    Node(DeviceMapping),
    /// What a CDI specification of the host calls so: `vendor.com/class=name`.
    Named(String),
}

/// `/dev/x[:/dev/y[:rwm]]`, `/dev/x:rwm`, or a CDI name.
pub fn parse_device(text: &str) -> Result<Device, String> {
    let named = text.split_once('=').and_then(|(kind, name)| {
        let (vendor, class) = kind.split_once('/')?;
        Some([vendor, class, name].iter().all(|part| !part.is_empty()))
    });
    if !text.starts_with('/') && named == Some(true) {
        return Ok(Device::Named(text.to_owned()));
    }
    let is_access = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let words: Vec<&str> = text.split(':').collect();
    let (host, inside, access) = match words[..] {
        [host] => (host, host, "rwm"),
        [host, access] if is_access(access) => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] => (host, inside, access),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    if !is_access(access) {
        return Err(format!("invalid mode for device: {access}"));
    }
    if !host.starts_with('/') || !inside.starts_with('/') {
        return Err(format!("{text} is not an absolute path"));
    }
    Ok(Device::Node(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: access.to_owned(),
    }))
}

fn check_security(option: &str) -> Result<(), String> {
    let (key, value) = option
        .split_once('=')
        .or_else(|| option.split_once(':'))
        .unwrap_or((option, ""));
    let is_good = match key {
        "no-new-privileges" => matches!(value, "" | "true" | "false"),
        "seccomp" | "apparmor" | "label" | "systempaths" => !value.is_empty(),
        _ => false,
    };
    if is_good {
        Ok(())
    } else {
        Err(format!("invalid --security-opt: {option:?}"))
    }
}

/// `64m`, `1.5g`, `1048576`.
fn parse_size(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let number: f64 = lower[..digits].parse().ok()?;
    let power = match lower[digits..]
        .trim()
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let bytes = number * 1024f64.powi(power);
    #[allow(clippy::cast_possible_truncation)] // within range; parts of a byte are dropped
    (bytes < i64::MAX as f64).then_some(bytes as i64)
}

#[cfg(test)]
mod tests;
