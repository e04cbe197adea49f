//! Health checks: a probe at intervals, and the verdict of as many in a row.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use skep_objects::api::container::{Health, HealthConfig, HealthcheckResult};
use skep_objects::api::exec::ExecCreate;
use skep_objects::ids::new_hex_id;
use skep_runtime::shim::protocol::{Attach, Event, Kind, Request};
use tokio_util::sync::CancellationToken;

use super::shim::Talk;
use super::{Container, exec};
use crate::core::Core;
use crate::engine::HealthState;
use crate::metrics::count;
use crate::timestamp;

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: i64 = 3;
/// Results kept, and bytes of output of each.
const KEPT: usize = 5;
const MOST_OUTPUT: usize = 4096;

/// Health of a container as probes found it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HealthRecord {
    pub status: HealthState,
    streak: i64,
    log: VecDeque<HealthcheckResult>,
}

/// What one probe said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Probe {
    start: SystemTime,
    end: SystemTime,
    exit_code: i64,
    output: String,
}

/// How probes are made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: i64,
}

impl HealthRecord {
    fn begin(was_healthy: bool) -> Self {
        let status = if was_healthy {
            HealthState::Healthy
        } else {
            HealthState::Starting
        };
        Self {
            status,
            ..Self::default()
        }
    }

    pub(super) fn view(&self) -> Health {
        let status = match self.status {
            HealthState::None => "none",
            HealthState::Starting => "starting",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        };
        Health {
            status: status.to_owned(),
            failing_streak: self.streak,
            log: Some(self.log.iter().cloned().collect()),
        }
    }

    /// Takes a probe in; true when the verdict changed. Failures in the start period do not count.
    fn take(&mut self, probe: &Probe, retries: i64, in_start_period: bool) -> bool {
        let before = self.status;
        if probe.exit_code == 0 {
            self.streak = 0;
            self.status = HealthState::Healthy;
        } else if !(in_start_period && self.status == HealthState::Starting) {
            self.streak += 1;
            if self.streak >= retries {
                self.status = HealthState::Unhealthy;
            }
        }
        if self.log.len() == KEPT {
            self.log.pop_front();
        }
        self.log.push_back(HealthcheckResult {
            start: timestamp::text(probe.start),
            end: timestamp::text(probe.end),
            exit_code: probe.exit_code,
            output: probe.output.clone(),
        });
        self.status != before
    }
}

impl Plan {
    /// None when there is no health check.
    fn of(config: &HealthConfig, shell: Option<&[String]>) -> Option<Self> {
        let test = config.test.as_deref().unwrap_or_default();
        let command = match test.first().map(String::as_str) {
            Some("CMD") => test[1..].to_vec(),
            Some("CMD-SHELL") => {
                let shell = shell.filter(|shell| !shell.is_empty()).map_or_else(
                    || vec!["/bin/sh".to_owned(), "-c".to_owned()],
                    <[String]>::to_vec,
                );
                shell.into_iter().chain(test.get(1).cloned()).collect()
            }
            _ => return None,
        };
        let duration = |nanos: i64, default: Duration| match u64::try_from(nanos) {
            Ok(0) | Err(_) => default,
            Ok(nanos) => Duration::from_nanos(nanos),
        };
        (!command.is_empty()).then(|| Self {
            command,
            interval: duration(config.interval, INTERVAL),
            timeout: duration(config.timeout, TIMEOUT),
            start_period: duration(config.start_period, Duration::ZERO),
            start_interval: duration(config.start_interval, START_INTERVAL),
            retries: if config.retries == 0 {
                RETRIES
            } else {
                config.retries
            },
        })
    }
}

impl Core {
    /// Begins the probes of a container that is being started or taken up again.
    pub(super) fn begin_health(self: &Arc<Self>, container: &Arc<Container>, was_healthy: bool) {
        let plan = container.with(|record, _| {
            let config = record.config.healthcheck.as_ref()?;
            Plan::of(config, record.config.shell.as_deref())
        });
        let mut live = container.live();
        live.health = plan.as_ref().map(|_| HealthRecord::begin(was_healthy));
        let run = live.run.clone();
        drop(live);
        if let Some(plan) = plan {
            let (core, container) = (self.clone(), container.clone());
            self.tasks
                .spawn(async move { core.probe_all(&container, &plan, &run).await });
        }
    }

    async fn probe_all(
        self: &Arc<Self>,
        container: &Arc<Container>,
        plan: &Plan,
        run: &CancellationToken,
    ) {
        let begun = tokio::time::Instant::now();
        loop {
            let starting = container
                .live()
                .health
                .as_ref()
                .is_some_and(|health| health.status == HealthState::Starting);
            let in_start_period = begun.elapsed() < plan.start_period;
            let pause = if starting && in_start_period {
                plan.start_interval
            } else {
                plan.interval
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = run.cancelled() => return,
                () = self.stopping.cancelled() => return,
            }
            // Nobody can probe what is frozen, and it is not its fault.
            if container.state().paused {
                continue;
            }
            let probe = tokio::select! {
                probe = self.probe(container, plan) => probe,
                () = run.cancelled() => return,
                () = self.stopping.cancelled() => return,
            };
            self.judge(container, plan, &probe, begun.elapsed() < plan.start_period);
        }
    }

