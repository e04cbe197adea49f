//! Images on this host: ls, inspect, history, tag, rm.

use serde_json::Value;
use skep_objects::reference::Reference;

use super::pull::tagged;
use super::tree;
use crate::client::{escape, filters, url};
use crate::cmd::container::age;
use crate::cmd::objects::{Shown, each, inspect, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::platform_json;
use crate::output::{
    Format, Item, List, Row, bytes_decimal, bytes_decimal_to, of_unix, short_id, truncated,
};

/// An image's name in a path: slashes and colons stay.
fn path_of(name: &str) -> String {
    escape(name)
        .replace("%2F", "/")
        .replace("%3A", ":")
        .replace("%40", "@")
}

const LIST: List<'_> = List {
    kind: "*formatter.imageContext",
    columns: &[],
    heads: &[
        ("REPOSITORY", "Repository"),
        ("TAG", "Tag"),
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("CREATED AT", "CreatedAt"),
        ("SIZE", "Size"),
        ("DIGEST", "Digest"),
        ("CONTAINERS", "Containers"),
        ("VIRTUAL SIZE", "VirtualSize"),
        ("SHARED SIZE", "SharedSize"),
        ("UNIQUE SIZE", "UniqueSize"),
    ],
    raw: &[],
};

pub(super) async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut given = matches.list("filter").to_vec();
    if !matches.arg(0).is_empty() {
        given.push(format!("reference={}", matches.arg(0)));
    }
    let query = filters(&given)?;
    let all = if matches.flag("all") { "1" } else { "" };
    if matches.flag("tree") {
        tree::check(matches)?;
        let asked = [
            ("all", all),
            ("filters", query.as_str()),
            ("manifests", "1"),
        ];
        let found = context.client.get(&url("/images/json", &asked)).await?;
        tree::print(&found, matches);
        return Ok(());
    }
    let path = url("/images/json", &[("all", all), ("filters", &query)]);
    let found = context.client.get(&path).await?;
    let full = matches.flag("no-trunc");
    let text = context.format(matches, "imagesFormat");
    let format = Format::read(text);
    let by_digest = matches.flag("digests") || text.contains(".Digest");
    let images = found.as_array().into_iter().flatten();
    let items: Vec<Item> = images
        .flat_map(|image| items_of(image, full, by_digest))
        .collect();
    if matches.flag("quiet") && matches!(text, "" | "table") {
        items
            .iter()
            .for_each(|item| println!("{}", item.text("ID")));
        return Ok(());
    }
    let mut columns = vec![("REPOSITORY", "Repository"), ("TAG", "Tag")];
    let mut raw = vec![("repository", "Repository"), ("tag", "Tag")];
    if matches.flag("digests") {
        columns.push(("DIGEST", "Digest"));
        raw.push(("digest", "Digest"));
    }
    columns.extend([
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("SIZE", "Size"),
    ]);
    raw.extend([
        ("image_id", "ID"),
        ("created_at", "CreatedAt"),
        ("virtual_size", "Size"),
    ]);
    let list = List {
        columns: &columns,
        raw: &raw,
        ..LIST
    };
    list.print(&format, &items)
}

