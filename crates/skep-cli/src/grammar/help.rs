//! Help texts, laid out as Docker's.

use std::fmt::Write as _;

use super::{Command, Flag};

/// Help of one command, under the words that the user typed for it.
pub fn command_help(command: &Command, shown: &str) -> String {
    let mut text = format!(
        "Usage:  docker {}\n\n{}\n",
        usage(command, shown),
        command.about
    );
    if !command.aliases.is_empty() {
        let names: Vec<_> = std::iter::once(command.path)
            .chain(command.aliases.iter().copied())
            .map(|name| format!("docker {name}"))
            .collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    let flags: Vec<Flag> = command
        .flags
        .lines()
        .filter_map(Flag::decode)
        .filter(|flag| !flag.notes.hidden && !flag.notes.windows)
        .collect();
    if !flags.is_empty() {
        let _ = write!(text, "\nOptions:\n{}", options(&flags));
    }
    text
}

/// The words typed for a command, and what follows them.
pub(crate) fn usage(command: &Command, shown: &str) -> String {
    format!("{shown} {}", command.usage).trim_end().to_owned()
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

/// Help of the whole: sections of commands, each with a title, and the flags.
pub fn root_help(sections: &[(&str, Vec<(&str, &str)>)], flags: &[Flag]) -> String {
    let mut text = "Usage:  docker [OPTIONS] COMMAND\n\nContainers, images and swarms on one host and on many\n".to_owned();
    for (title, commands) in sections.iter().filter(|(_, commands)| !commands.is_empty()) {
        let _ = write!(text, "\n{title}:\n{}", columns(commands));
    }
    let _ = write!(
        text,
        "\nGlobal Options:\n{}\nRun 'docker COMMAND --help' for more information on a command.\n",
        options(flags)
    );
    text
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
