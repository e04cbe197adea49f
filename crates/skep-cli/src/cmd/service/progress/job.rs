//! Tasks that are to complete: of replicated and of global jobs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::count;
use super::lines::{MOST_LINES, TO_COMPLETE, desired, observed, place, show};
use crate::cmd::objects::text;
use crate::output::{Extent, Messages};

/// See the module.
pub(super) struct Job {
    /// Tasks of other runs do not count.
    iteration: Value,
    has_begun: bool,
    kind: Kind,
}

enum Kind {
    /// So many completions, so many tasks at once.
    Replicated { wanted: usize, at_once: usize },
    /// A completion on each node that had a task at the beginning.
    Global { nodes: BTreeSet<String> },
}

impl Job {
    /// Of a service that is one.
    pub(super) fn of(service: &Value) -> Option<Self> {
        let mode = &service["Spec"]["Mode"];
        let kind = if let Some(job) = mode.get("ReplicatedJob") {
            let wanted = count(&job["TotalCompletions"], 1);
            let at_once = count(&job["MaxConcurrent"], wanted);
            Kind::Replicated { wanted, at_once }
        } else {
            mode.get("GlobalJob")?;
            let nodes = BTreeSet::new();
            Kind::Global { nodes }
        };
        Some(Self {
            iteration: service["JobStatus"]["JobIteration"]["Index"].clone(),
            has_begun: false,
            kind,
        })
    }

    /// Shows a look at the tasks, and tells whether all have completed.
    pub(super) fn update(
        &mut self,
        tasks: &[Value],
        up: &BTreeSet<String>,
        lines: &mut Messages,
    ) -> bool {
        if !self.has_begun && !self.begin(tasks, up, lines) {
            return false;
        }
        let newest = self.newest(tasks);
        let (mut active, mut completed) = (0, 0);
        for (id, task) in &newest {
            if self.wanted() <= MOST_LINES {
                show(lines, &self.line(id, task), task, TO_COMPLETE);
            }
            let state = text(task, "/Status/State");
            active += usize::from(place(state) < place("complete"));
            completed += usize::from(state == "complete");
        }
        self.overall(active, completed, lines);
        completed == self.wanted()
    }

    /// Draws every line once, so that they are in order; not before there are tasks.
    fn begin(&mut self, tasks: &[Value], up: &BTreeSet<String>, lines: &mut Messages) -> bool {
        let of_run = |task: &&Value| is_of_run(&self.iteration, task);
        if let Kind::Global { nodes } = &mut self.kind {
            if tasks.iter().filter(of_run).count() == 0 && !up.is_empty() {
                return false;
            }
            let own = tasks.iter().filter(of_run);
            *nodes = own.map(|task| text(task, "/NodeID").to_owned()).collect();
        }
        self.has_begun = true;
        self.overall(0, 0, lines);
        if let Kind::Replicated { wanted, .. } = self.kind
            && wanted <= MOST_LINES
        {
            for number in 1..=wanted {
                lines.progress(&format!("{number}/{wanted}"), " ", Extent::default());
            }
        }
        true
    }

    fn wanted(&self) -> usize {
        match &self.kind {
            Kind::Replicated { wanted, .. } => *wanted,
            Kind::Global { nodes } => nodes.len(),
        }
    }

    /// Slots begin with 0, and lines with 1.
    fn line(&self, id: &str, task: &Value) -> String {
        match self.kind {
            Kind::Replicated { wanted, .. } => {
                format!("{}/{wanted}", task["Slot"].as_u64().unwrap_or(0) + 1)
            }
            Kind::Global { .. } => id.to_owned(),
        }
    }

    /// Of the tasks of a slot, or of a node, the one that got least far.
    fn newest<'a>(&self, tasks: &'a [Value]) -> BTreeMap<String, &'a Value> {
        let mut newest: BTreeMap<String, &Value> = BTreeMap::new();
        for task in tasks.iter().filter(|task| is_of_run(&self.iteration, task)) {
            let key = match &self.kind {
                Kind::Replicated { wanted, .. } => {
                    let slot = task["Slot"].as_u64().unwrap_or(0);
                    let is_one = usize::try_from(slot).is_ok_and(|slot| slot < *wanted);
                    (is_one && desired(task) > 0 && observed(task) > 0)
                        .then(|| format!("{slot:>20}"))
                }
                Kind::Global { nodes } => {
                    let node = text(task, "/NodeID");
                    nodes.contains(node).then(|| node.to_owned())
                }
            };
            let Some(key) = key else { continue };
            let known = newest.get(&key);
            if known.is_none_or(|known| observed(task) < observed(known)) {
                newest.insert(key, task);
            }
        }
        newest
    }

    /// The lines above those of the tasks; numbers have a constant width.
    fn overall(&self, active: usize, completed: usize, lines: &mut Messages) {
        let wanted = self.wanted();
        let width = wanted.to_string().len();
        let extent = Extent {
            done: completed,
            all: wanted,
            unit: "",
        };
        let text = format!("{completed:>width$} out of {wanted} complete");
        lines.progress("job progress", &text, extent);
        if let Kind::Replicated { at_once, .. } = self.kind {
            let width = at_once.to_string().len();
            let left = wanted.saturating_sub(completed).min(at_once);
            let text = format!("{active:>width$} out of {left:>width$} tasks");
            lines.progress("active tasks", &text, Extent::default());
        }
    }
}

fn is_of_run(iteration: &Value, task: &Value) -> bool {
    let own = &task["JobIteration"]["Index"];
    iteration.is_null() || own == iteration
}
