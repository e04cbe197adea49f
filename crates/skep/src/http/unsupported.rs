//! What skep does not do: image builds and plugins. Each route says so.

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};

/// Refuses by name. Listing plugins works: there are none.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    let text = match (call.method().as_str(), path) {
        ("GET", ["plugins"]) => {
            let filters = call.query.filters()?;
            filters.validate(&["capability", "enabled"])?;
            filters.flag("enabled")?;
            return call::ok(&Vec::<()>::new());
        }
        // `docker system prune` asks for it: there is no build cache to win anything from.
        ("POST", ["build", "prune"]) => {
            return call::ok(&serde_json::json!({"CachesDeleted": null, "SpaceReclaimed": 0}));
        }
        ("GET", ["plugins", name, "json"]) => {
            return Err(ApiError::not_found(format!("plugin {name:?} not found")));
        }
        (_, ["plugins", ..]) => "plugins are not supported by skep",
        (_, ["session"] | ["grpc"]) => {
            "BuildKit is not part of skep: build images with another tool, then push or load them"
        }
        _ => "skep does not build images: build them with another tool, then push or load them",
    };
    Err(ApiError::not_implemented(text))
}
