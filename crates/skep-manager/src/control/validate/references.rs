//! References of a container to secrets and configs: their form, not whether they exist.

use std::collections::BTreeMap;

use skep_objects::swarmkit::{
    ConfigReference, ContainerSpec, FileTarget, SecretReference, config_reference,
    privileges::credential_spec::Source, secret_reference,
};

use super::{Validated, refuse};

/// Names already seen, by the file they become.
type Targets<'a> = BTreeMap<&'a str, &'a str>;

pub(super) fn validate_secret_references(references: &[SecretReference]) -> Validated {
    let mut targets = Targets::new();
    for reference in references {
        if reference.secret_id.is_empty() || reference.secret_name.is_empty() {
            return refuse("malformed secret reference");
        }
        match &reference.target {
            None => return refuse("malformed secret reference, no target provided"),
            Some(secret_reference::Target::File(file)) => {
                validate_file("secret", &reference.secret_name, file, &mut targets)?;
            }
        }
    }
    Ok(())
}

pub(super) fn validate_config_references(references: &[ConfigReference]) -> Validated {
    let mut targets = Targets::new();
    for reference in references {
        if reference.config_id.is_empty() || reference.config_name.is_empty() {
            return refuse("malformed config reference");
        }
        match &reference.target {
            None => return refuse("malformed config reference, no target provided"),
            Some(config_reference::Target::File(file)) => {
                validate_file("config", &reference.config_name, file, &mut targets)?;
            }
            Some(config_reference::Target::Runtime(_)) => {}
        }
    }
    Ok(())
}

fn validate_file<'a>(
    kind: &str,
    name: &'a str,
    file: &'a FileTarget,
    targets: &mut Targets<'a>,
) -> Validated {
    if file.name.is_empty() {
        return refuse(format!(
            "malformed file based {kind} reference, invalid target file name provided"
        ));
    }
    if let Some(previous) = targets.insert(&file.name, name) {
        let target = &file.name;
        return refuse(format!(
            "{kind} references '{previous}' and '{name}' have a conflicting target: '{target}'"
        ));
    }
    Ok(())
}

/// A credential spec taken from a config needs that config among the references, for the runtime.
pub(super) fn validate_credential_spec(container: &ContainerSpec) -> Validated {
    let privileges = container.privileges.as_ref();
    let source =
        privileges.and_then(|privileges| privileges.credential_spec.as_ref()?.source.as_ref());
    let Some(Source::Config(wanted)) = source else {
        return Ok(());
    };
    let refers = container.configs.iter().any(|reference| {
        reference.config_id == *wanted
            && matches!(reference.target, Some(config_reference::Target::Runtime(_)))
    });
    if refers {
        return Ok(());
    }
    refuse(format!(
        "CredentialSpec references config {wanted} that isn't in config references with RuntimeTarget"
    ))
}
