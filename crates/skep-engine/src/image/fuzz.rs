//! What fuzzing calls; no interface for anybody else.

use std::path::Path;

use oci_spec::image::{ImageIndex, ImageManifest};

use super::manifest::choose;
use super::{ImageConfig, Images, Progress, unpack};

/// A layer's tar stream, unpacked below `root`.
pub fn layer(root: &Path, bytes: &[u8]) {
    let mut bytes = bytes;
    let _ = unpack::apply(root, &mut bytes);
}

/// An archive of images, as `docker load` sends it.
pub fn archive(images: &Images, bytes: &[u8]) {
    let _ = images.load(bytes, None, &Progress::none());
}

/// Documents of a registry.
pub fn manifest(bytes: &[u8]) {
    if let Ok(index) = serde_json::from_slice::<ImageIndex>(bytes) {
        let _ = choose(&index, None);
        let _ = choose(&index, Some("linux/arm64/v8"));
    }
    let _ = serde_json::from_slice::<ImageManifest>(bytes);
    let _ = ImageConfig::decode(bytes);
}
