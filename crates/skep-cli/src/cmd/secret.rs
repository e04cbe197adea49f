//! `secret` and `config`: data for services.

use std::io::Read as _;

use base64::Engine as _;
use serde_json::{Value, json};

use super::objects::{Shown, each, inspect, label_text, text};
use super::rollout::Rollout;
use super::versions;
use crate::client::{escape, filters, url};
use crate::context::Context;
use crate::error::{CliError, io_text, join};
use crate::grammar::{Arity, Command, Matches, command};
use crate::opts::labels;
use crate::output::{Format, Item, List, Row, ago, natural_cmp};

/// What differs between the two.
struct Kind {
    name: &'static str,
    path: &'static str,
    most_bytes: u64,
    format_setting: &'static str,
    shown: Shown,
}

const SECRET: Kind = Kind {
    name: "secret",
    path: "/secrets",
    most_bytes: 500 << 10,
    format_setting: "secretFormat",
    shown: Shown::of_swarm(|_| "swarm.Secret", true),
};
const CONFIG: Kind = Kind {
    name: "config",
    path: "/configs",
    most_bytes: 1000 << 10,
    format_setting: "configFormat",
    shown: Shown::of_swarm(|_| "swarm.Config", true),
};

const LS: &str = "-f, --filter filter\n--format string\n-q, --quiet\n--versions";
const UPDATE: &str =
    "-d, --detach\n-l, --label list\n--no-rollback\n-q, --quiet\n--template-driver string";
const INSPECT: &str = "-f, --format string\n--pretty";

pub(super) const COMMANDS: &[Command] = &[
    command(
        "secret create",
        &[],
        "[OPTIONS] SECRET [file|-]",
        "Create a secret from a file or STDIN as content",
        Arity::Between(1, 2),
        "-d, --driver string\n-l, --label list\n--template-driver string",
        |c, m| Box::pin(create(c, m, &SECRET)),
    ),
    command(
        "secret inspect",
        &[],
        "[OPTIONS] SECRET [SECRET...]",
        "Display detailed information on one or more secrets",
        Arity::AtLeast(1),
        INSPECT,
        |c, m| Box::pin(show(c, m, &SECRET)),
    ),
    command(
        "secret ls",
        &["secret list"],
        "[OPTIONS]",
        "List secrets",
        Arity::None,
        LS,
        |c, m| Box::pin(ls(c, m, &SECRET)),
    ),
    command(
        "secret rm",
        &["secret remove"],
        "SECRET [SECRET...]",
        "Remove one or more secrets",
        Arity::AtLeast(1),
        "",
        |c, m| Box::pin(rm(c, m, &SECRET)),
    ),
    command(
        "secret update",
        &[],
        "[OPTIONS] SECRET file|-",
        "Change the content of a secret, and roll it out to the services that use it",
        Arity::Exactly(2),
        UPDATE,
        |c, m| Box::pin(update(c, m, &SECRET)),
    ),
    command(
        "config create",
        &[],
        "[OPTIONS] CONFIG file|-",
        "Create a config from a file or STDIN",
        Arity::Exactly(2),
        "-l, --label list\n--template-driver string",
        |c, m| Box::pin(create(c, m, &CONFIG)),
    ),
    command(
        "config inspect",
        &[],
        "[OPTIONS] CONFIG [CONFIG...]",
        "Display detailed information on one or more configs",
        Arity::AtLeast(1),
        INSPECT,
        |c, m| Box::pin(show(c, m, &CONFIG)),
    ),
    command(
        "config ls",
        &["config list"],
        "[OPTIONS]",
        "List configs",
        Arity::None,
        LS,
        |c, m| Box::pin(ls(c, m, &CONFIG)),
    ),
    command(
        "config rm",
        &["config remove"],
        "CONFIG [CONFIG...]",
        "Remove one or more configs",
        Arity::AtLeast(1),
        "",
        |c, m| Box::pin(rm(c, m, &CONFIG)),
    ),
    command(
        "config update",
        &[],
        "[OPTIONS] CONFIG file|-",
        "Change the content of a config, and roll it out to the services that use it",
        Arity::Exactly(2),
        UPDATE,
        |c, m| Box::pin(update(c, m, &CONFIG)),
    ),
];

