//! The kernel behind a typed wrapper one thin layer high: rtnetlink, nf_tables, conntrack and WireGuard over
//! raw netlink sockets, without any program or C library.

pub mod conntrack;
mod error;
pub(crate) mod fuzz;
pub mod nft;
pub mod route;
mod socket;
mod wire;
pub mod wireguard;

pub use error::NetlinkError;
pub use socket::{Socket, Subsystem};
pub use wire::{Attr, Attrs, Message, Reply, flag};
