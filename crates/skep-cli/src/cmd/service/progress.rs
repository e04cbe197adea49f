//! How far a service has come: a line a task, until all run and stay.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::url;
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::output::truncated;

const PAUSE: Duration = Duration::from_millis(100);
const MONITOR: i64 = 5_000_000_000;
/// More tasks than this have no line each.
const MOST_BARS: usize = 20;
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

/// Waits until a service has converged. `shown` is what the user called it.
pub(crate) async fn wait(
    context: &Context,
    id: &str,
    shown: &str,
    quiet: bool,
) -> Result<(), CliError> {
    let mut screen = Screen::new(quiet);
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        result = follow(context, id, shown, &mut screen) => result,
        _ = interrupted => {
            if !quiet {
                println!("Operation continuing in background.\nUse `docker service ps {shown}` to check progress.");
            }
            Ok(())
        }
    }
}

async fn follow(
    context: &Context,
    id: &str,
    shown: &str,
    screen: &mut Screen,
) -> Result<(), CliError> {
    let mut converged: Option<Instant> = None;
    let mut rollback: Option<String> = None;
    loop {
        let service = context.client.get(&format!("/services/{id}")).await?;
        let status = &service["UpdateStatus"];
        match text(status, "/State") {
            "paused" => {
                return Err(CliError::new(format!(
                    "service update paused: {}",
                    text(status, "/Message")
                )));
            }
            "rollback_paused" => {
                return Err(CliError::new(format!(
                    "service rollback paused: {}",
                    text(status, "/Message")
                )));
            }
            "rollback_started" => rollback = Some(text(status, "/Message").to_owned()),
            "updating" | "rollback_completed" | "completed" => {}
            _ => {}
        }
        let filter = json!({"service": {id: true}, "_up-to-date": {"true": true}}).to_string();
        let tasks = context
            .client
            .get(&url("/tasks", &[("filters", &filter)]))
            .await?;
        let tasks = tasks.as_array().map(Vec::as_slice).unwrap_or_default();
        let nodes = context.client.get("/nodes").await?;
        let view = View::of(&service, tasks, &nodes);
        screen.show(&view, rollback.as_deref());
        if view.is_job {
            if view.done >= view.wanted {
                screen.finish("job complete");
                return Ok(());
            }
        } else if view.done >= view.wanted
            && !matches!(text(status, "/State"), "updating" | "rollback_started")
        {
            let since = *converged.get_or_insert_with(Instant::now);
            let monitor = service["Spec"]["UpdateConfig"]["Monitor"]
                .as_i64()
                .unwrap_or(MONITOR);
            let monitor = Duration::from_nanos(u64::try_from(monitor).unwrap_or(0));
            let left = monitor.saturating_sub(since.elapsed());
            if left.is_zero() {
                screen.finish(&format!("Service {shown} converged"));
                if let Some(message) = rollback {
                    screen.line(&format!("rollback: {message}"));
                }
                return Ok(());
            }
            screen.verify(&format!(
                "Waiting {} seconds to verify that tasks are stable...",
                left.as_secs() + 1
            ));
        } else if converged.take().is_some() {
            screen.verify("Detected task failure");
        }
        // Docker's API has no stream of this: the display asks again.
        tokio::time::sleep(PAUSE).await;
    }
}

/// What one look at the service showed.
struct View {
    done: usize,
    wanted: usize,
    is_job: bool,
    bars: Vec<(String, String, String)>,
}

impl View {
    fn of(service: &Value, tasks: &[Value], nodes: &Value) -> Self {
        let up: Vec<&str> = nodes
            .as_array()
            .into_iter()
            .flatten()
            .filter(|node| text(node, "/Status/State") != "down")
            .map(|node| text(node, "/ID"))
            .collect();
        let mode = &service["Spec"]["Mode"];
        let is_job = mode.get("ReplicatedJob").is_some() || mode.get("GlobalJob").is_some();
        let is_global = mode.get("Global").is_some() || mode.get("GlobalJob").is_some();
        let goal = if is_job { "complete" } else { "running" };
        let newest = newest(tasks, is_global);
        let at_goal = |task: &&&Value| {
            text(task, "/Status/State") == goal
                && (is_job || up.is_empty() || up.contains(&text(task, "/NodeID")))
        };
        let done = newest.values().filter(at_goal).count();
        let wanted = match (mode.get("Replicated"), mode.get("ReplicatedJob")) {
            (Some(replicated), _) => count(&replicated["Replicas"], 1),
            (_, Some(job)) => count(&job["TotalCompletions"], 1),
            _ => newest
                .values()
                .filter(|task| {
                    up.contains(&text(task, "/NodeID")) || text(task, "/NodeID").is_empty()
                })
                .count(),
        };
        let bars = newest
            .iter()
            .map(|(slot, task)| {
                let label = if is_global {
                    slot.chars().take(12).collect()
                } else {
                    format!("{}/{wanted}", slot.trim_start_matches('0'))
                };
                (
                    label,
                    text(task, "/Status/State").to_owned(),
                    text(task, "/Status/Err").to_owned(),
                )
            })
            .collect();
        Self {
            done,
            wanted,
            is_job,
            bars,
        }
    }
}

