//! The refusal to remove a secret or config that services refer to.

use std::sync::Arc;

use skep_objects::swarmkit::Service;
use skep_store::StoreObject;

use super::error::ControlError;

/// Refuses when there is any user, naming all of them.
pub fn refuse_used<'a>(
    kind: &str,
    name: &str,
    users: impl Iterator<Item = &'a Arc<Service>>,
) -> Result<(), ControlError> {
    let mut names: Vec<&str> = users.map(|service| service.name()).collect();
    names.sort_unstable();
    names.dedup();
    let services = match names.len() {
        0 => return Ok(()),
        1 => "service",
        _ => "services",
    };
    let names = names.join(", ");
    Err(ControlError::Invalid(format!(
        "{kind} '{name}' is in use by the following {services}: {names}"
    )))
}
