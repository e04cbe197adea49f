//! `context`: named addresses of daemons, kept where Docker keeps them.

mod change;
mod list;
mod store;
mod transfer;

use crate::grammar::{Arity, Command, command};

pub(crate) use store::{DEFAULT, Stored};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "context create",
        &[],
        "[OPTIONS] CONTEXT",
        "Name a daemon's address",
        Arity::Exactly(1),
        "--description string\n--docker list\n--from string",
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
        "Choose the context that holds from now on",
        Arity::Exactly(1),
        "",
        |c, m| Box::pin(change::choose(c, m)),
    ),
    command(
        "context show",
        &[],
        "",
        "Print the name of the context that holds",
        Arity::None,
        "",
        |c, m| Box::pin(list::current(c, m)),
    ),
    command(
        "context inspect",
        &[],
        "[OPTIONS] [CONTEXT] [CONTEXT...]",
        "Show contexts in detail",
        Arity::AtLeast(0),
        "-f, --format string",
        |c, m| Box::pin(list::show(c, m)),
    ),
    command(
        "context rm",
        &["context remove"],
        "CONTEXT [CONTEXT...]",
        "Remove contexts",
        Arity::AtLeast(1),
        "-f, --force",
        |c, m| Box::pin(change::rm(c, m)),
    ),
    command(
        "context update",
        &[],
        "[OPTIONS] CONTEXT",
        "Change a context",
        Arity::Exactly(1),
        "--description string\n--docker list",
        |c, m| Box::pin(change::update(c, m)),
    ),
    command(
        "context export",
        &[],
        "[OPTIONS] CONTEXT [FILE|-]",
        "Write a context as an archive",
        Arity::Between(1, 2),
        "",
        |c, m| Box::pin(transfer::export(c, m)),
    ),
    command(
        "context import",
        &[],
        "CONTEXT FILE|-",
        "Make a context of an archive",
        Arity::Exactly(2),
        "",
        |c, m| Box::pin(transfer::import(c, m)),
    ),
];
