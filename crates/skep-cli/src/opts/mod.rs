//! Values of flags that have a grammar of their own: mounts, ports, networks, secrets, labels.

mod csv;
mod extras;
mod files;
mod key_value;
mod mount;
mod network;
mod port;
mod resolve;
mod ulimit;

pub use csv::fields;
pub use extras::{
    extra_parts, security_of, set_devices, set_extra, set_gpus, set_ipc, set_pid, set_security,
};
pub use files::{FileReference, file_reference};
pub use key_value::{environment, labels, map_from, split_pair};
pub use mount::mount;
pub use network::network_attachment;
pub use port::{port_spec, ports};
pub use resolve::{pinned_image, registry_auth_header};
pub use ulimit::ulimit;
