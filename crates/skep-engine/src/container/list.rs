//! `docker ps`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use skep_objects::api::container as api;

use super::record::{Record, RunState};
use super::status_text::status_text;
use super::{Container, inspect, ports};
use crate::core::Core;
use crate::engine::{HealthState, ListOptions};
use crate::error::{EngineError, Result};
use crate::filters::Filters;
use crate::timestamp;

const KNOWN: [&str; 17] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "label!",
    "until",
];
const STATUSES: [&str; 7] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];

/// What filters compare, resolved once a request.
struct Wanted<'a> {
    filters: &'a Filters,
    /// Image ids that `ancestor` names.
    ancestors: Vec<String>,
    exited: Vec<i64>,
    /// Created before and after these.
    before: Option<String>,
    since: Option<String>,
    is_task: Option<bool>,
}

impl Core {
    pub(crate) async fn list(
        self: &Arc<Self>,
        options: &ListOptions,
    ) -> Result<Vec<api::ContainerSummary>> {
        let wanted = self.wanted(&options.filters)?;
        // A filter on the state, or a number of rows, is about stopped containers too.
        let all = options.all
            || options.limit > 0
            || ["status", "exited", "before", "since"]
                .iter()
                .any(|name| options.filters.contains(name));
        let now = SystemTime::now();
        let mut rows = Vec::new();
        let containers = self.containers.all();
        let mut link_names = self.link_names(&containers);
        for container in containers {
            let health = container.watch().borrow().health;
            let row = container.with(|record, state| {
                ((all || state.running) && wanted.matches(record, state, health))
                    .then(|| summary(record, state, health, now))
            });
            rows.extend(row.map(|mut row| {
                row.names
                    .extend(link_names.remove(&container.id).unwrap_or_default());
                (container, row)
            }));
        }
        let created = |container: &Container| container.with(|record, _| record.created.clone());
        rows.sort_by_cached_key(|(container, _)| {
            std::cmp::Reverse((timestamp::parse(&created(container)), container.id.clone()))
        });
        if options.limit > 0 {
            rows.truncate(options.limit);
        }
        let mut summaries = Vec::with_capacity(rows.len());
        for (container, mut row) in rows {
            if options.size {
                (row.size_rw, row.size_root_fs) = self.measure(&container).await?;
            }
            summaries.push(row);
        }
        Ok(summaries)
    }

    fn wanted<'a>(&self, filters: &'a Filters) -> Result<Wanted<'a>> {
        filters.validate(&KNOWN[..15])?;
        if let Some(bad) = filters
            .get("status")
            .find(|status| !STATUSES.contains(status))
        {
            return Err(EngineError::invalid(format!(
                "invalid filter 'status={bad}'"
            )));
        }
        if let Some(bad) = filters
            .get("health")
            .find(|h| !["starting", "healthy", "unhealthy", "none"].contains(h))
        {
            return Err(EngineError::invalid(format!(
                "invalid filter 'health={bad}'"
            )));
        }
        for name in ["publish", "expose"] {
            for wanted in filters.get(name) {
                port_range(wanted).map_err(|why| {
                    EngineError::invalid(format!(
                        "error while looking up for {name} {wanted}: {why}"
                    ))
                })?;
            }
        }
        let mut exited = Vec::new();
        for code in filters.get("exited") {
            exited
                .push(code.parse().map_err(|_| {
                    EngineError::invalid(format!("invalid filter 'exited={code}'"))
                })?);
        }
        let time_of = |name: &str| match filters.get(name).next() {
            None => Ok(None),
            Some(reference) => self
                .containers
                .find(reference)
                .map(|c| Some(c.with(|record, _| record.created.clone()))),
        };
        let ancestors = filters
            .get("ancestor")
            .filter_map(|name| self.images.resolve(name).ok())
            .map(|image| image.id);
        Ok(Wanted {
            filters,
            ancestors: ancestors.collect(),
            exited,
            before: time_of("before")?,
            since: time_of("since")?,
            is_task: filters.flag("is-task")?,
        })
    }
}

