//! Endpoints: the veth pairs between containers and networks.

mod spec;

pub use spec::{Endpoint, EndpointSpec, InterfaceStats};
