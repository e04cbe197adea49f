//! `/services/{id}/logs` and `/tasks/{id}/logs`: lines from every node that has them.

use std::convert::Infallible;
use std::time::SystemTime;

use futures::{StreamExt, stream};
use proto::task_spec::Runtime;
use skep_engine::{LogRecord, StreamKind};
use skep_objects::swarmkit as proto;

use super::lookup;
use crate::http::call::{self, Call, Response};
use crate::http::error::Result;
use crate::http::frames::Framing;
use crate::http::logs::{LineStyle, options};

/// Logs of every task of a service.
pub async fn of_service(call: &Call, id: &str) -> Result<Response> {
    let service = lookup::service(&call.api.manager()?, id).await?;
    let tty = has_tty(service.spec.as_ref().and_then(|spec| spec.task.as_deref()));
    let selector = proto::LogSelector {
        service_ids: vec![service.id],
        ..Default::default()
    };
    lines(call, selector, tty).await
}

/// Logs of one task.
pub async fn of_task(call: &Call, id: &str) -> Result<Response> {
    let task = lookup::task(&call.api.manager()?, id).await?;
    let tty = has_tty(task.spec.as_deref());
    let selector = proto::LogSelector {
        task_ids: vec![task.id],
        ..Default::default()
    };
    lines(call, selector, tty).await
}

fn has_tty(spec: Option<&proto::TaskSpec>) -> bool {
    matches!(spec.and_then(|spec| spec.runtime.as_ref()), Some(Runtime::Container(c)) if c.tty)
}

async fn lines(call: &Call, selector: proto::LogSelector, tty: bool) -> Result<Response> {
    let wanted = options(&call.query)?;
    let style = LineStyle::of(&call.query);
    let mut streams = Vec::new();
    if wanted.stdout {
        streams.push(proto::LogStream::Stdout.into());
    }
    if wanted.stderr {
        streams.push(proto::LogStream::Stderr.into());
    }
    let request = proto::SubscribeLogsRequest {
        selector: Some(selector),
        options: Some(proto::LogSubscriptionOptions {
            streams,
            follow: wanted.follow,
            // SwarmKit's way of telling "the last n" from "all": below zero counts from the end.
            tail: match wanted.tail {
                Some(tail) => -1 - i64::try_from(tail).unwrap_or(i64::MAX - 1),
                None => 0,
            },
            since: wanted.since.map(Into::into),
        }),
    };
    let messages = call.api.swarm.logs()?.subscribe(request).await?;
    let framing = Framing::of(tty);
    let frames = messages.flat_map(move |batch| {
        let frames: Vec<_> = match batch {
            Ok(batch) => batch
                .messages
                .into_iter()
                .map(|message| {
                    let record = record(message);
                    framing.frame(record.stream, style.line(&record))
                })
                .collect(),
            Err(error) => vec![framing.error(&error.message)],
        };
        stream::iter(frames.into_iter().map(Ok::<_, Infallible>))
    });
    Ok(call::stream(framing.content_type(call.version), frames))
}

/// A line with the attributes that `details` shows, by which the command line names the task.
fn record(message: proto::LogMessage) -> LogRecord {
    let context = message.context.unwrap_or_default();
    let mut attributes: Vec<(String, String)> = message
        .attrs
        .into_iter()
        .map(|attr| (attr.key, attr.value))
        .collect();
    for (key, value) in [
        ("com.docker.swarm.node.id", context.node_id),
        ("com.docker.swarm.service.id", context.service_id),
        ("com.docker.swarm.task.id", context.task_id),
    ] {
        attributes.push((key.to_owned(), value));
    }
    let stderr = i32::from(proto::LogStream::Stderr);
    LogRecord {
        stream: if message.stream == stderr {
            StreamKind::Stderr
        } else {
            StreamKind::Stdout
        },
        time: message
            .timestamp
            .and_then(|stamp| SystemTime::try_from(stamp).ok())
            .unwrap_or(SystemTime::UNIX_EPOCH),
        bytes: message.data.into(),
        attributes,
    }
}
