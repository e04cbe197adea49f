//! Names of objects that the daemon, or the user's directory, has.

use std::time::Duration;

use serde_json::Value;

use super::{Answer, NO_FILES, NO_SPACE, starting};
use crate::cmd::context::names as contexts;
use crate::compose::NAMESPACE_LABEL;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Command;

/// A shell does not wait longer for a daemon.
const DEADLINE: Duration = Duration::from_secs(3);

/// Commands whose containers must run.
const OF_RUNNING: [&str; 10] = [
    "container attach",
    "container exec",
    "container kill",
    "container pause",
    "container port",
    "container stats",
    "container stop",
    "container top",
    "container unpause",
    "container restart",
];

/// What an argument, by the name that the usage line has for it, may be.
pub(super) async fn argument(
    command: &Command,
    number: usize,
    partial: &str,
    context: Option<&Context>,
) -> Answer {
    let Some(shown) = argument_name(command.usage, number) else {
        return Answer::words(Vec::new());
    };
    if let Some(words) = shown.strip_prefix('(').and_then(|s| s.strip_suffix(')')) {
        let words = words
            .split('|')
            .map(|word| (word.to_owned(), String::new()));
        return Answer::words(starting(words.collect(), partial));
    }
    let is_running = OF_RUNNING.contains(&command.path);
    let kind = match shown {
        "CONTAINER" if is_running => "running",
        "SERVICE=REPLICAS" => {
            let mut answer = named("SERVICE", partial, context).await;
            answer.lines.iter_mut().for_each(|(name, _)| name.push('='));
            answer.directive |= NO_SPACE;
            return answer;
        }
        shown => shown,
    };
    let mut answer = Answer::words(Vec::new());
    for kind in kind.split('|') {
        let more = named(kind, partial, context).await;
        answer.lines.extend(more.lines);
        answer.directive &= more.directive;
    }
    answer
}

/// The name of the argument at a place: `[OPTIONS] CONTAINER [CONTAINER...]`.
fn argument_name(usage: &str, number: usize) -> Option<&str> {
    let mut words = usage.split(' ').filter(|word| *word != "[OPTIONS]");
    let last = words.clone().next_back()?;
    let word = match words.nth(number) {
        Some(word) => word,
        None if last.ends_with("...]") || last.ends_with("...") => last,
        None => return None,
    };
    let word = word.trim_matches(['[', ']']);
    Some(word.trim_end_matches("..."))
}

/// What a flag's value names.
pub(super) async fn of_flag(
    path: &str,
    name: &str,
    partial: &str,
    context: Option<&Context>,
) -> Answer {
    let kind = match name {
        "network" | "network-add" | "network-rm" | "net" => "NETWORK",
        "volumes-from" | "link" => "CONTAINER",
        "context" | "from" => "CONTEXT",
        "config" | "config-add" | "config-rm" if path != "docker" => "CONFIG",
        "secret" | "secret-add" | "secret-rm" => "SECRET",
        "image" => "IMAGE",
        // Files: the shell knows those.
        _ => return Answer::default(),
    };
    named(kind, partial, context).await
}

async fn named(kind: &str, partial: &str, context: Option<&Context>) -> Answer {
    let Some(context) = context else {
        return Answer::words(Vec::new());
    };
    let found = tokio::time::timeout(DEADLINE, list(kind, context)).await;
    match found {
        Ok(Ok(Some(mut names))) => {
            names.sort();
            names.dedup();
            let lines = names.into_iter().map(|name| (name, String::new()));
            Answer::words(starting(lines.collect(), partial))
        }
        // Words of the user's own, or files.
        Ok(Ok(None)) => Answer::default(),
        _ => Answer {
            lines: Vec::new(),
            directive: NO_FILES,
        },
    }
}

/// The names of all objects of a kind; nothing where the usage line names no objects.
async fn list(kind: &str, context: &Context) -> Result<Option<Vec<String>>, CliError> {
    let (path, pointers): (&str, &[&str]) = match kind {
        "CONTAINER" => ("/containers/json?all=1", &["/Names"]),
        "running" => ("/containers/json", &["/Names"]),
        "IMAGE" | "IMAGE[:TAG]" | "SOURCE_IMAGE[:TAG]" | "[REPOSITORY[:TAG]" | "NAME[:TAG" => {
            ("/images/json", &["/RepoTags"])
        }
        "NETWORK" => ("/networks", &["/Name"]),
        "VOLUME" => ("/volumes", &["/Name"]),
        "SERVICE" => ("/services", &["/Spec/Name"]),
        "NODE" => ("/nodes", &["/Description/Hostname"]),
        "SECRET" => ("/secrets", &["/Spec/Name"]),
        "CONFIG" => ("/configs", &["/Spec/Name"]),
        "STACK" => ("/services", &[]),
        "PLUGIN" => ("/plugins", &["/Name"]),
        "TASK" => return Ok(Some(Vec::new())),
        "self" => return Ok(Some(vec!["self".to_owned()])),
        "CONTEXT" => return contexts(context).map(Some),
        _ => return Ok(None),
    };
    let answer = context.client.get(path).await?;
    let items = answer
        .as_array()
        .or_else(|| answer["Volumes"].as_array())
        .into_iter()
        .flatten();
    let names = items.flat_map(|item| match pointers {
        [] => texts(&item["Spec"]["Labels"][NAMESPACE_LABEL]),
        pointers => pointers
            .iter()
            .flat_map(|pointer| item.pointer(pointer).map(texts).unwrap_or_default())
            .collect(),
    });
    Ok(Some(names.collect()))
}

/// One text or several; a container's name has no slash here.
fn texts(value: &Value) -> Vec<String> {
    let one = |text: &str| text.trim_start_matches('/').to_owned();
    match value {
        Value::String(text) => vec![one(text)],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).map(one).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_lines_name_arguments() {
        for (usage, number, expected) in [
            ("[OPTIONS] CONTAINER [CONTAINER...]", 0, Some("CONTAINER")),
            ("[OPTIONS] CONTAINER [CONTAINER...]", 5, Some("CONTAINER")),
            ("[OPTIONS] IMAGE [COMMAND] [ARG...]", 1, Some("COMMAND")),
            ("[OPTIONS] self|NODE [NODE...]", 0, Some("self|NODE")),
            ("[OPTIONS] (worker|manager)", 0, Some("(worker|manager)")),
            ("[OPTIONS]", 0, None),
            ("NETWORK CONTAINER", 2, None),
        ] {
            assert_eq!(argument_name(usage, number), expected, "{usage}");
        }
    }
}
