//! `completion`: scripts that complete words in a shell.

use std::path::Path;

use crate::completion::script;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "completion bash",
        &[],
        "",
        "Generate the autocompletion script for bash",
        Arity::None,
        "",
        |c, m| Box::pin(print(c, m, "bash")),
    ),
    command(
        "completion fish",
        &[],
        "",
        "Generate the autocompletion script for fish",
        Arity::None,
        "",
        |c, m| Box::pin(print(c, m, "fish")),
    ),
    command(
        "completion zsh",
        &[],
        "",
        "Generate the autocompletion script for zsh",
        Arity::None,
        "",
        |c, m| Box::pin(print(c, m, "zsh")),
    ),
];

async fn print(_: &Context, _: &Matches, shell: &str) -> Result<(), CliError> {
    let called = std::env::args().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    print!(
        "{}",
        script(shell, if name.is_empty() { "skep" } else { &name })
    );
    Ok(())
}
