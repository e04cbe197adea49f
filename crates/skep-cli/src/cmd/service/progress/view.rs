//! What one look at a service and its tasks shows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::screen::MOST_LINES;
use crate::cmd::objects::text;

/// How far a service is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Tasks that are to run and stay.
    Running {
        done: usize,
        wanted: usize,
        tasks: Vec<Line>,
    },
    /// Tasks that are to complete, so many at once.
    Job {
        completed: usize,
        wanted: usize,
        active: usize,
        at_once: usize,
        tasks: Vec<Line>,
    },
}

/// One task.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub label: String,
    pub state: String,
    pub error: String,
}

impl View {
    /// Puts together what the API answered; `tasks` are those of the service's newest spec.
    pub(super) fn of(service: &Value, tasks: &[Value], nodes: &Value) -> Self {
        let up: Vec<&str> = nodes
            .as_array()
            .into_iter()
            .flatten()
            .filter(|node| text(node, "/Status/State") != "down")
            .map(|node| text(node, "/ID"))
            .collect();
        let mode = &service["Spec"]["Mode"];
        if let Some(job) = mode.get("ReplicatedJob") {
            let wanted = count(&job["TotalCompletions"], 1);
            let at_once = count(&job["MaxConcurrent"], wanted);
            return job_view(service, tasks, wanted, at_once, false);
        }
        if mode.get("GlobalJob").is_some() {
            let wanted = placed(tasks, &up);
            return job_view(service, tasks, wanted, wanted, true);
        }
        let is_global = mode.get("Global").is_some();
        let newest = newest(tasks, is_global);
        let runs = |task: &&&Value| {
            text(task, "/Status/State") == "running"
                && (up.is_empty() || up.contains(&text(task, "/NodeID")))
        };
        let wanted = match mode.get("Replicated") {
            Some(replicated) => count(&replicated["Replicas"], 1),
            None => placed(tasks, &up),
        };
        Self::Running {
            done: newest.values().filter(runs).count(),
            wanted,
            tasks: match is_global {
                true => lines(&newest, wanted, true),
                false => with_open_slots(lines(&newest, wanted, false), wanted),
            },
        }
    }

    /// Whether there is nothing left to do but to see whether it stays so.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Running { done, wanted, .. } => done == wanted,
            Self::Job {
                completed, wanted, ..
            } => completed >= wanted,
        }
    }

    /// Whether tasks are to complete.
    pub(super) fn is_job(&self) -> bool {
        matches!(self, Self::Job { .. })
    }

    /// The tasks.
    pub(super) fn tasks(&self) -> &[Line] {
        match self {
            Self::Running { tasks, .. } | Self::Job { tasks, .. } => tasks,
        }
    }

    /// The lines above the tasks.
    pub(super) fn heads(&self, rolls_back: bool) -> Vec<String> {
        match self {
            Self::Running { done, wanted, .. } => {
                let how = if rolls_back {
                    "rolling back update: "
                } else {
                    ""
                };
                vec![format!(
                    "overall progress: {how}{done} out of {wanted} tasks"
                )]
            }
            Self::Job {
                completed,
                wanted,
                active,
                at_once,
                ..
            } => {
                let left = wanted.saturating_sub(*completed).min(*at_once);
                vec![
                    format!("job progress: {completed} out of {wanted} complete"),
                    format!("active tasks: {active} out of {left} tasks"),
                ]
            }
        }
    }
}

fn job_view(
    service: &Value,
    tasks: &[Value],
    wanted: usize,
    at_once: usize,
    is_global: bool,
) -> View {
    let iteration = &service["JobStatus"]["JobIteration"]["Index"];
    let of_run = tasks.iter().filter(|task| {
        let own = &task["JobIteration"]["Index"];
        iteration.is_null() || own.is_null() || own == iteration
    });
    let of_run: Vec<Value> = of_run.cloned().collect();
    let newest = newest(&of_run, is_global);
    let in_state = |states: &[&str]| {
        let has = |task: &&&Value| states.contains(&text(task, "/Status/State"));
        newest.values().filter(has).count()
    };
    View::Job {
        completed: in_state(&["complete"]),
        wanted,
        active: in_state(&[
            "assigned",
            "accepted",
            "preparing",
            "ready",
            "starting",
            "running",
        ]),
        at_once,
        tasks: lines(&newest, wanted, is_global),
    }
}

