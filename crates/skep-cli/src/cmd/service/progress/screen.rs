//! What is shown of a service on its way.

use super::view::{Line, View};
use crate::output::{Redraw, bar, truncated};

/// More tasks than this have no line each.
pub(super) const MOST_LINES: usize = 20;
const STATES: [&str; 9] = [
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "running",
];

/// See the module.
#[derive(Debug)]
pub(super) struct Screen {
    quiet: bool,
    lines: Redraw,
    body: Vec<String>,
    verify: String,
    rollback: Option<String>,
    end: Option<String>,
}

impl Screen {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            lines: Redraw::new(),
            body: Vec::new(),
            verify: String::new(),
            rollback: None,
            end: None,
        }
    }

    /// From here on a rollback is shown.
    pub(super) fn rolls_back(&mut self, message: &str) {
        if self.rollback.is_none() {
            self.rollback = Some(message.to_owned());
        }
    }

    /// Says so below everything, once all is still.
    pub(super) fn rolled_back(&mut self, message: &str) {
        self.end = Some(format!("rollback: {message}"));
    }

    /// Shows how far the service is.
    pub(super) fn show(&mut self, view: &View) {
        let mut lines: Vec<String> = self
            .rollback
            .iter()
            .map(|message| format!("rollback: {message}"))
            .collect();
        lines.extend(view.heads(self.rollback.is_some()));
        if view.tasks().len() <= MOST_LINES {
            // Without a terminal the tasks are named, and told about when they fail.
            let is_terminal = self.lines.is_terminal();
            lines.extend(view.tasks().iter().map(|task| line(task, is_terminal)));
        }
        self.body = lines;
        self.draw();
    }

    /// Shows what is waited for behind the tasks.
    pub(super) fn verify(&mut self, text: &str) {
        self.verify = format!("verify: {text}");
        self.draw();
        if text.ends_with(" converged")
            && let Some(end) = self.end.take()
        {
            self.body.push(std::mem::replace(&mut self.verify, end));
            self.draw();
        }
    }

    /// Shows the last line.
    pub(super) fn finish(&mut self, text: &str) {
        text.clone_into(&mut self.verify);
        self.draw();
    }

    fn draw(&mut self) {
        if self.quiet {
            return;
        }
        let mut lines = self.body.clone();
        if !self.verify.is_empty() {
            lines.push(self.verify.clone());
        }
        self.lines.show(lines);
    }
}

/// `1/3: running   [====>   ]`; terminals that are narrow have no bar.
fn line(task: &Line, with_bar: bool) -> String {
    let label = &task.label;
    if !task.error.is_empty() {
        return format!("{label}: {}", truncated(&task.error.replace('\n', " "), 75));
    }
    if !with_bar {
        return format!("{label}:  ");
    }
    let state = &task.state;
    if state.is_empty() {
        return format!("{label}:");
    }
    let step = STATES
        .iter()
        .position(|known| known == state)
        .map_or(STATES.len(), |at| at + 1);
    let bar = bar(step, STATES.len()).unwrap_or_default();
    format!("{label}: {state:<9} {bar}")
}
