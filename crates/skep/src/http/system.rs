//! `/_ping`, `/version`, `/info`, `/system/df`, `/auth`: the daemon itself.

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};

/// Engine version that clients compare against; the surface is that of this release.
pub const ENGINE_VERSION: &str = "28.2.2";
/// The header `Server`.
pub const SERVER: &str = "Docker/28.2.2 (linux)";

/// What does not change while the daemon runs.
#[derive(Debug, Clone, Default)]
pub struct Facts {}

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["info"]) => call::ok(&()),
        _ => Err(ApiError::no_route()),
    }
}
