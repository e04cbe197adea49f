//! Settings of a swarm that nobody set.

use std::time::Duration;

/// The name of the one cluster object.
pub const CLUSTER_NAME: &str = "default";
/// Networks get their subnets from here.
pub const ADDRESS_POOL: &str = "10.0.0.0/8";
/// Prefix length of those subnets.
pub const SUBNET_SIZE: u32 = 24;
/// UDP port between nodes for the traffic of overlay networks.
pub const VXLAN_PORT: u32 = 4789;
/// Stopped tasks kept for each slot.
pub const TASK_HISTORY: i64 = 5;
/// How long a node's certificate lives.
pub const NODE_CERT_EXPIRY: Duration = Duration::from_secs(90 * 24 * 3600);
/// How often an agent says that it is there, as far as the cluster's settings say. See
/// `dispatcher::liveness` for what this value in particular means.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);
/// Raft log entries between two snapshots.
pub const SNAPSHOT_INTERVAL: u64 = 10_000;
/// Log entries kept behind a snapshot for followers that are behind.
pub const LOG_ENTRIES_FOR_SLOW_FOLLOWERS: u64 = 500;
/// Raft's heartbeat, in ticks.
pub const HEARTBEAT_TICK: u32 = 1;
/// Raft's election timeout, in ticks.
pub const ELECTION_TICK: u32 = 10;
