//! `GET /events`: what was, as far as it is remembered, and what is to come.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream;
use skep_engine::Filters;
use skep_objects::api::events::Event;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};
use super::logs::time_parameter;

/// Filters that Docker knows.
const KNOWN: [&str; 17] = [
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "config",
    "type",
    "volume",
    "reference",
    "builder",
    "task",
];

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    match (call.method().as_str(), path) {
        ("GET", ["events"]) => events(call),
        _ => Err(ApiError::no_route()),
    }
}

fn events(call: Call) -> Result<Response> {
    let since = time_parameter("since", call.query.get("since"))?;
    let until = time_parameter("until", call.query.get("until"))?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(ApiError::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            call.query.get("since"),
            call.query.get("until")
        )));
    }
    let filters = call.query.filters()?;
    filters.validate(&KNOWN)?;
    let (past, receiver) = call.api.engine.events().subscribe();
    let wanted = Wanted {
        since,
        until,
        filters,
    };
    // Without `since` and `until` only what is to come is asked for.
    let past: Vec<Event> = match (since, until) {
        (None, None) => Vec::new(),
        _ => past
            .into_iter()
            .filter(|event| wanted.is_past(event))
            .collect(),
    };
    let end = until.map(|until| {
        Instant::now()
            + until
                .duration_since(SystemTime::now())
                .unwrap_or(Duration::ZERO)
    });
    let feed = Feed {
        past: past.into_iter(),
        receiver,
        wanted,
        end,
    };
    let form = Form::of(call.header("accept"));
    let lines = stream::unfold(feed, move |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(form.line(&event)), feed))
    });
    Ok(call::stream(form.content_type(), lines))
}

/// How a stream of JSON values is written: what the client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One a line, called plain JSON as ever.
    Plain,
    /// The same under its own name.
    Lines(&'static str),
    /// RFC 7464: each value after a record separator.
    Sequence,
}

impl Form {
    fn of(accept: &str) -> Self {
        let mut kinds = accept
            .split(',')
            .map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let known = kinds.find_map(|kind| match kind {
            "application/json-seq" => Some(Self::Sequence),
            "application/x-ndjson" => Some(Self::Lines("application/x-ndjson")),
            "application/jsonl" => Some(Self::Lines("application/jsonl")),
            "application/json" | "*/*" => Some(Self::Plain),
            _ => None,
        });
        known.unwrap_or(Self::Plain)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "application/json",
            Self::Lines(kind) => kind,
            Self::Sequence => "application/json-seq",
        }
    }

    fn line(self, event: &Event) -> Bytes {
        let mut line = Vec::new();
        if self == Self::Sequence {
            line.push(0x1e);
        }
        line.extend(serde_json::to_vec(event).unwrap_or_default());
        line.push(b'\n');
        line.into()
    }
}

struct Feed {
    past: std::vec::IntoIter<Event>,
    receiver: tokio::sync::broadcast::Receiver<Event>,
    wanted: Wanted,
    end: Option<Instant>,
}

