//! Images that come and go: pull, push, load, save, import.

use std::io::{IsTerminal as _, Write as _};

use futures::StreamExt as _;
use skep_objects::reference::Reference;
use tokio_util::io::ReaderStream;

use super::progress::progress;
use super::pull::{pull_reference, tagged};
use crate::client::{json_lines, streamed, url};
use crate::context::Context;
use crate::error::{CliError, io_text};
use crate::grammar::Matches;
use crate::opts::{platform, platform_json, pull_auth_header};

pub(super) async fn pull(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let image = matches.arg(0);
    let reference = Reference::parse(image).map_err(|error| CliError::new(error.to_string()))?;
    let (quiet, all) = (matches.flag("quiet"), matches.flag("all-tags"));
    let is_bare = reference.tag().is_none() && reference.digest().is_none();
    if all && !is_bare {
        return Err(CliError::new("tag can't be used with --all-tags/-a"));
    }
    if is_bare && !all && !quiet {
        println!("Using default tag: latest");
    }
    let full = if all {
        reference
    } else {
        reference.or_latest()
    };
    let platform = platform(matches)?;
    pull_reference(context, &full, all, &platform, quiet, false).await?;
    match all {
        true => println!("{}", full.canonical_name()),
        false => println!("{}/{}", full.domain(), rest_of(&full)),
    }
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
    if reference.digest().is_some() {
        return Err(CliError::new("cannot push a digest reference"));
    }
    let platform = platform_json(matches.text("platform"))?;
    if !platform.is_empty() {
        println!("\n{}", PLATFORM_NOTE);
    }
    let mut tag = String::new();
    if !matches.flag("all-tags") {
        if reference.tag().is_none() && !quiet {
            println!("Using default tag: latest");
        }
        tag = reference.tag().unwrap_or("latest").to_owned();
    } else if reference.tag().is_some() {
        return Err(CliError::new("tag can't be used with --all-tags/-a"));
    }
    let auth = pull_auth_header(context, image);
    let path = format!("/images/{}/push", reference.familiar_name());
    let path = url(&path, &[("platform", &platform), ("tag", &tag)]);
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

/// What `push --platform` says first.
const PLATFORM_NOTE: &str = " Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.
         Other components, like attestations, will not be included.
         To push the complete multi-platform image, remove the --platform flag.
         ";

pub(super) async fn load(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let quiet = matches.flag("quiet") || !std::io::stdout().is_terminal();
    let platforms = platforms_of(matches)?;
    let mut query: Vec<_> = platforms
        .iter()
        .map(|platform| ("platform", platform.as_str()))
        .collect();
    query.push(("quiet", if quiet { "1" } else { "0" }));
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

fn platforms_of(matches: &Matches) -> Result<Vec<String>, CliError> {
    matches
        .list("platform")
        .iter()
        .map(|platform| platform_json(platform))
        .collect()
}

/// Refuses a file that cannot be written, before anything is asked for; empty is standard output.
pub(crate) fn writable_output(output: &str) -> Result<(), CliError> {
    let path = std::path::Path::new(output);
    let dir = match path.parent() {
        _ if output.is_empty() => return Ok(()),
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => std::path::Path::new("."),
    };
    std::fs::metadata(dir).map_err(|error| {
        CliError::new(format!(
            "invalid output path: stat {}: {}",
            dir.display(),
            io_text(&error)
        ))
    })?;
    if path.is_dir() {
        return Err(CliError::new(format!(
            "invalid output path: {output:?} is a directory"
        )));
    }
    Ok(())
}

/// Writes a stream to a file, or to standard output. The file takes its name when it is whole.
pub(crate) async fn save_stream(
    mut bytes: impl futures::Stream<Item = Result<bytes::Bytes, CliError>> + Unpin,
    output: &str,
) -> Result<(), CliError> {
    if output.is_empty() {
        let mut out = std::io::stdout();
        while let Some(part) = bytes.next().await {
            out.write_all(&part?)?;
        }
        return Ok(out.flush()?);
    }
    let temporary = format!("{output}.{}.part", std::process::id());
    let failed =
        |error: std::io::Error| CliError::new(format!("open {output}: {}", io_text(&error)));
    let mut file = std::fs::File::create(&temporary).map_err(failed)?;
    let written = async {
        while let Some(part) = bytes.next().await {
            file.write_all(&part?)?;
        }
        std::fs::rename(&temporary, output).map_err(CliError::from)
    };
    let written = written.await;
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
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
    writable_output(output).map_err(|why| CliError::new(format!("failed to save image: {why}")))?;
    let platforms = platforms_of(matches)?;
    let names = matches.args().iter().map(|name| ("names", name.as_str()));
    let query: Vec<_> = names
        .chain(
            platforms
                .iter()
                .map(|platform| ("platform", platform.as_str())),
        )
        .collect();
    let path = url("/images/get", &query);
    let bytes = context
        .client
        .stream(http::Method::GET, &path, &[], None)
        .await?;
    save_stream(bytes, output).await
}

pub(super) async fn import(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let source = matches.arg(0);
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let repository = matches.arg(1);
    if !repository.is_empty() {
        Reference::parse(repository).map_err(|error| CliError::new(error.to_string()))?;
    }
    let platform = platform(matches)?;
    let changes = matches
        .list("change")
        .iter()
        .map(|change| ("changes", change.as_str()));
    let mut query: Vec<_> = changes.collect();
    query.extend([
        ("fromSrc", if is_url { source } else { "-" }),
        ("message", matches.text("message")),
        ("platform", platform.as_str()),
        ("repo", repository),
    ]);
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
