//! Completion of words in a shell: `completion bash|zsh|fish` prints a script, and the script asks
//! `__complete WORDS…`, whose last word is the one being typed.
//!
//! The answer has Docker's form: a candidate a line, a tab and what it is for behind it; then `:` and
//! what the shell is to do besides. What a command's arguments are is read from its usage line, and
//! what a flag may say from its description, so that nothing is written down twice.

mod objects;
mod scripts;

use crate::cmd::{GROUPS, commands, hidden};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Command, Flag, FlagKind, description, parse_root};
use crate::root::{ROOT_FLAGS, find};

pub(crate) use scripts::script;

/// What a shell is to do besides, as bits.
const NO_SPACE: u8 = 2;
const NO_FILES: u8 = 4;

/// Candidates, and what the shell is to do besides.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    lines: Vec<(String, String)>,
    directive: u8,
}

impl Answer {
    fn words(lines: Vec<(String, String)>) -> Self {
        Self {
            lines,
            directive: NO_FILES,
        }
    }
}

/// Answers `__complete` and `__completeNoDesc`.
pub(crate) async fn complete(words: &[String], described: bool) -> Result<(), CliError> {
    let Some((partial, before)) = words.split_last() else {
        return Err(CliError::new("__complete: a word is needed"));
    };
    let answer = answer(before, partial).await;
    for (candidate, about) in &answer.lines {
        match about.split("\\n").next() {
            Some(about) if described && !about.is_empty() => println!("{candidate}\t{about}"),
            _ => println!("{candidate}"),
        }
    }
    println!(":{}", answer.directive);
    Ok(())
}

async fn answer(before: &[String], partial: &str) -> Answer {
    let roots: Vec<Flag> = ROOT_FLAGS.lines().filter_map(Flag::decode).collect();
    let Ok(root) = parse_root(&roots, before) else {
        // A flag of the whole whose value is being typed.
        return values_of_last("docker", &roots, before, None).await;
    };
    let context = Context::open(&root).ok();
    let words = root.args();
    if words.is_empty() && partial.starts_with('-') {
        return flags("docker", &roots, partial);
    }
    let all = commands();
    let Some((command, used)) = find(&all, words) else {
        return Answer::words(starting(names(&all, words), partial));
    };
    of_command(command, &words[used..], partial, context.as_ref()).await
}

/// Commands and groups that may follow these words.
fn names(all: &[Command], words: &[String]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let shown = all.iter().filter(|command| !hidden(command.path));
    match words {
        [] => {
            let groups = GROUPS.iter().filter(|(name, _)| !hidden(name));
            found.extend(groups.map(|(name, about)| ((*name).to_owned(), (*about).to_owned())));
            for command in shown {
                let names = std::iter::once(command.path).chain(command.aliases.iter().copied());
                let single = names.filter(|name| !name.contains(' '));
                found.extend(single.map(|name| (name.to_owned(), command.about.to_owned())));
            }
        }
        [group] => {
            let members =
                shown.filter_map(|command| Some((command, command.path.split_once(' ')?)));
            let of_group = members.filter(|(_, (of, _))| of == group);
            found.extend(of_group.map(|(c, (_, name))| (name.to_owned(), c.about.to_owned())));
        }
        _ => {}
    }
    found.sort();
    found
}

async fn of_command(
    command: &Command,
    words: &[String],
    partial: &str,
    context: Option<&Context>,
) -> Answer {
    let known = command.flags();
    let (arguments, open) = arguments(command, &known, words);
    if let Some(flag) = open {
        return values(command.path, flag, partial, context).await;
    }
    if command.stops_at_argument && arguments > 0 {
        return objects::argument(command, arguments, partial, context).await;
    }
    if let Some((name, value)) = partial.strip_prefix("--").and_then(|p| p.split_once('=')) {
        let Some(flag) = known.iter().find(|flag| flag.name == name) else {
            return Answer::default();
        };
        let mut answer = values(command.path, flag, value, context).await;
        for (candidate, _) in &mut answer.lines {
            *candidate = format!("--{name}={candidate}");
        }
        return answer;
    }
    if partial.starts_with('-') {
        return flags(command.path, &known, partial);
    }
    objects::argument(command, arguments, partial, context).await
}

