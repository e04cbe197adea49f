//! `version`, `events`, and `inspect` of any kind of object.

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::objects::{inspect, text};
use crate::client::{escape, filters, json_lines, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::output::Template;

pub(super) const COMMANDS: &[Command] = &[
    command(
        "version",
        &[],
        "[OPTIONS]",
        "Show versions",
        Arity::None,
        "-f, --format string",
        |c, m| Box::pin(version(c, m)),
    ),
    command(
        "inspect",
        &[],
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Show objects in detail",
        Arity::AtLeast(1),
        "-f, --format string\n-s, --size\n--type string",
        |c, m| Box::pin(show(c, m)),
    ),
    command(
        "system events",
        &["events"],
        "[OPTIONS]",
        "Follow what happens",
        Arity::None,
        "-f, --filter filter\n--since string\n--until string",
        |c, m| Box::pin(events(c, m)),
    ),
    command(
        "system info",
        &["info"],
        "[OPTIONS]",
        "Show the daemon's state as JSON",
        Arity::None,
        "-f, --format string",
        |c, m| Box::pin(info(c, m)),
    ),
];

/// Kinds in the order in which names are looked up, and their paths.
const KINDS: [(&str, &str, &str); 9] = [
    ("container", "/containers/", "/json"),
    ("image", "/images/", "/json"),
    ("network", "/networks/", ""),
    ("volume", "/volumes/", ""),
    ("service", "/services/", ""),
    ("task", "/tasks/", ""),
    ("node", "/nodes/", ""),
    ("secret", "/secrets/", ""),
    ("config", "/configs/", ""),
];

async fn version(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let api = context.client.version().await?;
    let own = env!("CARGO_PKG_VERSION");
    let server = context.client.get("/version").await?;
    match matches.text("format") {
        "" => {}
        format => {
            let all = json!({"Client": {"Version": own, "ApiVersion": api}, "Server": server});
            return render(format, &all);
        }
    }
    println!("Client:\n Version:           {own}\n API version:       {api}\n");
    println!("Server:\n Engine:");
    let least = format!(
        "{} (minimum version {})",
        text(&server, "/ApiVersion"),
        text(&server, "/MinAPIVersion")
    );
    let arch = format!("{}/{}", text(&server, "/Os"), text(&server, "/Arch"));
    for (name, value) in [
        ("Version:", text(&server, "/Version")),
        ("API version:", &least),
        ("Git commit:", text(&server, "/GitCommit")),
        ("OS/Arch:", &arch),
    ] {
        println!("  {name:<17} {value}");
    }
    Ok(())
}

fn render(format: &str, value: &Value) -> Result<(), CliError> {
    if format == "json" {
        println!("{value}");
        return Ok(());
    }
    let bad = |error| CliError::new(format!("template parsing error: {error}")).with_code(64);
    println!(
        "{}",
        Template::compile(format)
            .and_then(|template| template.render(value))
            .map_err(bad)?
    );
    Ok(())
}

async fn info(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let info = context.client.get("/info").await?;
    match matches.text("format") {
        "" => println!("{}", super::objects::indented(&info)),
        format => render(format, &info)?,
    }
    Ok(())
}

async fn events(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let query = [
        ("filters", query.as_str()),
        ("since", matches.text("since")),
        ("until", matches.text("until")),
    ];
    let bytes = context
        .client
        .stream(http::Method::GET, &url("/events", &query), &[], None)
        .await?;
    let mut events = json_lines(bytes);
    while let Some(event) = events.next().await {
        println!("{}", event?);
    }
    Ok(())
}

async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let kind = matches.text("type");
    if !kind.is_empty() && !KINDS.iter().any(|(name, _, _)| *name == kind) {
        return Err(CliError::new(format!("unknown type: \"{kind}\"")));
    }
    inspect(matches.args(), matches.text("format"), |name| {
        find(context, matches, name)
    })
    .await
}

async fn find(context: &Context, matches: &Matches, name: &str) -> Result<Value, CliError> {
    let kind = matches.text("type");
    let size = if matches.flag("size") { "1" } else { "" };
    for (_, before, after) in KINDS
        .iter()
        .filter(|(known, _, _)| kind.is_empty() || *known == kind)
    {
        let path = url(
            &format!("{before}{}{after}", escape(name)),
            &[("size", size)],
        );
        match context.client.get(&path).await {
            // A host outside a swarm answers 503 for the swarm's kinds.
            Err(error) if kind.is_empty() && matches!(error.status, Some(404 | 503)) => {}
            result => return result,
        }
    }
    Err(CliError::new(format!("error: no such object: {name}")))
}
