//! `context`: named addresses of daemons, kept where Docker keeps them.

mod change;
mod list;
mod store;
mod transfer;

use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, command};

pub(crate) use store::{DEFAULT, Stored};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "context create",
        &[],
        "[OPTIONS] CONTEXT",
        "Create a context",
        Arity::Exactly(1),
        "--description string\n--docker stringToString\n--from string",
        |c, m| Box::pin(change::create(c, m)),
    ),
    command(
        "context ls",
        &["context list"],
        "[OPTIONS]",
        "List contexts",
        Arity::None,
        "--format string\n-q, --quiet",
        |c, m| Box::pin(list::ls(c, m)),
    ),
    command(
        "context use",
        &[],
        "CONTEXT",
        "Set the current docker context",
        Arity::Exactly(1),
        "",
        |c, m| Box::pin(change::choose(c, m)),
    ),
    command(
        "context show",
        &[],
        "",
        "Print the name of the current context",
        Arity::None,
        "",
        |c, m| Box::pin(list::current(c, m)),
    ),
    command(
        "context inspect",
        &[],
        "[OPTIONS] [CONTEXT] [CONTEXT...]",
        "Display detailed information on one or more contexts",
        Arity::AtLeast(0),
        "-f, --format string",
        |c, m| Box::pin(list::show(c, m)),
    ),
    command(
        "context rm",
        &["context remove"],
        "CONTEXT [CONTEXT...]",
        "Remove one or more contexts",
        Arity::AtLeast(1),
        "-f, --force",
        |c, m| Box::pin(change::rm(c, m)),
    ),
    command(
        "context update",
        &[],
        "[OPTIONS] CONTEXT",
        "Update a context",
        Arity::Exactly(1),
        "--description string\n--docker stringToString",
        |c, m| Box::pin(change::update(c, m)),
    ),
    command(
        "context export",
        &[],
        "[OPTIONS] CONTEXT [FILE|-]",
        "Export a context to a tar archive FILE or a tar stream on STDOUT.",
        Arity::Between(1, 2),
        "",
        |c, m| Box::pin(transfer::export(c, m)),
    ),
    command(
        "context import",
        &[],
        "CONTEXT FILE|-",
        "Import a context from a tar or zip file",
        Arity::Exactly(2),
        "",
        |c, m| Box::pin(transfer::import(c, m)),
    ),
];

/// The names of all contexts.
pub(crate) fn names(context: &Context) -> Result<Vec<String>, CliError> {
    let all = Stored::all(context)?;
    Ok(all.into_iter().map(|stored| stored.name).collect())
}
