//! One host's objects: containers, images, volumes, local networks, logs, events.
//!
//! [`Engine`] is the facade; the API server and the agent know nothing else.

pub mod config;
pub mod engine;
mod error;
pub mod events;
mod filters;
pub mod image;
pub mod network;
mod timestamp;
pub mod volume;

pub use config::{AddressPool, EngineConfig};
pub use engine::{
    ArchivePutOptions, AttachOptions, Attached, BoxStream, CommitOptions, ContainerStatus,
    CreateContainer, Created, Engine, HealthState, InMemoryFile, ListOptions, LogOptions,
    LogRecord, Logs, ManagedContainer, OverlayAttachment, Phase, Reader, RemoveOptions, StreamKind,
    SwarmInfo, WaitCondition, Writer,
};
pub use error::{EngineError, Result};
pub use filters::Filters;
