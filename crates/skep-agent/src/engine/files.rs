//! Secrets and configs of a task as files for its container, expanded where they are templates.

use bytes::Bytes;
use skep_engine::InMemoryFile;
use skep_objects::swarmkit::config_reference::Target as ConfigTarget;
use skep_objects::swarmkit::secret_reference::Target as SecretTarget;
use skep_objects::swarmkit::{ContainerSpec, Driver, FileTarget, NodeDescription, Task};

use crate::dependencies::Dependencies;
use crate::executor::TaskError;
use skep_objects::template::task::{Payload, TaskContext};

const SECRETS_DIR: &str = "/run/secrets/";

/// A reference that has its content.
struct Found {
    is_secret: bool,
    target: FileTarget,
    data: Vec<u8>,
    is_template: bool,
}

/// All files of a task's container.
pub(super) fn files(
    task: &Task,
    spec: &ContainerSpec,
    node: &NodeDescription,
    dependencies: &Dependencies,
) -> Result<Vec<InMemoryFile>, TaskError> {
    let mut found = Vec::new();
    for reference in &spec.secrets {
        let Some(SecretTarget::File(target)) = &reference.target else {
            continue;
        };
        let secret = dependencies
            .secret(&task.id, &reference.secret_id)
            .and_then(|s| s.spec.clone())
            .ok_or_else(|| missing("secret", &reference.secret_name))?;
        let is_template = is_template(secret.templating.as_ref());
        found.push(Found {
            is_secret: true,
            target: target.clone(),
            data: secret.data,
            is_template,
        });
    }
    for reference in &spec.configs {
        let Some(ConfigTarget::File(target)) = &reference.target else {
            continue;
        };
        let config = dependencies
            .config(&reference.config_id)
            .and_then(|c| c.spec.clone())
            .ok_or_else(|| missing("config", &reference.config_name))?;
        let is_template = is_template(config.templating.as_ref());
        found.push(Found {
            is_secret: false,
            target: target.clone(),
            data: config.data,
            is_template,
        });
    }
    let payload = payload(&found, spec);
    let context = TaskContext {
        task,
        node,
        payload: Some(&payload),
    };
    found.into_iter().map(|f| file(f, &context)).collect()
}

/// The manager sends it with the task, but perhaps not in the same message.
fn missing(what: &str, name: &str) -> TaskError {
    TaskError::Temporary(format!("{what} {name} is not here yet"))
}

fn is_template(driver: Option<&Driver>) -> bool {
    driver.is_some_and(|d| d.name == "golang")
}

fn payload(found: &[Found], spec: &ContainerSpec) -> Payload {
    let mut payload = Payload::default();
    for f in found {
        let text = String::from_utf8_lossy(&f.data).into_owned();
        let table = if f.is_secret {
            &mut payload.secrets
        } else {
            &mut payload.configs
        };
        table.insert(f.target.name.clone(), text);
    }
    let pairs = spec.env.iter().filter_map(|e| e.split_once('='));
    payload.env = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    payload
}

fn file(found: Found, context: &TaskContext<'_>) -> Result<InMemoryFile, TaskError> {
    let target = found.target;
    let bytes = if found.is_template {
        let text = String::from_utf8(found.data)
            .map_err(|_| TaskError::Fatal(format!("template {} is not text", target.name)))?;
        let fail = |e| TaskError::Fatal(format!("expanding template {}: {e}", target.name));
        Bytes::from(context.expand(&text).map_err(fail)?)
    } else {
        Bytes::from(found.data)
    };
    let path = match (target.name.starts_with('/'), found.is_secret) {
        (true, _) => target.name,
        (false, true) => format!("{SECRETS_DIR}{}", target.name),
        (false, false) => format!("/{}", target.name),
    };
    let id = |text: &str| {
        let invalid = |_| TaskError::Fatal(format!("invalid owner {text:?} of {path}"));
        if text.is_empty() {
            Ok(0)
        } else {
            text.parse::<u32>().map_err(invalid)
        }
    };
    let (uid, gid) = (id(&target.uid)?, id(&target.gid)?);
    Ok(InMemoryFile {
        path,
        uid,
        gid,
        mode: target.mode & 0o7777,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::swarmkit::{
        Config, ConfigReference, ConfigSpec, Secret, SecretReference, SecretSpec, assignment::Item,
    };

    fn target(name: &str) -> FileTarget {
        FileTarget {
            name: name.into(),
            uid: "0".into(),
            gid: "101".into(),
            mode: 0o440,
        }
    }

    fn spec() -> ContainerSpec {
        let secret = |id: &str, name: &str| SecretReference {
            secret_id: id.into(),
            secret_name: name.into(),
            target: Some(SecretTarget::File(target(name))),
        };
        let config = |id: &str, name: &str| ConfigReference {
            config_id: id.into(),
            config_name: name.into(),
            target: Some(ConfigTarget::File(target(name))),
        };
        ContainerSpec {
            secrets: vec![secret("s1", "password"), secret("s1", "/etc/key")],
            configs: vec![config("c1", "site.conf")],
            env: vec!["A=b".into()],
            ..Default::default()
        }
    }

    fn dependencies() -> Dependencies {
        let dependencies = Dependencies::default();
        let spec = SecretSpec {
            data: b"hunter2".to_vec(),
            ..Default::default()
        };
        let secret = Item::Secret(Secret {
            id: "s1".into(),
            spec: Some(spec),
            ..Default::default()
        });
        let spec = ConfigSpec {
            data: b"{{.Task.ID}} {{env \"A\"}} {{secret \"password\"}}".to_vec(),
            templating: Some(Driver {
                name: "golang".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let config = Item::Config(Config {
            id: "c1".into(),
            spec: Some(spec),
            ..Default::default()
        });
        dependencies.apply(true, vec![(secret, true), (config, true)]);
        dependencies
    }

    #[test]
    fn secrets_and_configs_have_their_places_and_templates_are_expanded() {
        let task = Task {
            id: "t1".into(),
            ..Default::default()
        };
        let files = files(&task, &spec(), &NodeDescription::default(), &dependencies()).unwrap();
        let seen: Vec<_> = files
            .iter()
            .map(|f| (f.path.as_str(), &f.bytes[..]))
            .collect();
        assert_eq!(
            seen,
            [
                ("/run/secrets/password", &b"hunter2"[..]),
                ("/etc/key", b"hunter2"),
                ("/site.conf", b"t1 b hunter2"),
            ]
        );
        assert_eq!((files[0].uid, files[0].gid, files[0].mode), (0, 101, 0o440));
    }

    #[test]
    fn a_secret_that_has_not_come_is_waited_for() {
        let result = files(
            &Task::default(),
            &spec(),
            &NodeDescription::default(),
            &Dependencies::default(),
        );
        assert!(matches!(result, Err(TaskError::Temporary(_))));
    }
}
