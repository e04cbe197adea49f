//! Pulling, and how its progress is shown.

use std::collections::HashSet;
use std::io::Write as _;

use futures::{Stream, StreamExt as _};
use serde_json::Value;
use skep_objects::reference::Reference;

use crate::client::{json_lines, url};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::opts::registry_auth_header;

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
    let name = reference.familiar_name();
    let tag = reference.digest().or(reference.tag()).unwrap_or_default();
    let query = [
        ("fromImage", name.as_str()),
        ("platform", platform),
        ("tag", tag),
    ];
    let auth = registry_auth_header(context, image);
    let headers = [("x-registry-auth", auth.as_str())];
    let headers = if auth.is_empty() {
        &[][..]
    } else {
        &headers[..]
    };
    let bytes = context
        .client
        .stream(
            http::Method::POST,
            &url("/images/create", &query),
            headers,
            None,
        )
        .await?;
    progress(json_lines(bytes), quiet, aside).await
}

/// Prints progress as Docker does where there is no terminal: a line for each new status.
pub(crate) async fn progress(
    mut messages: impl Stream<Item = Result<Value, CliError>> + Unpin,
    quiet: bool,
    aside: bool,
) -> Result<(), CliError> {
    let mut seen = HashSet::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        if let Some(why) = message
            .pointer("/errorDetail/message")
            .or(message.get("error"))
        {
            return Err(CliError::new(why.as_str().unwrap_or_default()));
        }
        let Some(line) = line_of(&message).filter(|_| !quiet) else {
            continue;
        };
        // Layers tell their progress over and over.
        if !message["progressDetail"].is_null() && !seen.insert(line.clone()) {
            continue;
        }
        if aside {
            std::io::stderr().lock().write_all(line.as_bytes())?;
        } else {
            std::io::stdout().lock().write_all(line.as_bytes())?;
        }
    }
    Ok(())
}

fn line_of(message: &Value) -> Option<String> {
    if let Some(stream) = message["stream"].as_str() {
        return Some(stream.to_owned());
    }
    let status = message["status"].as_str()?;
    Some(match text(message, "/id") {
        "" => format!("{status}\n"),
        id => format!("{id}: {status}\n"),
    })
}
