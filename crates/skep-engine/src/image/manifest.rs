//! Manifests and indexes as registries give them: told apart, decoded, chosen from.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use skep_objects::reference::Reference;

use super::ImageError;
use super::blobs::{digest_of, verify};
use super::config::host_architecture;

/// Media types of a manifest of one image.
pub(super) const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
pub(super) const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A manifest, or an index of them, as it came.
pub(super) struct Fetched {
    pub digest: String,
    pub media_type: String,
    pub content: Vec<u8>,
}

/// A decoded manifest document.
pub(super) enum Parsed {
    Manifest(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

pub(super) fn parse(fetched: &Fetched) -> Result<Parsed, ImageError> {
    let bad = |error: serde_json::Error| ImageError::invalid("manifest", error);
    if INDEX_TYPES.contains(&fetched.media_type.as_str()) {
        return serde_json::from_slice(&fetched.content)
            .map(|index| Parsed::Index(Box::new(index)))
            .map_err(bad);
    }
    serde_json::from_slice(&fetched.content)
        .map(|manifest| Parsed::Manifest(Box::new(manifest)))
        .map_err(bad)
}

/// The digest of the index's image for a platform, `os/architecture[/variant]`; the host's without one.
pub(super) fn choose(index: &ImageIndex, platform: Option<&str>) -> Result<String, ImageError> {
    let host = format!("linux/{}", host_architecture());
    let wanted = platform.unwrap_or(&host);
    let mut parts = wanted.split('/');
    let (os, architecture, variant) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next(),
    );
    let matching = index.manifests().iter().find(|entry| {
        entry.platform().as_ref().is_some_and(|p| {
            p.os().to_string() == os
                && (architecture.is_empty() || p.architecture().to_string() == architecture)
                && variant
                    .is_none_or(|variant| p.variant().as_deref().unwrap_or_default() == variant)
        })
    });
    match matching {
        Some(entry) => Ok(entry.digest().to_string()),
        None => Err(ImageError::NoPlatform(wanted.to_owned())),
    }
}

/// Verifies a document and finds out what it is.
pub(super) fn fetched(
    reference: &Reference,
    content: Vec<u8>,
    claimed: &str,
) -> Result<Fetched, ImageError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "mediaType", default)]
        media_type: String,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let digest = digest_of(&content);
    verify("manifest", reference.digest().unwrap_or(claimed), &digest)?;
    let head: Head =
        serde_json::from_slice(&content).map_err(|error| ImageError::invalid("manifest", error))?;
    let media_type = match head {
        Head { media_type, .. } if !media_type.is_empty() => media_type,
        Head {
            manifests: Some(_), ..
        } => INDEX_TYPES[0].to_owned(),
        Head { .. } => MANIFEST_TYPES[0].to_owned(),
    };
    Ok(Fetched {
        digest,
        media_type,
        content,
    })
}
