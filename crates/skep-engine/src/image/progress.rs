//! Progress of pulls, pushes and loads, in the messages that Docker streams.

use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

/// One line of a progress stream. Field names are Docker's.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProgressMessage {
    /// Plain output, as `docker load` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What is going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How far it went; an empty object where there is nothing to count.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// The same, drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The layer, or the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// An object for programs (push: tag, digest and size).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

/// See [`ProgressMessage::progress_detail`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// Where progress goes. The asker may have gone away; the work goes on.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<UnboundedSender<ProgressMessage>>);

impl Progress {
    /// Progress to a channel.
    pub fn to(sender: UnboundedSender<ProgressMessage>) -> Self {
        Self(Some(sender))
    }

    /// Progress that nobody reads.
    pub fn none() -> Self {
        Self(None)
    }

    fn send(&self, message: ProgressMessage) {
        if let Some(sender) = &self.0 {
            // The asker hung up; nothing to tell anybody.
            let _ = sender.send(message);
        }
    }

    /// A line of its own.
    pub fn status(&self, status: impl Into<String>) {
        self.send(ProgressMessage {
            status: Some(status.into()),
            ..Default::default()
        });
    }

    /// A line about a tag or layer, not a step of it.
    pub fn about(&self, id: &str, status: impl Into<String>) {
        let (status, id) = (Some(status.into()), Some(id.to_owned()));
        self.send(ProgressMessage {
            status,
            id,
            ..Default::default()
        });
    }

    /// A layer has come to this step.
    pub fn step(&self, id: &str, status: &str) {
        self.send(ProgressMessage {
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail::default()),
            id: Some(id.to_owned()),
            ..Default::default()
        });
    }

    /// A layer, or without an id the whole, has come so far within a step.
    pub fn bytes(&self, id: &str, status: &str, current: u64, total: u64) {
        self.send(ProgressMessage {
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail {
                current: Some(current),
                total: (total > 0).then_some(total),
            }),
            progress: Some(bar(current, total)),
            id: (!id.is_empty()).then(|| id.to_owned()),
            ..Default::default()
        });
    }

    /// Plain output.
    pub fn stream(&self, text: String) {
        self.send(ProgressMessage {
            stream: Some(text),
            ..Default::default()
        });
    }

    /// An object for programs.
    pub fn aux(&self, aux: serde_json::Value) {
        self.send(ProgressMessage {
            aux: Some(aux),
            ..Default::default()
        });
    }
}

/// Docker's bar: 50 characters wide, then the two sizes.
fn bar(current: u64, total: u64) -> String {
    if total == 0 {
        return format!("{:>8}", human(current));
    }
    let done = usize::try_from((current.min(total) * 50) / total).unwrap_or(50);
    let head = if done < 50 { ">" } else { "" };
    let rest = 50 - done - head.len();
    format!(
        "[{}{head}{}] {:>8}/{}",
        "=".repeat(done),
        " ".repeat(rest),
        human(current),
        human(total)
    )
}

/// Decimal units with four significant digits, as Docker shows sizes of transfers.
fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            let digits = match value {
                v if unit == "B" || v >= 1000.0 => 0,
                v if v >= 100.0 => 1,
                v if v >= 10.0 => 2,
                _ => 3,
            };
            let text = format!("{value:.digits$}");
            let text = if digits > 0 {
                text.trim_end_matches('0').trim_end_matches('.')
            } else {
                &text
            };
            return format!("{text}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.0}PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_fifty_wide() {
        assert_eq!(bar(0, 100), format!("[>{}]       0B/100B", " ".repeat(49)));
        assert_eq!(bar(100, 100), format!("[{}]     100B/100B", "=".repeat(50)));
        assert_eq!(human(1_536_000), "1.536MB");
    }
}
