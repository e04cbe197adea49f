//! How a service is scaled by its own load: labels `skep.autoscale.*` on the service.
//!
//! | label | what |
//! |---|---|
//! | `min`, `max` | replicas, at least and at most; both are needed |
//! | `cpu` | per cent of its CPU limit (else reservation, else one CPU) that a task should use |
//! | `memory` | per cent of its memory limit (else reservation) that a task should use |
//! | `connections` | open connections that a task should have |
//! | `cooldown` | how long the load must be lower before tasks are taken away (`5m` when not given) |

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use crate::go_duration;

/// What all its labels begin with.
pub const PREFIX: &str = "skep.autoscale.";

/// Tasks are taken away after this time when the labels do not say.
pub const DEFAULT_COOLDOWN: Duration = Duration::from_secs(5 * 60);

/// What the labels of a service ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoscale {
    /// Replicas there are at least.
    pub min: u64,
    /// Replicas there are at most.
    pub max: u64,
    /// What a task should use of its CPU, in per cent.
    pub cpu_percent: Option<u64>,
    /// What a task should use of its memory, in per cent.
    pub memory_percent: Option<u64>,
    /// Open connections that a task should have.
    pub connections: Option<u64>,
    /// How long the load must be lower before tasks are taken away.
    pub cooldown: Duration,
}

/// What is wrong with the labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AutoscaleError {
    /// No such label.
    #[error(
        "unknown label {label}: must be one of skep.autoscale.min, .max, .cpu, .memory, .connections, .cooldown"
    )]
    Unknown {
        /// The label.
        label: String,
    },
    /// A value that is no number, or too small.
    #[error("invalid value {value:?} of label {label}: must be a whole number from 1")]
    Number {
        /// The label.
        label: String,
        /// Its value.
        value: String,
    },
    /// A value that is no duration.
    #[error("invalid value {value:?} of label {label}: must be a duration like 90s, 5m or 1h30m")]
    Duration {
        /// The label.
        label: String,
        /// Its value.
        value: String,
    },
    /// A label without which the others say nothing.
    #[error(
        "label {label} is missing: skep.autoscale needs min, max and one of cpu, memory, connections"
    )]
    Missing {
        /// The label.
        label: String,
    },
    /// More at least than at most.
    #[error(
        "label skep.autoscale.min is {min}, which is more than {max} of label skep.autoscale.max"
    )]
    Range {
        /// At least so many.
        min: u64,
        /// At most so many.
        max: u64,
    },
}

impl Autoscale {
    /// Reads a service's labels; none where no label is one of these.
    pub fn read(labels: &BTreeMap<String, String>) -> Result<Option<Self>, AutoscaleError> {
        let own: Vec<(&str, &str)> = labels
            .iter()
            .filter_map(|(label, value)| Some((label.strip_prefix(PREFIX)?, value.as_str())))
            .collect();
        if own.is_empty() {
            return Ok(None);
        }
        let mut numbers = BTreeMap::new();
        let mut cooldown = DEFAULT_COOLDOWN;
        for (key, value) in own {
            match key {
                "min" | "max" | "cpu" | "memory" | "connections" => {
                    numbers.insert(key, number(key, value)?);
                }
                "cooldown" => {
                    cooldown = go_duration::parse_length(value).ok_or_else(|| {
                        AutoscaleError::Duration {
                            label: format!("{PREFIX}{key}"),
                            value: value.to_owned(),
                        }
                    })?;
                }
                _ => {
                    return Err(AutoscaleError::Unknown {
                        label: format!("{PREFIX}{key}"),
                    });
                }
            }
        }
        let needed = |key: &str| {
            numbers
                .get(key)
                .copied()
                .ok_or_else(|| AutoscaleError::Missing {
                    label: format!("{PREFIX}{key}"),
                })
        };
        let scale = Self {
            min: needed("min")?,
            max: needed("max")?,
            cpu_percent: numbers.get("cpu").copied(),
            memory_percent: numbers.get("memory").copied(),
            connections: numbers.get("connections").copied(),
            cooldown,
        };
        if scale.min > scale.max {
            let (min, max) = (scale.min, scale.max);
            return Err(AutoscaleError::Range { min, max });
        }
        if scale.cpu_percent.is_none()
            && scale.memory_percent.is_none()
            && scale.connections.is_none()
        {
            needed("cpu")?;
        }
        Ok(Some(scale))
    }

    /// Whether any of these labels is there: the load of such a service's tasks is of interest.
    pub fn is_asked_for(labels: &BTreeMap<String, String>) -> bool {
        labels
            .range::<str, _>((Bound::Included(PREFIX), Bound::Unbounded))
            .next()
            .is_some_and(|(label, _)| label.starts_with(PREFIX))
    }
}

fn number(key: &str, value: &str) -> Result<u64, AutoscaleError> {
    match value.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(AutoscaleError::Number {
            label: format!("{PREFIX}{key}"),
            value: value.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[(&str, &str)]) -> Result<Option<Autoscale>, String> {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(
            Autoscale::is_asked_for(&labels),
            Autoscale::read(&labels) != Ok(None)
        );
        Autoscale::read(&labels).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_read() {
        assert_eq!(read(&[("skep.device", "/dev/x"), ("zone", "a")]), Ok(None));
        let scale = read(&[
            ("skep.autoscale.min", "2"),
            ("skep.autoscale.max", "10"),
            ("skep.autoscale.cpu", "70"),
            ("skep.autoscale.cooldown", "1m30s"),
        ]);
        let expected = Autoscale {
            min: 2,
            max: 10,
            cpu_percent: Some(70),
            memory_percent: None,
            connections: None,
            cooldown: Duration::from_secs(90),
        };
        assert_eq!(scale, Ok(Some(expected)));
    }

    #[test]
    fn mistakes_name_their_label() {
        let limits = [("skep.autoscale.min", "2"), ("skep.autoscale.max", "3")];
        let check = |more: &[(&str, &str)], text: &str| {
            let error = read(&[&limits[..], more].concat()).expect_err("a mistake");
            assert!(error.contains(text), "{error}");
        };
        check(
            &[("skep.autoscale.cpus", "1")],
            "unknown label skep.autoscale.cpus",
        );
        check(
            &[("skep.autoscale.cpu", "0")],
            "\"0\" of label skep.autoscale.cpu: must be",
        );
        check(&[("skep.autoscale.cpu", "70%")], "label skep.autoscale.cpu");
        check(
            &[("skep.autoscale.cooldown", "5")],
            "label skep.autoscale.cooldown",
        );
        check(
            &[("skep.autoscale.cooldown", "-5s")],
            "label skep.autoscale.cooldown",
        );
        check(&[], "label skep.autoscale.cpu is missing");
        check(
            &[("skep.autoscale.cpu", "1"), ("skep.autoscale.min", "4")],
            "label skep.autoscale.min is 4, which is more than 3",
        );
        let alone = read(&[("skep.autoscale.cpu", "70")]).expect_err("a mistake");
        assert!(
            alone.contains("label skep.autoscale.min is missing"),
            "{alone}"
        );
    }
}
