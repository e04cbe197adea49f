//! Messages of `GET /events`.
#![allow(missing_docs)] // the names are Docker's and documented there

use serde::{Deserialize, Serialize};

use super::container::StringMap;
use super::omit::empty;

/// One event. `status`, `id` and `from` repeat the rest for clients of old.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    #[serde(skip_serializing_if = "empty")]
    pub status: String,
    #[serde(skip_serializing_if = "empty")]
    pub id: String,
    #[serde(skip_serializing_if = "empty")]
    pub from: String,
    /// `container`, `image`, `volume`, `network`, `daemon`, `service`, `node`, `secret` or `config`.
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local` or `swarm`.
    #[serde(skip_serializing_if = "empty")]
    pub scope: String,
    #[serde(skip_serializing_if = "empty")]
    pub time: i64,
    #[serde(rename = "timeNano", skip_serializing_if = "empty")]
    pub time_nano: i64,
}

/// What an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: StringMap,
}
