//! Overlay networks: VXLAN between nodes, one network namespace for each network on a node.

mod ended;
mod journal;
mod ops;
mod peers;
mod space;
mod spec;
pub(crate) mod table;
mod vip;
mod wireguard;

pub(crate) use ended::{End, Stale, ended};
pub(crate) use journal::Journal;
pub(crate) use ops::{ETHERNET, Overlay};
pub(crate) use space::Space;
pub use spec::{OverlaySpec, OverlaySubnet, SwarmSpec, Warning};
pub(crate) use vip::VipTable;
pub(crate) use wireguard::{NodeKey, WireGuard, remove_guard, sweep as sweep_wireguard};
