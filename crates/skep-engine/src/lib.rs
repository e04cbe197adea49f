//! One host's objects: containers, images, volumes, local networks, logs, events.
//!
//! [`Engine`] is the facade; the API server and the agent know nothing else.

mod assemble;
mod compression;
pub mod config;
mod container;
mod copy_tree;
mod core;
pub mod engine;
mod error;
pub mod events;
mod filters;
pub mod fuzz;
pub mod image;
mod image_source;
mod logs;
pub mod metrics;
pub mod network;
mod node;
mod outcome;
mod timestamp;
pub mod volume;

pub use config::{AddressPool, DefaultBridge, EngineConfig};
pub use engine::{
    ArchivePutOptions, AttachOptions, Attached, BoxStream, CommitOptions, ContainerStatus,
    CreateContainer, Created, Engine, HealthState, InMemoryFile, ListOptions, LogOptions,
    LogRecord, Logs, ManagedContainer, OverlayAttachment, Phase, Reader, RemoveOptions, StreamKind,
    SwarmInfo, WaitCondition, Writer,
};
pub use error::{EngineError, Result};
pub use filters::Filters;
pub use image_source::{ImageInUse, ImageSource};

/// Names of the log drivers, as `info` lists them.
#[must_use]
pub fn log_drivers() -> Vec<&'static str> {
    logs::DRIVERS
        .into_iter()
        .filter(|name| *name != "none")
        .collect()
}

/// Qualified names of the devices that specifications in these directories describe.
#[must_use]
pub fn cdi_devices(dirs: &[std::path::PathBuf]) -> Vec<String> {
    container::CdiRegistry::load(dirs).all()
}