impl Wanted<'_> {
    fn matches(&self, record: &Record, state: &RunState, health: HealthState) -> bool {
        let filters = self.filters;
        let empty = BTreeMap::new();
        let labels = record.config.labels.as_ref().unwrap_or(&empty);
        let word = match health {
            HealthState::None => "none",
            HealthState::Starting => "starting",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        };
        let name = filters.pattern("name", &record.name)
            || filters.pattern("name", &format!("/{}", record.name));
        let created = timestamp::parse(&record.created);
        let ancestor = !filters.contains("ancestor")
            || self.ancestors.contains(&record.image_id)
            || filters.get("ancestor").any(|name| name == record.image);
        name && ancestor
            && filters.prefix("id", &record.id)
            && filters.exact("status", state.status())
            && filters.exact("health", word)
            && filters.labels("label", labels)
            && (self.exited.is_empty()
                || (!state.running
                    && state.finished_at.is_some()
                    && self.exited.contains(&state.exit_code)))
            && self
                .is_task
                .is_none_or(|is_task| is_task == record.task.is_some())
            && self
                .before
                .as_ref()
                .is_none_or(|at| created < timestamp::parse(at))
            && self
                .since
                .as_ref()
                .is_none_or(|at| created > timestamp::parse(at))
            && self.matches_attachments(record, state)
    }

    fn matches_attachments(&self, record: &Record, state: &RunState) -> bool {
        let filters = self.filters;
        let network = !filters.contains("network")
            || inspect::endpoints(record, state)
                .iter()
                .any(|(name, settings)| {
                    filters
                        .get("network")
                        .any(|wanted| wanted == name || wanted == settings.network_id)
                });
        let volume = !filters.contains("volume")
            || record.mounts.iter().any(|mount| {
                filters.get("volume").any(|wanted| {
                    wanted == mount.point.name
                        || wanted == mount.point.destination
                        || wanted == mount.point.source
                })
            });
        let port_matches = |wanted: &str, port: u16, protocol: &str| {
            port_range(wanted).is_ok_and(|(first, last, proto)| {
                proto == protocol && (first..=last).contains(&port)
            })
        };
        let known = ports::summary(&ports::port_map(&record.config, &[]));
        let expose = !filters.contains("expose")
            || known.iter().any(|port| {
                filters
                    .get("expose")
                    .any(|w| port_matches(w, port.private_port, &port.protocol))
            });
        let bound = ports::summary(&state.ports);
        let publish = !filters.contains("publish")
            || bound.iter().any(|port| {
                filters
                    .get("publish")
                    .any(|w| port_matches(w, port.public_port, &port.protocol))
            });
        network && volume && expose && publish && filters.exact("isolation", "")
    }
}

/// `80`, `8000-8080/udp`.
fn port_range(text: &str) -> Result<(u16, u16, &str), String> {
    let (range, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
    };
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(format!("invalid range specified for port: {range}"));
    }
    Ok((first, last, proto))
}

fn summary(
    record: &Record,
    state: &RunState,
    health: HealthState,
    now: SystemTime,
) -> api::ContainerSummary {
    let created = timestamp::parse(&record.created)
        .map(timestamp::since_epoch)
        .unwrap_or_default();
    let ports = if state.running {
        ports::summary(&state.ports)
    } else {
        Vec::new()
    };
    api::ContainerSummary {
        id: record.id.clone(),
        names: vec![format!("/{}", record.name)],
        image: record.image.clone(),
        image_id: record.image_id.clone(),
        command: command(&record.path, &record.args),
        created: i64::try_from(created.as_secs()).unwrap_or(i64::MAX),
        ports,
        labels: record.config.labels.clone().unwrap_or_default(),
        state: state.status().to_owned(),
        status: status_text(state, health, now),
        host_config: api::SummaryHostConfig {
            network_mode: record.host_config.network_mode.clone(),
            annotations: record.host_config.annotations.clone(),
        },
        network_settings: api::SummaryNetworkSettings {
            networks: inspect::endpoints(record, state),
        },
        mounts: inspect::mount_points(record),
        ..api::ContainerSummary::default()
    }
}

/// The command as one would type it: arguments with spaces in quotes.
fn command(path: &str, args: &[String]) -> String {
    let quote = |arg: &String| {
        if arg.contains(' ') {
            format!("'{arg}'")
        } else {
            arg.clone()
        }
    };
    let words = args.iter().map(quote);
    std::iter::once(path.to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_with_spaces_are_quoted() {
        assert_eq!(
            command("nginx", &["-g".into(), "daemon off;".into()]),
            "nginx -g 'daemon off;'"
        );
    }
}
