//! How soon silence means that a node is gone.
//!
//! SwarmKit's heartbeat of 5 s finds a dead node after 13 to 17 s. skep wants a cut node's tasks to
//! run elsewhere within 4 s, of which detection may take 2.5 s. The cluster's setting stays what
//! users see and change: its default of 5 s means "as skep sees fit", any other value is followed to
//! the letter, as SwarmKit does.
//!
//! Several beats fit into the grace, so that one lost or late beat costs nothing; every other call of
//! the node counts as a beat too. Where the connection itself ended (the daemon was restarted or
//! killed) the host is there and its containers go on: it gets longer to come back. And a manager
//! that was itself held up takes no silence for death (see [`super::sessions`]).

use std::time::Duration;

use skep_objects::{swarmkit::Cluster, timestamp::duration};

use crate::defaults::HEARTBEAT_PERIOD;

/// The times that matter for one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a node beats.
    pub period: Duration,
    /// Silence after which it is down.
    pub grace: Duration,
    /// The same where its connection ended.
    pub reconnect: Duration,
    /// The same after a change of leader, until it has found the new one.
    pub unknown: Duration,
}

impl Timing {
    /// What skep does on its own.
    pub const DEFAULT: Timing = Timing {
        period: Duration::from_millis(500),
        grace: Duration::from_millis(2500),
        reconnect: Duration::from_secs(5),
        unknown: Duration::from_secs(6),
    };

    /// The times for a cluster's settings.
    pub fn of(cluster: Option<&Cluster>) -> Self {
        let config = cluster.and_then(|cluster| cluster.spec.as_ref()?.dispatcher.as_ref());
        let period = config
            .and_then(|config| config.heartbeat_period.as_ref())
            .map(duration);
        match period {
            Some(period) if !period.is_zero() && period != HEARTBEAT_PERIOD => Timing {
                period,
                grace: period * 3,
                reconnect: period * 3,
                unknown: period * 6,
            },
            _ => Timing::DEFAULT,
        }
    }

    /// The period to tell a node: within a tenth, so that nodes do not beat in step.
    pub fn jittered_period(&self) -> Duration {
        self.period.mul_f64(0.9 + 0.2 * rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use skep_objects::{
        swarmkit::{ClusterSpec, DispatcherConfig},
        timestamp::duration_message,
    };

    use super::*;

    fn cluster(period: Duration) -> Cluster {
        let dispatcher = DispatcherConfig {
            heartbeat_period: Some(duration_message(period)),
        };
        let spec = ClusterSpec {
            dispatcher: Some(dispatcher),
            ..Default::default()
        };
        Cluster {
            spec: Some(spec),
            ..Default::default()
        }
    }

    #[test]
    fn the_default_setting_means_skeps_own_times_and_others_are_followed() {
        assert_eq!(Timing::of(None), Timing::DEFAULT);
        assert_eq!(
            Timing::of(Some(&cluster(Duration::from_secs(5)))),
            Timing::DEFAULT
        );
        assert_eq!(Timing::of(Some(&cluster(Duration::ZERO))), Timing::DEFAULT);
        let eleven = Timing::of(Some(&cluster(Duration::from_secs(11))));
        assert_eq!(eleven.period, Duration::from_secs(11));
        assert_eq!(eleven.grace, Duration::from_secs(33));
        assert_eq!(eleven.unknown, Duration::from_secs(66));
    }

    #[test]
    fn several_beats_fit_into_the_grace() {
        let Timing { period, grace, .. } = Timing::DEFAULT;
        assert!(period.mul_f64(1.1) * 4 < grace);
    }
}
