//! Published ports of local containers, by nftables without a proxy process.
//!
//! Each published port is an element of a map of the host's table, and a bound socket that keeps
//! the port from other processes (and other daemons): the socket never sees a packet, but for the
//! few ports that the kernel cannot translate ([`relay`]).

mod hold;
mod open;
mod ops;
mod ports;
mod relay;
mod spec;
#[cfg(test)]
mod tests;

pub(crate) use hold::{Held, hold};
pub use open::OpenPort;
pub(crate) use ports::{Ports, change};
pub(crate) use relay::{Relays, room};
pub use spec::{PortMapping, Protocol, PublishedPort};
