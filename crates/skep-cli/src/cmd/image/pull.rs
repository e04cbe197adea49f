//! Pulling.

use skep_objects::reference::Reference;

use super::progress::progress;
use crate::client::{json_lines, url};
use crate::context::Context;
use crate::error::CliError;
use crate::opts::pull_auth_header;

/// The image with its tag, as messages name it.
pub(crate) fn tagged(image: &str) -> String {
    Reference::parse(image).map_or_else(|_| image.to_owned(), |image| image.or_latest().familiar())
}

/// Pulls; progress goes to standard error where `aside`.
pub(crate) async fn pull_image(
    context: &Context,
    image: &str,
    platform: &str,
    quiet: bool,
    aside: bool,
) -> Result<(), CliError> {
    let reference = Reference::parse(image)
        .map_err(|error| CliError::new(error.to_string()))?
        .or_latest();
    pull_reference(context, &reference, false, platform, quiet, aside).await
}

/// Pulls a reference, or all tags of its repository.
pub(super) async fn pull_reference(
    context: &Context,
    reference: &Reference,
    all_tags: bool,
    platform: &str,
    quiet: bool,
    aside: bool,
) -> Result<(), CliError> {
    let name = reference.canonical_name();
    let tag = reference.digest().or(reference.tag()).unwrap_or_default();
    let tag = if all_tags { "" } else { tag };
    let query = [
        ("fromImage", name.as_str()),
        ("platform", platform),
        ("tag", tag),
    ];
    let auth = pull_auth_header(context, &reference.familiar());
    let headers = [("x-registry-auth", auth.as_str())];
    let bytes = context
        .client
        .stream(
            http::Method::POST,
            &url("/images/create", &query),
            &headers,
            None,
        )
        .await?;
    progress(json_lines(bytes), quiet, aside).await
}
