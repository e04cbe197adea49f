//! One thing that was looked at, and what came of it.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not do so for long.
    Warning,
    /// It does not work.
    Problem,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// `quorum`, `ports`, `path`, `mtu`, `clocks`, `versions`, `certificates`, `disk`, `nodes`.
    pub check: &'static str,
    /// The host name concerned.
    pub node: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What it means, and what to do; empty where nothing is to be done.
    pub advice: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, node: &str, text: impl Into<String>) -> Self {
        Self::new(check, node, Level::Ok, text, "")
    }

    pub(super) fn warning(
        check: &'static str,
        node: &str,
        text: impl Into<String>,
        advice: &str,
    ) -> Self {
        Self::new(check, node, Level::Warning, text, advice)
    }

    pub(super) fn problem(
        check: &'static str,
        node: &str,
        text: impl Into<String>,
        advice: &str,
    ) -> Self {
        Self::new(check, node, Level::Problem, text, advice)
    }

    fn new(
        check: &'static str,
        node: &str,
        level: Level,
        text: impl Into<String>,
        advice: &str,
    ) -> Self {
        Self {
            check,
            node: node.to_owned(),
            level,
            text: text.into(),
            advice: advice.to_owned(),
        }
    }
}
