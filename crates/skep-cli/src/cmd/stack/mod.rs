//! `stack`: services, networks, secrets and configs out of one file.

mod dependencies;
mod deploy;
mod differences;
mod files;
mod list;
mod plan;
mod prune;
mod remove;
mod services;

use serde_json::json;

use crate::compose::{Dialect, LoadOptions, NAMESPACE_LABEL, load};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "stack deploy",
        &["stack up"],
        "[OPTIONS] STACK",
        "Deploy a new stack or update an existing stack",
        Arity::Exactly(1),
        "
-c, --compose-file strings
-d, --detach=true
--prune
-q, --quiet
--resolve-image string=always
--with-registry-auth
--dialect string=auto
--dry-run
--env-file list
--profile list
--wait-timeout duration=5m0s",
        |c, m| Box::pin(deploy::run(c, m)),
    ),
    command(
        "stack config",
        &[],
        "[OPTIONS]",
        "Outputs the final config file, after doing merges and interpolations",
        Arity::None,
        "
-c, --compose-file strings
--skip-interpolation
--dialect string=auto
--env-file list
--profile list",
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
        "List the tasks in the stack",
        Arity::Exactly(1),
        "-f, --filter filter\n--format string\n--no-resolve\n--no-trunc\n-q, --quiet",
        |c, m| Box::pin(list::ps(c, m)),
    ),
    command(
        "stack services",
        &[],
        "[OPTIONS] STACK",
        "List the services in the stack",
        Arity::Exactly(1),
        "-f, --filter filter\n--format string\n-q, --quiet",
        |c, m| Box::pin(list::services(c, m)),
    ),
    command(
        "stack rm",
        &["stack remove", "stack down"],
        "[OPTIONS] STACK [STACK...]",
        "Remove one or more stacks",
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

/// What the flags that choose files say.
fn load_options(matches: &Matches) -> Result<LoadOptions, CliError> {
    let texts = |flag: &str| -> Vec<String> {
        let lists = matches.list(flag).iter().flat_map(|list| list.split(','));
        lists.map(str::to_owned).collect()
    };
    let mut profiles = texts("profile");
    if let Ok(more) = std::env::var("COMPOSE_PROFILES") {
        let more = more.split(',').filter(|profile| !profile.is_empty());
        profiles.extend(more.map(str::to_owned));
    }
    Ok(LoadOptions {
        files: texts("compose-file"),
        dialect: Dialect::from_flag(matches.text("dialect"))?,
        no_interpolation: matches.flag("skip-interpolation"),
        profiles,
        env_files: texts("env-file"),
        is_shown: false,
    })
}

async fn config(_: &Context, matches: &Matches) -> Result<(), CliError> {
    let loaded = load(&LoadOptions {
        is_shown: true,
        ..load_options(matches)?
    })?;
    loaded
        .warnings
        .iter()
        .for_each(|warning| eprintln!("{warning}"));
    let text = crate::compose::print(&loaded)?;
    print!("{text}");
    Ok(())
}
