//! `plugin`: for daemons that have plugins; skep's has none and says so.

use serde_json::Value;

use super::many;
use super::objects::{Shown, inspect, text};
use crate::client::{escape, filters, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::output::{Format, Item, List, Row, short_id, truncated};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "plugin ls",
        &["plugin list"],
        "[OPTIONS]",
        "List plugins",
        Arity::None,
        "-f, --filter filter\n--format string\n--no-trunc\n-q, --quiet",
        |c, m| Box::pin(ls(c, m)),
    ),
    command(
        "plugin inspect",
        &[],
        "[OPTIONS] PLUGIN [PLUGIN...]",
        "Display detailed information on one or more plugins",
        Arity::AtLeast(1),
        "-f, --format string",
        |c, m| Box::pin(show(c, m)),
    ),
    command(
        "plugin enable",
        &[],
        "[OPTIONS] PLUGIN",
        "Enable a plugin",
        Arity::Exactly(1),
        "--timeout int=30",
        |c, m| Box::pin(switch(c, m)),
    ),
    command(
        "plugin disable",
        &[],
        "[OPTIONS] PLUGIN",
        "Disable a plugin",
        Arity::Exactly(1),
        "-f, --force",
        |c, m| Box::pin(switch(c, m)),
    ),
    command(
        "plugin install",
        &[],
        "[OPTIONS] PLUGIN [KEY=VALUE...]",
        "Install a plugin",
        Arity::AtLeast(1),
        "--alias string\n--disable\n--disable-content-trust bool=true\n--grant-all-permissions",
        |c, m| Box::pin(refuse(c, m)),
    ),
    command(
        "plugin upgrade",
        &[],
        "[OPTIONS] PLUGIN [REMOTE]",
        "Upgrade an existing plugin",
        Arity::Between(1, 2),
        "--disable-content-trust bool=true\n--grant-all-permissions\n--skip-remote-check",
        |c, m| Box::pin(refuse(c, m)),
    ),
    command(
        "plugin create",
        &[],
        "[OPTIONS] PLUGIN PLUGIN-DATA-DIR",
        "Create a plugin from a rootfs and configuration. Plugin data directory must contain config.json and rootfs directory.",
        Arity::Exactly(2),
        "--compress",
        |c, m| Box::pin(refuse(c, m)),
    ),
    command(
        "plugin push",
        &[],
        "[OPTIONS] PLUGIN[:TAG]",
        "Push a plugin to a registry",
        Arity::Exactly(1),
        "--disable-content-trust bool=true",
        |c, m| Box::pin(refuse(c, m)),
    ),
    command(
        "plugin set",
        &[],
        "PLUGIN KEY=VALUE [KEY=VALUE...]",
        "Change settings for a plugin",
        Arity::AtLeast(2),
        "",
        |c, m| Box::pin(set(c, m)),
    ),
    command(
        "plugin rm",
        &["plugin remove"],
        "[OPTIONS] PLUGIN [PLUGIN...]",
        "Remove one or more plugins",
        Arity::AtLeast(1),
        "-f, --force",
        |c, m| Box::pin(rm(c, m)),
    ),
];

async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let found = context
        .client
        .get(&url("/plugins", &[("filters", &query)]))
        .await?;
    let full = matches.flag("no-trunc");
    let format = context.format(matches, "pluginsFormat");
    let items: Vec<Item> = found
        .as_array()
        .into_iter()
        .flatten()
        .map(|plugin| item(plugin, full))
        .collect();
    if matches.flag("quiet") && matches!(format, "" | "table") {
        items
            .iter()
            .for_each(|item| println!("{}", item.text("ID")));
        return Ok(());
    }
    let list = List {
        kind: "*plugin.pluginContext",
        columns: &[
            ("ID", "ID"),
            ("NAME", "Name"),
            ("DESCRIPTION", "Description"),
            ("ENABLED", "Enabled"),
        ],
        heads: &[("PLUGIN REFERENCE", "PluginReference")],
        raw: &[],
    };
    list.print(&Format::read(format), &items)
}

fn item(plugin: &Value, full: bool) -> Item {
    let id = text(plugin, "/Id");
    let description = text(plugin, "/Config/Description").replace('\n', "");
    let row = Row::from([
        ("ID", if full { id.to_owned() } else { short_id(id) }),
        ("Name", text(plugin, "/Name").to_owned()),
        (
            "Description",
            if full {
                description
            } else {
                truncated(&description, 45)
            },
        ),
        (
            "PluginReference",
            text(plugin, "/PluginReference").to_owned(),
        ),
    ]);
    Item::new(row, &Value::Null).with("Enabled", plugin["Enabled"].clone())
}

async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let shown = Shown::of_host(|_| "types.Plugin", true);
    inspect(
        matches.args(),
        matches.text("format"),
        shown,
        |name| async move {
            context
                .client
                .get(&format!("/plugins/{}/json", escape(name)))
                .await
        },
    )
    .await
}

/// `enable` and `disable`.
async fn switch(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (name, verb) = (
        matches.arg(0),
        matches.command.rsplit(' ').next().unwrap_or_default(),
    );
    let force = if matches.flag("force") { "1" } else { "" };
    let query = [("force", force), ("timeout", matches.text("timeout"))];
    let path = url(&format!("/plugins/{}/{verb}", escape(name)), &query);
    context.client.post_empty(&path).await?;
    println!("{name}");
    Ok(())
}

async fn set(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = format!("/plugins/{}/set", escape(matches.arg(0)));
    let body = Value::from(matches.args()[1..].to_vec());
    context.client.post(&path, &body).await.map(drop)
}

/// What would bring a plugin into a daemon.
async fn refuse(_: &Context, matches: &Matches) -> Result<(), CliError> {
    Err(CliError::new(format!(
        "docker {}: plugins are not supported by skep",
        matches.command
    )))
}

async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let force = if matches.flag("force") { "1" } else { "" };
    many::remove(context, matches.args(), "/plugins", &[("force", force)]).await
}
