//! What the registry has to say about an image, and the credentials for asking it.

use serde_json::{Value, json};
use skep_objects::reference::Reference;

use crate::client::escape;
use crate::context::Context;
use crate::credentials::{self, Credentials, HUB};

/// The header `X-Registry-Auth` for an image's registry; empty without credentials.
pub fn registry_auth_header(context: &Context, image: &str) -> String {
    let found = credentials_of(context, image);
    if found.is_empty() {
        return String::new();
    }
    found.header()
}

/// The same where the daemon wants the header even without credentials.
pub fn pull_auth_header(context: &Context, image: &str) -> String {
    credentials_of(context, image).header()
}

fn credentials_of(context: &Context, image: &str) -> Credentials {
    match Reference::parse(image) {
        Ok(reference) if reference.domain() == "docker.io" => credentials::get(context, HUB),
        Ok(reference) => credentials::get(context, reference.domain()),
        Err(_) => Credentials::default(),
    }
}

/// The image with its digest, and the platforms it is for, as the registry says. Nothing where the
/// registry does not answer: then every node asks for itself.
pub async fn pinned_image(
    context: &Context,
    image: &str,
    auth: &str,
) -> Option<(String, Vec<Value>)> {
    let reference = Reference::parse(image).ok()?.or_latest();
    if reference.digest().is_some() {
        return Some((reference.familiar(), Vec::new()));
    }
    let path = format!(
        "/distribution/{}/json",
        escape(&reference.familiar())
            .replace("%2F", "/")
            .replace("%3A", ":")
    );
    let headers: &[(&str, &str)] = if auth.is_empty() {
        &[]
    } else {
        &[("x-registry-auth", auth)]
    };
    let answer = context
        .client
        .json_with(http::Method::GET, &path, None, headers)
        .await
        .ok()?;
    let digest = answer["Descriptor"]["digest"].as_str()?;
    let platforms = answer["Platforms"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|platform| json!({"Architecture": platform["architecture"], "OS": platform["os"]}))
        .collect();
    Some((format!("{}@{digest}", reference.familiar()), platforms))
}
