//! `container ls`.

use serde_json::Value;

use crate::client::{filters, url};
use crate::cmd::objects::{label_text, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Format, Row, bytes_decimal, coarse_duration, print_rows, short_id, truncated};

const COLUMNS: [(&str, &str); 7] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let last = if matches.flag("latest") {
        "1"
    } else {
        matches.text("last")
    };
    let limit = if last.starts_with('-') { "" } else { last };
    let format = match matches.text("format") {
        "" if !matches.flag("quiet") => context.setting("psFormat").unwrap_or_default(),
        format => format,
    };
    let sized = matches.flag("size") || format.contains(".Size");
    let switch = |on: bool| if on { "1" } else { "" };
    let query = [
        ("all", switch(matches.flag("all") || !limit.is_empty())),
        ("filters", query.as_str()),
        ("limit", limit),
        ("size", switch(sized)),
    ];
    let found = context.client.get(&url("/containers/json", &query)).await?;
    let found = found.as_array().map_or(&[][..], Vec::as_slice);
    let full = matches.flag("no-trunc");
    if matches.flag("quiet") && format.is_empty() {
        found
            .iter()
            .for_each(|container| println!("{}", id_of(container, full)));
        return Ok(());
    }
    let rows: Vec<Row> = found.iter().map(|container| row(container, full)).collect();
    let mut columns = COLUMNS.to_vec();
    if matches.flag("size") {
        columns.push(("SIZE", "Size"));
    }
    print_rows(&Format::read(format), &columns, &rows)
}

fn id_of(container: &Value, full: bool) -> String {
    let id = text(container, "/Id");
    if full { id.to_owned() } else { short_id(id) }
}

fn row(container: &Value, full: bool) -> Row {
    let quoted = format!("\"{}\"", text(container, "/Command"));
    let command = if full {
        quoted
    } else {
        format!("\"{}\"", truncated(text(container, "/Command"), 20))
    };
    let created = container["Created"].as_i64().unwrap_or(0);
    let names = container["Names"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    // Names under a link of another container have more slashes.
    let names: Vec<_> = names
        .map(|name| name.trim_start_matches('/'))
        .filter(|name| full || !name.contains('/'))
        .collect();
    let networks = container
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object);
    let networks: Vec<_> = networks
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let mounts = container["Mounts"].as_array().into_iter().flatten();
    let mounts: Vec<_> = mounts
        .map(|mount| match text(mount, "/Name") {
            "" => text(mount, "/Source"),
            name => name,
        })
        .map(|name| {
            if full {
                name.to_owned()
            } else {
                truncated(name, 15)
            }
        })
        .collect();
    Row::from([
        ("ID", id_of(container, full)),
        ("Image", text(container, "/Image").to_owned()),
        ("Command", command),
        ("CreatedAt", created.to_string()),
        ("RunningFor", format!("{} ago", age(created))),
        ("State", text(container, "/State").to_owned()),
        ("Status", text(container, "/Status").to_owned()),
        ("Ports", ports(&container["Ports"])),
        ("Names", names.join(",")),
        ("Labels", label_text(&container["Labels"])),
        ("Mounts", mounts.join(",")),
        ("Networks", networks.join(",")),
        ("LocalVolumes", mounts.len().to_string()),
        ("Size", size(container)),
    ])
}

/// How long ago a Unix time was.
pub(crate) fn age(unix: i64) -> String {
    coarse_duration(time::OffsetDateTime::now_utc().unix_timestamp() - unix)
}

fn size(container: &Value) -> String {
    let written = bytes_decimal(container["SizeRw"].as_f64().unwrap_or(0.0));
    match container["SizeRootFs"].as_f64() {
        Some(all) if all > 0.0 => format!("{written} (virtual {})", bytes_decimal(all)),
        _ => written,
    }
}

/// `127.0.0.1:8111->80/tcp, 90/udp`; neighbours in one range become `8000-8001->80-81/tcp`.
fn ports(ports: &Value) -> String {
    let mut all: Vec<(String, &str, u64, u64)> = ports
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let ip = text(port, "/IP");
            let ip = if ip.contains(':') {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            };
            let private = port["PrivatePort"].as_u64().unwrap_or(0);
            (
                ip,
                text(port, "/Type"),
                private,
                port["PublicPort"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    all.sort_by(|a, b| (a.2, a.1, &a.0, a.3).cmp(&(b.2, b.1, &b.0, b.3)));
    let mut groups: Vec<(String, &str, u64, u64, u64)> = Vec::new();
    for (ip, kind, private, public) in all {
        let next = groups
            .iter_mut()
            .find(|(other, other_kind, first, start, length)| {
                *other == ip
                    && *other_kind == kind
                    && first.saturating_add(*length) == private
                    && (*start == 0) == (public == 0)
                    && (public == 0 || start.saturating_add(*length) == public)
            });
        match next {
            Some(group) => group.4 += 1,
            None => groups.push((ip, kind, private, public, 1)),
        }
    }
    let span = |first: u64, length: u64| match length {
        1 => first.to_string(),
        _ => format!("{first}-{}", first + length - 1),
    };
    let shown: Vec<_> = groups
        .iter()
        .map(|(ip, kind, private, public, length)| match public {
            0 => format!("{}/{kind}", span(*private, *length)),
            public => format!(
                "{ip}:{}->{}/{kind}",
                span(*public, *length),
                span(*private, *length)
            ),
        })
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_in_a_row_become_a_range() {
        let port = |ip: &str, private: u64, public: u64| json!({"IP": ip, "PrivatePort": private, "PublicPort": public, "Type": "tcp"});
        assert_eq!(
            ports(&json!([port("127.0.0.1", 80, 8111), {"PrivatePort": 443, "Type": "tcp"}])),
            "127.0.0.1:8111->80/tcp, 443/tcp"
        );
        assert_eq!(
            ports(&json!([
                port("0.0.0.0", 80, 8000),
                port("0.0.0.0", 81, 8001),
                port("::", 80, 8000)
            ])),
            "0.0.0.0:8000-8001->80-81/tcp, [::]:8000->80/tcp"
        );
    }
}
