//! What placeholders in a task's spec and in its configs stand for.

use std::collections::BTreeMap;

use super::{Context, TemplateError, Value, expand};
use crate::swarmkit::{NodeDescription, Task};

/// The task's name: `web.1.<task id>`, or with the node's id where tasks have no slot.
pub fn task_name(task: &Task) -> String {
    if let Some(name) = task
        .annotations
        .as_ref()
        .map(|a| &a.name)
        .filter(|n| !n.is_empty())
    {
        return name.clone();
    }
    format!("{}.{}.{}", service_name(task), slot(task), task.id)
}

/// The name of the task's service.
pub fn service_name(task: &Task) -> &str {
    task.service_annotations.as_ref().map_or("", |a| &a.name)
}

/// As in names and placeholders: the node's id for global services.
fn slot(task: &Task) -> String {
    if task.slot == 0 {
        task.node_id.to_string()
    } else {
        task.slot.to_string()
    }
}

/// What a task's placeholders can ask for.
#[derive(Debug)]
pub struct TaskContext<'a> {
    /// The task.
    pub task: &'a Task,
    /// The node that it runs on.
    pub node: &'a NodeDescription,
    /// Only for payloads of configs and secrets.
    pub payload: Option<&'a Payload>,
}

/// What the payload functions `env`, `secret` and `config` look up, by name or target.
#[derive(Debug, Default)]
pub struct Payload {
    /// The container's environment.
    pub env: BTreeMap<String, String>,
    /// Secrets by target.
    pub secrets: BTreeMap<String, String>,
    /// Configs by target.
    pub configs: BTreeMap<String, String>,
}

impl TaskContext<'_> {
    /// Expands a text.
    pub fn expand(&self, text: &str) -> Result<String, TemplateError> {
        expand(text, self)
    }
}

impl Context for TaskContext<'_> {
    fn field(&self, path: &[String]) -> Option<Value> {
        let task = self.task;
        let platform = self.node.platform.as_ref();
        let labels = || task.service_annotations.as_ref().map(|a| a.labels.clone());
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let text = match path[..] {
            ["Service", "ID"] => task.service_id.to_string(),
            ["Service", "Name"] => service_name(task).to_owned(),
            ["Service", "Labels"] => return Some(Value::Map(labels().unwrap_or_default())),
            ["Service", "Labels", key] => labels()?.get(key)?.clone(),
            ["Node", "ID"] => task.node_id.to_string(),
            ["Node", "Hostname"] => self.node.hostname.clone(),
            ["Node", "Platform", "OS"] => platform.map(|p| p.os.clone()).unwrap_or_default(),
            ["Node", "Platform", "Architecture"] => {
                platform.map(|p| p.architecture.clone()).unwrap_or_default()
            }
            ["Task", "ID"] => task.id.clone(),
            ["Task", "Name"] => task_name(task),
            ["Task", "Slot"] => slot(task),
            _ => return None,
        };
        Some(Value::Text(text))
    }

    fn function(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let payload = self.payload?;
        let table = match name {
            "env" => &payload.env,
            "secret" => &payload.secrets,
            "config" => &payload.configs,
            _ => return None,
        };
        let [Value::Text(key)] = args else {
            return Some(Err("wrong arguments".to_owned()));
        };
        match table.get(key) {
            Some(found) => Some(Ok(Value::Text(found.clone()))),
            None if name == "env" => Some(Ok(Value::Text(String::new()))),
            None => Some(Err(format!("{name} target {key} not found"))),
        }
    }
}
