//! What placeholders in a task's spec and in its configs stand for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Library, TemplateError, expand, quoted};
use crate::swarmkit::{ContainerSpec, Mount, NodeDescription, Task};

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

impl Payload {
    /// What `env`, `secret` and `config` give.
    pub(super) fn get(&self, function: &str, key: &str) -> Result<String, String> {
        let table = match function {
            "env" => return Ok(self.env.get(key).cloned().unwrap_or_default()),
            "secret" => &self.secrets,
            _ => &self.configs,
        };
        let found = table.get(key).cloned();
        found.ok_or_else(|| format!("{function} target {key} not found"))
    }
}

impl TaskContext<'_> {
    /// Expands a text.
    pub fn expand(&self, text: &str) -> Result<String, TemplateError> {
        match self.payload {
            None => expand(text, || self.object(), "*template.Context", Library::Specs),
            Some(payload) => expand(
                text,
                || self.object(),
                "*template.PayloadContext",
                Library::Payloads(payload),
            ),
        }
    }

    /// Expands what of a container's spec may hold placeholders: environment, mounts and host name.
    ///
    /// # Errors
    /// What cannot be expanded, in SwarmKit's words.
    pub fn expand_container(&self, spec: &ContainerSpec) -> Result<ContainerSpec, String> {
        let mut spec = spec.clone();
        for entry in &mut spec.env {
            if let Some((name, value)) = entry.split_once('=') {
                let value = self.expand(value).map_err(|error| {
                    format!(
                        "expanding env failed: expanding env {}: {error}",
                        quoted(entry)
                    )
                })?;
                *entry = format!("{name}={value}");
            }
        }
        for mount in &mut spec.mounts {
            self.expand_mount(mount)
                .map_err(|why| format!("expanding mounts failed: {why}"))?;
        }
        spec.hostname = self
            .expand(&spec.hostname)
            .map_err(|error| format!("expanding hostname failed: {error}"))?;
        Ok(spec)
    }

    fn expand_mount(&self, mount: &mut Mount) -> Result<(), String> {
        for (what, text) in [("source", &mut mount.source), ("target", &mut mount.target)] {
            let expanded = self.expand(text);
            *text = expanded
                .map_err(|error| format!("expanding mount {what} {}: {error}", quoted(text)))?;
        }
        let Some(options) = &mut mount.volume_options else {
            return Ok(());
        };
        self.expand_map(&mut options.labels)
            .map_err(|why| format!("expanding volume labels: {why}"))?;
        match &mut options.driver_config {
            Some(driver) => self
                .expand_map(&mut driver.options)
                .map_err(|why| format!("expanding volume driver config: {why}")),
            None => Ok(()),
        }
    }

    fn expand_map(&self, map: &mut BTreeMap<String, String>) -> Result<(), String> {
        for (key, value) in map {
            let expanded = self.expand(value);
            *value = expanded.map_err(|error| {
                let (key, value) = (quoted(key), quoted(value));
                format!("expanding map entry {key}={value}: {error}")
            })?;
        }
        Ok(())
    }

    fn object(&self) -> Value {
        let task = self.task;
        let platform = self.node.platform.clone().unwrap_or_default();
        let labels = task.service_annotations.as_ref().map(|a| &a.labels);
        json!({
            "Service": {
                "ID": task.service_id.to_string(),
                "Name": service_name(task),
                "Labels": labels.cloned().unwrap_or_default(),
            },
            "Node": {
                "ID": task.node_id.to_string(),
                "Hostname": self.node.hostname,
                "Platform": {"Architecture": platform.architecture, "OS": platform.os},
            },
            "Task": {"ID": task.id, "Name": task_name(task), "Slot": slot(task)},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarmkit::{Annotations, Driver, Platform, mount::VolumeOptions};

    fn task() -> Task {
        let annotations = Annotations {
            name: "web".to_owned(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            ..Annotations::default()
        };
        Task {
            id: "t1".into(),
            service_id: "s1".into(),
            node_id: "n1".into(),
            slot: 3,
            service_annotations: Some(annotations.into()),
            ..Task::default()
        }
    }

    fn node() -> NodeDescription {
        NodeDescription {
            hostname: "host".into(),
            platform: Some(Platform {
                architecture: "x86_64".into(),
                os: "linux".into(),
            }),
            ..NodeDescription::default()
        }
    }

    #[track_caller]
    fn check(text: &str, payload: Option<&Payload>, expected: &str) {
        let context = TaskContext {
            task: &task(),
            node: &node(),
            payload,
        };
        let shown = context.expand(text).unwrap_or_else(|e| e.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn placeholders_are_replaced() {
        for (text, expected) in [
            ("plain }}", "plain }}"),
            (
                "{{.Service.Name}}.{{.Task.Slot}} {{.Service.ID}} {{.Task.ID}} {{.Task.Name}}",
                "web.3 s1 t1 web.3.t1",
            ),
            (
                "{{.Node.ID}} {{.Node.Hostname}} {{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}",
                "n1 host linux/x86_64",
            ),
            (
                "{{index .Service.Labels \"a\"}}{{index .Service.Labels `no`}}{{.Service.Labels}}",
                "bmap[a:b]",
            ),
            (
                "{{range $k, $v := .Service.Labels}}{{$k}}={{$v}};{{end}}{{with .Node}}{{.ID}}{{end}}",
                "a=b;n1",
            ),
            ("{{join \",\" .Task.ID \"x\" \"y\"}}", "t1,x,y"),
            (
                "{{if eq .Task.Slot \"3\"}}a{{else}}b{{end}} {{printf \"%5s|\" .Task.ID}}",
                "a    t1|",
            ),
        ] {
            check(text, None, expected);
        }
    }

    #[test]
    fn what_is_not_known_is_refused_in_gos_words() {
        for (text, expected) in [
            (
                "{{.Foo}}",
                "1:2: executing \"expansion\" at <.Foo>: can't evaluate field Foo in type *template.Context",
            ),
            (
                "{{.Node.hostname}}",
                "1:7: executing \"expansion\" at <.Node.hostname>: can't evaluate field hostname in type struct { ID string; Hostname string; Platform template.Platform }",
            ),
            (
                "{{.Service.Labels.z}}",
                "1:10: executing \"expansion\" at <.Service.Labels.z>: map has no entry for key \"z\"",
            ),
            ("{{foo 1}}", "1: function \"foo\" not defined"),
            ("{{json .Task}}", "1: function \"json\" not defined"),
            ("{{env \"A\"}}", "1: function \"env\" not defined"),
            ("a\n{{.Task", "2: unclosed action"),
        ] {
            check(text, None, &format!("template: expansion:{expected}"));
        }
    }

    #[test]
    fn payloads_have_what_their_container_has() {
        let payload = Payload {
            env: [("A".into(), "1".into())].into(),
            secrets: [("key".into(), "k".into())].into(),
            configs: [("c".into(), "{{.X}}".into())].into(),
        };
        let text = "{{env \"A\"}}{{env \"B\"}}{{secret \"key\"}}{{config \"c\"}}{{.Task.Slot}}{{.Context.Task.ID}}";
        check(text, Some(&payload), "1k{{.X}}3t1");
        check(
            "{{secret \"no\"}}",
            Some(&payload),
            "template: expansion:1:2: executing \"expansion\" at <secret \"no\">: error calling secret: secret target no not found",
        );
        check(
            "{{.Foo}}",
            Some(&payload),
            "template: expansion:1:2: executing \"expansion\" at <.Foo>: can't evaluate field Foo in type *template.PayloadContext",
        );
    }

    #[test]
    fn a_container_is_expanded_where_docker_expands_it() {
        let context = TaskContext {
            task: &task(),
            node: &node(),
            payload: None,
        };
        let bad = |text: &str| BTreeMap::from([("k".to_owned(), text.to_owned())]);
        let with = |change: &dyn Fn(&mut ContainerSpec)| {
            let mut spec = ContainerSpec {
                hostname: "{{.Task.ID}}".into(),
                env: vec!["{{.Foo}}".into(), "A={{.Task.ID}}=x".into()],
                mounts: vec![Mount {
                    source: "{{.Service.Name}}".into(),
                    target: "/{{.Task.Slot}}".into(),
                    volume_options: Some(VolumeOptions {
                        labels: bad("{{.Node.ID}}"),
                        driver_config: Some(Driver::default()),
                        ..VolumeOptions::default()
                    }),
                    ..Mount::default()
                }],
                ..ContainerSpec::default()
            };
            change(&mut spec);
            context.expand_container(&spec)
        };
        let good = with(&|_| ()).unwrap();
        assert_eq!(good.hostname, "t1");
        assert_eq!(good.env, ["{{.Foo}}", "A=t1=x"]);
        let mount = &good.mounts[0];
        assert_eq!(
            (mount.source.as_str(), mount.target.as_str()),
            ("web", "/3")
        );
        assert_eq!(mount.volume_options.as_ref().unwrap().labels, bad("n1"));
        for (change, expected) in [
            (
                &(|spec: &mut ContainerSpec| spec.env = vec!["A={{}}".into()])
                    as &dyn Fn(&mut ContainerSpec),
                "env failed: expanding env \"A={{}}\": ",
            ),
            (&|spec| spec.hostname = "{{}}".into(), "hostname failed: "),
            (
                &|spec| spec.mounts[0].source = "{{}}".into(),
                "mounts failed: expanding mount source \"{{}}\": ",
            ),
            (
                &|spec| spec.mounts[0].volume_options.as_mut().unwrap().labels = bad("{{}}"),
                "mounts failed: expanding volume labels: expanding map entry \"k\"=\"{{}}\": ",
            ),
        ] {
            let why = "template: expansion:1: missing value for command";
            assert_eq!(with(change), Err(format!("expanding {expected}{why}")));
        }
    }
}
