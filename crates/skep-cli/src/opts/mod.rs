//! Values of flags that have a grammar of their own: mounts, ports, networks, secrets, labels.

mod csv;
mod extras;
mod files;
mod gpus;
mod key_value;
mod mount;
mod network;
mod platform;
mod port;
mod resolve;
mod ulimit;

pub use csv::fields;
pub use extras::{
    extra_parts, security_of, set_devices, set_extra, set_gpus, set_ipc, set_pid, set_security,
};
pub use files::{FileReference, file_reference};
pub use gpus::gpus;
pub use key_value::{environment, labels, map_from, split_pair, whole_environment};
pub use mount::mount;
pub use network::{NetworkAttachment, endpoint_settings, network_attachment};
pub use platform::{platform, platform_json};
pub use port::{port_spec, ports};
pub use resolve::{pinned_image, pull_auth_header, registry_auth_header};
pub use ulimit::ulimit;
