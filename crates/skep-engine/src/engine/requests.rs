//! What the engine is asked for.

use std::time::SystemTime;

use bytes::Bytes;
use skep_objects::api::container as api;
use skep_objects::swarmkit;

use crate::filters::Filters;

/// What a container is made from.
#[derive(Debug, Clone, Default)]
pub struct CreateContainer {
    /// Without leading slash; empty chooses one.
    pub name: String,
    /// The portable part.
    pub config: api::Config,
    /// The part that concerns this host.
    pub host_config: api::HostConfig,
    /// Endpoints by network name or id.
    pub networking_config: api::NetworkingConfig,
    /// `os/arch[/variant]` or empty.
    pub platform: String,
    /// What a swarm task has beyond an ordinary container.
    pub managed: Option<ManagedContainer>,
}

/// What a swarm task's container has beyond an ordinary one.
#[derive(Debug, Clone, Default)]
pub struct ManagedContainer {
    /// The task.
    pub task_id: String,
    /// Its service; empty for a network attachment.
    pub service_id: String,
    /// The service's name.
    pub service_name: String,
    /// Overlay networks, already ensured, with the addresses that the allocator gave.
    pub networks: Vec<OverlayAttachment>,
    /// Secrets and configs.
    pub files: Vec<InMemoryFile>,
    /// Ports published on this host only (`mode=host`).
    pub host_ports: Vec<swarmkit::PortConfig>,
}

/// One overlay network of a task.
#[derive(Debug, Clone, Default)]
pub struct OverlayAttachment {
    /// The network, as assigned.
    pub network: swarmkit::Network,
    /// Addresses with prefix length, one an address family.
    pub addresses: Vec<String>,
    /// Further names on this network.
    pub aliases: Vec<String>,
    /// `--network driver-opt`.
    pub driver_opts: std::collections::BTreeMap<String, String>,
}

/// A file that is put into a container from memory: a secret or a config.
#[derive(Clone, Default)]
pub struct InMemoryFile {
    /// Absolute, inside the container.
    pub path: String,
    /// Owner, numeric.
    pub uid: u32,
    /// Group, numeric.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub bytes: Bytes,
}

impl std::fmt::Debug for InMemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InMemoryFile")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A container that was made.
#[derive(Debug, Clone, Default)]
pub struct Created {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// How `rm` goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first when it runs.
    pub force: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
    /// Remove the link named, not the container.
    pub link: bool,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// Not running now or later.
    #[default]
    NotRunning,
    /// The next exit.
    NextExit,
    /// Removed.
    Removed,
}

/// Which rows and columns `ps` wants.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Stopped ones too.
    pub all: bool,
    /// The newest so many, stopped ones too; 0 is no limit.
    pub limit: usize,
    /// Measure sizes.
    pub size: bool,
    /// Docker's filters.
    pub filters: Filters,
}

/// Which part of the log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Not before.
    pub since: Option<SystemTime>,
    /// Not after.
    pub until: Option<SystemTime>,
    /// Only the last so many lines; none is all.
    pub tail: Option<usize>,
    /// Wait for more while the container runs.
    pub follow: bool,
}

/// Which streams to attach.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// What was written before, from the log.
    pub logs: bool,
    /// What is written from now on.
    pub stream: bool,
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// For example `ctrl-p,ctrl-q`; empty is that.
    pub detach_keys: String,
}

/// How `docker cp` into a container treats what is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchivePutOptions {
    /// Refuse to replace a directory by something else and the reverse.
    pub no_overwrite_dir_non_dir: bool,
    /// Give the files to the container's user.
    pub copy_uid_gid: bool,
}

/// What `docker commit` makes.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Name of the image or empty.
    pub repo: String,
    /// Its tag or empty.
    pub tag: String,
    /// Comment.
    pub comment: String,
    /// Author.
    pub author: String,
    /// Pause meanwhile.
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Configuration to lay over the container's.
    pub config: Option<api::Config>,
}
