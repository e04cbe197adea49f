//! `service create`.

use serde_json::json;

use super::values::tagged;
use super::{progress, spec};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{pinned_image, registry_auth_header};

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut spec = spec::from_flags(context, matches).await?;
    let image = &tagged(matches.arg(0));
    let auth = registry_auth_header(context, image);
    let mut warning = None;
    if !matches.flag("no-resolve-image") {
        match pinned_image(context, image, &auth).await {
            Some((pinned, platforms)) => {
                spec["TaskTemplate"]["ContainerSpec"]["Image"] = pinned.into();
                if !platforms.is_empty() {
                    spec["TaskTemplate"]["Placement"]["Platforms"] = json!(platforms);
                }
            }
            None => warning = Some(unpinned(image)),
        }
    }
    let headers = if matches.flag("with-registry-auth") {
        vec![("x-registry-auth", stored_auth(&auth))]
    } else {
        vec![]
    };
    let answer = context
        .client
        .json_with(
            http::Method::POST,
            "/services/create",
            Some(&spec),
            &headers,
        )
        .await?;
    let warnings = answer["Warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|warning| warning.as_str());
    for warning in warnings.map(str::to_owned).chain(warning) {
        eprintln!("{warning}");
    }
    let id = text(&answer, "/ID");
    println!("{id}");
    if matches.flag("detach") {
        return Ok(());
    }
    progress::wait(context, id, id, matches.flag("quiet")).await
}

/// Credentials to store with a service: none are an empty object.
pub(crate) fn stored_auth(auth: &str) -> &str {
    if auth.is_empty() { "e30=" } else { auth }
}

/// What users are told when the registry did not give a digest.
pub(crate) fn unpinned(image: &str) -> String {
    format!(
        "image {image} could not be accessed on a registry to record\nits digest. Each node will access {image} independently,\npossibly leading to different nodes running different\nversions of the image.\n"
    )
}
