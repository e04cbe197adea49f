//! How far a service has come: a line a task, until all run and stay.

mod job;
mod lines;
mod running;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::url;
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Extent, Messages};
use job::Job;
use running::Running;

/// Between two looks: Docker's API has no stream of this.
const PAUSE: Duration = Duration::from_millis(100);
const MONITOR: i64 = 5_000_000_000;

/// Waits until a service has converged. `shown` is what the user called it.
pub(crate) async fn wait(
    context: &Context,
    id: &str,
    shown: &str,
    quiet: bool,
) -> Result<(), CliError> {
    let mut follower = Follower {
        lines: match quiet {
            true => Messages::nowhere(),
            false => Messages::stdout(),
        },
        mode: None,
        converged: None,
        rolls_back: false,
        end: None,
    };
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        result = follower.follow(context, id, shown) => return result,
        _ = interrupted => {}
    }
    if follower.converged.is_none() {
        follower.lines.say(&format!(
            "Operation continuing in background.\nUse `docker service ps {shown}` to check progress.\n"
        ));
    }
    Ok(())
}

/// What was seen so far.
struct Follower {
    lines: Messages,
    mode: Option<Mode>,
    converged: Option<Instant>,
    rolls_back: bool,
    /// What is said last.
    end: Option<String>,
}

/// By what a service's tasks are counted.
enum Mode {
    Running(Running),
    Job(Job),
}

impl Follower {
    async fn follow(&mut self, context: &Context, id: &str, shown: &str) -> Result<(), CliError> {
        loop {
            let service = context.client.get(&format!("/services/{id}")).await?;
            self.heed_update(&service["UpdateStatus"])?;
            let is_changing = matches!(
                text(&service, "/UpdateStatus/State"),
                "updating" | "rollback_started"
            );
            if let Some(since) = self.converged
                && since.elapsed() >= monitor(&service)
                && !is_changing
            {
                self.verify(&format!("Service {shown} converged"));
                if let Some(end) = self.end.take() {
                    self.lines.say(&format!("rollback: {end}\n"));
                }
                return Ok(());
            }
            let (tasks, nodes) = look(context, id).await?;
            if !self.update(&service, &tasks, &nodes) {
                if self.converged.take().is_some() {
                    self.verify("Detected task failure");
                }
            } else if matches!(self.mode, Some(Mode::Job(_))) {
                self.lines.say("job complete\n");
                return Ok(());
            } else {
                let since = *self.converged.get_or_insert_with(Instant::now);
                if let Some(left) = monitor(&service).checked_sub(since.elapsed()) {
                    // The second that has begun counts.
                    self.verify(&format!(
                        "Waiting {} seconds to verify that tasks are stable...",
                        left.as_secs() + 1
                    ));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What an update has come to ends the waiting, or is told beside it.
    fn heed_update(&mut self, status: &Value) -> Result<(), CliError> {
        let message = text(status, "/Message");
        match text(status, "/State") {
            "updating" => self.rolls_back = false,
            "paused" => return Err(CliError::new(format!("service update paused: {message}"))),
            "rollback_started" => {
                if !self.rolls_back && !message.is_empty() {
                    self.lines.progress("rollback", message, Extent::default());
                }
                self.rolls_back = true;
            }
            "rollback_paused" => {
                return Err(CliError::new(format!("service rollback paused: {message}")));
            }
            "rollback_completed" => {
                if self.converged.is_none() {
                    self.end = Some(message.to_owned());
                }
                self.rolls_back = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn update(&mut self, service: &Value, tasks: &[Value], nodes: &BTreeSet<String>) -> bool {
        let mode = self.mode.get_or_insert_with(|| {
            let mode = &service["Spec"]["Mode"];
            match Job::of(service) {
                Some(job) => Mode::Job(job),
                None => Mode::Running(Running::new(mode.get("Global").is_some())),
            }
        });
        let lines = &mut self.lines;
        match mode {
            Mode::Running(mode) => mode.update(service, tasks, nodes, self.rolls_back, lines),
            Mode::Job(mode) => mode.update(tasks, nodes, lines),
        }
    }

    fn verify(&mut self, text: &str) {
        self.lines.progress("verify", text, Extent::default());
    }
}

/// The tasks of a service's newest spec, and the nodes that are up.
async fn look(context: &Context, id: &str) -> Result<(Vec<Value>, BTreeSet<String>), CliError> {
    let filter = json!({"service": {id: true}, "_up-to-date": {"true": true}}).to_string();
    let path = url("/tasks", &[("filters", &filter)]);
    let tasks = context.client.get(&path).await?;
    let nodes = context.client.get("/nodes").await?;
    let up = nodes
        .as_array()
        .into_iter()
        .flatten()
        .filter(|node| text(node, "/Status/State") != "down")
        .map(|node| text(node, "/ID").to_owned());
    Ok((tasks.as_array().cloned().unwrap_or_default(), up.collect()))
}

/// How long tasks must stay as they are.
fn monitor(service: &Value) -> Duration {
    let nanos = service["Spec"]["UpdateConfig"]["Monitor"].as_i64();
    let nanos = nanos.filter(|nanos| *nanos != 0).unwrap_or(MONITOR);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn count(value: &Value, default: usize) -> usize {
    value
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(default)
}

#[cfg(test)]
mod tests;
