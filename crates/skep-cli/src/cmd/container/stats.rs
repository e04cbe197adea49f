//! `container stats --no-stream`.

use serde_json::Value;

use crate::client::{escape, url};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Format, Row, bytes_binary, print_rows, short_id};

const COLUMNS: [(&str, &str); 5] = [
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("PIDS", "PIDs"),
];

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    if !matches.flag("no-stream") {
        return Err(CliError::new("stats is supported only with --no-stream").with_code(125));
    }
    let mut names = matches.args().to_vec();
    if names.is_empty() {
        let all = if matches.flag("all") { "1" } else { "" };
        let found = context
            .client
            .get(&url("/containers/json", &[("all", all)]))
            .await?;
        names = found
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| text(one, "/Id").to_owned())
            .collect();
    }
    let mut rows = Vec::new();
    for name in &names {
        let path = format!("/containers/{}/stats?stream=0", escape(name));
        rows.push(row(
            &context.client.get(&path).await?,
            matches.flag("no-trunc"),
        ));
    }
    print_rows(&Format::read(matches.text("format")), &COLUMNS, &rows)
}

fn row(stats: &Value, full: bool) -> Row {
    let number = |pointer: &str| {
        stats
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    };
    // Pages that only cache files are not the container's use.
    let cache = number("/memory_stats/stats/total_inactive_file")
        .max(number("/memory_stats/stats/inactive_file"));
    let used = (number("/memory_stats/usage") - cache).max(0.0);
    let limit = number("/memory_stats/limit");
    let share = if limit > 0.0 {
        used / limit * 100.0
    } else {
        0.0
    };
    let id = text(stats, "/id");
    Row::from([
        ("ID", if full { id.to_owned() } else { short_id(id) }),
        (
            "Name",
            text(stats, "/name").trim_start_matches('/').to_owned(),
        ),
        (
            "MemUsage",
            format!("{} / {}", bytes_binary(used), bytes_binary(limit)),
        ),
        ("MemPerc", format!("{share:.2}%")),
        ("PIDs", format!("{:.0}", number("/pids_stats/current"))),
    ])
}
