//! Contexts that there are: ls, show, inspect.

use serde_json::{Value, json};

use super::store::Stored;
use crate::cmd::objects::{Shown, inspect};
use crate::context::{Context, env};
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Format, Item, List, Row};

pub(super) async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let all = Stored::all(context)?;
    let format = matches.text("format");
    if matches.flag("quiet") && matches!(format, "" | "table") {
        all.iter().for_each(|stored| println!("{}", stored.name));
        warn_of_override();
        return Ok(());
    }
    let format = Format::read(format);
    let marks = matches!(format, Format::Table | Format::TableOf(_));
    let items: Vec<Item> = all
        .iter()
        .map(|stored| item(context, stored, marks))
        .collect();
    let list = List {
        kind: "*formatter.clientContextContext",
        columns: &[
            ("NAME", "Name"),
            ("DESCRIPTION", "Description"),
            ("DOCKER ENDPOINT", "DockerEndpoint"),
            ("ERROR", "Error"),
        ],
        heads: &[("CURRENT", "Current")],
        raw: &[],
    };
    list.print(&format, &items)?;
    warn_of_override();
    Ok(())
}

fn warn_of_override() {
    if env("DOCKER_HOST").is_some() {
        eprintln!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable."
        );
    }
}

fn item(context: &Context, stored: &Stored, marks: bool) -> Item {
    let is_current = stored.name == context.name;
    let name = match marks && is_current {
        true => format!("{} *", stored.name),
        false => stored.name.clone(),
    };
    let row = Row::from([
        ("Name", name),
        ("Description", stored.description().to_owned()),
        ("DockerEndpoint", stored.host()),
        ("Error", String::new()),
    ]);
    Item::new(row, &Value::Null).with("Current", is_current.into())
}

pub(super) async fn current(context: &Context, _: &Matches) -> Result<(), CliError> {
    println!("{}", context.name);
    Ok(())
}

pub(super) async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let own = [context.name.clone()];
    let names = match matches.args() {
        [] => &own[..],
        names => names,
    };
    let shown = Shown::of_host(|_| "context.contextWithTLSListing", false);
    inspect(names, matches.text("format"), shown, |name| async move {
        Stored::find(context, name).map(|stored| told(&stored))
    })
    .await
}

fn told(stored: &Stored) -> Value {
    let place = |dir: &Option<std::path::PathBuf>| match dir {
        Some(dir) => dir.display().to_string(),
        None => "<IN MEMORY>".to_owned(),
    };
    let mut tls = json!({});
    let names = stored.tls_names();
    if !names.is_empty() {
        tls["docker"] = json!(names);
    }
    let metadata = match stored.meta_dir {
        Some(_) => stored.meta["Metadata"].clone(),
        None => json!({}),
    };
    json!({
        "Name": stored.name, "Metadata": metadata, "Endpoints": stored.meta["Endpoints"],
        "TLSMaterial": tls,
        "Storage": {"MetadataPath": place(&stored.meta_dir), "TLSPath": place(&stored.tls_dir)},
    })
}
