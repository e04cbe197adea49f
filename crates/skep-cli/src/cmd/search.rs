//! `search`: images of a registry that offers it.

use serde_json::Value;

use super::objects::text;
use crate::client::{filters, url};
use crate::context::Context;
use crate::credentials::{self, HUB};
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::output::{Format, Item, List, Row, truncated};

pub(super) const COMMANDS: &[Command] = &[command(
    "search",
    &[],
    "[OPTIONS] TERM",
    "Search Docker Hub for images",
    Arity::Exactly(1),
    "-f, --filter filter\n--format string\n--limit int\n--no-trunc",
    |c, m| Box::pin(run(c, m)),
)];

const LIST: List<'_> = List {
    kind: "*registry.searchContext",
    columns: &[
        ("NAME", "Name"),
        ("DESCRIPTION", "Description"),
        ("STARS", "StarCount"),
        ("OFFICIAL", "Official"),
    ],
    heads: &[("OFFICIAL", "IsOfficial")],
    raw: &[],
};

async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let term = matches.arg(0);
    if term.contains("://") {
        return Err(CliError::new(format!(
            "invalid repository name: repository name ({term}) should not have a scheme"
        )));
    }
    // A term may name its registry first: registry.example/term.
    let key = match term.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    };
    let auth = credentials::get(context, key).header();
    let query = filters(matches.list("filter"))?;
    let limit = matches.number("limit").filter(|limit| *limit > 0);
    let limit = limit.map(|limit| limit.to_string()).unwrap_or_default();
    let query = [
        ("filters", query.as_str()),
        ("limit", limit.as_str()),
        ("term", term),
    ];
    let headers = [("x-registry-auth", auth.as_str())];
    let path = url("/images/search", &query);
    let found = context
        .client
        .json_with(http::Method::GET, &path, None, &headers)
        .await?;
    let full = matches.flag("no-trunc");
    let format = Format::read(matches.text("format"));
    let table = matches!(format, Format::Table);
    let items: Vec<Item> = found
        .as_array()
        .into_iter()
        .flatten()
        .map(|image| item(image, full, table))
        .collect();
    LIST.print(&format, &items)
}

fn item(image: &Value, full: bool, table: bool) -> Item {
    let description = text(image, "/description").replace(['\n', '\r'], " ");
    let official = image["is_official"] == true;
    let mut row = Row::from([
        ("Name", text(image, "/name").to_owned()),
        (
            "Description",
            if full {
                description
            } else {
                truncated(&description, 45)
            },
        ),
        (
            "StarCount",
            image["star_count"].as_i64().unwrap_or(0).to_string(),
        ),
        ("IsOfficial", official.to_string()),
    ]);
    if table {
        row.insert("Official", if official { "[OK]" } else { "" }.to_owned());
    }
    Item::new(row, &Value::Null)
}
