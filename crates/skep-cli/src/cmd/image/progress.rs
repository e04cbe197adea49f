//! How pulls and pushes show their progress: a line for each layer that is drawn over on a terminal,
//! a line for each new status elsewhere.

use futures::{Stream, StreamExt as _};
use serde_json::Value;

use crate::cmd::objects::text;
use crate::error::CliError;
use crate::output::Messages;

/// Prints progress; to standard error where `aside`.
pub(crate) async fn progress(
    messages: impl Stream<Item = Result<Value, CliError>> + Unpin,
    quiet: bool,
    aside: bool,
) -> Result<(), CliError> {
    let out = match aside {
        true => Messages::stderr(),
        false => Messages::stdout(),
    };
    show(messages, if quiet { Messages::nowhere() } else { out }).await
}

async fn show(
    mut messages: impl Stream<Item = Result<Value, CliError>> + Unpin,
    mut out: Messages,
) -> Result<(), CliError> {
    while let Some(message) = messages.next().await {
        let message = message?;
        let why = message
            .pointer("/errorDetail/message")
            .or(message.get("error"));
        if let Some(why) = why {
            return Err(CliError::new(why.as_str().unwrap_or_default()));
        }
        let Some(line) = line_of(&message, out.is_terminal()) else {
            continue;
        };
        let id = text(&message, "/id");
        if out.is_terminal() && !id.is_empty() && !message["progressDetail"].is_null() {
            out.over(id, line.trim_end_matches('\n'));
        } else {
            out.say(&line);
        }
    }
    Ok(())
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
    use crate::output::seen::Seen;
    use serde_json::json;

    async fn shown(columns: Option<u16>) -> String {
        let messages = [
            json!({"status": "Pulling from a", "id": "latest"}),
            json!({"status": "Waiting", "progressDetail": {}, "id": "l1"}),
            json!({"status": "Waiting", "progressDetail": {}, "id": "l2"}),
            json!({"status": "Downloading", "progressDetail": {"current": 1}, "progress": "[=]", "id": "l1"}),
            json!({"status": "Status: done"}),
        ];
        let seen = Seen::default();
        let stream = futures::stream::iter(messages.map(Ok));
        show(stream, seen.messages(columns)).await.unwrap();
        seen.take()
    }

    #[tokio::test]
    async fn bars_are_drawn_over_on_terminals_only() {
        assert_eq!(
            shown(None).await,
            "latest: Pulling from a\nl1: Waiting\nl2: Waiting\nStatus: done\n"
        );
        let terminal = shown(Some(80)).await;
        assert!(
            terminal.contains("\x1b[2A\x1b[2K\rl1: Downloading [=]\r\x1b[2B"),
            "{terminal:?}"
        );
    }
}
