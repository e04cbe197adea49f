//! From the first word to a command: root flags, groups, help, and what is unknown.

use crate::cmd::{GROUPS, commands, hidden};
use crate::completion::complete;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Command, Flag, Matches, command_help, group_help, parse, root_help, usage};
use crate::{gate, plugin};

pub(crate) const ROOT_FLAGS: &str = "
--config string
-c, --context string
-D, --debug
-H, --host list
-l, --log-level string=info
--tls
--tlscacert string
--tlscert string
--tlskey string
--tlsverify
-v, --version
--help";

/// Exit code of words that the grammar does not allow.
const USAGE: u8 = 125;

/// Runs what the words after the program's name say.
pub(crate) async fn run(words: &[String]) -> Result<(), CliError> {
    match words.first().map(String::as_str) {
        Some("__complete") => return complete(&words[1..], true).await,
        Some("__completeNoDesc") => return complete(&words[1..], false).await,
        _ => {}
    }
    let flags: Vec<Flag> = ROOT_FLAGS.lines().filter_map(Flag::decode).collect();
    let root = crate::grammar::parse_root(&flags, words)
        .map_err(|error| usage_error(&error.to_string(), "[OPTIONS] COMMAND [ARG...]", "docker"))?;
    if root.flag("version") {
        println!("skep version {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    check_log_level(root.text("log-level"))?;
    let words = root.args().to_vec();
    let all = commands();
    if words.is_empty() {
        print!("{}", overview(&root, &all, &flags).await);
        return Ok(());
    }
    if words[0] == "help" {
        return help(&root, &words[1..], &all, &flags).await;
    }
    let Some((command, used)) = find(&all, &words) else {
        return unknown(&root, &words, &all).await;
    };
    run_command(&root, command, &words[..used].join(" "), &words[used..]).await
}

async fn run_command(
    root: &Matches,
    command: &Command,
    shown: &str,
    words: &[String],
) -> Result<(), CliError> {
    let matches = parse(command, shown, words).map_err(|error| {
        let text = error.to_string();
        usage_error(&text, &usage(command, shown), &format!("docker {shown}"))
    })?;
    // Without a flag there is nothing to update, and Docker shows what there is.
    let says_nothing = command.path == "swarm update" && matches.given_flags().next().is_none();
    if matches.flag("help") || says_nothing {
        print!("{}", command_help(command, shown));
        return Ok(());
    }
    for (old, new) in matches.replaced() {
        println!("Flag --{old} has been deprecated, use --{new} instead");
    }
    gate::signatures(command, &matches)?;
    let context = Context::open(root)?;
    gate::check(&context, command, shown, &matches).await?;
    let result = (command.run)(&context, &matches).await;
    result.map_err(|error| match error.is_about_flags() {
        true => usage_error(
            &error.message,
            &usage(command, shown),
            &format!("docker {shown}"),
        ),
        false => error,
    })
}

fn check_log_level(level: &str) -> Result<(), CliError> {
    const LEVELS: [&str; 8] = [
        "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic",
    ];
    if LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(CliError::new(format!(
        "Unable to parse logging level: {level}"
    )))
}

/// The command that the first words name, and how many words that took.
pub(crate) fn find<'a>(all: &'a [Command], words: &[String]) -> Option<(&'a Command, usize)> {
    let named = |count: usize| {
        let path = words.get(..count)?.join(" ");
        all.iter()
            .find(|command| command.path == path || command.aliases.contains(&path.as_str()))
    };
    named(2)
        .map(|command| (command, 2))
        .or_else(|| named(1).map(|command| (command, 1)))
}

async fn unknown(root: &Matches, words: &[String], all: &[Command]) -> Result<(), CliError> {
    let group = words[0].as_str();
    let Some((name, about)) = GROUPS.iter().find(|(name, _)| *name == group) else {
        if let Some(code) = plugin::run(root, words)? {
            return match code {
                0 => Ok(()),
                code => Err(CliError::silent(code)),
            };
        }
        return Err(CliError::new(format!(
            "docker: unknown command: docker {group}\n\nRun 'docker --help' for more information"
        )));
    };
    let rest: Vec<_> = words[1..]
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let Some(word) = rest.first() else {
        if let Some(flag) = words[1..]
            .iter()
            .find(|word| *word != "--help" && *word != "-h")
        {
            let text = format!("unknown flag: {flag}");
            return Err(usage_error(
                &text,
                &format!("{name} COMMAND"),
                &format!("docker {name}"),
            ));
        }
        let text = group_help(name, about, &members(all, name));
        // Asked for, help goes to standard output; for want of a command, to standard error.
        if words.len() > 1 {
            print!("{text}")
        } else {
            eprint!("{text}")
        }
        return Ok(());
    };
    Err(CliError::new(format!(
        "docker: unknown command: docker {name} {word}\n\nUsage:  docker {name}\n\nRun 'docker {name} --help' for more information"
    )))
}

fn members<'a>(all: &'a [Command], group: &str) -> Vec<&'a Command> {
    let prefix = format!("{group} ");
    all.iter()
        .filter(|command| command.path.starts_with(&prefix) && !hidden(command.path))
        .collect()
}

