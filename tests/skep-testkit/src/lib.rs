//! Hosts out of network namespaces, for tests and for `skep playground`.
//!
//! A [`Lab`] is a number of [`Host`]s on one switch: each has a network namespace, a host name, a
//! state directory, a socket, and runs `skep daemon`. A [`Cluster`] is a lab whose hosts have joined
//! one swarm. Everything carries the lab's name and goes when the lab is dropped, also after a
//! panic: processes, namespaces, mounts, cgroups, files. `SKEP_KEEP=1` keeps the state directories.
//!
//! Needs root, and `ip`, `nsenter` and `unshare` (Debian: iproute2, util-linux).

mod clean;
mod cluster;
mod dockerd;
mod host;
mod http;
pub mod images;
mod lab;
mod load;
mod registry;
mod running;
mod site;
mod wait;

pub use clean::leaks;
pub use cluster::{Cluster, ClusterBuilder};
pub use host::{Host, Output};
pub use http::{Answer, get, get_in, request, upload};
pub use lab::{Lab, LabSpec};
pub use load::{Failure, Load};
pub use registry::Registry;
pub use running::Running;
pub use site::Site;
pub use wait::{PATIENCE, eventually, eventually_within};
