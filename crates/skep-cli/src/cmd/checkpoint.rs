//! `checkpoint`: for daemons that have checkpoints; skep's answers that it has none.

use serde_json::json;

use super::objects::text;
use crate::client::{escape, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::output::table;

pub(super) const COMMANDS: &[Command] = &[
    command(
        "checkpoint create",
        &[],
        "[OPTIONS] CONTAINER CHECKPOINT",
        "Create a checkpoint from a running container",
        Arity::Exactly(2),
        "--checkpoint-dir string\n--leave-running",
        |c, m| Box::pin(create(c, m)),
    ),
    command(
        "checkpoint ls",
        &["checkpoint list"],
        "[OPTIONS] CONTAINER",
        "List checkpoints for a container",
        Arity::Exactly(1),
        "--checkpoint-dir string",
        |c, m| Box::pin(ls(c, m)),
    ),
    command(
        "checkpoint rm",
        &["checkpoint remove"],
        "[OPTIONS] CONTAINER CHECKPOINT",
        "Remove a checkpoint",
        Arity::Exactly(2),
        "--checkpoint-dir string",
        |c, m| Box::pin(rm(c, m)),
    ),
];

fn path_of(container: &str) -> String {
    format!("/containers/{}/checkpoints", escape(container))
}

async fn create(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let body = json!({
        "CheckpointID": matches.arg(1), "CheckpointDir": matches.text("checkpoint-dir"),
        "Exit": !matches.flag("leave-running"),
    });
    context.client.post(&path_of(matches.arg(0)), &body).await?;
    println!("{}", matches.arg(1));
    Ok(())
}

async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = url(
        &path_of(matches.arg(0)),
        &[("dir", matches.text("checkpoint-dir"))],
    );
    let found = context.client.get(&path).await?;
    let mut rows = vec![vec!["CHECKPOINT NAME".to_owned()]];
    let names = found.as_array().into_iter().flatten();
    rows.extend(names.map(|one| vec![text(one, "/Name").to_owned()]));
    print!("{}", table(&rows));
    Ok(())
}

async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = format!("{}/{}", path_of(matches.arg(0)), escape(matches.arg(1)));
    let path = url(&path, &[("dir", matches.text("checkpoint-dir"))]);
    context.client.delete(&path).await.map(drop)
}
