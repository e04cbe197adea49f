//! Networks whose containers sit on the host's own wire, each with a hardware address of its own.
//!
//! Nothing of such a network is in the kernel but its containers' interfaces, which live in their
//! namespaces and go with them. Ports are not published: the containers are reached as they are.

mod ops;
mod spec;

pub(crate) use ops::Macvlan;
pub use spec::{MacvlanMode, MacvlanSpec};
