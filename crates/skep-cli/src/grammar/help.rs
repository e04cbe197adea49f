//! Help texts, laid out as Docker's.

use std::fmt::Write as _;

use super::{Command, Flag};

/// Help of one command.
pub fn command_help(command: &Command) -> String {
    let mut text = format!("Usage:  docker {}\n\n{}\n", usage(command), command.about);
    if !command.aliases.is_empty() {
        let names: Vec<_> = std::iter::once(command.path)
            .chain(command.aliases.iter().copied())
            .map(|name| format!("docker {name}"))
            .collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    let flags: Vec<Flag> = command.flags.lines().filter_map(Flag::decode).collect();
    if !flags.is_empty() {
        let _ = write!(text, "\nOptions:\n{}", options(&flags));
    }
    text
}

/// The command's words and what follows them.
pub(crate) fn usage(command: &Command) -> String {
    format!("{} {}", command.path, command.usage)
        .trim_end()
        .to_owned()
}

/// Help of a group such as `service`: its commands.
pub fn group_help(group: &str, about: &str, commands: &[&Command]) -> String {
    let rows: Vec<_> = commands
        .iter()
        .map(|command| {
            (
                command.path.rsplit(' ').next().unwrap_or(command.path),
                command.about,
            )
        })
        .collect();
    format!(
        "Usage:  docker {group} COMMAND\n\n{about}\n\nCommands:\n{}\nRun 'docker {group} COMMAND --help' for more information on a command.\n",
        columns(&rows)
    )
}

/// Help of the whole: groups and commands.
pub fn root_help(groups: &[(&str, &str)], commands: &[(&str, &str)], flags: &[Flag]) -> String {
    format!(
        "Usage:  docker [OPTIONS] COMMAND\n\nManagement Commands:\n{}\nCommands:\n{}\nGlobal Options:\n{}\nRun 'docker COMMAND --help' for more information on a command.\n",
        columns(groups),
        columns(commands),
        options(flags)
    )
}

fn columns(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, about)| {
        let _ = writeln!(text, "  {name:width$}   {about}");
        text
    })
}

fn options(flags: &[Flag]) -> String {
    let mut sorted: Vec<_> = flags.iter().collect();
    sorted.sort_by_key(|flag| flag.name);
    sorted.iter().fold(String::new(), |mut text, flag| {
        let short = flag
            .short
            .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let default = flag
            .default
            .map(|default| format!(" (default {default})"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  {}",
            format!("{short}--{} {}{default}", flag.name, flag.shown).trim_end()
        );
        text
    })
}
