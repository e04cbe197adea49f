//! `service ps`, and the table of tasks that `node ps` and `stack ps` print too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::list::image;
use crate::client::{escape, url};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::{CliError, join};
use crate::grammar::Matches;
use crate::output::{Format, Row, ago, natural_cmp, print_rows, short_id, truncated};

const COLUMNS: [(&str, &str); 8] = [
    ("ID", "ID"),
    ("NAME", "Name"),
    ("IMAGE", "Image"),
    ("NODE", "Node"),
    ("DESIRED STATE", "DesiredState"),
    ("CURRENT STATE", "CurrentState"),
    ("ERROR", "Error"),
    ("PORTS", "Ports"),
];
/// Errors longer than this are cut.
const ERROR_CHARS: usize = 30;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut ids = serde_json::Map::new();
    let mut missing = Vec::new();
    for name in matches.args() {
        match context
            .client
            .get(&format!("/services/{}", escape(name)))
            .await
        {
            Ok(service) => drop(ids.insert(text(&service, "/ID").to_owned(), true.into())),
            Err(error) if error.is_not_found() => {
                missing.push(CliError::new(format!("no such service: {name}")))
            }
            Err(error) => return Err(error),
        }
    }
    if !ids.is_empty() {
        let mut filters = given_filters(context, matches).await?;
        filters.insert("service".to_owned(), Value::Object(ids));
        let tasks = context
            .client
            .get(&url(
                "/tasks",
                &[("filters", &Value::Object(filters).to_string())],
            ))
            .await?;
        print_tasks(context, matches, &tasks, true).await?;
    }
    join(missing)
}

/// `-f` flags as filters; a node given by name is looked up.
pub(crate) async fn given_filters(
    context: &Context,
    matches: &Matches,
) -> Result<serde_json::Map<String, Value>, CliError> {
    let mut filters = json!({});
    for filter in matches.list("filter") {
        let (key, value) = filter.split_once('=').ok_or_else(|| {
            CliError::new(format!(
                "invalid argument \"{filter}\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"
            ))
            .with_code(125)
        })?;
        let value = match key {
            "node" => node_id(context, value).await?,
            _ => value.to_owned(),
        };
        filters[key][value] = true.into();
    }
    match filters {
        Value::Object(map) => Ok(map),
        _ => Ok(serde_json::Map::new()),
    }
}

/// The id of a node by its name; `self` is the one that is asked.
async fn node_id(context: &Context, name: &str) -> Result<String, CliError> {
    if name == "self" {
        let info = context.client.get("/info").await?;
        return Ok(text(&info, "/Swarm/NodeID").to_owned());
    }
    let path = format!("/nodes/{}", escape(name));
    match context.client.get(&path).await {
        Ok(node) => Ok(text(&node, "/ID").to_owned()),
        // What is not known may be the beginning of an id.
        Err(error) if error.is_not_found() => Ok(name.to_owned()),
        Err(error) => Err(error),
    }
}

/// Prints tasks by name, the newest of a slot first; older ones of the slot are indented.
/// `whole_ids` is about a list of nothing but ids.
pub(crate) async fn print_tasks(
    context: &Context,
    matches: &Matches,
    tasks: &Value,
    whole_ids: bool,
) -> Result<(), CliError> {
    let resolve = !matches.flag("no-resolve");
    let full = matches.flag("no-trunc");
    let mut names = Names::new(context, resolve);
    let mut sorted: Vec<(String, &Value)> = Vec::new();
    for task in tasks.as_array().into_iter().flatten() {
        sorted.push((names.task(task).await, task));
    }
    sorted.sort_by(|(a, x), (b, y)| {
        natural_cmp(a, b).then_with(|| text(y, "/CreatedAt").cmp(text(x, "/CreatedAt")))
    });
    let format = matches.text("format");
    if matches.flag("quiet") && format.is_empty() {
        for (_, task) in &sorted {
            let id = text(task, "/ID");
            match whole_ids || full {
                true => println!("{id}"),
                false => println!("{}", short_id(id)),
            }
        }
        return Ok(());
    }
    let format = if format.is_empty() {
        context.setting("tasksFormat").unwrap_or_default()
    } else {
        format
    };
    let is_table = matches!(Format::read(format), Format::Table | Format::TableOf(_));
    let mut rows = Vec::new();
    let mut last = String::new();
    for (name, task) in sorted {
        let shown = if is_table && name == last {
            format!(" \\_ {name}")
        } else {
            name.clone()
        };
        last = name;
        let node = names.node(text(task, "/NodeID")).await;
        rows.push(row(task, shown, node, full));
    }
    let raw = [
        ("id", "ID"),
        ("name", "Name"),
        ("image", "Image"),
        ("node", "Node"),
        ("desired_state", "DesiredState"),
        ("current_state", "CurrentState"),
        ("error", "Error"),
        ("ports", "Ports"),
    ];
    let format = Format::read(format);
    print_rows(&format, "*task.taskContext", &COLUMNS, &rows, &raw)
}

