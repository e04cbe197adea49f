//! Images that come and go: pull, push, load, save, import.

use std::io::{IsTerminal as _, Write as _};

use futures::StreamExt as _;
use skep_objects::reference::Reference;
use tokio_util::io::ReaderStream;

use super::pull::{progress, pull_image, tagged};
use crate::client::{json_lines, streamed, url};
use crate::context::Context;
use crate::error::{CliError, io_text};
use crate::grammar::Matches;
use crate::opts::registry_auth_header;

fn refuse(matches: &Matches, flags: &[&str]) -> Result<(), CliError> {
    match flags.iter().find(|flag| matches.given(flag)) {
        Some(flag) => Err(CliError::new(format!("--{flag} is not supported")).with_code(125)),
        None => Ok(()),
    }
}

pub(super) async fn pull(context: &Context, matches: &Matches) -> Result<(), CliError> {
    refuse(matches, &["all-tags"])?;
    let image = matches.arg(0);
    let reference = Reference::parse(image).map_err(|error| CliError::new(error.to_string()))?;
    let quiet = matches.flag("quiet");
    if reference.tag().is_none() && reference.digest().is_none() && !quiet {
        println!("Using default tag: latest");
    }
    pull_image(context, image, matches.text("platform"), quiet, false).await?;
    let full = reference.or_latest();
    println!("{}/{}", full.domain(), rest_of(&full));
    Ok(())
}

/// Path with tag or digest.
fn rest_of(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{}@{digest}", reference.path()),
        (None, tag) => format!("{}:{}", reference.path(), tag.unwrap_or("latest")),
    }
}

pub(super) async fn push(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let image = matches.arg(0);
    let reference = Reference::parse(image).map_err(|error| CliError::new(error.to_string()))?;
    let quiet = matches.flag("quiet");
    let mut tag = String::new();
    if !matches.flag("all-tags") {
        if reference.tag().is_none() && !quiet {
            println!("Using default tag: latest");
        }
        tag = reference.tag().unwrap_or("latest").to_owned();
    } else if reference.tag().is_some() {
        return Err(CliError::new("tag can't be used with --all-tags/-a"));
    }
    let auth = match registry_auth_header(context, image) {
        // The daemon wants the header even where there is nothing to say: `{}`.
        empty if empty.is_empty() => "e30=".to_owned(),
        auth => auth,
    };
    let path = format!("/images/{}/push", reference.familiar_name());
    let path = url(
        &path,
        &[("platform", matches.text("platform")), ("tag", &tag)],
    );
    let headers = [("x-registry-auth", auth.as_str())];
    let bytes = context
        .client
        .stream(http::Method::POST, &path, &headers, None)
        .await?;
    progress(json_lines(bytes), quiet, false).await?;
    if quiet {
        println!("{}", tagged(image));
    }
    Ok(())
}

pub(super) async fn load(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let quiet = matches.flag("quiet") || !std::io::stdout().is_terminal();
    let query = [
        ("platform", matches.text("platform")),
        ("quiet", if quiet { "1" } else { "0" }),
    ];
    let path = url("/images/load", &query);
    let body = match matches.text("input") {
        "" if std::io::stdin().is_terminal() => {
            return Err(CliError::new(
                "requested load from stdin, but stdin is empty",
            ));
        }
        "" => streamed(ReaderStream::new(tokio::io::stdin())),
        file => streamed(ReaderStream::new(open(file).await?)),
    };
    let headers = [("content-type", "application/x-tar")];
    let bytes = context
        .client
        .stream(http::Method::POST, &path, &headers, Some(body))
        .await?;
    progress(json_lines(bytes), false, false).await
}

async fn open(file: &str) -> Result<tokio::fs::File, CliError> {
    tokio::fs::File::open(file)
        .await
        .map_err(|error| CliError::new(format!("open {file}: {}", io_text(&error))))
}

pub(super) async fn save(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let output = matches.text("output");
    if output.is_empty() && std::io::stdout().is_terminal() {
        return Err(CliError::new(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        ));
    }
    let mut query: Vec<_> = matches
        .args()
        .iter()
        .map(|name| ("names", name.as_str()))
        .collect();
    query.push(("platform", matches.text("platform")));
    let path = url("/images/get", &query);
    let mut bytes = context
        .client
        .stream(http::Method::GET, &path, &[], None)
        .await?;
    let mut target: Box<dyn std::io::Write + Send> = if output.is_empty() {
        Box::new(std::io::stdout())
    } else {
        Box::new(std::fs::File::create(output).map_err(|error| {
            CliError::new(format!(
                "failed to save image: open {output}: {}",
                io_text(&error)
            ))
        })?)
    };
    while let Some(part) = bytes.next().await {
        target.write_all(&part?)?;
    }
    target.flush()?;
    Ok(())
}

pub(super) async fn import(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let source = matches.arg(0);
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let (repository, tag) = match Reference::parse(matches.arg(1)) {
        Ok(name) => (
            name.familiar_name(),
            name.tag().unwrap_or_default().to_owned(),
        ),
        Err(_) if matches.arg(1).is_empty() => Default::default(),
        Err(error) => return Err(CliError::new(error.to_string())),
    };
    let mut query = vec![
        ("fromSrc", if is_url { source } else { "-" }),
        ("message", matches.text("message")),
        ("platform", matches.text("platform")),
        ("repo", &repository),
        ("tag", &tag),
    ];
    query.extend(
        matches
            .list("change")
            .iter()
            .map(|change| ("changes", change.as_str())),
    );
    let body = match source {
        "-" => Some(streamed(ReaderStream::new(tokio::io::stdin()))),
        _ if is_url => None,
        file => Some(streamed(ReaderStream::new(open(file).await?))),
    };
    let headers = [("content-type", "text/plain")];
    let path = url("/images/create", &query);
    let bytes = context
        .client
        .stream(http::Method::POST, &path, &headers, body)
        .await?;
    progress(json_lines(bytes), false, false).await
}