/// How many arguments there are already, and the flag whose value comes next.
fn arguments<'a>(
    command: &Command,
    known: &'a [Flag],
    words: &[String],
) -> (usize, Option<&'a Flag>) {
    let (mut count, mut open) = (0, None);
    for word in words {
        if open.take().is_some() {
            continue;
        }
        if command.stops_at_argument && count > 0 || !word.starts_with('-') || word == "-" {
            count += 1;
            continue;
        }
        let flag = match word.strip_prefix("--") {
            Some(long) if long.contains('=') => None,
            Some(long) => known.iter().find(|flag| flag.name == long),
            None => {
                let letter = word.chars().last();
                known.iter().find(|flag| flag.short == letter)
            }
        };
        open = flag.filter(|flag| flag.kind != FlagKind::Bool);
    }
    (count, open)
}

async fn values_of_last(
    path: &str,
    known: &[Flag],
    before: &[String],
    context: Option<&Context>,
) -> Answer {
    let last = before.last().map_or("", String::as_str);
    let flag = known.iter().find(|flag| {
        last.strip_prefix("--") == Some(flag.name)
            || last.len() == 2 && last.starts_with('-') && last.chars().nth(1) == flag.short
    });
    match flag {
        Some(flag) => values(path, flag, "", context).await,
        None => Answer::default(),
    }
}

fn flags(path: &str, known: &[Flag], partial: &str) -> Answer {
    let mut shown: Vec<&Flag> = known.iter().filter(|flag| !flag.notes.hidden).collect();
    shown.sort_by_key(|flag| flag.name);
    let mut lines = Vec::new();
    for flag in shown {
        let about = match flag.name {
            "help" => "Show how it is used",
            name => description(path, name).unwrap_or_default(),
        };
        lines.push((format!("--{}", flag.name), about.to_owned()));
        if let Some(short) = flag.short {
            lines.push((format!("-{short}"), about.to_owned()));
        }
    }
    Answer::words(starting(lines, partial))
}

/// What a flag may say: the words in quotes and parentheses of its description, or objects.
async fn values(path: &str, flag: &Flag, partial: &str, context: Option<&Context>) -> Answer {
    let about = description(path, flag.name).unwrap_or_default();
    let choice = choices(about);
    if !choice.is_empty() {
        let lines = choice.into_iter().map(|word| (word, String::new()));
        return Answer::words(starting(lines.collect(), partial));
    }
    objects::of_flag(path, flag.name, partial, context).await
}

/// `Service mode ("replicated", "global") (default "replicated")`: what is in the first parentheses.
fn choices(about: &str) -> Vec<String> {
    let listed = about
        .split_once("(\"")
        .and_then(|(_, rest)| rest.split_once("\")"));
    match listed {
        Some((inner, _)) if inner.contains("\", \"") => {
            let words = inner.split("\", \"");
            words
                .map(|word| word.trim_start_matches('|').to_owned())
                .collect()
        }
        _ => Vec::new(),
    }
}

fn starting(lines: Vec<(String, String)>, partial: &str) -> Vec<(String, String)> {
    let fits = |(word, _): &(String, String)| word.starts_with(partial);
    lines.into_iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(line: &str, expected: &[&str]) {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let partial = words.pop().unwrap();
        let answer = answer(&words, &partial).await;
        let found: Vec<&str> = answer.lines.iter().map(|(word, _)| word.as_str()).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[tokio::test]
    async fn words_are_completed_by_what_the_grammar_says() {
        check("ser", &["service"]).await;
        check("service c", &["create"]).await;
        check("-D service c", &["create"]).await;
        check("run --netw", &["--network", "--network-alias"]).await;
        check("service create --mode g", &["global", "global-job"]).await;
        check(
            "service create --mode=g",
            &["--mode=global", "--mode=global-job"],
        )
        .await;
        check("node update --availability ", &["active", "pause", "drain"]).await;
        check("swarm join-token w", &["worker"]).await;
        check("run busybox --netw", &[]).await;
        check("service nonsense x", &[]).await;
    }

    #[test]
    fn flags_take_their_values_along() {
        let all = commands();
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let line = words("container run -d --name x -it img ls");
        let (command, used) = find(&all, &line).unwrap();
        let flags = command.flags();
        let (count, open) = arguments(command, &flags, &line[used..]);
        assert_eq!((count, open.map(|flag| flag.name)), (2, None));
        let (count, open) = arguments(command, &flags, &words("--name x --network"));
        assert_eq!((count, open.map(|flag| flag.name)), (0, Some("network")));
    }
}
