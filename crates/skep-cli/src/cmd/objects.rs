//! What commands on several objects have in common.

use std::future::Future;

use serde_json::Value;

use crate::error::{CliError, join};
use crate::output::{Template, TemplateError, escaped, indented_json};

/// Does something for each argument, goes on after errors, and reports them together.
pub(super) async fn each<'a, F>(
    args: &'a [String],
    act: impl Fn(&'a str) -> F,
) -> Result<(), CliError>
where
    F: Future<Output = Result<(), CliError>>,
{
    let mut errors = Vec::new();
    for arg in args {
        if let Err(error) = act(arg).await {
            errors.push(error);
        }
    }
    join(errors)
}

/// How objects of a kind go through a template.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// Go's type of one.
    pub(super) of: fn(&Value) -> &'static str,
    /// Whether what the API answered is shown as it came, and what the type does not have is looked for
    /// there.
    pub(super) has_raw: bool,
    /// The exit code for what is no template.
    pub(super) mistake: u8,
}

impl Shown {
    /// Objects of the swarm with all that the API answered.
    pub(super) const fn of_swarm(of: fn(&Value) -> &'static str, has_raw: bool) -> Self {
        Self {
            of,
            has_raw,
            mistake: 1,
        }
    }

    /// Objects of a host.
    pub(super) const fn of_host(of: fn(&Value) -> &'static str, has_raw: bool) -> Self {
        Self {
            of,
            has_raw,
            mistake: 64,
        }
    }

    fn render(self, template: &Template, value: &Value) -> Result<String, TemplateError> {
        let rendered = template.render(value, (self.of)(value));
        match self.has_raw {
            true => rendered.or_else(|_| template.render_raw(value)),
            false => rendered,
        }
    }
}

/// Prints what `inspect` found: an indented array, JSON in lines, or through a template; then errors.
pub(super) async fn inspect<'a, F>(
    args: &'a [String],
    format: &str,
    shown: Shown,
    find: impl Fn(&'a str) -> F,
) -> Result<(), CliError>
where
    F: Future<Output = Result<Value, CliError>>,
{
    let template = match format {
        "" | "json" => None,
        text => Some(Template::compile(text).map_err(|error| {
            CliError::new(format!("template parsing error: {error}")).with_code(shown.mistake)
        })?),
    };
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for arg in args {
        match find(arg).await {
            Ok(value) => found.push(value),
            Err(error) => errors.push(error),
        }
    }
    match &template {
        None => {
            let all = Value::Array(found);
            let text = match format {
                "json" => all.to_string(),
                _ => indented_json(&all),
            };
            println!("{}", if shown.has_raw { text } else { escaped(&text) });
        }
        Some(_) if found.is_empty() => println!(),
        Some(template) => {
            for value in &found {
                match shown.render(template, value) {
                    Ok(text) => println!("{text}"),
                    Err(error) => {
                        // What was found before it has its line.
                        println!();
                        return Err(CliError::new(format!("template parsing error: {error}")));
                    }
                }
            }
        }
    }
    join(errors)
}

/// A text within a value; empty where it is absent.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Labels in one text, sorted: `a=1,b=2`.
pub(super) fn label_text(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let mut pairs: Vec<_> = pairs
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    pairs.join(",")
}

/// A line from standard input; on a terminal it is asked for, and does not show.
pub(super) fn hidden_line(question: &str) -> Result<String, CliError> {
    use std::io::{IsTerminal as _, Write as _};

    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal());
    if let Some(before) = &before {
        // Before the question: whoever answers quickly shall not be echoed either.
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(std::io::Error::from)?;
        print!("{question}");
        std::io::stdout().flush()?;
    }
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    if let Some(before) = &before {
        println!();
        tcsetattr(&stdin, OptionalActions::Now, before).map_err(std::io::Error::from)?;
    }
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks on the terminal; only `y` and `yes` are yes.
pub(super) fn confirmed(question: &str) -> Result<bool, CliError> {
    use std::io::Write as _;
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
