//! Between the API's JSON and the managers' messages: one file a noun, both ways.
//!
//! `from_*` turns a message into what the API answers, `to_*` a body into a message. What Docker
//! leaves out, prints as null or refuses is decided here and nowhere else.

pub mod container;
pub mod network;
pub mod node;
pub mod secret;
pub mod service;
pub mod swarm;
pub mod task;

use std::collections::BTreeMap;

use skep_objects::api::encode;
use skep_objects::api::service::{Driver, Version};
use skep_objects::swarmkit as proto;

/// A body that says what no message can.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ConvertError(pub String);

/// The refusal of a word: `invalid Role: "chief"`.
fn invalid(what: &str, word: &str) -> ConvertError {
    ConvertError(format!("invalid {what}: {word:?}"))
}

/// A protobuf enum's name as the API spells it: without prefix, lower case, with `-`.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .to_lowercase()
        .replace('_', "-")
}

/// The protobuf name of an API word.
fn proto_name(prefix: &str, word: &str) -> String {
    format!("{prefix}{}", word.to_uppercase().replace('-', "_"))
}

/// Version, creation and update time of an object.
fn meta(meta: Option<&proto::Meta>) -> (Version, String, String) {
    let index = meta.and_then(|m| m.version.as_ref()).map_or(0, |v| v.index);
    (
        Version { index },
        encode::timestamp(meta.and_then(|m| m.created_at.as_ref())),
        encode::timestamp(meta.and_then(|m| m.updated_at.as_ref())),
    )
}

/// Name and labels; labels are never null in answers.
fn annotations(
    annotations: Option<&proto::Annotations>,
) -> (String, Option<BTreeMap<String, String>>) {
    annotations.map_or((String::new(), Some(BTreeMap::new())), |a| {
        (a.name.clone(), Some(a.labels.clone()))
    })
}

/// Name and labels of a body.
fn to_annotations(
    name: String,
    labels: Option<BTreeMap<String, String>>,
) -> Option<proto::Annotations> {
    Some(proto::Annotations {
        name,
        labels: labels.unwrap_or_default(),
        indices: Vec::new(),
    })
}

fn from_driver(driver: &proto::Driver) -> Driver {
    Driver {
        name: driver.name.clone(),
        options: driver.options.clone(),
    }
}

fn to_driver(driver: Driver) -> proto::Driver {
    proto::Driver {
        name: driver.name,
        options: driver.options,
    }
}

/// A time that is left out when it was never set.
fn set_time(stamp: Option<&prost_types::Timestamp>) -> Option<String> {
    stamp
        .filter(|s| s.seconds != 0)
        .map(|s| encode::timestamp(Some(s)))
}
