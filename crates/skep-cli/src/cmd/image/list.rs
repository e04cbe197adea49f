//! Images on this host: ls, inspect, history, tag, rm, prune.

use serde_json::Value;
use skep_objects::reference::Reference;

use super::pull::tagged;
use crate::client::{escape, filters, url};
use crate::cmd::container::age;
use crate::cmd::objects::{confirmed, each, inspect, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Format, Row, bytes_decimal, print_rows, short_id, truncated};

/// An image's name in a path: slashes and colons stay.
fn path_of(name: &str) -> String {
    escape(name)
        .replace("%2F", "/")
        .replace("%3A", ":")
        .replace("%40", "@")
}

pub(super) async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut given = matches.list("filter").to_vec();
    if !matches.arg(0).is_empty() {
        given.push(format!("reference={}", matches.arg(0)));
    }
    let query = filters(&given)?;
    let all = if matches.flag("all") { "1" } else { "" };
    let path = url("/images/json", &[("all", all), ("filters", &query)]);
    let found = context.client.get(&path).await?;
    let full = matches.flag("no-trunc");
    let format = match matches.text("format") {
        "" if !matches.flag("quiet") => context.setting("imagesFormat").unwrap_or_default(),
        format => format,
    };
    let digests = matches.flag("digests") || format.contains(".Digest");
    let images = found.as_array().into_iter().flatten();
    let rows: Vec<Row> = images
        .flat_map(|image| rows_of(image, full, digests))
        .collect();
    if matches.flag("quiet") && format.is_empty() {
        rows.iter().for_each(|row| println!("{}", row["ID"]));
        return Ok(());
    }
    let mut columns = vec![("REPOSITORY", "Repository"), ("TAG", "Tag")];
    if matches.flag("digests") {
        columns.push(("DIGEST", "Digest"));
    }
    columns.extend([
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("SIZE", "Size"),
    ]);
    print_rows(&Format::read(format), &columns, &rows)
}

/// A row for each tag; with digests, the digest of the same repository.
fn rows_of(image: &Value, full: bool, digests: bool) -> Vec<Row> {
    let id = text(image, "/Id");
    let id = if full { id.to_owned() } else { short_id(id) };
    let created = image["Created"].as_i64().unwrap_or(0);
    let size = bytes_decimal(image["Size"].as_f64().unwrap_or(0.0));
    let names = |field: &str| -> Vec<&str> {
        let names = image[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        names.filter(|name| !name.starts_with("<none>")).collect()
    };
    let (tags, repo_digests) = (names("RepoTags"), names("RepoDigests"));
    let none = "<none>".to_owned();
    let row = |repository: &str, tag: &str, digest: &str| {
        Row::from([
            ("Repository", repository.to_owned()),
            ("Tag", tag.to_owned()),
            ("Digest", digest.to_owned()),
            ("ID", id.clone()),
            ("CreatedAt", created.to_string()),
            ("CreatedSince", format!("{} ago", age(created))),
            ("Size", size.clone()),
            ("Containers", "N/A".to_owned()),
            ("SharedSize", "N/A".to_owned()),
            ("UniqueSize", "N/A".to_owned()),
            ("VirtualSize", size.clone()),
        ])
    };
    let digest_of = |repository: &str| {
        let mut pairs = repo_digests.iter().filter_map(|name| name.split_once('@'));
        pairs
            .find(|(name, _)| *name == repository)
            .map(|(_, digest)| digest)
    };
    if tags.is_empty() {
        return match repo_digests.first().and_then(|name| name.split_once('@')) {
            Some((repository, digest)) => vec![row(repository, &none, digest)],
            None => vec![row(&none, &none, &none)],
        };
    }
    let rows = tags.iter().filter_map(|name| name.rsplit_once(':'));
    rows.map(|(repository, tag)| {
        let digest = if digests { digest_of(repository) } else { None };
        row(repository, tag, digest.unwrap_or(&none))
    })
    .collect()
}

pub(super) async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let platform = matches.text("platform");
    inspect(matches.args(), matches.text("format"), |name| {
        let path = url(
            &format!("/images/{}/json", path_of(name)),
            &[("platform", platform)],
        );
        async move { context.client.get(&path).await }
    })
    .await
}

