//! Tasks that are to run and stay: of replicated and of global services.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::count;
use super::lines::{MOST_LINES, TO_RUN, desired, observed, show};
use crate::cmd::objects::text;
use crate::output::{Extent, Messages, short_id};

/// See the module.
pub(super) struct Running {
    is_global: bool,
    has_begun: bool,
    is_done: bool,
    /// The line of each slot, in the order in which slots were seen.
    slots: Vec<u64>,
}

impl Running {
    pub(super) fn new(is_global: bool) -> Self {
        Self {
            is_global,
            has_begun: false,
            is_done: false,
            slots: Vec::new(),
        }
    }

    /// Shows a look at the tasks, and tells whether all run.
    pub(super) fn update(
        &mut self,
        service: &Value,
        tasks: &[Value],
        nodes: &BTreeSet<String>,
        rolls_back: bool,
        lines: &mut Messages,
    ) -> bool {
        let newest = self.newest(tasks, nodes);
        let wanted = match self.is_global {
            true => newest.len(),
            false => count(&service["Spec"]["Mode"]["Replicated"]["Replicas"], 1),
        };
        if !self.has_begun {
            if self.is_global && wanted == 0 {
                // Its tasks are not made yet, or no node is fit for it.
                overall(lines, "waiting for new tasks");
                return false;
            }
            self.has_begun = true;
            overall_count(lines, 0, wanted, rolls_back);
            if !self.is_global && wanted <= MOST_LINES {
                for slot in 1..=wanted {
                    lines.progress(&format!("{slot}/{wanted}"), " ", Extent::default());
                }
            }
        }
        let runs = |task: &Value| text(task, "/Status/State") == "running";
        self.is_done &= newest.values().all(|task| runs(task));
        let mut running = 0;
        for task in newest.values() {
            if self.is_global && !nodes.contains(text(task, "/NodeID")) {
                continue;
            }
            running += usize::from(runs(task) && desired(task) <= TO_RUN);
            if let Some(id) = self.line(task, wanted).filter(|_| !self.is_done) {
                show(lines, &id, task, TO_RUN);
            }
        }
        if !self.is_done {
            overall_count(lines, running, wanted, rolls_back);
            self.is_done = running == wanted;
        }
        running == wanted
    }

    /// The name of a task's line, where it has one.
    fn line(&mut self, task: &Value, wanted: usize) -> Option<String> {
        if self.is_global {
            return (wanted <= MOST_LINES).then(|| short_id(text(task, "/NodeID")).to_owned());
        }
        let slot = task["Slot"].as_u64().unwrap_or(0);
        let known = self.slots.iter().position(|known| *known == slot);
        let at = known.unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        (wanted <= MOST_LINES && at < wanted).then(|| format!("{}/{wanted}", at + 1))
    }

    /// Of the tasks of a slot, or of a node, the one that is to get least far, or that got least far.
    fn newest<'a>(
        &self,
        tasks: &'a [Value],
        nodes: &BTreeSet<String>,
    ) -> BTreeMap<(u64, &'a str), &'a Value> {
        let mut newest: BTreeMap<(u64, &str), &Value> = BTreeMap::new();
        let rank = |task: &Value| (desired(task), observed(task));
        for task in tasks {
            let (desired, observed) = rank(task);
            let node = text(task, "/NodeID");
            let is_lost = !self.is_global && !node.is_empty() && !nodes.contains(node);
            if desired == 0 || observed == 0 || is_lost {
                continue;
            }
            let key = match self.is_global {
                true => (0, node),
                false => (task["Slot"].as_u64().unwrap_or(0), ""),
            };
            let is_lower = newest
                .get(&key)
                .is_none_or(|known| rank(task) < rank(known));
            if is_lower {
                newest.insert(key, task);
            }
        }
        newest
    }
}

fn overall(lines: &mut Messages, text: &str) {
    lines.progress("overall progress", text, Extent::default());
}

fn overall_count(lines: &mut Messages, done: usize, wanted: usize, rolls_back: bool) {
    let how = if rolls_back {
        "rolling back update: "
    } else {
        ""
    };
    overall(lines, &format!("{how}{done} out of {wanted} tasks"));
}
