//! From the first word to a command: root flags, groups, help, and what is unknown.

use crate::cmd::{GROUPS, commands};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Command, Flag, command_help, group_help, parse, root_help};

const ROOT_FLAGS: &str = "
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
    let flags: Vec<Flag> = ROOT_FLAGS.lines().filter_map(Flag::decode).collect();
    let root = crate::grammar::parse_root(&flags, words)
        .map_err(|error| usage_error(&error.to_string(), "[OPTIONS] COMMAND [ARG...]", ""))?;
    if root.flag("version") {
        println!("skep version {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let words = root.args().to_vec();
    let all = commands();
    if words.is_empty() || root.flag("help") && words.is_empty() {
        print!("{}", overview(&all, &flags));
        return Ok(());
    }
    if words[0] == "help" {
        return help(&words[1..], &all, &flags);
    }
    let Some((command, used)) = find(&all, &words) else {
        return unknown(&words, &all);
    };
    let rest = &words[used..];
    let matches = parse(command, rest)
        .map_err(|error| usage_error(&error.to_string(), &command_usage(command), command.path))?;
    if matches.flag("help") {
        print!("{}", command_help(command));
        return Ok(());
    }
    let context = Context::open(&root)?;
    (command.run)(&context, &matches)
        .await
        .map_err(|error| with_usage(error, command))
}

/// What a command found wrong with a flag's value looks like what the grammar finds.
fn with_usage(error: CliError, command: &Command) -> CliError {
    let is_usage = error.code == USAGE && error.message.starts_with("invalid argument ");
    if !is_usage || error.message.contains("\n\nUsage:") {
        return error;
    }
    usage_error(&error.message, &command_usage(command), command.path)
}

/// The command that the first words name, and how many words that took.
fn find<'a>(all: &'a [Command], words: &[String]) -> Option<(&'a Command, usize)> {
    let named = |count: usize| {
        let path = words.get(..count)?.join(" ");
        all.iter()
            .find(|command| command.path == path || command.aliases.contains(&path.as_str()))
    };
    named(2)
        .map(|command| (command, 2))
        .or_else(|| named(1).map(|command| (command, 1)))
}

fn unknown(words: &[String], all: &[Command]) -> Result<(), CliError> {
    let group = words[0].as_str();
    let Some((name, about)) = GROUPS.iter().find(|(name, _)| *name == group) else {
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
            return Err(usage_error(&text, &format!("{name} COMMAND"), name));
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
        .filter(|command| command.path.starts_with(&prefix))
        .collect()
}

fn help(words: &[String], all: &[Command], flags: &[Flag]) -> Result<(), CliError> {
    if words.is_empty() {
        print!("{}", overview(all, flags));
        return Ok(());
    }
    match find(all, words) {
        Some((command, _)) => print!("{}", command_help(command)),
        None => return unknown(&[&words[..1], &["--help".to_owned()]].concat(), all),
    }
    Ok(())
}

fn overview(all: &[Command], flags: &[Flag]) -> String {
    // A command that stands alone, or that has a one-word alias.
    let mut alone: Vec<(&str, &str)> = all
        .iter()
        .filter_map(|command| {
            let name = std::iter::once(command.path)
                .chain(command.aliases.iter().copied())
                .find(|name| !name.contains(' '))?;
            Some((name, command.about))
        })
        .collect();
    alone.sort_unstable();
    root_help(GROUPS, &alone, flags)
}

fn command_usage(command: &Command) -> String {
    format!("{} {}", command.path, command.usage)
        .trim_end()
        .to_owned()
}

fn usage_error(text: &str, usage: &str, command: &str) -> CliError {
    let command = if command.is_empty() {
        String::new()
    } else {
        format!(" {command}")
    };
    let see = if text.starts_with("docker: ") {
        "See"
    } else {
        "Run"
    };
    let more =
        format!("Usage:  docker {usage}\n\n{see} 'docker{command} --help' for more information");
    CliError::new(format!("{text}\n\n{more}")).with_code(code_of(text))
}

/// A wrong number of arguments ends with 1, a wrong flag with 125.
fn code_of(text: &str) -> u8 {
    if text.starts_with("docker: ") {
        1
    } else {
        USAGE
    }
}