/// The newest task of each slot, or of each node.
fn newest(tasks: &[Value], is_global: bool) -> BTreeMap<String, &Value> {
    let mut newest: BTreeMap<String, &Value> = BTreeMap::new();
    for task in tasks {
        let slot = if is_global {
            text(task, "/NodeID").to_owned()
        } else {
            format!("{:0>12}", task["Slot"].as_u64().unwrap_or(0))
        };
        let wanted = text(task, "/DesiredState");
        let is_newer = newest.get(&slot).is_none_or(|known| {
            let rank = |task: &Value| {
                (
                    text(task, "/DesiredState") != "shutdown",
                    text(task, "/CreatedAt").to_owned(),
                )
            };
            rank(task) > rank(known)
        });
        if is_newer && !wanted.is_empty() {
            newest.insert(slot, task);
        }
    }
    newest
}

fn count(value: &Value, default: usize) -> usize {
    value
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(default)
}

/// Lines that are drawn over on a terminal, and printed when they change elsewhere.
struct Screen {
    quiet: bool,
    terminal: bool,
    drawn: usize,
    last: Vec<String>,
    verify: String,
}

impl Screen {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            quiet,
            terminal,
            drawn: 0,
            last: Vec::new(),
            verify: String::new(),
        }
    }

    fn show(&mut self, view: &View, rollback: Option<&str>) {
        let what = if view.is_job {
            "job progress"
        } else {
            "overall progress"
        };
        let mut lines = vec![match rollback {
            Some(message) => format!(
                "{what}: rolling back update: {} out of {} tasks: {message}",
                view.done, view.wanted
            ),
            None => format!("{what}: {} out of {} tasks", view.done, view.wanted),
        }];
        if view.bars.len() <= MOST_BARS {
            lines.extend(
                view.bars
                    .iter()
                    .map(|(label, state, error)| bar(label, state, error)),
            );
        }
        if !self.verify.is_empty() {
            lines.push(format!("verify: {}", self.verify));
        }
        self.draw(lines);
    }

    fn verify(&mut self, text: &str) {
        self.verify = text.to_owned();
    }

    fn finish(&mut self, text: &str) {
        self.verify = text.to_owned();
        let mut lines: Vec<_> = self
            .last
            .iter()
            .filter(|line| !line.starts_with("verify: "))
            .cloned()
            .collect();
        lines.push(format!("verify: {text}"));
        self.draw(lines);
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            println!("{text}");
        }
    }

    fn draw(&mut self, lines: Vec<String>) {
        if self.quiet || lines == self.last {
            self.last = lines;
            return;
        }
        let mut out = std::io::stdout().lock();
        // A terminal that went away has nobody to tell.
        if self.terminal {
            if self.drawn > 0 {
                let _ = write!(out, "\x1b[{}A", self.drawn);
            }
            for line in &lines {
                let _ = writeln!(out, "\x1b[2K{line}");
            }
            let _ = write!(out, "\x1b[0J");
        } else {
            for line in lines.iter().filter(|line| !self.last.contains(line)) {
                let _ = writeln!(out, "{line}");
            }
        }
        let _ = out.flush();
        self.drawn = lines.len();
        self.last = lines;
    }
}

/// `1/3: running   [====>   ]`
fn bar(label: &str, state: &str, error: &str) -> String {
    if !error.is_empty() {
        return format!("{label}: {}", truncated(&error.replace('\n', " "), 75));
    }
    let step = STATES
        .iter()
        .position(|known| *known == state)
        .map_or(STATES.len(), |at| at + 1);
    let width = 50 * step / STATES.len();
    let arrow = if width < 50 { ">" } else { "" };
    format!(
        "{label}: {state:<9} [{}{arrow}{}]",
        "=".repeat(width),
        " ".repeat(50 - width - arrow.len())
    )
}
