//! Overlay networks: VXLAN between nodes, one network namespace for each network on a node.

mod spec;

pub use spec::{OverlaySpec, OverlaySubnet, SwarmSpec, Warning};
