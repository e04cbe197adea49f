//! Containers in the Engine API: what a client sends to create one, and what it gets back.
//!
//! Field order, `null` against `[]` and absent against empty follow dockerd 28 (API 1.50): an
//! `Option` is null when none, a field with `skip_serializing_if` is one that Go marks omitempty.
#![allow(missing_docs)] // the names are Docker's and documented there

mod answers;
mod host;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use answers::*;
pub use host::*;

use super::network::{EndpointIpamConfig, EndpointSettings};
use super::omit::{empty, str_slice};

/// Go's `struct{}` as a map's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

pub type StringMap = BTreeMap<String, String>;
/// `80/tcp` to where it is published.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    pub host_ip: String,
    pub host_port: String,
}

/// The portable part of a container's configuration; also the `Config` of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "no_entries")]
    pub exposed_ports: Option<BTreeMap<String, Nothing>>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Option<Vec<String>>,
    #[serde(deserialize_with = "str_slice")]
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    #[serde(skip_serializing_if = "empty")]
    pub args_escaped: bool,
    pub image: String,
    pub volumes: Option<BTreeMap<String, Nothing>>,
    pub working_dir: String,
    #[serde(deserialize_with = "str_slice")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "empty")]
    pub network_disabled: bool,
    #[serde(skip_serializing_if = "empty")]
    pub mac_address: String,
    pub on_build: Option<Vec<String>>,
    pub labels: Option<StringMap>,
    #[serde(skip_serializing_if = "empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "str_slice", skip_serializing_if = "no_items")]
    pub shell: Option<Vec<String>>,
}

fn no_entries<K, V>(map: &Option<BTreeMap<K, V>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

fn no_items<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

/// Durations are nanoseconds; zero means inherit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthConfig {
    #[serde(deserialize_with = "str_slice", skip_serializing_if = "no_items")]
    pub test: Option<Vec<String>>,
    #[serde(skip_serializing_if = "empty")]
    pub interval: i64,
    #[serde(skip_serializing_if = "empty")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "empty")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "empty")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "empty")]
    pub retries: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    pub endpoints_config: Option<BTreeMap<String, Option<EndpointSettings>>>,
}

/// The body of `POST /containers/create`: a [`Config`] with two more fields beside its own.
///
/// Written out rather than flattened, because a flattened struct cannot be decoded without
/// regard to case.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CreateRequest {
    #[serde(flatten)]
    pub config: Config,
    #[serde(rename = "HostConfig")]
    pub host_config: Option<HostConfig>,
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: Option<NetworkingConfig>,
}

/// The two fields of [`CreateRequest`] which are not the configuration's own.
///
/// Decode the same body twice: as [`Config`] and as this.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateRequestRest {
    pub host_config: Option<HostConfig>,
    pub networking_config: Option<NetworkingConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateResponse {
    pub id: String,
    pub warnings: Vec<String>,
}

impl EndpointIpamConfig {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
