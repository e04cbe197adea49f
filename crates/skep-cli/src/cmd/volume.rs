//! `volume`: volumes of this host.

use serde_json::{Value, json};

use super::objects::{confirmed, each, inspect, label_text, text};
use crate::client::{escape, filters, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::opts::{labels, map_from};
use crate::output::{Format, Row, bytes_decimal, natural_cmp, print_rows};

const CREATE: &str = "
-d, --driver string=local
--label list
--name string
-o, --opt map";

pub(super) const COMMANDS: &[Command] = &[
    command(
        "volume create",
        &[],
        "[OPTIONS] [VOLUME]",
        "Make a volume",
        Arity::AtMost(1),
        CREATE,
        |c, m| Box::pin(create(c, m)),
    ),
    command(
        "volume ls",
        &["volume list"],
        "[OPTIONS]",
        "List volumes",
        Arity::None,
        "-f, --filter filter\n--format string\n-q, --quiet",
        |c, m| Box::pin(ls(c, m)),
    ),
    command(
        "volume inspect",
        &[],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Show volumes in detail",
        Arity::AtLeast(1),
        "-f, --format string",
        |c, m| Box::pin(show(c, m)),
    ),
    command(
        "volume rm",
        &["volume remove"],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Remove volumes",
        Arity::AtLeast(1),
        "-f, --force",
        |c, m| Box::pin(rm(c, m)),
    ),
    command(
        "volume prune",
        &[],
        "[OPTIONS]",
        "Remove volumes that no container uses",
        Arity::None,
        "-a, --all\n--filter filter\n-f, --force",
        |c, m| Box::pin(prune(c, m)),
    ),
];

async fn create(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = match (matches.arg(0), matches.given_text("name")) {
        (_, None) => matches.arg(0),
        ("", Some(name)) => name,
        _ => {
            return Err(CliError::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
    };
    let mut body = json!({"Driver": matches.text("driver"), "Name": name});
    for (flag, field) in [("opt", "DriverOpts"), ("label", "Labels")] {
        let map = if flag == "opt" {
            map_from(matches.list(flag))
        } else {
            labels(&[], matches.list(flag))?
        };
        if !map.is_empty() {
            body[field] = Value::Object(map);
        }
    }
    let answer = context.client.post("/volumes/create", &body).await?;
    println!("{}", text(&answer, "/Name"));
    Ok(())
}

async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let answer = context
        .client
        .get(&url("/volumes", &[("filters", &query)]))
        .await?;
    let mut volumes: Vec<Value> = answer["Volumes"].as_array().cloned().unwrap_or_default();
    volumes.sort_by(|a, b| natural_cmp(text(a, "/Name"), text(b, "/Name")));
    let format = matches.text("format");
    if matches.flag("quiet") && format.is_empty() {
        volumes
            .iter()
            .for_each(|volume| println!("{}", text(volume, "/Name")));
        return Ok(());
    }
    let format = if format.is_empty() {
        context.setting("volumesFormat").unwrap_or_default()
    } else {
        format
    };
    let rows: Vec<Row> = volumes
        .iter()
        .map(|volume| {
            Row::from([
                ("Driver", text(volume, "/Driver").to_owned()),
                ("Name", text(volume, "/Name").to_owned()),
                ("Labels", label_text(&volume["Labels"])),
                ("Mountpoint", text(volume, "/Mountpoint").to_owned()),
                ("Scope", text(volume, "/Scope").to_owned()),
            ])
        })
        .collect();
    print_rows(
        &Format::read(format),
        &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")],
        &rows,
    )
}

async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    inspect(matches.args(), matches.text("format"), |name| {
        let path = format!("/volumes/{}", escape(name));
        async move { context.client.get(&path).await }
    })
    .await
}

async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let force = if matches.flag("force") { "1" } else { "" };
    each(matches.args(), |name| async move {
        context
            .client
            .delete(&url(
                &format!("/volumes/{}", escape(name)),
                &[("force", force)],
            ))
            .await?;
        println!("{name}");
        Ok(())
    })
    .await
}

async fn prune(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let all = matches.flag("all");
    let what = if all {
        "local volumes"
    } else {
        "anonymous local volumes"
    };
    let question = format!(
        "WARNING! This will remove {what} not used by at least one container.\nAre you sure you want to continue?"
    );
    if !matches.flag("force") && !confirmed(&question)? {
        return Ok(());
    }
    let mut given = matches.list("filter").to_vec();
    if all {
        given.push("all=1".to_owned());
    }
    let query = filters(&given)?;
    let answer = context
        .client
        .post_empty(&url("/volumes/prune", &[("filters", &query)]))
        .await?;
    let deleted: Vec<_> = answer["VolumesDeleted"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !deleted.is_empty() {
        println!("Deleted Volumes:\n{}\n", deleted.join("\n"));
    }
    println!(
        "Total reclaimed space: {}",
        bytes_decimal(answer["SpaceReclaimed"].as_f64().unwrap_or(0.0))
    );
    Ok(())
}
