//! Images in the Engine API.
#![allow(missing_docs)] // the names are Docker's and documented there

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::container::StringMap;
use super::omit::empty;

/// A row of `GET /images/json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSummary {
    /// How many containers use it; -1 where that was not counted.
    pub containers: i64,
    pub created: i64,
    pub id: String,
    pub labels: Option<StringMap>,
    pub parent_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Value>,
    pub repo_digests: Option<Vec<String>>,
    pub repo_tags: Option<Vec<String>>,
    /// Bytes that it shares with others; -1 where that was not measured.
    pub shared_size: i64,
    pub size: i64,
    /// For clients below API 1.44 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<i64>,
}

/// `GET /images/{name}/json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageInspect {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    #[serde(skip_serializing_if = "empty")]
    pub created: String,
    pub docker_version: String,
    pub author: String,
    /// Docker's container config as the image's maker wrote it.
    pub config: Option<Map<String, Value>>,
    /// For clients below API 1.45 only, and then empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// For clients below API 1.45 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_config: Option<Map<String, Value>>,
    pub architecture: String,
    #[serde(skip_serializing_if = "empty")]
    pub variant: String,
    pub os: String,
    #[serde(skip_serializing_if = "empty")]
    pub os_version: String,
    pub size: i64,
    /// For clients below API 1.44 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<i64>,
    pub graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: Metadata,
    /// What it is there for, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GraphDriver {
    pub data: Option<StringMap>,
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RootFs {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metadata {
    pub last_tag_time: String,
}

/// A row of `GET /images/{name}/history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HistoryItem {
    pub comment: String,
    pub created: i64,
    pub created_by: String,
    pub id: String,
    pub size: i64,
    pub tags: Option<Vec<String>>,
}

/// One thing that a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeleteItem {
    #[serde(skip_serializing_if = "empty")]
    pub untagged: String,
    #[serde(skip_serializing_if = "empty")]
    pub deleted: String,
}

/// Answer to `POST /images/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImagePrune {
    pub images_deleted: Option<Vec<DeleteItem>>,
    pub space_reclaimed: u64,
}