    fn judge(&self, container: &Container, plan: &Plan, probe: &Probe, in_start_period: bool) {
        let verdict = {
            let mut live = container.live();
            let Some(health) = live.health.as_mut() else {
                return;
            };
            health
                .take(probe, plan.retries, in_start_period)
                .then(|| (health.status == HealthState::Healthy, health.view().status))
        };
        if let Some((healthy, verdict)) = verdict {
            container.note_state(|state| state.healthy = healthy);
            self.publish(
                container,
                &format!("health_status: {verdict}"),
                BTreeMap::new(),
            );
        }
    }

    async fn probe(self: &Arc<Self>, container: &Arc<Container>, plan: &Plan) -> Probe {
        count(&self.metrics.checks);
        let start = SystemTime::now();
        let id = new_hex_id();
        let (exit_code, output) =
            match tokio::time::timeout(plan.timeout, self.run_probe(container, &id, plan)).await {
                Ok(Ok((code, output))) => (i64::from(code), output),
                Ok(Err(error)) => (-1, error),
                Err(_) => {
                    let kill = Request::Signal {
                        signal: super::signal::KILL,
                        exec: Some(id),
                        all: false,
                    };
                    if let Ok(mut talk) = Talk::open(&container.bundle).await {
                        let _ = talk.call(&kill).await;
                    }
                    (
                        -1,
                        format!("Health check exceeded timeout ({:?})", plan.timeout),
                    )
                }
            };
        if exit_code != 0 {
            count(&self.metrics.failed_checks);
        }
        Probe {
            start,
            end: SystemTime::now(),
            exit_code,
            output,
        }
    }

    async fn run_probe(
        self: &Arc<Self>,
        container: &Arc<Container>,
        id: &str,
        plan: &Plan,
    ) -> Result<(i32, String), String> {
        let begun = Instant::now();
        let request = ExecCreate {
            cmd: Some(plan.command.clone()),
            ..ExecCreate::default()
        };
        let attach = Attach {
            exec: Some(id.to_owned()),
            stdin: false,
            stdout: true,
            stderr: true,
            lossless: true,
        };
        let message = self
            .exec_message(container, id, &request, attach, None)
            .await
            .map_err(|error| error.to_string())?;
        let (talk, _) = exec::run(container, message)
            .await
            .map_err(|error| error.to_string())?;
        self.metrics.check_start.since(begun);
        let (mut frames, _write, mut pending) = talk.split();
        let mut output = Vec::new();
        loop {
            let frame = match pending.pop_front() {
                Some(frame) => frame,
                None => frames
                    .next()
                    .await
                    .map_err(|error| error.to_string())?
                    .ok_or("the shim closed the connection")?,
            };
            match frame.kind {
                Kind::Stdout | Kind::Stderr => {
                    output.extend_from_slice(
                        &frame.payload[..frame
                            .payload
                            .len()
                            .min(MOST_OUTPUT.saturating_sub(output.len()))],
                    );
                }
                Kind::Event => {
                    if let Ok(Event::Exited {
                        exec: Some(ended),
                        exit,
                    }) = frame.event()
                        && ended == id
                    {
                        return Ok((exit.code, String::from_utf8_lossy(&output).into_owned()));
                    }
                }
                Kind::Request | Kind::Reply | Kind::Stdin => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: i64) -> Probe {
        Probe {
            start: SystemTime::UNIX_EPOCH,
            end: SystemTime::UNIX_EPOCH,
            exit_code,
            output: String::new(),
        }
    }

    #[test]
    fn as_many_failures_in_a_row_as_retries_make_it_unhealthy() {
        let mut health = HealthRecord::begin(false);
        assert!(!health.take(&probe(1), 3, false));
        assert!(!health.take(&probe(1), 3, false));
        assert!(health.take(&probe(1), 3, false));
        assert_eq!((health.status, health.streak), (HealthState::Unhealthy, 3));
        assert!(health.take(&probe(0), 3, false));
        assert_eq!((health.status, health.streak), (HealthState::Healthy, 0));
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_but_a_success_does() {
        let mut health = HealthRecord::begin(false);
        for _ in 0..9 {
            assert!(!health.take(&probe(1), 1, true));
        }
        assert!(health.take(&probe(0), 1, true));
        assert!(
            health.take(&probe(1), 1, true),
            "the start period is over with the first success"
        );
    }

    #[test]
    fn the_forms_of_a_test() {
        let plan = |test: &[&str]| {
            let config = HealthConfig {
                test: Some(test.iter().map(|w| (*w).to_owned()).collect()),
                ..HealthConfig::default()
            };
            Plan::of(&config, None).map(|plan| plan.command)
        };
        assert_eq!(plan(&["CMD", "a", "b"]), Some(vec!["a".into(), "b".into()]));
        assert_eq!(
            plan(&["CMD-SHELL", "a b"]),
            Some(vec!["/bin/sh".into(), "-c".into(), "a b".into()])
        );
        assert_eq!(plan(&["NONE"]), None);
        assert_eq!(plan(&[]), None);
    }
}
