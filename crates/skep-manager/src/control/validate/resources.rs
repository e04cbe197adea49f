//! Limits and reservations.

use skep_objects::swarmkit::{ResourceRequirements, Resources, generic_resource::Resource};

use super::{Validated, refuse};

const MIN_NANO_CPUS: i64 = 1_000_000;
const MIN_MEMORY_BYTES: i64 = 4 << 20;

/// Limits and reservations, each by itself.
pub fn validate_resource_requirements(requirements: Option<&ResourceRequirements>) -> Validated {
    let Some(requirements) = requirements else {
        return Ok(());
    };
    for resources in [&requirements.limits, &requirements.reservations]
        .into_iter()
        .flatten()
    {
        validate_resources(resources)?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "only printed")]
fn validate_resources(resources: &Resources) -> Validated {
    if resources.nano_cpus != 0 && resources.nano_cpus < MIN_NANO_CPUS {
        let cpus = resources.nano_cpus as f64 / 1e9;
        return refuse(format!("invalid cpu value {cpus}: Must be at least 0.001"));
    }
    if resources.memory_bytes != 0 && resources.memory_bytes < MIN_MEMORY_BYTES {
        let bytes = resources.memory_bytes;
        return refuse(format!(
            "invalid memory value {bytes}: Must be at least 4MiB"
        ));
    }
    for generic in &resources.generic {
        match &generic.resource {
            Some(Resource::DiscreteResourceSpec(spec)) if spec.value >= 0 => {}
            Some(Resource::DiscreteResourceSpec(spec)) => {
                return refuse(format!(
                    "invalid value for resource {}: Must not be negative",
                    spec.kind
                ));
            }
            Some(Resource::NamedResourceSpec(spec)) => {
                return refuse(format!(
                    "invalid argument for resource {}: only a number of them can be reserved",
                    spec.kind
                ));
            }
            None => return refuse("invalid generic resource: nothing named"),
        }
    }
    Ok(())
}
