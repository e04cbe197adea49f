//! Restart policies: whether and when an ended container is started again. Pure.

use std::time::Duration;

use skep_objects::api::container::{HostConfig, RestartPolicy};

use crate::error::{EngineError, Result};

/// Docker's first delay.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Docker's longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run as long as this makes the next delay the first again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// Delay before the next restart, doubled at each short run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    delay: Duration,
}

impl Backoff {
    /// The delay after a run that took `run`.
    pub(crate) fn next(&mut self, run: Duration) -> Duration {
        self.delay = if self.delay.is_zero() || run >= GOOD_RUN {
            FIRST_DELAY
        } else {
            (self.delay * 2).min(LONGEST_DELAY)
        };
        self.delay
    }
}

/// Whether a container is to be started again after it ended by itself.
pub(crate) fn restarts(
    policy: &RestartPolicy,
    exit_code: i64,
    restarts_so_far: i64,
    manually_stopped: bool,
) -> bool {
    if manually_stopped {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            exit_code != 0
                && (policy.maximum_retry_count == 0 || restarts_so_far < policy.maximum_retry_count)
        }
        _ => false,
    }
}

/// Whether there is a policy that ever starts a container.
pub(crate) fn is_set(policy: &RestartPolicy) -> bool {
    !matches!(policy.name.as_str(), "" | "no")
}

/// Whether a container that is not running when the daemon starts is to be started.
pub(crate) fn starts_with_daemon(
    policy: &RestartPolicy,
    ever_started: bool,
    manually_stopped: bool,
    exit_code: i64,
) -> bool {
    match policy.name.as_str() {
        "always" => ever_started,
        "unless-stopped" => ever_started && !manually_stopped,
        "on-failure" => ever_started && !manually_stopped && exit_code != 0,
        _ => false,
    }
}

/// Refuses what Docker refuses.
pub(crate) fn validate(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    let bad = |text: String| Err(EngineError::invalid(text));
    match policy.name.as_str() {
        "always" | "unless-stopped" | "no" | "" if policy.maximum_retry_count > 0 => {
            return bad(format!(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'{}",
                if policy.maximum_retry_count < 0 {
                    " and cannot be negative"
                } else {
                    ""
                }
            ));
        }
        "always" | "unless-stopped" | "no" | "" | "on-failure"
            if policy.maximum_retry_count < 0 =>
        {
            return bad(
                "invalid restart policy: maximum retry count cannot be negative".to_owned(),
            );
        }
        "always" | "unless-stopped" | "no" | "" | "on-failure" => {}
        other => {
            return bad(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    if host.auto_remove && !matches!(policy.name.as_str(), "" | "no") {
        return bad("can't create 'AutoRemove' container with restart policy".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, retries: i64) -> RestartPolicy {
        RestartPolicy {
            name: name.to_owned(),
            maximum_retry_count: retries,
        }
    }

    #[test]
    fn delays_double_up_to_a_minute_and_start_over_after_a_good_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let delays: Vec<u128> = (0..12).map(|_| backoff.next(short).as_millis()).collect();
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[11], 60_000);
        assert_eq!(backoff.next(GOOD_RUN).as_millis(), 100);
    }

    #[test]
    fn on_failure_counts_its_retries() {
        assert!(restarts(&policy("on-failure", 2), 1, 1, false));
        assert!(!restarts(&policy("on-failure", 2), 1, 2, false));
        assert!(!restarts(&policy("on-failure", 0), 0, 0, false));
        assert!(restarts(&policy("on-failure", 0), 3, 99, false));
    }

    #[test]
    fn a_user_s_stop_outranks_the_policy() {
        assert!(!restarts(&policy("always", 0), 1, 0, true));
        assert!(starts_with_daemon(&policy("always", 0), true, true, 0));
        assert!(!starts_with_daemon(
            &policy("unless-stopped", 0),
            true,
            true,
            0
        ));
        assert!(!starts_with_daemon(&policy("always", 0), false, false, 0));
    }

    #[test]
    fn bad_policies_have_dockers_texts() {
        let check = |name: &str, retries: i64, auto_remove: bool, expect: &str| {
            let host = HostConfig {
                restart_policy: policy(name, retries),
                auto_remove,
                ..HostConfig::default()
            };
            let text = validate(&host).unwrap_err().to_string();
            assert!(text.contains(expect), "{text}");
        };
        check("sometimes", 0, false, "unknown policy 'sometimes'");
        check(
            "always",
            3,
            false,
            "maximum retry count can only be used with 'on-failure'",
        );
        check(
            "always",
            0,
            true,
            "can't create 'AutoRemove' container with restart policy",
        );
    }
}
