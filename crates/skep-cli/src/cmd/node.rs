//! `node`: the members of a swarm.

use serde_json::{Value, json};

mod pretty;

use super::objects::{Shown, each, inspect, text};
use super::service::{given_filters, print_tasks};
use crate::client::{escape, filters, url};
use crate::context::Context;
use crate::error::{CliError, join};
use crate::grammar::{Arity, Command, Matches};
use crate::output::{Format, Item, List, Row, natural_cmp};

const COLUMNS: [(&str, &str); 6] = [
    ("ID", "ID"),
    ("HOSTNAME", "Hostname"),
    ("STATUS", "Status"),
    ("AVAILABILITY", "Availability"),
    ("MANAGER STATUS", "ManagerStatus"),
    ("ENGINE VERSION", "EngineVersion"),
];

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "node ls",
        aliases: &["node list"],
        usage: "[OPTIONS]",
        about: "List nodes in the swarm",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "-f, --filter filter\n--format string\n-q, --quiet",
        run: |context, matches| Box::pin(ls(context, matches)),
    },
    Command {
        path: "node inspect",
        aliases: &[],
        usage: "[OPTIONS] self|NODE [NODE...]",
        about: "Display detailed information on one or more nodes",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "-f, --format string\n--pretty",
        run: |context, matches| Box::pin(show(context, matches)),
    },
    Command {
        path: "node update",
        aliases: &[],
        usage: "[OPTIONS] NODE",
        about: "Update a node",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "--availability string\n--label-add list\n--label-rm list\n--role string",
        run: |context, matches| Box::pin(update(context, matches)),
    },
    Command {
        path: "node promote",
        aliases: &[],
        usage: "NODE [NODE...]",
        about: "Promote one or more nodes to manager in the swarm",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "",
        run: |context, matches| {
            Box::pin(set_role(
                context,
                matches,
                "manager",
                "promoted to a manager in the swarm.",
            ))
        },
    },
    Command {
        path: "node demote",
        aliases: &[],
        usage: "NODE [NODE...]",
        about: "Demote one or more nodes from manager in the swarm",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "",
        run: |context, matches| {
            Box::pin(set_role(
                context,
                matches,
                "worker",
                "demoted in the swarm.",
            ))
        },
    },
    Command {
        path: "node ps",
        aliases: &[],
        usage: "[OPTIONS] [NODE...]",
        about: "List tasks running on one or more nodes, defaults to current node",
        arity: Arity::AtLeast(0),
        stops_at_argument: false,
        flags: "-f, --filter filter\n--format string\n--no-resolve\n--no-trunc\n-q, --quiet",
        run: |context, matches| Box::pin(ps(context, matches)),
    },
    Command {
        path: "node rm",
        aliases: &["node remove"],
        usage: "[OPTIONS] NODE [NODE...]",
        about: "Remove one or more nodes from the swarm",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "-f, --force",
        run: |context, matches| Box::pin(rm(context, matches)),
    },
];

async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let mut nodes = list(
        context
            .client
            .get(&url("/nodes", &[("filters", &query)]))
            .await?,
    );
    nodes.sort_by(|a, b| {
        natural_cmp(
            text(a, "/Description/Hostname"),
            text(b, "/Description/Hostname"),
        )
    });
    let given = matches.text("format");
    if matches.flag("quiet") && given.is_empty() {
        for node in &nodes {
            println!("{}", text(node, "/ID"));
        }
        return Ok(());
    }
    let info = context.client.get("/info").await?;
    let own = text(&info, "/Swarm/NodeID");
    let given = if given.is_empty() {
        context.setting("nodesFormat").unwrap_or_default()
    } else {
        given
    };
    let format = Format::read(given);
    let in_table = format == Format::Table;
    let tls = &info["Swarm"]["Cluster"]["TLSInfo"];
    let rows: Vec<Row> = nodes.iter().map(|n| row(n, own, tls, in_table)).collect();
    let is_own = |node: &Value| text(node, "/ID") == own;
    let items: Vec<Item> = rows
        .into_iter()
        .zip(&nodes)
        .map(|(row, node)| Item::new(row, &Value::Null).with("Self", is_own(node).into()))
        .collect();
    let list = List {
        kind: "*node.nodeContext",
        columns: &COLUMNS,
        heads: &[("", "Self")],
        raw: &[
            ("node_id", "ID"),
            ("hostname", "Hostname"),
            ("status", "Status"),
            ("availability", "Availability"),
            ("manager_status", "ManagerStatus"),
        ],
    };
    list.print(&format, &items)
}

/// Whether a node has a certificate of the swarm's present root.
fn tls_status(node: &Value, swarm: &Value) -> &'static str {
    let own = &node["Description"]["TLSInfo"];
    let is_known = |info: &Value| !text(info, "/TrustRoot").is_empty();
    if !is_known(own) || !is_known(swarm) {
        return "Unknown";
    }
    let fields = ["TrustRoot", "CertIssuerSubject", "CertIssuerPublicKey"];
    if fields.iter().all(|field| own[field] == swarm[field]) {
        "Ready"
    } else {
        "Needs Rotation"
    }
}

