//! Stack files: version 3 of the Compose format, by the rules of `docker stack deploy`.
//!
//! Order of the checks: YAML, version, forbidden keys, interpolation, schema, merge, images, then
//! conversion to what the API takes.

mod convert;
mod durations;
mod interpolate;
mod load;
mod merge;
mod nearest;
mod normal;
mod schema;
mod volumes;

pub(crate) use convert::{NAMESPACE_LABEL, Stack, convert};
pub(crate) use load::load;