/// Tasks of a global service that are on nodes which are up, or not on one yet.
fn placed(tasks: &[Value], up: &[&str]) -> usize {
    let newest = newest(tasks, true);
    let is_placed = |node: &&String| node.is_empty() || up.contains(&node.as_str());
    newest.keys().filter(is_placed).count()
}

/// The newest task of each slot, or of each node, that is not being ended.
fn newest(tasks: &[Value], is_global: bool) -> BTreeMap<String, &Value> {
    let mut newest: BTreeMap<String, &Value> = BTreeMap::new();
    let is_wanted = |task: &&Value| {
        !matches!(text(task, "/DesiredState"), "shutdown" | "remove" | "")
            || text(task, "/Status/State") == "complete"
    };
    for task in tasks.iter().filter(is_wanted) {
        let slot = if is_global {
            text(task, "/NodeID").to_owned()
        } else {
            format!("{:0>12}", task["Slot"].as_u64().unwrap_or(0))
        };
        let is_newer = newest
            .get(&slot)
            .is_none_or(|known| text(task, "/CreatedAt") > text(known, "/CreatedAt"));
        if is_newer {
            newest.insert(slot, task);
        }
    }
    newest
}

fn lines(newest: &BTreeMap<String, &Value>, wanted: usize, is_global: bool) -> Vec<Line> {
    // Slots of jobs begin with 0.
    let first = newest.keys().next().map_or("", String::as_str);
    let shift = u64::from(!is_global && first.trim_start_matches('0').is_empty());
    let line = |(slot, task): (&String, &&Value)| Line {
        label: match slot.parse::<u64>() {
            Ok(slot) if !is_global => format!("{}/{wanted}", slot + shift),
            _ => slot.chars().take(12).collect(),
        },
        state: text(task, "/Status/State").to_owned(),
        error: text(task, "/Status/Err").to_owned(),
    };
    newest.iter().map(line).collect()
}

/// Slots that have no task yet have a line, too.
fn with_open_slots(mut known: Vec<Line>, wanted: usize) -> Vec<Line> {
    for slot in 1..=wanted.min(MOST_LINES) {
        let label = format!("{slot}/{wanted}");
        if known.len() < wanted && known.iter().all(|line| line.label != label) {
            let line = Line {
                label,
                state: String::new(),
                error: String::new(),
            };
            known.insert((slot - 1).min(known.len()), line);
        }
    }
    known
}

fn count(value: &Value, default: usize) -> usize {
    value
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(slot: u64, state: &str, desired: &str, at: u64) -> Value {
        json!({
            "Slot": slot, "NodeID": "n1", "DesiredState": desired, "CreatedAt": at.to_string(),
            "Status": {"State": state},
        })
    }

    fn heads(mode: Value, tasks: &[Value]) -> (Vec<String>, bool) {
        let nodes = json!([{"ID": "n1", "Status": {"State": "ready"}}]);
        let view = View::of(&json!({"Spec": {"Mode": mode}}), tasks, &nodes);
        (view.heads(false), view.is_done())
    }

    #[test]
    fn replicas_count_when_they_run_where_nodes_are_up() {
        let two = json!({"Replicated": {"Replicas": 2}});
        let tasks = [
            task(1, "running", "running", 1),
            task(2, "starting", "running", 1),
        ];
        let (lines, done) = heads(two.clone(), &tasks);
        assert_eq!(
            (lines, done),
            (vec!["overall progress: 1 out of 2 tasks".to_owned()], false)
        );
        // A task that is being ended is none; the newest of a slot counts.
        let tasks = [
            task(1, "failed", "shutdown", 1),
            task(1, "running", "running", 2),
            task(2, "running", "running", 1),
            task(3, "running", "remove", 1),
        ];
        assert!(heads(two, &tasks).1);
    }

    #[test]
    fn jobs_count_completions_and_what_is_active() {
        let job = json!({"ReplicatedJob": {"TotalCompletions": 3, "MaxConcurrent": 2}});
        let tasks = [
            task(0, "complete", "complete", 1),
            task(1, "running", "complete", 1),
        ];
        let (lines, done) = heads(job.clone(), &tasks);
        assert_eq!(
            lines,
            [
                "job progress: 1 out of 3 complete",
                "active tasks: 1 out of 2 tasks"
            ]
        );
        assert!(!done);
        let nodes = json!([]);
        let view = View::of(&json!({"Spec": {"Mode": job}}), &tasks, &nodes);
        let labels: Vec<_> = view
            .tasks()
            .iter()
            .map(|line| line.label.as_str())
            .collect();
        assert_eq!(labels, ["1/3", "2/3"]);
    }
}
