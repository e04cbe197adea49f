//! The name server that containers see at 127.0.0.11.
//!
//! Each container has a server of its own, in its namespace, which knows the names of the networks
//! that the container is on ([`zone`]) and asks the host's name servers for all others.

mod answer;
pub(crate) use answer::{Decision, Lookup, decide, encode};
mod forward;
mod names;
mod ops;
mod server;
mod spec;
mod zone;

pub(crate) use forward::Forwarder;
pub(crate) use server::DnsServer;
pub use spec::{DnsSpec, EMBEDDED, ResolvConf};
pub(crate) use zone::Directory;
