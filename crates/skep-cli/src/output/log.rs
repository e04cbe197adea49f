//! Warnings as Docker's command line logs them.

use std::io::IsTerminal as _;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::quoted;

/// One line for standard error: coloured and short at a terminal, fields elsewhere.
pub fn warning(text: &str) -> String {
    if std::io::stderr().is_terminal() {
        return format!("\x1b[33mWARN\x1b[0m[0000] {text}");
    }
    let now = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let time = now.format(&Rfc3339).unwrap_or_default();
    format!("time=\"{time}\" level=warning msg={}", quoted(text))
}