impl Feed {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.past.next() {
            return Some(event);
        }
        loop {
            let received = match self.end {
                Some(end) => tokio::time::timeout_at(end, self.receiver.recv())
                    .await
                    .ok()?,
                None => self.receiver.recv().await,
            };
            match received {
                Ok(event) if self.wanted.matches(&event) => return Some(event),
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "an event listener is too slow")
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

struct Wanted {
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    filters: Filters,
}

impl Wanted {
    fn is_past(&self, event: &Event) -> bool {
        let at = SystemTime::UNIX_EPOCH
            + Duration::from_nanos(u64::try_from(event.time_nano).unwrap_or(0));
        self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at <= until)
            && self.matches(event)
    }

    fn matches(&self, event: &Event) -> bool {
        let filters = &self.filters;
        let names = [
            "container",
            "daemon",
            "network",
            "node",
            "plugin",
            "secret",
            "service",
            "config",
            "volume",
        ];
        filters.exact("scope", &event.scope)
            && filters.exact("type", &event.kind)
            && event_matches(filters, &event.action)
            && filters.labels("label", &event.actor.attributes)
            && names.iter().all(|name| names_match(filters, name, event))
            && images_match(filters, event)
    }
}

/// An action with more after a colon (`health_status: healthy`) matches by its first part too.
fn event_matches(filters: &Filters, action: &str) -> bool {
    let first = action.split(':').next().unwrap_or_default();
    filters.exact("event", action) || filters.exact("event", first)
}

/// `container=web` means events of that container only, by id, prefix of it or name.
fn names_match(filters: &Filters, kind: &str, event: &Event) -> bool {
    if !filters.contains(kind) {
        return true;
    }
    let name = event
        .actor
        .attributes
        .get("name")
        .map_or("", String::as_str);
    // Networks tell of their containers in an attribute.
    let other = event.actor.attributes.get(kind).map_or("", String::as_str);
    let about = event.kind == kind;
    let other_fits = !about
        && filters
            .get(kind)
            .any(|wanted| !other.is_empty() && other.starts_with(wanted));
    let fits = about
        && filters
            .get(kind)
            .any(|wanted| event.actor.id.starts_with(wanted) || name == wanted);
    fits || (kind == "container" && other_fits)
}

/// Images match by id or name with or without tag; containers by the image they run.
fn images_match(filters: &Filters, event: &Event) -> bool {
    if !filters.contains("image") {
        return true;
    }
    let attribute = if event.kind == "image" {
        "name"
    } else {
        "image"
    };
    let name = event
        .actor
        .attributes
        .get(attribute)
        .map_or("", String::as_str);
    let without_tag = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    filters.get("image").any(|wanted| {
        wanted == name
            || wanted == without_tag
            || (event.kind == "image" && event.actor.id == wanted)
    })
}

#[cfg(test)]
mod tests {
    use skep_objects::api::events::Actor;

    use super::*;

    fn event(kind: &str, action: &str, attributes: &[(&str, &str)]) -> Event {
        Event {
            kind: kind.into(),
            action: action.into(),
            actor: Actor {
                id: "abc123".into(),
                attributes: attributes
                    .iter()
                    .map(|(k, v)| (k.to_string(), v.to_string()))
                    .collect(),
            },
            scope: "local".into(),
            ..Event::default()
        }
    }

    fn check(filters: &[(&str, &str)], event: &Event, expect: bool) {
        let filters = filters
            .iter()
            .fold(Filters::default(), |all, (k, v)| all.with(k, v));
        let wanted = Wanted {
            since: None,
            until: None,
            filters,
        };
        assert_eq!(wanted.matches(event), expect, "{event:?}");
    }

    #[test]
    fn the_form_is_what_the_client_accepts() {
        for (accept, expect) in [
            ("", "application/json"),
            ("*/*", "application/json"),
            (
                "application/json-seq, application/json",
                "application/json-seq",
            ),
            ("application/x-ndjson;q=0.9", "application/x-ndjson"),
            ("text/html", "application/json"),
        ] {
            assert_eq!(Form::of(accept).content_type(), expect, "{accept}");
        }
        assert_eq!(Form::Sequence.line(&Event::default())[0], 0x1e);
    }

    #[test]
    fn filters_pick_events() {
        let start = event(
            "container",
            "start",
            &[("name", "web"), ("image", "nginx:1"), ("a", "b")],
        );
        check(&[], &start, true);
        check(&[("type", "container")], &start, true);
        check(&[("type", "network")], &start, false);
        check(&[("container", "web")], &start, true);
        check(&[("container", "abc")], &start, true);
        check(&[("container", "other")], &start, false);
        check(&[("service", "web")], &start, false);
        check(&[("image", "nginx")], &start, true);
        check(&[("image", "nginx:1")], &start, true);
        check(&[("label", "a=b")], &start, true);
        check(&[("label", "a=c")], &start, false);
        check(&[("event", "start"), ("event", "die")], &start, true);
        let health = event("container", "health_status: healthy", &[]);
        check(&[("event", "health_status")], &health, true);
        check(&[("event", "health_status: healthy")], &health, true);
        let connect = event(
            "network",
            "connect",
            &[("name", "bridge"), ("container", "f00")],
        );
        check(&[("container", "f00")], &connect, true);
        check(&[("network", "bridge")], &connect, true);
    }
}
