//! The image config: what an image says about running it, its layers and its history.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ImageError;

/// An image's config blob. Fields that skep does not use are kept as they are in the blob itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339, as the builder wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made the image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Go's name of the architecture, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Go's name of the variant of the architecture, such as `v7`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// The comment that import and commit leave.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The version of the engine that made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// How to run it: Docker's container config in JSON (`Env`, `Cmd`, `Entrypoint`, ...).
    #[serde(default)]
    pub config: Option<Map<String, Value>>,
    /// The layers, lowest first.
    pub rootfs: RootFs,
    /// How it was built, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

/// The layers of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

/// One step of a build.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command of the step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who made the step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Words about the step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step added no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Decodes a config blob and checks what the rest of skep relies on.
    pub fn decode(blob: &[u8]) -> Result<Self, ImageError> {
        let config: Self = serde_json::from_slice(blob)
            .map_err(|error| ImageError::invalid("image config", error))?;
        if let Some(bad) = config
            .rootfs
            .diff_ids
            .iter()
            .find(|id| !skep_objects::reference::is_digest(id))
        {
            return Err(ImageError::invalid(
                "image config",
                format!("layer id {bad:?} is no sha256 digest"),
            ));
        }
        Ok(config)
    }

    /// `os/architecture[/variant]`.
    pub fn platform(&self) -> String {
        let mut platform = format!("{}/{}", self.os, self.architecture);
        if !self.variant.is_empty() {
            platform = format!("{platform}/{}", self.variant);
        }
        platform
    }
}

impl ImageConfig {
    /// Whether this is an image for `os[/architecture[/variant]]`.
    pub fn provides(&self, platform: &str) -> bool {
        let mut parts = platform.split('/');
        let os = parts.next().unwrap_or_default();
        let architecture = match parts.next().unwrap_or_default() {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let variant = parts.next().unwrap_or_default();
        // What an image does not say of itself, it is taken to be.
        let fits = |own: &str, wanted: &str| own.is_empty() || wanted.is_empty() || own == wanted;
        fits(&self.os, os) && fits(&self.architecture, architecture) && fits(&self.variant, variant)
    }
}

/// Go's name of the architecture that this program runs on.
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
