//! `/images/*` and `/distribution/*`.

mod search;
mod transfer;
mod view;

use std::time::Instant;

use http::StatusCode;
use skep_engine::image::RegistryAuth;
use skep_objects::api::image::{DeleteItem, ImagePrune};
use skep_objects::api::system::{Descriptor, DistributionInspect, OciPlatform};
use skep_objects::reference::Reference;

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};
use super::version::ApiVersion;

pub use view::usage;

impl From<skep_engine::image::ImageError> for ApiError {
    fn from(error: skep_engine::image::ImageError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<skep_objects::reference::ReferenceError> for ApiError {
    fn from(error: skep_objects::reference::ReferenceError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Picks the handler. Names of images contain slashes, so the verb is the last word.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["images", "json"]) => list(call).await,
        ("POST", ["images", "create"]) => transfer::create(call).await,
        ("POST", ["images", "load"]) => transfer::load(call).await,
        ("POST", ["images", "prune"]) => prune(call).await,
        ("GET", ["images", "search"]) => search::search(&call).await,
        ("GET", ["images", "get"]) => {
            let names = call.query.all("names").flat_map(|names| names.split(','));
            let names = names.map(str::to_owned).collect();
            transfer::save(&call, names).await
        }
        ("GET", ["images", name @ .., "get"]) => transfer::save(&call, vec![name.join("/")]).await,
        ("GET", ["images", name @ .., "json"]) => {
            let platform = platform(&call, "platform")?.unwrap_or_default();
            let image = call.api.images().resolve_for(&name.join("/"), &platform)?;
            call::ok(&view::inspect(&call, &image))
        }
        ("GET", ["images", name @ .., "history"]) => {
            let begun = Instant::now();
            let platform = platform(&call, "platform")?.unwrap_or_default();
            let image = call.api.images().resolve_for(&name.join("/"), &platform)?;
            let history = call::ok(&view::history(&image));
            call.api.images().times().history.since(begun);
            history
        }
        ("POST", ["images", name @ .., "push"]) => transfer::push(&call, &name.join("/")).await,
        ("POST", ["images", name @ .., "tag"]) => tag(&call, &name.join("/")).await,
        ("DELETE", ["images", name @ ..]) => remove(&call, &name.join("/")).await,
        ("GET", ["distribution", name @ .., "json"]) => distribution(&call, &name.join("/")).await,
        _ => Err(ApiError::no_route()),
    }
}

/// Credentials from `X-Registry-Auth`. What cannot be read counts as none, as in Docker.
fn auth(call: &Call) -> RegistryAuth {
    RegistryAuth::decode(call.header("x-registry-auth")).unwrap_or_default()
}

/// A platform as it comes in queries: `linux/arm64`, or since 1.46 an OCI platform as JSON.
fn platform(call: &Call, name: &str) -> Result<Option<String>> {
    let Some(text) = call.query.given(name) else {
        return Ok(None);
    };
    if !text.starts_with('{') {
        let known = |part: &str| {
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            !part.is_empty() && part.chars().all(word)
        };
        if text.split('/').count() > 3 || !text.split('/').all(known) {
            return Err(ApiError::invalid(format!(
                "{text:?}: cannot parse platform specifier: invalid argument"
            )));
        }
        return Ok(Some(text.to_owned()));
    }
    let parsed: OciPlatform = serde_json::from_str(text)
        .map_err(|error| ApiError::invalid(format!("failed to parse platform: {error}")))?;
    let parts = [parsed.os, parsed.architecture, parsed.variant];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(Some(parts.join("/")))
}

/// A name with the tag or digest that came beside it.
fn reference(name: &str, tag: &str) -> Result<Reference> {
    let reference = Reference::parse(name)?;
    if tag.is_empty() {
        return Ok(reference.or_latest());
    }
    Ok(match tag.contains(':') {
        true => reference.with_digest(tag)?,
        false => reference.with_tag(tag)?,
    })
}

async fn list(call: Call) -> Result<Response> {
    let filters = call.query.filters()?;
    let known = [
        "dangling",
        "label",
        "label!",
        "before",
        "since",
        "reference",
        "until",
    ];
    filters.validate(&known)?;
    let images = call.api.images().clone();
    let chosen = blocking(move || view::list(&images, &filters)).await??;
    call::ok(&view::summaries(&call, &chosen))
}

/// Runs what reads or writes disks off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|err| ApiError::internal(format!("a worker broke: {err}")))
}

async fn tag(call: &Call, name: &str) -> Result<Response> {
    let target = reference(call.query.get("repo"), call.query.get("tag"))?;
    let (images, name) = (call.api.images().clone(), name.to_owned());
    blocking(move || images.tag(&name, &target)).await??;
    Ok(call::empty(StatusCode::CREATED))
}

fn delete_item(removed: skep_engine::image::Removed) -> DeleteItem {
    use skep_engine::image::Removed;
    match removed {
        Removed::Untagged(untagged) => DeleteItem {
            untagged,
            ..DeleteItem::default()
        },
        Removed::Deleted(deleted) => DeleteItem {
            deleted,
            ..DeleteItem::default()
        },
    }
}

async fn remove(call: &Call, name: &str) -> Result<Response> {
    if name.trim().is_empty() {
        return Err(ApiError::invalid("image name cannot be blank"));
    }
    let (images, name) = (call.api.images().clone(), name.to_owned());
    let force = call.query.flag("force");
    if let Some(wanted) = platform(call, "platforms")? {
        call.api.images().resolve_for(&name, &wanted)?;
    }
    let removed = blocking(move || images.remove(&name, force)).await??;
    call::ok(&removed.into_iter().map(delete_item).collect::<Vec<_>>())
}

async fn prune(call: Call) -> Result<Response> {
    let filters = call.query.filters()?;
    filters.validate(&["dangling", "label", "label!", "until"])?;
    let all = !filters.flag("dangling")?.unwrap_or(true);
    let keep = view::Keep::new(&filters)?;
    let images = call.api.images().clone();
    let (removed, space_reclaimed) =
        blocking(move || images.prune(all, |image| keep.keeps(image))).await??;
    let deleted: Vec<_> = removed.into_iter().map(delete_item).collect();
    let images_deleted = Some(deleted).filter(|deleted| !deleted.is_empty());
    let events = call.api.engine.events();
    let attributes = [("reclaimed".to_owned(), space_reclaimed.to_string())].into();
    events.publish("image", "prune", "", attributes);
    call::ok(&ImagePrune {
        images_deleted,
        space_reclaimed,
    })
}

/// What clients pin: the digest that a name leads to in its registry.
async fn distribution(call: &Call, name: &str) -> Result<Response> {
    if call.version < ApiVersion(1, 30) {
        return Err(ApiError::no_route());
    }
    let reference = Reference::parse(name)?;
    let found = call
        .api
        .images()
        .distribution(&reference, &auth(call))
        .await?;
    let platform = |(architecture, os, variant)| OciPlatform {
        architecture,
        os,
        variant,
    };
    call::ok(&DistributionInspect {
        descriptor: Descriptor {
            media_type: found.media_type,
            digest: found.digest,
            size: i64::try_from(found.size_bytes).unwrap_or(i64::MAX),
        },
        platforms: found.platforms.into_iter().map(platform).collect(),
    })
}
