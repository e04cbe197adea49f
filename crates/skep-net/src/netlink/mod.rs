//! The kernel behind a typed wrapper one thin layer high: rtnetlink, nf_tables and conntrack over
//! raw netlink sockets, without any program or C library.

mod error;

pub use error::NetlinkError;
