//! Endpoints: the veth pairs between containers and networks.

mod driver;
mod names;
mod ops;
mod spec;

pub(crate) use driver::{
    Attached, Port, adopted, attach, configure, free_name, mac_of, set_default_routes, silence,
};
pub(crate) use names::{alias, is_of_a_daemon, unmarked_name};
pub use spec::{Endpoint, EndpointSpec, InterfaceStats};
