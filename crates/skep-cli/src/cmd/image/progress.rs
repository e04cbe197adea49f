//! How pulls and pushes show their progress: a line for each layer that is drawn over on a terminal,
//! a line for each new status elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write};

use futures::{Stream, StreamExt as _};
use serde_json::Value;

use crate::cmd::objects::text;
use crate::error::CliError;

/// Prints progress; to standard error where `aside`.
pub(crate) async fn progress(
    messages: impl Stream<Item = Result<Value, CliError>> + Unpin,
    quiet: bool,
    aside: bool,
) -> Result<(), CliError> {
    match aside {
        true => {
            let out = std::io::stderr();
            let terminal = out.is_terminal();
            show(messages, quiet, out, terminal).await
        }
        false => {
            let out = std::io::stdout();
            let terminal = out.is_terminal();
            show(messages, quiet, out, terminal).await
        }
    }
}

async fn show(
    mut messages: impl Stream<Item = Result<Value, CliError>> + Unpin,
    quiet: bool,
    mut out: impl Write,
    terminal: bool,
) -> Result<(), CliError> {
    let mut lines: HashMap<String, usize> = HashMap::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        let why = message
            .pointer("/errorDetail/message")
            .or(message.get("error"));
        if let Some(why) = why {
            return Err(CliError::new(why.as_str().unwrap_or_default()));
        }
        if quiet {
            continue;
        }
        let Some(line) = line_of(&message, terminal) else {
            continue;
        };
        let id = text(&message, "/id");
        if terminal && !id.is_empty() && !message["progressDetail"].is_null() {
            draw(&mut out, &mut lines, id, &line)?;
        } else {
            // What comes after is no longer drawn over.
            lines.clear();
            out.write_all(line.as_bytes())?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Draws a layer's line where it stands, so many lines up.
fn draw(
    out: &mut impl Write,
    lines: &mut HashMap<String, usize>,
    id: &str,
    line: &str,
) -> std::io::Result<()> {
    let count = lines.len();
    let line = line.trim_end_matches('\n');
    match lines.get(id) {
        Some(at) => {
            let up = count - at;
            write!(out, "\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B")
        }
        None => {
            lines.insert(id.to_owned(), count);
            writeln!(out, "\x1b[2K\r{line}")
        }
    }
}

/// What a message says in one line. Bars of progress are for terminals.
fn line_of(message: &Value, terminal: bool) -> Option<String> {
    if let Some(stream) = message["stream"].as_str() {
        return Some(stream.to_owned());
    }
    let status = message["status"].as_str()?;
    let bar = text(message, "/progress");
    if !terminal && !bar.is_empty() {
        return None;
    }
    let bar = if bar.is_empty() {
        String::new()
    } else {
        format!(" {bar}")
    };
    Some(match text(message, "/id") {
        "" => format!("{status}{bar}\n"),
        id => format!("{id}: {status}{bar}\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn shown(terminal: bool) -> String {
        let messages = [
            json!({"status": "Pulling from a", "id": "latest"}),
            json!({"status": "Waiting", "progressDetail": {}, "id": "l1"}),
            json!({"status": "Waiting", "progressDetail": {}, "id": "l2"}),
            json!({"status": "Downloading", "progressDetail": {"current": 1}, "progress": "[=]", "id": "l1"}),
            json!({"status": "Status: done"}),
        ];
        let mut out = Vec::new();
        let stream = futures::stream::iter(messages.map(Ok));
        show(stream, false, &mut out, terminal).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn bars_are_drawn_over_on_terminals_only() {
        assert_eq!(
            shown(false).await,
            "latest: Pulling from a\nl1: Waiting\nl2: Waiting\nStatus: done\n"
        );
        let terminal = shown(true).await;
        assert!(
            terminal.contains("\x1b[2A\x1b[2K\rl1: Downloading [=]\r\x1b[2B"),
            "{terminal:?}"
        );
    }
}
