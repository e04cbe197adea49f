//! `Up 2 hours (healthy)` and its like, as Docker says it. Pure.

use std::time::{Duration, SystemTime};

use super::record::RunState;
use crate::engine::HealthState;

/// The STATUS column of `ps`.
pub(crate) fn status_text(state: &RunState, health: HealthState, now: SystemTime) -> String {
    let since = |at: Option<SystemTime>| {
        human(
            at.and_then(|at| now.duration_since(at).ok())
                .unwrap_or_default(),
        )
    };
    if state.removing {
        return "Removal In Progress".to_owned();
    }
    if state.dead {
        return "Dead".to_owned();
    }
    if state.running {
        if state.paused {
            return format!("Up {} (Paused)", since(state.started_at));
        }
        if state.restarting {
            return format!(
                "Restarting ({}) {} ago",
                state.exit_code,
                since(state.finished_at)
            );
        }
        let health = match health {
            HealthState::None => "",
            HealthState::Starting => " (health: starting)",
            HealthState::Healthy => " (healthy)",
            HealthState::Unhealthy => " (unhealthy)",
        };
        return format!("Up {}{health}", since(state.started_at));
    }
    if state.started_at.is_none() && state.finished_at.is_none() {
        return "Created".to_owned();
    }
    if state.started_at.is_none() && !state.error.is_empty() {
        return "Created".to_owned();
    }
    format!(
        "Exited ({}) {} ago",
        state.exit_code,
        since(state.finished_at)
    )
}

/// A duration in the units that people use.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (duration.as_secs_f64() / 3600.0).round());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and not negative
    let hours = hours as u64;
    match (seconds, minutes, hours) {
        (0, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (s, _, _) if s < 60 => format!("{s} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, m, _) if m < 60 => format!("{m} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, h) if h < 48 => format!("{h} hours"),
        (_, _, h) if h < 24 * 7 * 2 => format!("{} days", h / 24),
        (_, _, h) if h < 24 * 30 * 2 => format!("{} weeks", h / 24 / 7),
        (_, _, h) if h < 24 * 365 * 2 => format!("{} months", h / 24 / 30),
        (_, _, h) => format!("{} years", h / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_as_docker_does() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (3 * 86_400, "3 days"),
            (21 * 86_400, "3 weeks"),
            (90 * 86_400, "3 months"),
            (3 * 365 * 86_400, "3 years"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_state_is_told_in_docker_s_words() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let check = |state: RunState, health, expect: &str| {
            assert_eq!(status_text(&state, health, now), expect)
        };
        check(RunState::default(), HealthState::None, "Created");
        let up = RunState {
            running: true,
            started_at: at(970),
            ..RunState::default()
        };
        check(up.clone(), HealthState::Healthy, "Up 30 seconds (healthy)");
        check(
            up.clone(),
            HealthState::Starting,
            "Up 30 seconds (health: starting)",
        );
        check(
            RunState {
                paused: true,
                ..up.clone()
            },
            HealthState::None,
            "Up 30 seconds (Paused)",
        );
        let down = RunState {
            exit_code: 3,
            started_at: at(1),
            finished_at: at(956),
            ..RunState::default()
        };
        check(down, HealthState::None, "Exited (3) 44 seconds ago");
        let again = RunState {
            restarting: true,
            exit_code: 1,
            finished_at: at(999),
            ..up
        };
        check(again, HealthState::None, "Restarting (1) 1 second ago");
    }
}
