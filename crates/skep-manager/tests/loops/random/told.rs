//! What nodes are told, kept up by increments as the dispatcher does it, beside what they should know:
//! their tasks, and of secrets and configs those that their tasks use, no others.

use std::collections::{BTreeMap, BTreeSet};

use skep_manager::dispatcher::assignment_set::AssignmentSet;
use skep_objects::swarmkit::{
    AssignmentChange, Task, TaskState, assignment::Item, assignment_change::AssignmentAction,
    task_spec::Runtime,
};
use skep_store::{Event, Object, Store, View, Watch};

/// What an agent keeps of what it was told.
#[derive(Debug, Default, PartialEq)]
struct Known {
    /// Tasks with what is wanted of them.
    tasks: BTreeMap<String, i32>,
    /// Secrets and configs.
    files: BTreeSet<String>,
}

impl Known {
    fn take(&mut self, changes: Vec<AssignmentChange>) {
        for change in changes {
            let is_there = change.action() == AssignmentAction::Update;
            let file = match change.assignment.unwrap().item.unwrap() {
                Item::Task(task) if is_there => {
                    self.tasks.insert(task.id, task.desired_state);
                    continue;
                }
                Item::Task(task) => {
                    self.tasks.remove(&task.id);
                    continue;
                }
                Item::Secret(secret) => secret.id,
                Item::Config(config) => config.id,
                Item::Volume(volume) => panic!("volume {} for nobody", volume.id),
            };
            let differs = if is_there {
                self.files.insert(file.clone())
            } else {
                self.files.remove(&file)
            };
            assert!(differs, "{file} is told twice");
        }
    }

    /// What the node should know by this state of the store.
    fn due(view: &View, node: &str) -> Self {
        let mut due = Self::default();
        for task in view.tasks_by_node(node) {
            let state = task.observed_state();
            if state >= TaskState::Assigned {
                due.tasks.insert(task.id.clone(), task.desired_state);
            }
            if (TaskState::Assigned..=TaskState::Running).contains(&state) {
                due.files.extend(files(task));
            }
        }
        due
    }
}

fn files(task: &Task) -> Vec<String> {
    let Some(Runtime::Container(container)) = task.spec.as_ref().and_then(|s| s.runtime.as_ref())
    else {
        return Vec::new();
    };
    let secrets = container.secrets.iter().map(|used| used.secret_id.clone());
    let configs = container.configs.iter().map(|used| used.config_id.clone());
    secrets.chain(configs).collect()
}

/// All nodes' streams of assignments.
pub struct Told {
    watch: Watch,
    nodes: BTreeMap<String, (AssignmentSet, Known)>,
}

impl Told {
    pub fn new(store: &Store) -> Self {
        let (view, watch) = store.watch();
        let mut told = Self {
            watch,
            nodes: BTreeMap::new(),
        };
        let nodes: Vec<String> = view.nodes().map(|node| node.id.clone()).collect();
        for node in nodes {
            told.connect(&node, &view);
        }
        told
    }

    fn connect(&mut self, node: &str, view: &View) {
        let (set, all) = AssignmentSet::complete(view, node);
        let mut known = Known::default();
        known.take(all);
        self.nodes.insert(node.to_owned(), (set, known));
    }

    /// Tells what happened, and compares. One node in so many connects anew.
    pub fn check(&mut self, view: &View, anew: Option<&str>) {
        while let Some(event) = self.watch.try_recv() {
            let Some(Object::Task(task)) = event.object() else {
                continue;
            };
            let Some((set, known)) = self.nodes.get_mut(task.node_id.as_str()) else {
                continue;
            };
            let mut changes = Vec::new();
            match &event {
                Event::Removed(_) => set.remove_task(&task.id, &mut changes),
                _ => set.set_task(view, task, &mut changes),
            }
            known.take(changes);
        }
        if let Some(node) = anew.filter(|node| self.nodes.contains_key(*node)) {
            self.connect(node, view);
        }
        for (node, (_, known)) in &self.nodes {
            assert_eq!(*known, Known::due(view, node), "{node}");
        }
    }
}
