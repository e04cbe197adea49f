//! What a task runs.

use std::collections::BTreeSet;

use skep_objects::{
    reference::Reference,
    swarmkit::{ContainerSpec, Mount},
};

use super::{Validated, health::validate_health_check, references, refuse};

/// The whole of a container's spec.
pub(super) fn validate_container(container: &ContainerSpec) -> Validated {
    validate_image(&container.image)?;
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
