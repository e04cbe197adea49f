//! The Docker Engine API over HTTP.

pub mod convert;