fn row(task: &Value, name: String, node: String, full: bool) -> Row {
    let id = text(task, "/ID");
    let full_image = text(task, "/Spec/ContainerSpec/Image");
    let error = text(task, "/Status/Err");
    let error = match error {
        "" => String::new(),
        error if full => format!("\"{error}\""),
        error => format!("\"{}\"", truncated(error, ERROR_CHARS)),
    };
    let state = title(text(task, "/Status/State"));
    Row::from([
        ("ID", if full { id.to_owned() } else { short_id(id) }),
        ("Name", name),
        (
            "Image",
            if full {
                full_image.to_owned()
            } else {
                image(full_image).to_owned()
            },
        ),
        ("Node", node),
        ("DesiredState", title(text(task, "/DesiredState"))),
        (
            "CurrentState",
            format!(
                "{state} {}",
                lower_first(&ago(text(task, "/Status/Timestamp")))
            ),
        ),
        ("Error", error),
        ("Ports", ports(&task["Status"]["PortStatus"]["Ports"])),
    ])
}

/// Host ports of a task.
fn ports(ports: &Value) -> String {
    ports
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            format!(
                "*:{}->{}/{}",
                port["PublishedPort"],
                port["TargetPort"],
                text(port, "/Protocol")
            )
        })
        .collect::<Vec<_>>()
        .join(",")
}

/// Names of services and nodes, each asked for once.
pub(super) struct Names<'a> {
    context: &'a Context,
    resolve: bool,
    services: BTreeMap<String, String>,
    nodes: BTreeMap<String, String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(context: &'a Context, resolve: bool) -> Self {
        Self {
            context,
            resolve,
            services: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    /// `service.slot`, or `service.node` for global services.
    pub(super) async fn task(&mut self, task: &Value) -> String {
        let service = self.service(text(task, "/ServiceID")).await;
        match task["Slot"].as_u64() {
            Some(slot) if slot != 0 => format!("{service}.{slot}"),
            _ => format!("{service}.{}", text(task, "/NodeID")),
        }
    }

    async fn service(&mut self, id: &str) -> String {
        let path = format!("/services/{id}");
        resolved(
            self.context,
            self.resolve,
            &mut self.services,
            id,
            &path,
            "/Spec/Name",
        )
        .await
    }

    pub(super) async fn node(&mut self, id: &str) -> String {
        let path = format!("/nodes/{id}");
        resolved(
            self.context,
            self.resolve,
            &mut self.nodes,
            id,
            &path,
            "/Description/Hostname",
        )
        .await
    }
}

async fn resolved(
    context: &Context,
    resolve: bool,
    known: &mut BTreeMap<String, String>,
    id: &str,
    path: &str,
    field: &str,
) -> String {
    if !resolve || id.is_empty() {
        return id.to_owned();
    }
    if let Some(name) = known.get(id) {
        return name.clone();
    }
    // An object that is gone keeps its id.
    let name = match context.client.get(path).await {
        Ok(object) if !text(&object, field).is_empty() => text(&object, field).to_owned(),
        _ => id.to_owned(),
    };
    known.insert(id.to_owned(), name.clone());
    name
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}
