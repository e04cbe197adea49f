//! What the nouns have in common: listing with filters, formats and `--quiet`, removing many,
//! showing many.

use serde_json::Value;

use super::objects::{Shown, each, inspect, text};
use crate::client::{escape, filters, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Format, Item, List, natural_cmp};

/// How the objects of a noun are listed.
pub(super) struct Listing<'a> {
    /// Where they are asked for.
    pub(super) path: &'a str,
    /// The field of the answer that holds them; empty where the answer is the list.
    pub(super) field: &'a str,
    /// The setting of `config.json` that gives the format.
    pub(super) setting: &'a str,
    /// Columns and heads.
    pub(super) list: List<'a>,
    /// What `--quiet` prints of one; `full` is `--no-trunc`.
    pub(super) quiet: fn(&Value, bool) -> String,
    /// One as the list tells it.
    pub(super) item: fn(&Value, bool) -> Item,
}

/// Asks for objects and brings them into the order of their names.
pub(super) async fn found(
    context: &Context,
    path: &str,
    field: &str,
    given: &[String],
) -> Result<Vec<Value>, CliError> {
    let query = filters(given)?;
    let answer = context
        .client
        .get(&url(path, &[("filters", &query)]))
        .await?;
    let all = if field.is_empty() {
        &answer
    } else {
        &answer[field]
    };
    let mut all: Vec<Value> = all.as_array().cloned().unwrap_or_default();
    all.sort_by(|a, b| natural_cmp(text(a, "/Name"), text(b, "/Name")));
    Ok(all)
}

/// `NOUN ls`.
pub(super) async fn list(
    context: &Context,
    matches: &Matches,
    how: &Listing<'_>,
) -> Result<(), CliError> {
    let all = found(context, how.path, how.field, matches.list("filter")).await?;
    let full = matches.flag("no-trunc");
    let format = context.format(matches, how.setting);
    if matches.flag("quiet") && matches!(format, "" | "table") {
        all.iter()
            .for_each(|one| println!("{}", (how.quiet)(one, full)));
        return Ok(());
    }
    let items: Vec<Item> = all.iter().map(|one| (how.item)(one, full)).collect();
    how.list.print(&Format::read(format), &items)
}

/// `NOUN inspect`: each name below a path.
pub(super) async fn show(
    context: &Context,
    matches: &Matches,
    path: &str,
    query: &[(&str, &str)],
    shown: Shown,
) -> Result<(), CliError> {
    inspect(matches.args(), matches.text("format"), shown, |name| {
        let path = url(&format!("{path}/{}", escape(name)), query);
        async move { context.client.get(&path).await }
    })
    .await
}

/// `NOUN rm`: each name below a path; the name is printed when it is gone.
pub(super) async fn remove(
    context: &Context,
    names: &[String],
    path: &str,
    query: &[(&str, &str)],
) -> Result<(), CliError> {
    each(names, |name| async move {
        let path = url(&format!("{path}/{}", escape(name)), query);
        context.client.delete(&path).await?;
        println!("{name}");
        Ok(())
    })
    .await
}
