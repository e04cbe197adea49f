//! Published ports of local containers, by nftables without a proxy process.

mod spec;

pub use spec::{PortMapping, Protocol, PublishedPort};
