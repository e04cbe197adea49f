//! `swarm doctor`, `debug dump` and `swarm move`: what is wrong, what somebody needs who looks into it,
//! and the way on for a host that has other addresses now.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use futures::StreamExt as _;
use http::Method;
use http_body_util::BodyStream;
use serde_json::{Value, json};

use super::objects::text;
use crate::client::empty;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches};
use crate::output::table;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "swarm doctor",
        aliases: &[],
        usage: "[OPTIONS]",
        about: "Look at everything that the swarm needs, and explain what is wrong",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "-a, --all\n--format string",
        run: |context, matches| Box::pin(doctor(context, matches)),
    },
    Command {
        path: "swarm move",
        aliases: &[],
        usage: "[OPTIONS]",
        about: "Give this node other addresses, after its host was moved",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "--advertise-addr string\n--data-path-addr string\n--listen-addr node-addr",
        run: |context, matches| Box::pin(move_node(context, matches)),
    },
    Command {
        path: "debug dump",
        aliases: &[],
        usage: "FILE",
        about: "Write this daemon's state, logs and figures into a tar, without secrets",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "",
        run: |context, matches| Box::pin(dump(context, matches)),
    },
];

async fn move_node(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let addresses = json!({
        "AdvertiseAddr": matches.text("advertise-addr"),
        "DataPathAddr": matches.text("data-path-addr"),
        "ListenAddr": matches.text("listen-addr"),
    });
    context.client.post("/swarm/move", &addresses).await?;
    println!("This node has moved.");
    Ok(())
}

async fn doctor(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let found = context.client.get("/swarm/doctor").await?;
    match matches.text("format") {
        "" => {}
        "json" => {
            println!("{found}");
            return verdict(&found);
        }
        other => {
            return Err(CliError::new(format!(
                "invalid --format {other:?}: only json is known"
            )));
        }
    }
    let findings: Vec<&Value> = found.as_array().into_iter().flatten().collect();
    let mut rows = vec![vec![
        "RESULT".to_owned(),
        "CHECK".to_owned(),
        "NODE".to_owned(),
        "FINDING".to_owned(),
    ]];
    let is_shown = |finding: &&&Value| matches.flag("all") || text(finding, "/Level") != "ok";
    for finding in findings.iter().filter(is_shown) {
        let cell = |path| text(finding, path).to_owned();
        rows.push(vec![
            cell("/Level"),
            cell("/Check"),
            cell("/Node"),
            cell("/Text"),
        ]);
    }
    if rows.len() > 1 {
        print!("{}", table(&rows));
    }
    for finding in findings.iter().filter(|f| !text(f, "/Advice").is_empty()) {
        println!(
            "\n{} of {}: {}.\n  {}.",
            text(finding, "/Check"),
            text(finding, "/Node"),
            text(finding, "/Text"),
            text(finding, "/Advice")
        );
    }
    let good = findings
        .iter()
        .filter(|f| text(f, "/Level") == "ok")
        .count();
    println!(
        "\n{good} of {} checks are as they should be.",
        findings.len()
    );
    verdict(&found)
}

/// Problems are a failure, for scripts.
fn verdict(found: &Value) -> Result<(), CliError> {
    let is_problem = |finding: &Value| text(finding, "/Level") == "problem";
    if found.as_array().into_iter().flatten().any(is_problem) {
        return Err(CliError::silent(1));
    }
    Ok(())
}

async fn dump(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = &matches.args()[0];
    let failed = |error: &dyn std::fmt::Display| CliError::new(format!("write {path}: {error}"));
    let answer = context
        .client
        .send(Method::POST, "/system/dump", &[], empty())
        .await?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| failed(&e))?;
    let mut frames = BodyStream::new(answer.into_body());
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|e| failed(&e))?;
        if let Ok(data) = frame.into_data() {
            file.write_all(&data).map_err(|e| failed(&e))?;
        }
    }
    println!(
        "Dump of the daemon: {path}. Secrets, keys, tokens and values of environment variables are left out."
    );
    Ok(())
}
