//! Help texts, laid out as Docker's.

use std::fmt::Write as _;

use super::{Command, Flag};

/// Help of one command, under the words that the user typed for it.
pub fn command_help(command: &Command, shown: &str) -> String {
    let mut text = format!(
        "Usage:  docker {}\n\n{}\n",
        usage(command, shown),
        super::descriptions::of(command.path, "about").map_or_else(
            || command.about.to_owned(),
            |text| text.replace("\\n", "\n")
        )
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
        .filter(|flag| !flag.notes.hidden && !flag.notes.windows && !flag.notes.experimental)
        .collect();
    if !flags.is_empty() {
        let _ = write!(text, "\nOptions:\n{}", options(command.path, &flags));
    }
    text
}

/// The words typed for a command, and what follows them.
pub(crate) fn usage(command: &Command, shown: &str) -> String {
    format!("{shown} {}", command.usage).trim_end().to_owned()
}

/// Help of a group such as `service`: its commands.
pub fn group_help(group: &str, about: &str, commands: &[&Command]) -> String {
    let mut rows: Vec<_> = commands
        .iter()
        .map(|command| {
            (
                command.path.rsplit(' ').next().unwrap_or(command.path),
                command.about,
            )
        })
        .collect();
    rows.sort_unstable();
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
    // As with Docker, help does not tell of itself.
    let flags: Vec<Flag> = flags.iter().filter(|f| f.name != "help").cloned().collect();
    let _ = write!(
        text,
        "\nGlobal Options:\n{}\nRun 'docker COMMAND --help' for more information on a command.\n",
        options("docker", &flags)
    );
    text
}

/// Names of commands take this much room at least, as with Docker.
const NAME_WIDTH: usize = 11;

fn columns(rows: &[(&str, &str)]) -> String {
    let longest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let width = longest.max(NAME_WIDTH);
    rows.iter().fold(String::new(), |mut text, (name, about)| {
        let _ = writeln!(text, "  {name:width$} {about}");
        text
    })
}

/// Flags by name, each with what it is for, which is wrapped behind the longest of them.
fn options(path: &str, flags: &[Flag]) -> String {
    let mut sorted: Vec<_> = flags.iter().collect();
    sorted.sort_by_key(|flag| flag.name);
    let rows: Vec<(String, String)> = sorted
        .iter()
        .map(|flag| (head(flag), description(path, flag)))
        .collect();
    let column = rows.iter().map(|(head, _)| head.len()).max().unwrap_or(0) + 3;
    let width = terminal_width() - 1;
    rows.iter().fold(String::new(), |mut text, (head, about)| {
        let about = wrapped(about, column, width);
        let _ = writeln!(
            text,
            "{}",
            format!("{head:column$}{about}").trim_end_matches('\n')
        );
        text
    })
}

fn head(flag: &Flag) -> String {
    let short = flag
        .short
        .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let shown = if flag.shown == "bool" { "" } else { flag.shown };
    format!("  {short}--{} {shown}", flag.name)
        .trim_end()
        .to_owned()
}

fn description(path: &str, flag: &Flag) -> String {
    let text = super::descriptions::of(path, flag.name).unwrap_or_default();
    text.replace("\\n", "\n").replace(
        "{config}",
        &crate::context::default_config_dir().to_string_lossy(),
    )
}

/// Columns of the terminal that the user types at; 80 where there is none.
fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdin())
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|width| *width > 1)
        .unwrap_or(80)
}

/// Lines shorter than this are not worth wrapping.
const NARROWEST: usize = 24;
/// A last line may be so much longer, so that no short word stands alone.
const SLOP: usize = 5;

/// A text in lines that begin at a column and end before a width.
fn wrapped(text: &str, column: usize, width: usize) -> String {
    let (column, mut out) = match width.saturating_sub(column) < NARROWEST {
        true => (16, format!("\n{}", " ".repeat(16))),
        false => (column, String::new()),
    };
    let room = width.saturating_sub(column);
    if room < NARROWEST {
        return text.replace('\n', &out);
    }
    let indent = format!("\n{}", " ".repeat(column));
    let mut rest = text;
    loop {
        let (line, more) = first_line(rest, room - SLOP);
        out.push_str(&line.replace('\n', &indent));
        if more.is_empty() {
            return out;
        }
        out.push_str(&indent);
        rest = more;
    }
}

/// What fits into a line, and the rest.
fn first_line(text: &str, room: usize) -> (&str, &str) {
    if room + SLOP > text.len() {
        return (text, "");
    }
    let fits = &text.as_bytes()[..room];
    let last = |wanted: &[u8]| fits.iter().rposition(|byte| wanted.contains(byte));
    let end = match (last(b" \t\n"), last(b"\n")) {
        (None | Some(0), _) => return (text, ""),
        (Some(space), Some(line)) if line > 0 && line < space => line,
        (Some(space), _) => space,
    };
    (&text[..end], &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_where_docker_wraps_them() {
        let text = "Swap limit equal to memory plus swap: '-1' to enable unlimited swap";
        assert_eq!(
            wrapped(text, 41, 79),
            format!(
                "Swap limit equal to memory plus\n{0}swap: '-1' to enable unlimited swap",
                " ".repeat(41)
            )
        );
        assert_eq!(wrapped("short", 10, 79), "short");
        assert!(wrapped("a b", 70, 79).starts_with("\n                a b"));
    }

    #[test]
    fn every_flag_that_is_shown_is_described() {
        let mut missing = Vec::new();
        for command in crate::cmd::commands() {
            for flag in command.flags.lines().filter_map(Flag::decode) {
                let known = super::super::descriptions::of(command.path, flag.name);
                if known.is_none() && !flag.notes.hidden && !flag.notes.windows {
                    missing.push(format!("{} --{}", command.path, flag.name));
                }
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }
}
