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
