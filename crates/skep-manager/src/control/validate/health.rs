//! Health checks.

use skep_objects::swarmkit::HealthConfig;

use super::{Validated, refuse};

const MIN_NANOS: i128 = 1_000_000;

/// Each duration is unset, or at least a millisecond.
pub(super) fn validate_health_check(check: Option<&HealthConfig>) -> Validated {
    let Some(check) = check else { return Ok(()) };
    let durations = [
        ("Interval", &check.interval),
        ("Timeout", &check.timeout),
        ("StartPeriod", &check.start_period),
        ("StartInterval", &check.start_interval),
    ];
    for (name, duration) in durations {
        let Some(duration) = duration else { continue };
        let nanos = i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos);
        if nanos != 0 && nanos < MIN_NANOS {
            return refuse(format!(
                "ContainerSpec: {name} in HealthConfig cannot be less than 1ms"
            ));
        }
    }
    if check.retries < 0 {
        return refuse("ContainerSpec: Retries in HealthConfig cannot be negative");
    }
    Ok(())
}
