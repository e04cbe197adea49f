//! What a container is and does: inspect, logs, port, top.

use futures::StreamExt as _;
use serde_json::Value;

use super::session::write;
use crate::client::{escape, frames, url};
use crate::cmd::objects::{Shown, inspect, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{table_of, unix_query};

/// Columns of `top` are at least this wide.
const TOP_WIDTH: usize = 20;

pub(super) async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let size = if matches.flag("size") { "1" } else { "" };
    let shown = Shown::of_host(|_| "container.InspectResponse", true);
    inspect(matches.args(), matches.text("format"), shown, |name| {
        let path = url(
            &format!("/containers/{}/json", escape(name)),
            &[("size", size)],
        );
        async move { context.client.get(&path).await }
    })
    .await
}

pub(super) async fn logs(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let found = context
        .client
        .get(&format!("/containers/{}/json", escape(matches.arg(0))))
        .await?;
    let tty = found.pointer("/Config/Tty") == Some(&Value::Bool(true));
    let switch = |flag: &str| if matches.flag(flag) { "1" } else { "" };
    let time = |flag: &str| unix_query(flag, matches.text(flag)).map_err(CliError::new);
    let (since, until) = (time("since")?, time("until")?);
    let query = [
        ("details", switch("details")),
        ("follow", switch("follow")),
        ("since", since.as_str()),
        ("stderr", "1"),
        ("stdout", "1"),
        ("tail", matches.text("tail")),
        ("timestamps", switch("timestamps")),
        ("until", until.as_str()),
    ];
    let path = url(&format!("/containers/{}/logs", text(&found, "/Id")), &query);
    let stream = context
        .client
        .stream(http::Method::GET, &path, &[], None)
        .await?;
    let mut outputs = frames(stream, tty);
    while let Some(output) = outputs.next().await {
        write(&output?)?;
    }
    Ok(())
}

pub(super) async fn port(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let found = context
        .client
        .get(&format!("/containers/{}/json", escape(matches.arg(0))))
        .await?;
    let ports = found
        .pointer("/NetworkSettings/Ports")
        .and_then(Value::as_object);
    let number = matches.arg(1).split('/').next().unwrap_or_default();
    if !number.is_empty() && number.parse::<u16>().is_err() {
        return Err(CliError::new(format!(
            "Error: invalid port ({number}): strconv.ParseUint: parsing {number:?}: invalid syntax"
        )));
    }
    let wanted = match matches.arg(1) {
        "" => String::new(),
        port if port.contains('/') => port.to_owned(),
        port => format!("{port}/tcp"),
    };
    let mut lines = Vec::new();
    for (name, bindings) in ports.into_iter().flatten() {
        for binding in bindings.as_array().into_iter().flatten() {
            let ip = text(binding, "/HostIp");
            let ip = if ip.contains(':') {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            };
            let public = format!("{ip}:{}", text(binding, "/HostPort"));
            if wanted.is_empty() {
                lines.push(format!("{name} -> {public}"));
            } else if *name == wanted {
                lines.push(public);
            }
        }
    }
    if lines.is_empty() && !wanted.is_empty() {
        return Err(CliError::new(format!(
            "Error: No public port '{}' published for {}",
            matches.arg(1),
            matches.arg(0)
        )));
    }
    lines.sort_by(|a, b| crate::output::natural_cmp(a, b));
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

pub(super) async fn top(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let options = matches.args()[1..].join(" ");
    let path = format!("/containers/{}/top", escape(matches.arg(0)));
    let path = url(&path, &[("ps_args", &options)]);
    let answer = context.client.get(&path).await?;
    let cells = |row: &Value| -> Vec<String> {
        let row = row
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        row.map(str::to_owned).collect()
    };
    let mut rows = vec![cells(&answer["Titles"])];
    rows.extend(
        answer["Processes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(cells),
    );
    print!("{}", table_of(&rows, TOP_WIDTH));
    Ok(())
}
