//! Images: what they are made of, where they lie on disk, how they come and go.
//!
//! On disk, below `<data root>/image`:
//!
//! ```text
//! blobs/sha256/<hex>     manifests, configs and layers as they travelled; content-addressed
//! blobs/partial/<hex>    downloads under way; resumed, redone when they do not verify, and removed
//!                        by a prune or after a day when nobody goes on with them
//! layers/<26 hex>/diff   an unpacked layer, as an overlayfs lower directory; named by its diff id
//! layers/new-*           layers being unpacked; removed at start
//! records/<hex>.json     one image: its config, its manifest, its layers
//! names.json             tags and digests that lead to images
//! ```
//!
//! **Invariants.** A record is written after everything it names is on disk, and removed before any
//! of it. A layer directory appears under its final name only when it is whole and synced. Nothing
//! is removed while an image, a container (see [`ImageUsers`]) or an operation under way names it.

mod archive;
mod blobs;
mod changes;
mod config;
mod credentials;
mod download;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod header_guard;
mod import;
mod index;
mod insecure;
mod layers;
mod login;
mod manifest;
mod progress;
mod proxies;
mod pull;
mod push;
mod registry;
mod remove;
mod save;
mod search;
mod session;
mod store;
mod token;
mod unpack;
mod web;

pub use changes::apply_change;
pub use config::{HistoryEntry, ImageConfig, RootFs};
pub use credentials::RegistryAuth;
pub use download::Download;
pub use error::ImageError;
pub use import::ImportOptions;
pub use index::{LayerRecord, Record};
pub use progress::{Progress, ProgressMessage};
pub use proxies::Proxies;
pub use pull::{PullOptions, Pulled};
pub use registry::{Distribution, RegistryConfig};
pub use remove::{ImageUser, ImageUsers, Removed};
pub use search::SearchResult;
pub use store::{Hold, Image, ImageEvent, Images};
