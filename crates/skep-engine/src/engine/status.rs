//! What whoever follows a container, or the swarm, is told or tells.

/// Where a container is in its life; see [`super::Engine::watch_container`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Never started.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Its process is frozen.
    Paused,
    /// Its process ended and the restart policy will start it again.
    Restarting,
    /// Its process ended.
    Exited,
    /// Being removed.
    Removing,
    /// Could not be removed whole.
    Dead,
    /// Gone.
    Removed,
}

/// Health as the health check sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthState {
    /// No health check.
    #[default]
    None,
    /// No verdict yet.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// As many probes in a row failed as `Retries` says.
    Unhealthy,
}

/// What the agent follows of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Where it is in its life.
    pub phase: Phase,
    /// In the host's pid namespace; 0 when not running.
    pub pid: i32,
    /// Of the last run.
    pub exit_code: i64,
    /// Whether the last run ended for want of memory.
    pub oom_killed: bool,
    /// Why it could not start.
    pub error: String,
    /// Health check's verdict.
    pub health: HealthState,
    /// How often it was started.
    pub starts: u64,
    /// How often it ended.
    pub exits: u64,
}

/// What this engine must know when its host is a member of a swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmInfo {
    /// This node.
    pub node_id: String,
    /// Address that the other nodes send overlay traffic to.
    pub data_path_addr: String,
    /// VXLAN port; 0 is 4789.
    pub data_path_port: u16,
}