/// An item for each tag; with digests, the digest of the same repository.
pub(crate) fn items_of(image: &Value, full: bool, by_digest: bool) -> Vec<Item> {
    let none = "<none>";
    let names = |field: &str| -> Vec<&str> {
        let names = image[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        names.filter(|name| !name.starts_with("<none>")).collect()
    };
    let (tags, digests) = (names("RepoTags"), names("RepoDigests"));
    let digest_of = |repository: &str| {
        let mut pairs = digests.iter().filter_map(|name| name.split_once('@'));
        pairs
            .find(|(name, _)| *name == repository)
            .map(|(_, digest)| digest)
    };
    if tags.is_empty() {
        return match digests.first().and_then(|name| name.split_once('@')) {
            Some((repository, digest)) => vec![item(image, full, repository, none, digest)],
            None => vec![item(image, full, none, none, none)],
        };
    }
    let pairs = tags.iter().filter_map(|name| name.rsplit_once(':'));
    pairs
        .map(|(repository, tag)| {
            let digest = if by_digest {
                digest_of(repository)
            } else {
                None
            };
            item(image, full, repository, tag, digest.unwrap_or(none))
        })
        .collect()
}

fn item(image: &Value, full: bool, repository: &str, tag: &str, digest: &str) -> Item {
    let id = text(image, "/Id");
    let created = image["Created"].as_i64().unwrap_or(0);
    let number = |field: &str| image[field].as_f64().filter(|number| *number >= 0.0);
    let size = number("Size").unwrap_or(0.0);
    let or_unknown = |bytes: Option<f64>| bytes.map_or_else(|| "N/A".to_owned(), bytes_decimal);
    let row = Row::from([
        ("Repository", repository.to_owned()),
        ("Tag", tag.to_owned()),
        ("Digest", digest.to_owned()),
        ("ID", if full { id.to_owned() } else { short_id(id) }),
        ("CreatedAt", of_unix(created)),
        ("CreatedSince", format!("{} ago", age(created))),
        ("Size", bytes_decimal_to(size, 3)),
        (
            "Containers",
            number("Containers").map_or_else(|| "N/A".to_owned(), |count| format!("{count:.0}")),
        ),
        ("SharedSize", or_unknown(number("SharedSize"))),
        (
            "UniqueSize",
            or_unknown(number("SharedSize").map(|shared| size - shared)),
        ),
        ("VirtualSize", bytes_decimal(size)),
    ]);
    Item::new(row, &Value::Null)
}

pub(super) async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let platform = platform_json(matches.text("platform"))?;
    let platform = platform.as_str();
    let shown = Shown::of_host(|_| "image.InspectResponse", true);
    inspect(matches.args(), matches.text("format"), shown, |name| {
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
    let platform = platform_json(matches.text("platform"))?;
    let path = url(&path, &[("platform", &platform)]);
    let layers = context.client.get(&path).await?;
    let (full, human) = (matches.flag("no-trunc"), matches.flag("human"));
    let items: Vec<Item> = layers
        .as_array()
        .into_iter()
        .flatten()
        .map(|layer| layer_item(layer, full, human))
        .collect();
    let format = matches.text("format");
    if matches.flag("quiet") && matches!(format, "" | "table") {
        items
            .iter()
            .for_each(|item| println!("{}", item.text("ID")));
        return Ok(());
    }
    let list = List {
        kind: "*image.historyContext",
        columns: &[
            ("IMAGE", "ID"),
            ("CREATED", if human { "CreatedSince" } else { "CreatedAt" }),
            ("CREATED BY", "CreatedBy"),
            ("SIZE", "Size"),
            ("COMMENT", "Comment"),
        ],
        heads: &[("CREATED", "CreatedSince"), ("CREATED AT", "CreatedAt")],
        raw: &[],
    };
    list.print(&Format::read(format), &items)
}

fn layer_item(layer: &Value, full: bool, human: bool) -> Item {
    let id = text(layer, "/Id");
    let created = layer["Created"].as_i64().unwrap_or(0);
    let by = text(layer, "/CreatedBy").replace('\t', " ");
    let size = layer["Size"].as_f64().unwrap_or(0.0);
    let at = time::OffsetDateTime::from_unix_timestamp(created)
        .ok()
        .and_then(|then| {
            then.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_default();
    let row = Row::from([
        ("ID", if full { id.to_owned() } else { short_id(id) }),
        (
            "CreatedSince",
            if human {
                format!("{} ago", age(created))
            } else {
                at.clone()
            },
        ),
        ("CreatedAt", at),
        ("CreatedBy", if full { by } else { truncated(&by, 45) }),
        (
            "Size",
            if human {
                bytes_decimal_to(size, 3)
            } else {
                format!("{size:.0}")
            },
        ),
        ("Comment", text(layer, "/Comment").to_owned()),
    ]);
    Item::new(row, &Value::Null)
}

pub(super) async fn tag(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let target = Reference::parse(matches.arg(1))
        .map_err(|error| {
            CliError::new(format!(
                "Error parsing reference: {:?} is not a valid repository/tag: {error}",
                matches.arg(1)
            ))
        })?
        .or_latest();
    if target.digest().is_some() {
        return Err(CliError::new(
            "refusing to create a tag with a digest reference",
        ));
    }
    let query = [
        ("repo", target.canonical_name()),
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
    let platforms: Vec<String> = matches
        .list("platform")
        .iter()
        .map(|platform| platform_json(platform))
        .collect::<Result<_, _>>()?;
    let platforms = &platforms;
    each(matches.args(), |name| async move {
        let mut query = vec![("force", force), ("noprune", no_prune)];
        query.extend(
            platforms
                .iter()
                .map(|platform| ("platforms", platform.as_str())),
        );
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_tag_is_a_row_and_nameless_images_are_none() {
        let image = json!({"Id": "sha256:0123456789abcdef", "RepoTags": ["r:5000/a:1", "b:2"], "Size": 10, "Created": 0});
        let items = items_of(&image, false, false);
        assert_eq!(
            (items[0].text("Repository"), items[0].text("Tag")),
            ("r:5000/a".to_owned(), "1".to_owned())
        );
        assert_eq!(items[1].text("ID"), "0123456789ab");
        assert_eq!(
            items_of(&json!({"Id": "x"}), false, false)[0].text("Repository"),
            "<none>"
        );
    }
}
