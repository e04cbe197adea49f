//! Local bridge networks: `docker0`, `docker_gwbridge` and those that users make.

pub(crate) mod device;
mod ops;
mod spec;

pub use spec::{BridgeSpec, BridgeSubnet, ExistingBridge, GatewayMode};
