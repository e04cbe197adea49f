//! `/_ping`, `/version`, `/info`, `/system/df`, `/auth`: the daemon itself.

mod facts;
mod info;

use http::{HeaderValue, StatusCode, header};
use skep_objects::api::system as api;

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};
use super::version;

pub use facts::Facts;
pub use info::inactive;

/// Engine version that clients compare against; the surface is that of this release.
pub use skep_objects::ENGINE_VERSION;
/// The header `Server`.
pub const SERVER: &str = "Docker/28.2.2 (linux)";
/// The commit that this was built from, where the build knew it.
pub const COMMIT: &str = match option_env!("SKEP_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Picks the handler.
pub async fn route(mut call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET" | "HEAD", ["_ping"]) => ping(&call),
        ("GET", ["version"]) => call::ok(&version(&call.api.facts)),
        ("GET", ["info"]) => call::ok(&info::info(&call.api).await),
        ("POST", ["system", "dump"]) => super::dump::dump(call).await,
        ("GET", ["system", "df"]) => {
            call::ok(&info::disk_usage(&call.api, call.version, &call.query).await?)
        }
        ("POST", ["auth"]) => {
            let auth: api::AuthConfig = call.json().await?;
            login(&call, auth).await
        }
        _ => Err(ApiError::no_route()),
    }
}

/// What the command line asks before everything else.
fn ping(call: &Call) -> Result<Response> {
    let mut response = call::empty(StatusCode::OK);
    if call.request.method() == http::Method::GET {
        response = call::text("OK");
    }
    let swarm = HeaderValue::from_str(&call.api.swarm.header())
        .map_err(|err| ApiError::internal(err.to_string()))?;
    let headers = response.headers_mut();
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", swarm);
    let no_cache = HeaderValue::from_static("no-cache, no-store, must-revalidate");
    headers.insert(header::CACHE_CONTROL, no_cache);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    Ok(response)
}

/// As `GET /info` answers.
pub(super) async fn shown_info(api: &super::Api) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(info::info(api).await)
}

/// As `GET /version` answers.
pub(super) fn shown_version(api: &super::Api) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(version(&api.facts))
}

/// `GET /version`. The command line prints the details of the component `Engine` only.
fn version(facts: &Facts) -> api::Version {
    let experimental = facts.config().experimental;
    let details = [
        ("ApiVersion", version::MAX.to_string()),
        ("Arch", facts::go_arch().to_owned()),
        ("BuildTime", String::new()),
        ("Experimental", experimental.to_string()),
        ("GitCommit", COMMIT.to_owned()),
        ("GoVersion", "none (rust)".to_owned()),
        ("KernelVersion", facts.kernel.clone()),
        ("MinAPIVersion", version::MIN.to_string()),
        ("Os", "linux".to_owned()),
    ];
    let component = |name: &str, version: &str, details: &[(&str, String)]| api::ComponentVersion {
        name: name.to_owned(),
        version: version.to_owned(),
        details: details
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect(),
    };
    let commit = [("GitCommit", COMMIT.to_owned())];
    api::Version {
        platform: api::VersionPlatform {
            name: "skep".to_owned(),
        },
        components: vec![
            component("Engine", ENGINE_VERSION, &details),
            component("skep", env!("CARGO_PKG_VERSION"), &commit),
        ],
        version: ENGINE_VERSION.to_owned(),
        api_version: version::MAX.to_string(),
        min_api_version: version::MIN.to_string(),
        git_commit: COMMIT.to_owned(),
        go_version: "none (rust)".to_owned(),
        os: "linux".to_owned(),
        arch: facts::go_arch().to_owned(),
        kernel_version: facts.kernel.clone(),
        experimental,
        build_time: String::new(),
    }
}

/// `docker login`: the registry says whether the credentials are good.
async fn login(call: &Call, auth: api::AuthConfig) -> Result<Response> {
    let credentials = skep_engine::image::RegistryAuth {
        username: auth.username,
        password: auth.password,
        auth: auth.auth,
        identitytoken: auth.identitytoken,
        registrytoken: auth.registrytoken,
        serveraddress: auth.serveraddress.clone(),
    };
    let images = call.api.images();
    let identity_token = images.login(&auth.serveraddress, &credentials).await?;
    call::ok(&api::AuthResponse {
        identity_token,
        status: "Login Succeeded".to_owned(),
    })
}
