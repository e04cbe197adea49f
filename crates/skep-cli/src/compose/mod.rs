//! Stack files: version 3 of Docker's format, by the rules of `docker stack deploy`, and the Compose
//! Specification.
//!
//! Order of the checks: YAML, version, forbidden keys, interpolation, schema, includes, long forms,
//! bases, merge, profiles, dependencies, images, then conversion to what the API takes.

mod convert;
mod depends;
mod dialect;
mod dotenv;
mod durations;
mod extends;
mod external;
mod include;
mod interpolate;
mod load;
mod merge;
mod nearest;
mod normal;
mod print;
mod schema;
mod source;
mod spec_forms;
mod tags;
mod unused;
mod volumes;

pub(crate) use convert::{IMAGE_LABEL, NAMESPACE_LABEL, Stack, convert};
pub(crate) use depends::Condition;
pub(crate) use dialect::Dialect;
pub(crate) use load::{LoadOptions, load};
pub(crate) use print::print;
