//! `depends_on`: waiting for services that others need.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::url;
use crate::cmd::objects::text;
use crate::compose::Condition;
use crate::context::Context;
use crate::error::CliError;

/// Between two looks: Docker's API has no stream of this.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until a condition holds of a service, for so long at most.
pub(super) async fn wait(
    context: &Context,
    name: &str,
    condition: Condition,
    patience: Duration,
    quiet: bool,
) -> Result<(), CliError> {
    let deadline = Instant::now() + patience;
    let mut said = quiet;
    loop {
        let state = State::look(context, name).await?;
        if state.holds(condition) {
            return Ok(());
        }
        if !said {
            println!("Waiting for service {name} {}", goal(condition));
            said = true;
        }
        if condition == Condition::Completed && state.has_failed {
            return Err(CliError::new(format!(
                "service {name} did not complete successfully{}",
                state.reason()
            )));
        }
        if Instant::now() >= deadline {
            return Err(CliError::new(format!(
                "service {name} {} within {}s{}",
                missed(condition),
                patience.as_secs(),
                state.reason()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn goal(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "to start",
        Condition::Healthy => "to be healthy",
        Condition::Completed => "to complete",
    }
}

fn missed(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "did not start",
        Condition::Healthy => "did not become healthy",
        Condition::Completed => "did not complete",
    }
}

/// What one look at a service showed.
struct State {
    wanted: u64,
    running: u64,
    completed: u64,
    is_job: bool,
    has_failed: bool,
    error: String,
}

impl State {
    async fn look(context: &Context, name: &str) -> Result<Self, CliError> {
        let filter = json!({"name": {name: true}}).to_string();
        let path = url("/services", &[("filters", &filter), ("status", "true")]);
        let found = context.client.get(&path).await?;
        let service = found
            .as_array()
            .into_iter()
            .flatten()
            .find(|service| text(service, "/Spec/Name") == name)
            .ok_or_else(|| CliError::new(format!("service {name} is gone")))?;
        let filter =
            json!({"service": {text(service, "/ID"): true}, "_up-to-date": {"true": true}});
        let path = url("/tasks", &[("filters", &filter.to_string())]);
        let tasks = context.client.get(&path).await?;
        Ok(Self::of(
            service,
            tasks.as_array().map_or(&[], Vec::as_slice),
        ))
    }

    fn of(service: &Value, tasks: &[Value]) -> Self {
        let mode = &service["Spec"]["Mode"];
        let count = |value: &Value| value.as_u64();
        let is_job = mode.get("ReplicatedJob").is_some() || mode.get("GlobalJob").is_some();
        let current = tasks
            .iter()
            .filter(|task| !is_job || task["JobIteration"] == service["JobStatus"]["JobIteration"]);
        let current: Vec<&Value> = current.collect();
        let in_state = |state: &str| {
            let count = current
                .iter()
                .filter(|task| text(task, "/Status/State") == state)
                .count();
            u64::try_from(count).unwrap_or(u64::MAX)
        };
        let wanted = count(&mode["Replicated"]["Replicas"])
            .or_else(|| count(&mode["ReplicatedJob"]["TotalCompletions"]))
            .or_else(|| count(&service["ServiceStatus"]["DesiredTasks"]))
            .unwrap_or(1);
        let gives_up = service["Spec"]["TaskTemplate"]["RestartPolicy"]["Condition"] == "none";
        let newest_error = current
            .iter()
            .max_by_key(|task| text(task, "/Status/Timestamp"))
            .map(|task| text(task, "/Status/Err"))
            .unwrap_or_default();
        Self {
            wanted,
            running: in_state("running"),
            completed: in_state("complete"),
            is_job,
            has_failed: gives_up && in_state("failed") + in_state("rejected") > 0,
            error: newest_error.to_owned(),
        }
    }

    fn holds(&self, condition: Condition) -> bool {
        let done = self.is_job && self.completed >= self.wanted;
        match condition {
            Condition::Started => self.wanted == 0 || self.running + self.completed > 0,
            Condition::Healthy => self.running >= self.wanted || done,
            Condition::Completed => self.completed >= self.wanted,
        }
    }

    fn reason(&self) -> String {
        if self.error.is_empty() {
            String::new()
        } else {
            format!(": {}", self.error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(states: &[&str]) -> Vec<Value> {
        let task = |state: &&str| json!({"Status": {"State": state, "Timestamp": "1", "Err": ""}});
        states.iter().map(task).collect()
    }

    fn check(mode: Value, states: &[&str], condition: Condition, expected: bool) {
        let service = json!({"Spec": {"Mode": mode}});
        let state = State::of(&service, &tasks(states));
        assert_eq!(
            state.holds(condition),
            expected,
            "{mode} {states:?} {condition:?}"
        );
    }

    #[test]
    fn conditions_hold_when_tasks_say_so() {
        let two = json!({"Replicated": {"Replicas": 2}});
        check(two.clone(), &["starting"], Condition::Started, false);
        check(two.clone(), &["running"], Condition::Started, true);
        check(two.clone(), &["running"], Condition::Healthy, false);
        check(two, &["running", "running"], Condition::Healthy, true);
        let none = json!({"Replicated": {"Replicas": 0}});
        check(none, &[], Condition::Started, true);
        let job = json!({"ReplicatedJob": {"TotalCompletions": 1}});
        check(job.clone(), &["running"], Condition::Completed, false);
        check(job.clone(), &["complete"], Condition::Completed, true);
        check(job, &["complete"], Condition::Healthy, true);
    }
}