pub(super) async fn history(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = format!("/images/{}/history", path_of(matches.arg(0)));
    let path = url(&path, &[("platform", matches.text("platform"))]);
    let layers = context.client.get(&path).await?;
    let (full, human) = (matches.flag("no-trunc"), matches.flag("human"));
    let rows: Vec<Row> = layers
        .as_array()
        .into_iter()
        .flatten()
        .map(|layer| {
            let id = text(layer, "/Id");
            let created = layer["Created"].as_i64().unwrap_or(0);
            let by = text(layer, "/CreatedBy").replace('\t', " ");
            let size = layer["Size"].as_f64().unwrap_or(0.0);
            let since = format!("{} ago", age(created));
            let at = created.to_string();
            Row::from([
                ("ID", if full { id.to_owned() } else { short_id(id) }),
                ("CreatedSince", if human { since } else { at.clone() }),
                ("CreatedAt", at),
                ("CreatedBy", if full { by } else { truncated(&by, 45) }),
                (
                    "Size",
                    if human {
                        bytes_decimal(size)
                    } else {
                        format!("{size:.0}")
                    },
                ),
                ("Comment", text(layer, "/Comment").to_owned()),
            ])
        })
        .collect();
    if matches.flag("quiet") {
        rows.iter().for_each(|row| println!("{}", row["ID"]));
        return Ok(());
    }
    let columns = [
        ("IMAGE", "ID"),
        ("CREATED", "CreatedSince"),
        ("CREATED BY", "CreatedBy"),
        ("SIZE", "Size"),
        ("COMMENT", "Comment"),
    ];
    print_rows(&Format::read(matches.text("format")), &columns, &rows)
}

pub(super) async fn tag(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let target = Reference::parse(matches.arg(1))
        .map_err(|error| CliError::new(error.to_string()))?
        .or_latest();
    let query = [
        ("repo", target.familiar_name()),
        ("tag", target.tag().unwrap_or_default().to_owned()),
    ];
    let query = query
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let path = format!("/images/{}/tag", path_of(matches.arg(0)));
    context
        .client
        .post_empty(&url(&path, &query))
        .await
        .map(drop)
}

pub(super) async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let switch = |flag: &str| if matches.flag(flag) { "1" } else { "" };
    let (force, no_prune) = (switch("force"), switch("no-prune"));
    each(matches.args(), |name| async move {
        let query = [("force", force), ("noprune", no_prune)];
        let path = url(&format!("/images/{}", path_of(name)), &query);
        let answer = context.client.delete(&path).await;
        match answer {
            Err(error) if !force.is_empty() && error.is_not_found() => {
                eprintln!("{}", error.message)
            }
            answer => print_deleted(&answer?),
        }
        Ok(())
    })
    .await
}

fn print_deleted(answer: &Value) {
    for gone in answer.as_array().into_iter().flatten() {
        for (field, what) in [("Untagged", "Untagged"), ("Deleted", "Deleted")] {
            if let Some(name) = gone[field].as_str() {
                println!(
                    "{what}: {}",
                    if what == "Untagged" {
                        untagged(name)
                    } else {
                        name.to_owned()
                    }
                );
            }
        }
    }
}

/// Names keep their digest; only bare names get a tag.
fn untagged(name: &str) -> String {
    if name.contains('@') {
        name.to_owned()
    } else {
        tagged(name)
    }
}

pub(super) async fn prune(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let all = matches.flag("all");
    let what = if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    let question = format!("WARNING! This will remove {what}.\nAre you sure you want to continue?");
    if !matches.flag("force") && !confirmed(&question)? {
        return Ok(());
    }
    let mut given = matches.list("filter").to_vec();
    given.push(format!("dangling={}", !all));
    let query = filters(&given)?;
    let path = url("/images/prune", &[("filters", &query)]);
    let answer = context.client.post_empty(&path).await?;
    let deleted = &answer["ImagesDeleted"];
    if deleted.as_array().is_some_and(|list| !list.is_empty()) {
        println!("Deleted Images:");
        for gone in deleted.as_array().into_iter().flatten() {
            match gone["Untagged"].as_str() {
                Some(name) => println!("untagged: {name}"),
                None => println!("deleted: {}", text(gone, "/Deleted")),
            }
        }
        println!();
    }
    let space = answer["SpaceReclaimed"].as_f64().unwrap_or(0.0);
    println!("Total reclaimed space: {}", bytes_decimal(space));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_tag_is_a_row_and_nameless_images_are_none() {
        let image = json!({"Id": "sha256:0123456789abcdef", "RepoTags": ["r:5000/a:1", "b:2"], "Size": 10, "Created": 0});
        let rows = rows_of(&image, false, false);
        assert_eq!(
            (rows[0]["Repository"].as_str(), rows[0]["Tag"].as_str()),
            ("r:5000/a", "1")
        );
        assert_eq!(rows[1]["ID"], "0123456789ab");
        assert_eq!(
            rows_of(&json!({"Id": "x"}), false, false)[0]["Repository"],
            "<none>"
        );
    }
}
