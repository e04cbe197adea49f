//! What a container has made of its files: commit, diff, export.

use std::io::IsTerminal as _;

use skep_objects::reference::Reference;

use crate::client::{escape, url_of};
use crate::cmd::image::{save_stream, writable_output};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;

pub(super) async fn commit(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (mut repository, mut tag) = (String::new(), String::new());
    if !matches.arg(1).is_empty() {
        let name =
            Reference::parse(matches.arg(1)).map_err(|error| CliError::new(error.to_string()))?;
        if name.digest().is_some() {
            return Err(CliError::new(
                "refusing to create a tag with a digest reference",
            ));
        }
        let name = name.or_latest();
        repository = name.canonical_name();
        tag = name.tag().unwrap_or_default().to_owned();
    }
    let mut query = vec![("author", matches.text("author").to_owned())];
    query.extend(
        matches
            .list("change")
            .iter()
            .map(|change| ("changes", change.clone())),
    );
    query.extend([
        ("comment", matches.text("message").to_owned()),
        ("container", matches.arg(0).to_owned()),
    ]);
    if !matches.flag("pause") {
        query.push(("pause", "0".to_owned()));
    }
    query.extend([("repo", repository), ("tag", tag)]);
    let answer = context
        .client
        .post_empty(&url_of("/commit", &query))
        .await?;
    println!("{}", text(&answer, "/Id"));
    Ok(())
}

pub(super) async fn diff(context: &Context, matches: &Matches) -> Result<(), CliError> {
    if matches.arg(0).is_empty() {
        return Err(CliError::new("Container name cannot be empty"));
    }
    let path = format!("/containers/{}/changes", escape(matches.arg(0)));
    let changes = context.client.get(&path).await?;
    for change in changes.as_array().into_iter().flatten() {
        let kind = match change["Kind"].as_i64() {
            Some(1) => "A",
            Some(2) => "D",
            _ => "C",
        };
        println!("{kind} {}", text(change, "/Path"));
    }
    Ok(())
}

pub(super) async fn export(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let output = matches.text("output");
    if output.is_empty() && std::io::stdout().is_terminal() {
        return Err(CliError::new(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        ));
    }
    writable_output(output)
        .map_err(|why| CliError::new(format!("failed to export container: {why}")))?;
    let path = format!("/containers/{}/export", escape(matches.arg(0)));
    let bytes = context
        .client
        .stream(http::Method::GET, &path, &[], None)
        .await?;
    save_stream(bytes, output).await
}
