//! Networks whose containers sit on the host's own wire: macvlan, where each has a hardware address of
//! its own, and ipvlan, where they share the host's.
//!
//! Nothing of such a network is in the kernel but its containers' interfaces, which live in their
//! namespaces and go with them, and perhaps the parent: a VLAN interface that was not there, or a
//! wire that leads nowhere. Ports are not published: the containers are reached as they are.

mod ops;
mod parent;
mod spec;

pub(crate) use ops::Macvlan;
pub use spec::{IpvlanFlag, IpvlanMode, MacvlanMode, MacvlanSpec, Wire};
