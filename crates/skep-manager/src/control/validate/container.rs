//! What a task runs.

use std::collections::BTreeSet;

use skep_objects::{
    reference::Reference,
    swarmkit::{Annotations, ContainerSpec, Mount, NodeDescription, Platform, Task},
    template::task::TaskContext,
};

use super::{Validated, health::validate_health_check, references, refuse};

/// The whole of a container's spec.
pub(super) fn validate_container(container: &ContainerSpec) -> Validated {
    validate_image(&container.image)?;
    validate_placeholders(container)?;
    validate_mounts(&container.mounts)?;
    validate_health_check(container.healthcheck.as_ref())?;
    references::validate_secret_references(&container.secrets)?;
    references::validate_config_references(&container.configs)?;
    references::validate_credential_spec(container)
}

fn validate_image(image: &str) -> Validated {
    if image.is_empty() {
        return refuse("ContainerSpec: image reference must be provided");
    }
    if Reference::parse(image).is_err() {
        return refuse(format!(
            "ContainerSpec: {image:?} is not a valid repository/tag"
        ));
    }
    Ok(())
}

/// Placeholders must expand for some task: a node would refuse every one otherwise.
fn validate_placeholders(container: &ContainerSpec) -> Validated {
    let named = |name: &str| {
        let annotations = Annotations {
            name: name.to_owned(),
            ..Annotations::default()
        };
        Some(annotations.into())
    };
    let task = Task {
        id: "taskid".to_owned(),
        service_id: "serviceid".into(),
        slot: 1,
        node_id: "nodeid".into(),
        annotations: named("taskname"),
        service_annotations: named("servicename"),
        ..Task::default()
    };
    let node = NodeDescription {
        hostname: "nodeHostname".to_owned(),
        platform: Some(Platform {
            os: "os".to_owned(),
            architecture: "architecture".to_owned(),
        }),
        ..NodeDescription::default()
    };
    let context = TaskContext {
        task: &task,
        node: &node,
        payload: None,
    };
    match context.expand_container(container) {
        Ok(_) => Ok(()),
        Err(why) => refuse(why),
    }
}

fn validate_mounts(mounts: &[Mount]) -> Validated {
    let mut targets = BTreeSet::new();
    for mount in mounts {
        if !targets.insert(&mount.target) {
            return refuse(format!(
                "ContainerSpec: duplicate mount point: {}",
                mount.target
            ));
        }
    }
    Ok(())
}
