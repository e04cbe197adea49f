//! The Docker Engine API over HTTP.
//!
//! A request's version comes off its path, then [`route`] picks a file by the first word and that
//! file matches method and path. Handlers only translate: JSON to the engine's or the managers'
//! types and back. Every refusal is an [`error::ApiError`]; its status is decided in `error.rs`.

pub mod attachable;
pub mod call;
pub mod cluster;
pub mod convert;
pub mod error;
mod frames;
mod images;
mod legacy;
pub mod membership;
pub mod query;
pub mod server;
pub mod socket;
pub mod system;
mod targets;
pub mod upload;
pub mod version;

mod attach;
mod containers;
mod dump;
mod events;
mod exec;
mod logs;
mod names;
mod networks;

mod unsupported;
mod volumes;
mod websocket;

use std::sync::Arc;

use http::{Method, Request, StatusCode, header::HeaderValue};

use call::{Call, Response};
use error::ApiError;

/// What the API serves.
#[derive(Debug)]
pub struct Api {
    /// This host's containers, images, volumes and networks.
    pub engine: skep_engine::Engine,
    /// This node as a member of a swarm.
    pub swarm: Arc<dyn membership::Membership>,
    /// What does not change while the daemon runs.
    pub facts: system::Facts,
}

/// Answers one request.
pub async fn serve(api: Arc<Api>, request: Request<upload::Upload>) -> Response {
    let experimental = match api.facts.config().experimental {
        true => HeaderValue::from_static("true"),
        false => HeaderValue::from_static("false"),
    };
    let path = request.uri().path().to_owned();
    let query = query::Query::parse(request.uri().query().unwrap_or_default());
    if request.method() == Method::OPTIONS {
        return call::empty(StatusCode::OK);
    }
    let mut response = match version::strip(&path) {
        Ok((rest, version)) => {
            let call = Call {
                api,
                version,
                query,
                request,
            };
            let rest = rest.to_owned();
            let mut response = match route(call, &rest).await {
                Ok(response) => response,
                Err(error) => {
                    tracing::debug!(http.path = %path, http.status = %error.status.as_u16(), error = %error.message, "request refused");
                    call::refusal(&error)
                }
            };
            let version = HeaderValue::from_str(&version::MAX.to_string());
            if let Ok(version) = version {
                response.headers_mut().insert("api-version", version);
            }
            response
        }
        Err(error) => call::refusal(&error),
    };
    let headers = response.headers_mut();
    headers.insert("docker-experimental", experimental);
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert("server", HeaderValue::from_static(system::SERVER));
    response
}

/// Picks the file that answers.
async fn route(call: Call, path: &str) -> error::Result<Response> {
    let decoded: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| query::percent_decode(segment, false))
        .collect();
    let path: Vec<&str> = decoded.iter().map(String::as_str).collect();
    match path.first().copied().unwrap_or_default() {
        "containers" | "commit" => containers::route(call, &path).await,
        "exec" => exec::route(call, &path).await,
        "volumes" => volumes::route(call, &path).await,
        "networks" => networks::route(call, &path).await,
        "images" | "distribution" => images::route(call, &path).await,
        "swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs" => {
            cluster::route(call, &path).await
        }
        "events" => events::route(call, &path).await,
        "_ping" | "version" | "info" | "system" | "auth" => system::route(call, &path).await,
        "build" | "plugins" | "session" | "grpc" => unsupported::route(call, &path).await,
        _ => Err(ApiError::no_route()),
    }
}

impl Api {
    /// The API of these parts.
    pub fn new(
        engine: skep_engine::Engine,
        swarm: Arc<dyn membership::Membership>,
        facts: system::Facts,
    ) -> Self {
        Self {
            engine,
            swarm,
            facts,
        }
    }

    /// The control API, or why this node has none.
    pub fn manager(&self) -> error::Result<cluster::Manager> {
        self.swarm.manager()
    }

    /// This host's images.
    pub fn images(&self) -> &skep_engine::image::Images {
        self.engine.images()
    }

    /// How many images there are.
    async fn count_images(&self) -> usize {
        self.images().list().len()
    }

    /// The bytes of all layers, and each image with its share and the number of its users.
    async fn image_usage(
        &self,
        version: version::ApiVersion,
    ) -> error::Result<(i64, Vec<skep_objects::api::image::ImageSummary>)> {
        let all = skep_engine::ListOptions {
            all: true,
            ..skep_engine::ListOptions::default()
        };
        let mut users = std::collections::BTreeMap::new();
        for container in self.engine.list(&all).await? {
            *users.entry(container.image_id).or_insert(0) += 1;
        }
        images::usage(version, self.images(), &users)
    }
}
