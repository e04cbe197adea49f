//! `service logs`.

use std::collections::BTreeMap;
use std::io::Write as _;

use futures::StreamExt as _;
use serde_json::Value;

use super::tasks::Names;
use crate::client::{Output, StreamKind, escape, frames, url};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::unix_query;

const ATTRIBUTES: [&str; 3] = [
    "com.docker.swarm.node.id",
    "com.docker.swarm.service.id",
    "com.docker.swarm.task.id",
];

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = matches.arg(0);
    let (path, object, is_tty) = target(context, name).await?;
    let raw = matches.flag("raw");
    if is_tty && !raw {
        return Err(CliError::new("tty service logs only supported with --raw"));
    }
    let since = unix_query("since", matches.text("since")).map_err(CliError::new)?;
    let switch = |on: bool| if on { "1" } else { "" };
    let query = [
        ("details", switch(!raw || matches.flag("details"))),
        ("follow", switch(matches.flag("follow"))),
        ("since", since.as_str()),
        ("stderr", "1"),
        ("stdout", "1"),
        ("tail", matches.text("tail")),
        ("timestamps", switch(matches.flag("timestamps"))),
    ];
    let stream = context
        .client
        .stream(http::Method::GET, &url(&path, &query), &[], None)
        .await?;
    let mut outputs = frames(stream, is_tty);
    let mut prefixes = Prefixes {
        names: Names::new(context, !matches.flag("no-resolve")),
        tasks: BTreeMap::new(),
        context,
        width: width(&object),
        full: matches.flag("no-trunc"),
        with_id: !matches.flag("no-task-ids"),
    };
    while let Some(output) = outputs.next().await {
        let Output { kind, bytes } = output?;
        if raw {
            write(kind, &bytes)?;
            continue;
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = prefixes.format(&line, matches).await;
        write(kind, line.as_bytes())?;
    }
    Ok(())
}

/// The path of the logs, the service or task, and whether it has a terminal.
async fn target(context: &Context, name: &str) -> Result<(String, Value, bool), CliError> {
    let escaped = escape(name);
    match context.client.get(&format!("/services/{escaped}")).await {
        Ok(service) => {
            let is_tty =
                service.pointer("/Spec/TaskTemplate/ContainerSpec/TTY") == Some(&Value::Bool(true));
            Ok((
                format!("/services/{}/logs", text(&service, "/ID")),
                service,
                is_tty,
            ))
        }
        Err(error) if error.is_not_found() => {
            match context.client.get(&format!("/tasks/{escaped}")).await {
                Ok(task) => {
                    let is_tty =
                        task.pointer("/Spec/ContainerSpec/TTY") == Some(&Value::Bool(true));
                    Ok((format!("/tasks/{}/logs", text(&task, "/ID")), task, is_tty))
                }
                Err(error) if error.is_not_found() => {
                    Err(CliError::new(format!("no such task or service: {name}")))
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Digits of the largest slot, so that prefixes line up.
fn width(object: &Value) -> usize {
    let slots = object
        .pointer("/Spec/Mode/Replicated/Replicas")
        .or(object.get("Slot"));
    slots
        .and_then(Value::as_u64)
        .map_or(1, |slots| slots.to_string().len())
}

struct Prefixes<'a> {
    names: Names<'a>,
    context: &'a Context,
    tasks: BTreeMap<String, String>,
    width: usize,
    full: bool,
    with_id: bool,
}

impl Prefixes<'_> {
    /// `[time ]attributes message` with the attributes turned into `name.slot.task@node | `.
    async fn format(&mut self, line: &str, matches: &Matches) -> String {
        let (time, rest) = match matches.flag("timestamps") {
            true => line.split_once(' ').unwrap_or(("", line)),
            false => ("", line),
        };
        let (details, message) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut attributes: BTreeMap<&str, &str> = details
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let task = attributes
            .get(ATTRIBUTES[2])
            .copied()
            .unwrap_or_default()
            .to_owned();
        let node = attributes
            .get(ATTRIBUTES[0])
            .copied()
            .unwrap_or_default()
            .to_owned();
        if task.is_empty() {
            return line.to_owned();
        }
        let name = self.task_name(&task).await;
        let node = self.names.node(&node).await;
        let slot = name.rsplit('.').next().map_or(0, str::len);
        let id = match (self.with_id, self.full) {
            (false, _) => String::new(),
            (true, true) => format!(".{task}"),
            (true, false) => format!(".{}", task.chars().take(12).collect::<String>()),
        };
        let pad = " ".repeat((self.width + 4).saturating_sub(slot));
        let mut formatted = format!("{name}{id}@{node}{pad}| ");
        if !time.is_empty() {
            formatted.push_str(&format!("{time} "));
        }
        if matches.flag("details") {
            for attribute in ATTRIBUTES {
                attributes.remove(attribute);
            }
            let rest: Vec<_> = attributes
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            if !rest.is_empty() {
                formatted.push_str(&format!("{} ", rest.join(",")));
            }
        }
        formatted.push_str(message);
        formatted
    }

    async fn task_name(&mut self, id: &str) -> String {
        if let Some(name) = self.tasks.get(id) {
            return name.clone();
        }
        let name = match self.context.client.get(&format!("/tasks/{id}")).await {
            Ok(task) => {
                let name = self.names.task(&task).await;
                // Also where a task has a node instead of a slot.
                let service = name
                    .rsplit_once('.')
                    .map_or(name.as_str(), |(name, _)| name);
                format!("{service}.{}", task["Slot"].as_u64().unwrap_or(0))
            }
            // A task that is gone keeps its id.
            Err(_) => id.to_owned(),
        };
        self.tasks.insert(id.to_owned(), name.clone());
        name
    }
}

fn write(kind: StreamKind, bytes: &[u8]) -> Result<(), CliError> {
    match kind {
        StreamKind::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()?;
        }
        StreamKind::Stderr => std::io::stderr().lock().write_all(bytes)?,
    }
    Ok(())
}
