//! What containers need of images.

use std::path::PathBuf;
use std::sync::Arc;

use skep_objects::api::container::Config;

use crate::error::Result;
use crate::image::Hold;

/// An image as a container uses it.
#[derive(Debug, Clone, Default)]
pub struct ImageInUse {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// What it says about running it.
    pub config: Config,
    /// Its layers unpacked, topmost first.
    pub lower: Vec<PathBuf>,
    /// Bytes of its layers' files.
    pub size_bytes: u64,
    /// Keeps it from being removed before a container has it.
    pub hold: Option<Arc<Hold>>,
}

/// Where containers find images; the image store, or a directory in tests.
pub trait ImageSource: Send + Sync {
    /// By name, digest, id or the unique beginning of an id.
    ///
    /// # Errors
    /// `No such image: x`.
    fn resolve(&self, name: &str) -> Result<ImageInUse>;

    /// [`ImageSource::resolve`], for a platform: empty means any; held for a container to be made.
    ///
    /// # Errors
    /// `image with reference x was found but does not provide the specified platform (y)`.
    fn resolve_for(&self, name: &str, platform: &str) -> Result<ImageInUse>;

    /// By id.
    ///
    /// # Errors
    /// `No such image: x`.
    fn by_id(&self, id: &str) -> Result<ImageInUse>;
}
