//! `shim.json`: what the shim needs beside the OCI configuration. Written by the engine before the
//! shim is spawned, read once by the shim.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ShimError;

/// File names inside a bundle directory.
pub mod files {
    /// The OCI runtime configuration (`oci_spec::runtime::Spec`).
    pub const CONFIG: &str = "config.json";
    /// [`super::ShimSpec`].
    pub const SPEC: &str = "shim.json";
    /// The shim's control and attach socket.
    pub const SOCKET: &str = "shim.sock";
    /// [`super::super::state::ShimState`], there once the container is created.
    pub const STATE: &str = "state.json";
    /// [`super::super::state::ExitRecord`], there once the container has ended.
    pub const EXIT: &str = "exit.json";
    /// What the shim itself had to say; empty in health.
    pub const LOG: &str = "shim.log";
}

/// Everything that one shim is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShimSpec {
    /// The container's id, for messages and external runtimes.
    pub id: String,
    /// Standard streams are one pseudo-terminal. Must equal `process.terminal` of `config.json`.
    #[serde(default)]
    pub terminal: bool,
    /// First size of the terminal, `(rows, columns)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<(u16, u16)>,
    /// Standard input stays open for attaching clients; otherwise it is `/dev/null`.
    #[serde(default)]
    pub open_stdin: bool,
    /// Close standard input when the first client that sent input goes away.
    #[serde(default)]
    pub stdin_once: bool,
    /// Where the container's output is kept.
    #[serde(default)]
    pub log: LogSpec,
    /// Overlay to mount on `root.path` inside the container's own mount namespace.
    /// Without it `root.path` is used as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlaySpec>,
    /// A compiled filter (see [`crate::seccomp`]) which takes the place of `linux.seccomp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_filter: Option<PathBuf>,
    /// Drive this OCI runtime by its command line instead of the embedded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRuntime>,
}

/// Layers of the root file system, as `mount -t overlay` wants them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlaySpec {
    /// Read-only layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// The writable layer; `None` mounts the lower layers read-only.
    pub upper: Option<PathBuf>,
    /// Overlay's work directory, on the same file system as `upper`.
    pub work: Option<PathBuf>,
}

/// Where output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "kebab-case")]
pub enum LogSpec {
    /// Output reaches attached clients only.
    #[default]
    None,
    /// Docker's `json-file`, one JSON object a line. `local` uses the same form.
    JsonFile(LogFile),
    /// Somebody else keeps it.
    Remote(RemoteLog),
}

/// Output that goes to somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteLog {
    /// Who.
    pub sink: Sink,
    /// A file beside it, from which `docker logs` reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<LogFile>,
    /// Lines are lost when so much waits (`mode=non-blocking`); `None` makes the container wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_buffer_bytes: Option<u64>,
}

/// Who keeps output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sink {
    /// A syslog daemon.
    Syslog(SyslogSink),
    /// The journal of systemd.
    Journald(JournaldSink),
    /// Fluentd's forward protocol.
    Fluentd(FluentdSink),
}

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// A socket of the host, datagram or stream.
    Unix(PathBuf),
    /// `host:port`.
    Udp(String),
    /// `host:port`.
    Tcp(String),
}

/// How entries for syslog are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogFormat {
    /// As local daemons take it: no host name.
    #[default]
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424, whole seconds.
    Rfc5424,
    /// RFC 5424, microseconds.
    Rfc5424Micro,
}

/// `--log-driver syslog`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyslogSink {
    /// `None` looks for this host's daemon.
    pub endpoint: Option<Endpoint>,
    /// The form of entries.
    pub format: SyslogFormat,
    /// Facility, 0 to 23.
    pub facility: u8,
    /// Names the container.
    pub tag: String,
}

/// `--log-driver journald`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournaldSink {
    /// journald's socket.
    pub socket: PathBuf,
    /// Added to every entry.
    pub fields: BTreeMap<String, String>,
}

/// `--log-driver fluentd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FluentdSink {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Names the container.
    pub tag: String,
    /// Added to every entry.
    pub record: BTreeMap<String, String>,
    /// The container starts although nobody listens yet.
    pub is_async: bool,
    /// Times with nanoseconds.
    pub sub_second: bool,
    /// Wait for a receipt of each entry.
    pub request_ack: bool,
    /// First pause before another try; it grows by half each time.
    pub retry_wait_ms: u64,
    /// Tries for one entry before it is given up.
    pub max_retries: u64,
    /// Longest wait for a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_timeout_ms: Option<u64>,
}

/// One log file and its rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The current file; rotated ones are `path.1`, `path.2`, … (`.gz` when compressed).
    pub path: PathBuf,
    /// Rotate before the file would pass this size; `None` never rotates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size_bytes: Option<u64>,
    /// Files kept in all, the current one included; at least 1.
    #[serde(default = "one")]
    pub max_files: u32,
    /// Compress rotated files.
    #[serde(default)]
    pub compress: bool,
    /// Added to every entry as `attrs` (`--log-opt labels=…,env=…,tag=…`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// An OCI runtime binary, such as Debian's `runc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalRuntime {
    /// The program, absolute.
    pub program: PathBuf,
    /// Arguments before the sub-command (`--add-runtime NAME=…` with `runtimeArgs`).
    #[serde(default)]
    pub args: Vec<String>,
    /// The runtime's own state directory, passed as `--root`.
    pub root: PathBuf,
}

impl ShimSpec {
    /// Reads `shim.json` of the bundle directory `dir`.
    pub fn load(dir: &Path) -> Result<Self, ShimError> {
        super::state::load_json(&dir.join(files::SPEC))
    }

    /// Writes `shim.json` into the bundle directory `dir`.
    pub fn save(&self, dir: &Path) -> Result<(), ShimError> {
        super::state::save_json(&dir.join(files::SPEC), self, false)
    }
}
