//! Pins a service's image by digest, for clients from before API 1.30.
//!
//! Later clients ask `/distribution` themselves and send what they found. Without a digest every node
//! would pull what the tag means by then.

use std::time::Duration;

use skep_engine::image::RegistryAuth;
use skep_objects::reference::{Reference, is_digest, is_hex_id};

use crate::http::call::Call;
use crate::http::version::ApiVersion;

/// A registry that does not answer is no reason to let the client wait for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Adds the digest to the image's name, if this client leaves that to us. Returns the warnings that
/// the client is to show.
pub async fn pin(call: &Call, image: &mut String) -> Vec<String> {
    if call.version >= ApiVersion(1, 30) || is_hex_id(image) || is_digest(image) {
        return Vec::new();
    }
    match pinned(call, image).await {
        Ok(name) => {
            *image = name;
            Vec::new()
        }
        Err(reason) => {
            tracing::warn!(
                image = *image,
                reason,
                "image cannot be pinned by its digest"
            );
            vec![warning(image)]
        }
    }
}

/// The image's name with the digest that its tag leads to now.
async fn pinned(call: &Call, image: &str) -> Result<String, String> {
    let reference = Reference::parse(image).map_err(|error| error.to_string())?;
    let reference = reference.or_latest();
    if reference.digest().is_some() {
        return Ok(reference.familiar());
    }
    let auth = RegistryAuth::decode(call.header("x-registry-auth")).unwrap_or_default();
    let images = call.api.images();
    let asked = tokio::time::timeout(PATIENCE, images.distribution(&reference, &auth)).await;
    let found = asked.map_err(|_| "the registry does not answer".to_owned())?;
    let digest = found.map_err(|error| error.to_string())?.digest;
    Ok(format!("{}@{digest}", reference.familiar()))
}

/// Docker's words, which its command line prints as they are.
fn warning(image: &str) -> String {
    format!(
        "image {image} could not be accessed on a registry to record\nits digest. Each node will \
         access {image} independently,\npossibly leading to different nodes running different\n\
         versions of the image.\n"
    )
}
