//! Secrets in the Engine API. Their data is never sent back.
#![allow(missing_docs)] // the names are Docker's and documented there
use super::container::StringMap;
use super::encode::bytes;
use super::omit::empty;
use super::service::{Driver, Version};
use serde::{Deserialize, Serialize};
/// `GET /secrets/{id}`, and a row of `GET /secrets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Spec")]
    pub spec: SecretSpec,
}

/// The body of `POST /secrets/create` and `POST /secrets/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretSpec {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Labels")]
    pub labels: Option<StringMap>,
    #[serde(rename = "Data", skip_serializing_if = "Vec::is_empty", with = "bytes")]
    pub data: Vec<u8>,
    #[serde(rename = "Driver", skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    #[serde(rename = "Templating", skip_serializing_if = "Option::is_none")]
    pub templating: Option<Driver>,
}

/// Answer to a create of a secret or a config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdResponse {
    #[serde(rename = "ID")]
    pub id: String,
}
