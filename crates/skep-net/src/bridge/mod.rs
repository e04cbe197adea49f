//! Local bridge networks: `docker0`, `docker_gwbridge` and those that users make.

mod spec;

pub use spec::{BridgeSpec, BridgeSubnet};
