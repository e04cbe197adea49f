//! Logs: of containers from the engine; the format is shared with those of services.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use skep_engine::{LogOptions, LogRecord};

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};
use super::frames::Framing;
use super::query::Query;

/// How lines are decorated.
#[derive(Debug, Clone, Copy)]
pub struct LineStyle {
    /// Time first.
    pub timestamps: bool,
    /// Then attributes.
    pub details: bool,
}

impl LineStyle {
    /// As the query asks.
    pub fn of(query: &Query) -> Self {
        Self {
            timestamps: query.flag("timestamps"),
            details: query.flag("details"),
        }
    }

    /// One line as it is sent.
    pub fn line(self, record: &LogRecord) -> Bytes {
        if !self.timestamps && !self.details {
            return record.bytes.clone();
        }
        let mut line = BytesMut::new();
        if self.timestamps {
            line.extend_from_slice(fixed_time(record.time).as_bytes());
            line.extend_from_slice(b" ");
        }
        if self.details {
            let sorted: BTreeMap<_, _> = record.attributes.iter().cloned().collect();
            let pairs: Vec<String> = sorted
                .iter()
                .map(|(k, v)| format!("{}={}", escape(k), escape(v)))
                .collect();
            line.extend_from_slice(pairs.join(",").as_bytes());
            line.extend_from_slice(b" ");
        }
        line.extend_from_slice(&record.bytes);
        line.freeze()
    }
}

/// Nine digits always, so that columns align.
fn fixed_time(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
    let whole = skep_objects::api::encode::unix_time(seconds, 0);
    format!(
        "{}.{:09}Z",
        whole.trim_end_matches('Z'),
        since.subsec_nanos()
    )
}

/// Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// Seconds since 1970, with a fraction or not, or a date, as `since` and `until` come.
pub fn time_parameter(name: &str, text: &str) -> Result<Option<SystemTime>> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    if let (Ok(seconds), Ok(nanos)) = (seconds.parse::<i64>(), digits.parse::<u32>()) {
        let Ok(seconds) = u64::try_from(seconds) else {
            return Ok(None);
        };
        return Ok(Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)));
    }
    match skep_objects::api::encode::parse_time(text) {
        Some(time) => Ok(Some(time.into())),
        None => Err(ApiError::invalid(format!(
            "invalid value for {name:?}: {text:?}"
        ))),
    }
}

/// What the query asks of a log.
pub fn options(query: &Query) -> Result<LogOptions> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        let text = "Bad parameters: you must choose at least one stream";
        return Err(ApiError::invalid(text));
    }
    Ok(LogOptions {
        stdout,
        stderr,
        since: time_parameter("since", query.get("since"))?,
        until: time_parameter("until", query.get("until"))?,
        // What is no number means all, as in Docker; so does a negative one.
        tail: query.number("tail"),
        follow: query.flag("follow"),
    })
}

/// `GET /containers/{id}/logs`.
pub async fn of_container(call: Call, reference: &str) -> Result<Response> {
    let options = options(&call.query)?;
    let style = LineStyle::of(&call.query);
    let logs = call.api.engine.logs(reference, &options).await?;
    let framing = Framing::of(logs.tty);
    let lines = logs.records.map(move |record| {
        Ok::<_, Infallible>(match record {
            Ok(record) => framing.frame(record.stream, style.line(&record)),
            Err(error) => framing.error(&error.to_string()),
        })
    });
    Ok(call::stream(framing.content_type(call.version), lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_time_and_details_as_docker_prints_them() {
        let record = LogRecord {
            stream: skep_engine::StreamKind::Stdout,
            time: SystemTime::UNIX_EPOCH + Duration::new(1_795_414_622, 53_000_000),
            bytes: Bytes::from_static(b"hello\n"),
            attributes: vec![("b".into(), "x y".into()), ("a".into(), "1".into())],
        };
        let line = |timestamps, details| {
            LineStyle {
                timestamps,
                details,
            }
            .line(&record)
        };
        assert_eq!(line(false, false), "hello\n");
        assert_eq!(
            line(true, true),
            "2026-11-23T06:17:02.053000000Z a=1,b=x+y hello\n"
        );
    }

    #[test]
    fn times_come_as_seconds_or_dates() {
        let at = |text: &str| time_parameter("since", text).expect(text);
        let expect = SystemTime::UNIX_EPOCH + Duration::new(12, 500_000_000);
        assert_eq!(at("12.5"), Some(expect));
        assert_eq!(at("12.500000000"), Some(expect));
        assert_eq!(at("1970-01-01T00:00:12.5Z"), Some(expect));
        assert_eq!(at("0"), None);
        assert!(time_parameter("since", "yesterday").is_err());
    }
}