async fn help(
    root: &Matches,
    words: &[String],
    all: &[Command],
    flags: &[Flag],
) -> Result<(), CliError> {
    if words.is_empty() {
        print!("{}", overview(root, all, flags).await);
        return Ok(());
    }
    match find(all, words) {
        Some((command, used)) => print!("{}", command_help(command, &words[..used].join(" "))),
        None if GROUPS.iter().any(|(name, _)| *name == words[0]) => {
            return unknown(root, &[words[0].clone(), "--help".to_owned()], all).await;
        }
        None => {
            return Err(CliError::new(format!(
                "unknown help topic: {}",
                words.join(" ")
            )));
        }
    }
    Ok(())
}

/// Help of the whole, without what this daemon's part in a swarm leaves no use for.
async fn overview(root: &Matches, all: &[Command], flags: &[Flag]) -> String {
    let part = gate::swarm_part(root).await;
    let (mut common, mut other) = (Vec::new(), Vec::new());
    for command in all.iter().filter(|command| !hidden(command.path)) {
        let names = std::iter::once(command.path).chain(command.aliases.iter().copied());
        let Some(name) = names.into_iter().find(|name| !name.contains(' ')) else {
            continue;
        };
        let list = if COMMON.contains(&name) {
            &mut common
        } else {
            &mut other
        };
        list.push((name, command.about));
    }
    common.sort_by_key(|(name, _)| COMMON.iter().position(|common| common == name));
    other.sort_unstable();
    let groups = |of_swarm: bool| -> Vec<(&str, &str)> {
        GROUPS
            .iter()
            .copied()
            .filter(|(name, _)| {
                !hidden(name)
                    && gate::of_swarm(name) == of_swarm
                    && gate::of_use(name, part.as_deref())
            })
            .collect()
    };
    root_help(
        &[
            ("Common Commands", common),
            ("Management Commands", groups(false)),
            ("Swarm Commands", groups(true)),
            ("Commands", other),
        ],
        flags,
    )
}

/// What people do most, in the order in which they do it.
const COMMON: [&str; 11] = [
    "run", "exec", "ps", "pull", "push", "images", "login", "logout", "search", "version", "info",
];

fn usage_error(text: &str, usage: &str, command: &str) -> CliError {
    let verb = match text.contains("requires at least") && !text.contains("at most") {
        true => "See",
        false => "Run",
    };
    CliError::new(format!(
        "{text}\n\nUsage:  docker {usage}\n\n{verb} '{command} --help' for more information"
    ))
    .with_code(code_of(text))
}

/// A wrong number of arguments ends with 1, a wrong flag with 125.
fn code_of(text: &str) -> u8 {
    if text.starts_with("docker: ") {
        1
    } else {
        USAGE
    }
}
