//! `stack`: services, networks, secrets and configs out of one file.

mod deploy;
mod list;
mod remove;

use serde_json::json;

use crate::compose::NAMESPACE_LABEL;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "stack deploy",
        &["stack up"],
        "[OPTIONS] STACK",
        "Make a stack, or bring it up to date",
        Arity::Exactly(1),
        "-c, --compose-file strings\n-d, --detach=true\n--prune\n-q, --quiet\n--resolve-image string=always\n--with-registry-auth",
        |c, m| Box::pin(deploy::run(c, m)),
    ),
    command(
        "stack config",
        &[],
        "[OPTIONS]",
        "Print the merged stack file",
        Arity::None,
        "-c, --compose-file strings\n--skip-interpolation",
        |c, m| Box::pin(config(c, m)),
    ),
    command(
        "stack ls",
        &["stack list"],
        "[OPTIONS]",
        "List stacks",
        Arity::None,
        "--format string",
        |c, m| Box::pin(list::ls(c, m)),
    ),
    command(
        "stack ps",
        &[],
        "[OPTIONS] STACK",
        "List the tasks of a stack",
        Arity::Exactly(1),
        "-f, --filter filter\n--format string\n--no-resolve\n--no-trunc\n-q, --quiet",
        |c, m| Box::pin(list::ps(c, m)),
    ),
    command(
        "stack services",
        &[],
        "[OPTIONS] STACK",
        "List the services of a stack",
        Arity::Exactly(1),
        "-f, --filter filter\n--format string\n-q, --quiet",
        |c, m| Box::pin(list::services(c, m)),
    ),
    command(
        "stack rm",
        &["stack down", "stack remove"],
        "[OPTIONS] STACK [STACK...]",
        "Remove stacks",
        Arity::AtLeast(1),
        "-d, --detach=true",
        |c, m| Box::pin(remove::run(c, m)),
    ),
];

/// A stack's name, which only must not be blank.
fn checked_name(name: &str) -> Result<&str, CliError> {
    if name
        .trim_matches(|c: char| c.is_whitespace() || c == '\'' || c == '"')
        .is_empty()
    {
        return Err(CliError::new(format!("invalid stack name: {name:?}")));
    }
    Ok(name)
}

/// The filter for a stack's objects.
fn of_stack(name: &str) -> String {
    json!({"label": {format!("{NAMESPACE_LABEL}={name}"): true}}).to_string()
}

async fn config(_: &Context, matches: &Matches) -> Result<(), CliError> {
    let loaded = crate::compose::load(
        matches.list("compose-file"),
        matches.flag("skip-interpolation"),
    )?;
    let text =
        serde_norway::to_string(&loaded.file).map_err(|error| CliError::new(error.to_string()))?;
    print!("{text}");
    Ok(())
}