fn row(node: &Value, own: &str, tls: &Value, in_table: bool) -> Row {
    let id = text(node, "/ID");
    let is_self = id == own;
    let status = title(text(node, "/Status/State"));
    let manager = &node["ManagerStatus"];
    let manager_status = match manager {
        Value::Object(_) if manager["Leader"] == true => "Leader".to_owned(),
        Value::Object(_) => title(text(manager, "/Reachability")),
        _ => String::new(),
    };
    Row::from([
        (
            "ID",
            match (in_table, is_self) {
                (true, true) => format!("{id} *"),
                (true, false) => format!("{id}  "),
                (false, _) => id.to_owned(),
            },
        ),
        ("Hostname", text(node, "/Description/Hostname").to_owned()),
        ("Status", status),
        ("Availability", title(text(node, "/Spec/Availability"))),
        ("ManagerStatus", manager_status),
        ("TLSStatus", tls_status(node, tls).to_owned()),
        (
            "EngineVersion",
            text(node, "/Description/Engine/EngineVersion").to_owned(),
        ),
    ])
}

async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    if matches.flag("pretty") {
        let mut errors = Vec::new();
        for name in matches.args() {
            match find(context, name).await {
                Ok(node) => print!("{}", pretty::describe(&node)),
                Err(error) => errors.push(error),
            }
        }
        return join(errors);
    }
    let shown = Shown::of_swarm(|_| "swarm.Node", false);
    inspect(matches.args(), matches.text("format"), shown, |name| {
        find(context, name)
    })
    .await
}

/// A node by name or id; `self` is the one that is asked.
async fn find(context: &Context, name: &str) -> Result<Value, CliError> {
    if name != "self" {
        return context
            .client
            .get(&format!("/nodes/{}", escape(name)))
            .await;
    }
    let info = context.client.get("/info").await?;
    let id = text(&info, "/Swarm/NodeID");
    if id.is_empty() {
        // The daemon says why better than we could.
        context.client.get("/nodes").await?;
        return Err(CliError::new("node ID not found in /info"));
    }
    context.client.get(&format!("/nodes/{id}")).await
}

async fn update(context: &Context, matches: &Matches) -> Result<(), CliError> {
    change(context, matches.arg(0), |spec| {
        if let Some(role) = matches.given_text("role") {
            spec["Role"] = role.into();
        }
        if let Some(availability) = matches.given_text("availability") {
            spec["Availability"] = availability.into();
        }
        for label in matches.list("label-add") {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            spec["Labels"][key] = value.into();
        }
        for key in matches.list("label-rm") {
            let removed = spec["Labels"]
                .as_object_mut()
                .and_then(|labels| labels.remove(key));
            if removed.is_none() {
                return Err(CliError::new(format!(
                    "key {key} doesn't exist in node's labels"
                )));
            }
        }
        Ok(true)
    })
    .await?;
    println!("{}", matches.arg(0));
    Ok(())
}

async fn set_role(
    context: &Context,
    matches: &Matches,
    role: &str,
    done: &str,
) -> Result<(), CliError> {
    each(matches.args(), |name| async move {
        let unchanged = change(context, name, |spec| {
            let changes = spec["Role"] != role;
            spec["Role"] = role.into();
            Ok(changes)
        })
        .await?;
        match unchanged {
            Some(id) => println!("Node {id} is already a {role}."),
            None if role == "worker" => println!("Manager {name} {done}"),
            None => println!("Node {name} {done}"),
        }
        Ok(())
    })
    .await
}

/// Reads a node's spec, changes it, and writes it back where the change says so; else the node's id.
async fn change(
    context: &Context,
    name: &str,
    change: impl FnOnce(&mut Value) -> Result<bool, CliError>,
) -> Result<Option<String>, CliError> {
    let path = format!("/nodes/{}", escape(name));
    let node = context.client.get(&path).await?;
    let mut spec = node["Spec"].clone();
    if !change(&mut spec)? {
        return Ok(Some(text(&node, "/ID").to_owned()));
    }
    let version = node["Version"]["Index"].to_string();
    let path = format!("/nodes/{}/update", text(&node, "/ID"));
    context
        .client
        .post(&url(&path, &[("version", &version)]), &spec)
        .await?;
    Ok(None)
}

async fn ps(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let own = ["self".to_owned()];
    let names = if matches.args().is_empty() {
        &own[..]
    } else {
        matches.args()
    };
    let mut tasks = Vec::new();
    let mut errors = Vec::new();
    for name in names {
        match tasks_of(context, matches, name).await {
            Ok(found) => tasks.extend(found),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() || !tasks.is_empty() {
        print_tasks(context, matches, &Value::Array(tasks), false).await?;
    }
    join(errors)
}

async fn tasks_of(
    context: &Context,
    matches: &Matches,
    name: &str,
) -> Result<Vec<Value>, CliError> {
    let node = find(context, name).await?;
    let mut wanted = given_filters(context, matches).await?;
    wanted.insert("node".to_owned(), json!({text(&node, "/ID"): true}));
    let query = Value::Object(wanted).to_string();
    let path = url("/tasks", &[("filters", &query)]);
    Ok(list(context.client.get(&path).await?))
}

async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let force = if matches.flag("force") { "1" } else { "" };
    each(matches.args(), |name| async move {
        context
            .client
            .delete(&url(
                &format!("/nodes/{}", escape(name)),
                &[("force", force)],
            ))
            .await?;
        println!("{name}");
        Ok(())
    })
    .await
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}
