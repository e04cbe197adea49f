//! Configs in the Engine API.
#![allow(missing_docs)] // the names are Docker's and documented there
use super::container::StringMap;
use super::encode::bytes;
use super::omit::empty;
use super::service::{Driver, Version};
use serde::{Deserialize, Serialize};
/// `GET /configs/{id}`, and a row of `GET /configs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Version")]
    pub version: Version,
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    #[serde(rename = "UpdatedAt")]
    pub updated_at: String,
    #[serde(rename = "Spec")]
    pub spec: ConfigSpec,
}

/// The body of `POST /configs/create` and `POST /configs/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigSpec {
    #[serde(rename = "Name", skip_serializing_if = "empty")]
    pub name: String,
    #[serde(rename = "Labels")]
    pub labels: Option<StringMap>,
    #[serde(rename = "Data", skip_serializing_if = "Vec::is_empty", with = "bytes")]
    pub data: Vec<u8>,
    #[serde(rename = "Templating", skip_serializing_if = "Option::is_none")]
    pub templating: Option<Driver>,
}
