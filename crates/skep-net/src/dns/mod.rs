//! The name server that containers see at 127.0.0.11.

mod spec;

pub use spec::{DnsSpec, EMBEDDED, ResolvConf};