async fn create(context: &Context, matches: &Matches, kind: &Kind) -> Result<(), CliError> {
    let mut body = json!({"Name": matches.arg(0), "Labels": labels(&[], matches.list("label"))?});
    let driver = matches.text("driver");
    match (driver.is_empty(), matches.arg(1)) {
        (false, "") => body["Driver"] = json!({"Name": driver}),
        (false, _) => {
            return Err(CliError::new(
                "When using secret driver secret data must be empty",
            ));
        }
        (true, "") => return Err(CliError::new("secret file is required")),
        (true, file) => {
            body["Data"] = base64::engine::general_purpose::STANDARD
                .encode(read(file, kind)?)
                .into();
        }
    }
    if let Some(driver) = matches.given_text("template-driver") {
        body["Templating"] = json!({"Name": driver});
    }
    let answer = context
        .client
        .post(&format!("{}/create", kind.path), &body)
        .await?;
    println!("{}", text(&answer, "/ID"));
    Ok(())
}

async fn update(context: &Context, matches: &Matches, kind: &Kind) -> Result<(), CliError> {
    let data = read(matches.arg(1), kind)?;
    let mut body = json!({
        "Labels": labels(&[], matches.list("label"))?,
        "Data": base64::engine::general_purpose::STANDARD.encode(data),
    });
    if let Some(driver) = matches.given_text("template-driver") {
        body["Templating"] = json!({"Name": driver});
    }
    let rollout = Rollout {
        context,
        kind: kind.name,
        name: matches.arg(0),
        detach: matches.flag("detach"),
        quiet: matches.flag("quiet"),
        keeps_failed: matches.flag("no-rollback"),
    };
    rollout.run(body).await
}

fn read(file: &str, kind: &Kind) -> Result<Vec<u8>, CliError> {
    let refused = |why: String| {
        let text = format!("error reading from {file}: {why}");
        CliError::new(match kind.name {
            "config" => format!("Error reading content from \"{file}\": {text}"),
            _ => text,
        })
    };
    // One byte more than is allowed: the daemon then says what the limit is.
    let limit = kind.most_bytes * 2 + 1;
    let mut data = Vec::new();
    if file == "-" {
        std::io::stdin().take(limit).read_to_end(&mut data)?;
    } else {
        let of_file = |error: std::io::Error| refused(format!("open {file}: {}", io_text(&error)));
        std::fs::File::open(file)
            .map_err(of_file)?
            .take(limit)
            .read_to_end(&mut data)
            .map_err(of_file)?;
    }
    if data.is_empty() {
        return Err(refused("data is empty".to_owned()));
    }
    Ok(data)
}

async fn show(context: &Context, matches: &Matches, kind: &Kind) -> Result<(), CliError> {
    let find = |name: &str| {
        let name = name.to_owned();
        async move { newest(context, kind, &name).await }
    };
    if !matches.flag("pretty") {
        return inspect(matches.args(), matches.text("format"), kind.shown, find).await;
    }
    if !matches.text("format").is_empty() {
        return Err(CliError::new(
            "--format is incompatible with human friendly format",
        ));
    }
    let mut errors = Vec::new();
    for name in matches.args() {
        match find(name).await {
            Ok(object) => print!("{}", pretty(&object, kind)),
            Err(error) => errors.push(error),
        }
    }
    join(errors)
}

/// The newest version of what a user calls by its name or id.
async fn newest(context: &Context, kind: &Kind, name: &str) -> Result<Value, CliError> {
    let path = format!("{}/{}", kind.path, escape(name));
    let found = context.client.get(&path).await;
    let is_plain = |object: &Value| versions::known_name(object) == text(object, "/Spec/Name");
    match found {
        // An id, or the name of one version, means that one.
        Ok(object) if text(&object, "/Spec/Name") != name || !is_plain(&object) => Ok(object),
        Err(error) if !error.is_not_found() => Err(error),
        found => match versions::newest(context, kind.name, name).await? {
            Some(version) => Ok(version.object),
            None => found,
        },
    }
}

