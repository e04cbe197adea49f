//! What the registry has to say about an image, and the credentials for asking it.

use base64::Engine as _;
use serde_json::{Value, json};
use skep_objects::reference::Reference;

use crate::client::escape;
use crate::context::Context;

/// The header `X-Registry-Auth` for an image's registry, from `config.json`; empty without
/// credentials.
pub fn registry_auth_header(context: &Context, image: &str) -> String {
    let Ok(reference) = Reference::parse(image) else {
        return String::new();
    };
    let key = match reference.domain() {
        "docker.io" => "https://index.docker.io/v1/",
        domain => domain,
    };
    let entry = &context.config["auths"][key];
    let pair = entry["auth"]
        .as_str()
        .and_then(|auth| base64::engine::general_purpose::STANDARD.decode(auth).ok())
        .and_then(|pair| String::from_utf8(pair).ok());
    let Some((user, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
        return String::new();
    };
    let auth = json!({"username": user, "password": password, "serveraddress": key});
    base64::engine::general_purpose::URL_SAFE.encode(auth.to_string())
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
