//! Restart, update and placement policies.

use skep_objects::{
    swarmkit::{Placement, RestartPolicy, UpdateConfig},
    timestamp::is_negative,
};

use super::{Validated, refuse};
use crate::scheduler::constraint::Constraint;

pub(super) fn validate_restart(policy: Option<&RestartPolicy>) -> Validated {
    let Some(policy) = policy else { return Ok(()) };
    if policy.delay.as_ref().is_some_and(is_negative) {
        return refuse("TaskSpec: restart-delay cannot be negative");
    }
    if policy.window.as_ref().is_some_and(is_negative) {
        return refuse("TaskSpec: restart-window cannot be negative");
    }
    Ok(())
}

pub(super) fn validate_update(config: Option<&UpdateConfig>) -> Validated {
    let Some(config) = config else { return Ok(()) };
    if config.delay.as_ref().is_some_and(is_negative) {
        return refuse("TaskSpec: update-delay cannot be negative");
    }
    if config.monitor.as_ref().is_some_and(is_negative) {
        return refuse("TaskSpec: update-monitor cannot be negative");
    }
    if !(0.0..=1.0).contains(&config.max_failure_ratio) {
        return refuse("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1");
    }
    Ok(())
}

pub(super) fn validate_placement(placement: Option<&Placement>) -> Validated {
    let Some(placement) = placement else {
        return Ok(());
    };
    match Constraint::parse_all(&placement.constraints) {
        Ok(_) => Ok(()),
        Err(error) => refuse(error.to_string()),
    }
}