/// Docker's two layouts: with tabs for configs, with spaces for secrets.
fn pretty(object: &Value, kind: &Kind) -> String {
    let is_config = kind.name == "config";
    let gap = |head: &str| {
        if is_config && head.len() < 6 {
            format!("{head}\t\t\t")
        } else if is_config {
            format!("{head:<23}\t")
        } else if head.len() < 10 {
            format!(
                "{head}{}",
                " ".repeat(if head == "Driver:" { 12 } else { 14 })
            )
        } else {
            format!("{head:<19}")
        }
    };
    let time =
        |field: &str| text(object, field).trim_end_matches('Z').replace('T', " ") + " +0000 utc\n";
    let mut shown = format!(
        "{}{}\n{}{}\n",
        gap("ID:"),
        text(object, "/ID"),
        gap("Name:"),
        text(object, "/Spec/Name")
    );
    if let Some(labels) = object["Spec"]["Labels"]
        .as_object()
        .filter(|labels| !labels.is_empty())
    {
        shown.push_str("Labels:\n");
        for (key, value) in labels {
            shown.push_str(&format!(
                " - {key}={}\n",
                value.as_str().unwrap_or_default()
            ));
        }
    }
    if !is_config {
        let driver = text(object, "/Spec/Driver/Name");
        shown.push_str(&format!("{}{driver}\n", gap("Driver:")));
    }
    shown.push_str(&format!("{}{}", gap("Created at:"), time("/CreatedAt")));
    shown.push_str(&format!("{}{}", gap("Updated at:"), time("/UpdatedAt")));
    if let Some(data) = object["Spec"]["Data"].as_str() {
        let data = base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap_or_default();
        shown.push_str(&format!("Data:\n{}\n", String::from_utf8_lossy(&data)));
    }
    shown
}

async fn ls(context: &Context, matches: &Matches, kind: &Kind) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let found = context
        .client
        .get(&url(kind.path, &[("filters", &query)]))
        .await?;
    let mut found: Vec<Value> = found.as_array().cloned().unwrap_or_default();
    found.sort_by(|a, b| {
        natural_cmp(versions::known_name(a), versions::known_name(b))
            .then_with(|| versions::number(b).cmp(&versions::number(a)))
    });
    let every = matches.flag("versions");
    if !every {
        // Behind the newest of a name come older ones.
        found.dedup_by(|a, b| versions::known_name(a) == versions::known_name(b));
    }
    let format = matches.text("format");
    if matches.flag("quiet") && format.is_empty() {
        for object in &found {
            println!("{}", text(object, "/ID"));
        }
        return Ok(());
    }
    let format = if format.is_empty() {
        context.setting(kind.format_setting).unwrap_or_default()
    } else {
        format
    };
    let mut columns = vec![
        ("ID", "ID"),
        ("NAME", "Name"),
        ("CREATED", "CreatedAt"),
        ("UPDATED", "UpdatedAt"),
    ];
    if kind.name == "secret" {
        columns.insert(2, ("DRIVER", "Driver"));
    }
    if every {
        columns.insert(2, ("VERSION", "Version"));
    }
    let mut rows: Vec<Row> = found.iter().map(|object| row(object, every)).collect();
    // Only secrets come from drivers.
    if kind.name != "secret" {
        rows.iter_mut()
            .for_each(|row| drop(row.shift_remove("Driver")));
    }
    let type_name = format!("*{0}.{0}Context", kind.name);
    let labels = |object: &Value| object["Spec"]["Labels"].clone();
    let items = rows.into_iter().zip(&found);
    let items: Vec<Item> = items
        .map(|(row, object)| Item::new(row, &labels(object)))
        .collect();
    let list = List {
        kind: &type_name,
        columns: &columns,
        heads: &[],
        raw: &[],
    };
    list.print(&Format::read(format), &items)
}

fn row(object: &Value, every: bool) -> Row {
    let mut row = Row::from([
        ("ID", text(object, "/ID").to_owned()),
        ("Name", versions::known_name(object).to_owned()),
        ("Driver", text(object, "/Spec/Driver/Name").to_owned()),
        ("CreatedAt", ago(text(object, "/CreatedAt"))),
        ("UpdatedAt", ago(text(object, "/UpdatedAt"))),
        ("Labels", label_text(&object["Spec"]["Labels"])),
    ]);
    if every {
        row.insert("Version", versions::number(object).to_string());
    }
    row
}

async fn rm(context: &Context, matches: &Matches, kind: &Kind) -> Result<(), CliError> {
    each(matches.args(), |name| async move {
        // All versions of a name go, the newest first: one that is in use keeps the older ones too.
        let mut all = versions::versions(context, kind.name, name).await?;
        if all.iter().all(|version| version.name() == name) {
            all.clear();
            let path = format!("{}/{}", kind.path, escape(name));
            context.client.delete(&path).await?;
        }
        while let Some(version) = all.pop() {
            let path = format!("{}/{}", kind.path, version.id());
            context.client.delete(&path).await?;
        }
        println!("{name}");
        Ok(())
    })
    .await
}
