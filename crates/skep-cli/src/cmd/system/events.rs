//! `system events`: what happens, as it happens.

use futures::StreamExt as _;
use serde_json::Value;

use crate::client::{filters, json_lines, url};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Template, unix_query};

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let format = matches.text("format");
    let bad = |error| CliError::new(format!("Error parsing format: {error}")).with_code(64);
    let template = match format {
        "" | "json" => None,
        text => Some(Template::compile(text).map_err(bad)?),
    };
    let time = |flag: &str| unix_query(flag, matches.text(flag)).map_err(CliError::new);
    let (since, until) = (time("since")?, time("until")?);
    if let Some(template) = &template {
        // A mistake shows before anything has happened.
        template
            .render(&serde_json::json!({}), "*events.Message")
            .map_err(bad)?;
    }
    let query = filters(matches.list("filter"))?;
    let query = [
        ("filters", query.as_str()),
        ("since", since.as_str()),
        ("until", until.as_str()),
    ];
    let bytes = context
        .client
        .stream(http::Method::GET, &url("/events", &query), &[], None)
        .await?;
    let mut events = json_lines(bytes);
    while let Some(event) = events.next().await {
        let event = event?;
        match &template {
            Some(template) => println!(
                "{}",
                template.render(&event, "*events.Message").map_err(bad)?
            ),
            None if format == "json" => println!("{event}"),
            None => println!("{}", line(&event)),
        }
    }
    Ok(())
}

/// `TIME TYPE ACTION ID (key=value, ...)`.
fn line(event: &Value) -> String {
    let nanos = event["timeNano"].as_i64().unwrap_or(0);
    let attributes = event
        .pointer("/Actor/Attributes")
        .and_then(Value::as_object);
    let mut attributes: Vec<_> = attributes.into_iter().flatten().collect();
    attributes.sort_by_key(|(key, _)| *key);
    let attributes: Vec<String> = attributes
        .into_iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let head = format!(
        "{} {} {} {}",
        time_text(nanos),
        text(event, "/Type"),
        text(event, "/Action"),
        text(event, "/Actor/ID")
    );
    match attributes.is_empty() {
        true => head,
        false => format!("{head} ({})", attributes.join(", ")),
    }
}

/// RFC 3339 with nine digits of a second, in the local zone.
fn time_text(nanos: i64) -> String {
    use time::macros::format_description;
    let Ok(then) = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)) else {
        return String::new();
    };
    let offset = time::UtcOffset::local_offset_at(then).unwrap_or(time::UtcOffset::UTC);
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]");
    let text = then.to_offset(offset).format(&format).unwrap_or_default();
    let (hours, minutes, _) = offset.as_hms();
    match offset.is_utc() {
        true => text + "Z",
        false => format!("{text}{hours:+03}:{:02}", minutes.abs()),
    }
}
