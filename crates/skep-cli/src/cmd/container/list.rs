//! `container ls`.

use serde_json::{Value, json};

use crate::client::{filters, url};
use crate::cmd::objects::{label_text, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{
    Format, Item, List, Row, Template, bytes_decimal_to, coarse_duration, of_unix, quoted,
    short_id, truncated,
};

const COLUMNS: [(&str, &str); 7] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];

const LIST: List<'_> = List {
    kind: "*formatter.ContainerContext",
    columns: &COLUMNS,
    heads: &[
        ("SIZE", "Size"),
        ("CREATED AT", "CreatedAt"),
        ("STATE", "State"),
        ("LABELS", "Labels"),
        ("MOUNTS", "Mounts"),
        ("LOCAL VOLUMES", "LocalVolumes"),
        ("NETWORKS", "Networks"),
    ],
    raw: &[
        ("container_id", "ID"),
        ("image", "Image"),
        ("command", "Command"),
        ("created_at", "CreatedAt"),
        ("state", "State"),
        ("status", "Status"),
        ("names", "Names"),
        ("labels?", "Labels"),
        ("ports?", "Ports"),
    ],
};

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let last = match matches.flag("latest") {
        true if matches.number("last").is_none() => "1",
        _ => matches.text("last"),
    };
    let limit = if last.starts_with('-') { "" } else { last };
    let quiet = matches.flag("quiet");
    let text = context.format(matches, "psFormat");
    let format = Format::read(text);
    let full = matches.flag("no-trunc");
    let sized = matches.flag("size") || names_size(text, &format)?;
    let switch = |on: bool| if on { "1" } else { "" };
    let query = [
        ("all", switch(matches.flag("all"))),
        ("filters", query.as_str()),
        ("limit", limit),
        ("size", switch(sized)),
    ];
    if quiet && !text.is_empty() {
        eprintln!("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let found = context.client.get(&url("/containers/json", &query)).await?;
    let found = found.as_array().map_or(&[][..], Vec::as_slice);
    if quiet {
        found
            .iter()
            .for_each(|container| println!("{}", id_of(container, full)));
        return Ok(());
    }
    let items: Vec<Item> = found
        .iter()
        .map(|container| item(container, full))
        .collect();
    let mut columns = COLUMNS.to_vec();
    if matches.flag("size") {
        columns.push(("SIZE", "Size"));
    }
    let list = List {
        columns: &columns,
        ..LIST
    };
    list.print(&format, &items)
}

/// Whether a template speaks of sizes, which cost the daemon time; mistakes show here.
fn names_size(text: &str, format: &Format) -> Result<bool, CliError> {
    let Some(template) = format.template() else {
        return Ok(text.contains("json ."));
    };
    let compiled = Template::compile(template)
        .map_err(|error| CliError::new(format!("failed to parse template: {error}")))?;
    let render = |sample: &Value| {
        let item = item(sample, false);
        item.render(&compiled, LIST.kind)
            .map_err(|error| CliError::new(format!("failed to execute template: {error}")))
    };
    // A container of another size prints another text where the size is told.
    let sample = json!({"Id": "", "Names": ["/n"], "Image": "i", "State": "running"});
    let mut larger = sample.clone();
    larger["SizeRw"] = 1.into();
    Ok(render(&sample)? != render(&larger)?)
}

/// A container as lists tell it.
pub(crate) fn item(container: &Value, full: bool) -> Item {
    Item::new(row(container, full), &container["Labels"]).with(
        "Platform",
        container
            .pointer("/ImageManifestDescriptor/platform")
            .cloned()
            .unwrap_or(Value::Null),
    )
}

fn id_of(container: &Value, full: bool) -> String {
    let id = text(container, "/Id");
    if full { id.to_owned() } else { short_id(id) }
}

fn row(container: &Value, full: bool) -> Row {
    let command = text(container, "/Command");
    let command = match full {
        true => quoted(command),
        false => quoted(&truncated(command, 20)),
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
    let all_mounts = container["Mounts"].as_array().into_iter().flatten();
    let volumes = all_mounts
        .clone()
        .filter(|mount| text(mount, "/Driver") == "local")
        .count();
    let mounts: Vec<_> = all_mounts
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
        ("CreatedAt", of_unix(created)),
        ("RunningFor", format!("{} ago", age(created))),
        ("State", text(container, "/State").to_owned()),
        ("Status", text(container, "/Status").to_owned()),
        ("Ports", ports(&container["Ports"])),
        ("Names", names.join(",")),
        ("Labels", label_text(&container["Labels"])),
        ("Mounts", mounts.join(",")),
        ("Networks", networks.join(",")),
        ("LocalVolumes", volumes.to_string()),
        ("Size", size(container)),
    ])
}

/// How long ago a Unix time was.
pub(crate) fn age(unix: i64) -> String {
    coarse_duration(time::OffsetDateTime::now_utc().unix_timestamp() - unix)
}

fn size(container: &Value) -> String {
    let written = bytes_decimal_to(container["SizeRw"].as_f64().unwrap_or(0.0), 3);
    match container["SizeRootFs"].as_f64() {
        Some(all) if all > 0.0 => format!("{written} (virtual {})", bytes_decimal_to(all, 3)),
        _ => written,
    }
}

/// `90/udp, 443-444/tcp, 127.0.0.1:8111->80/tcp`: ports that keep their number, ranges together,
/// then the others one by one.
fn ports(ports: &Value) -> String {
    let mut all: Vec<(u64, &str, u64, &str)> = ports
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let number = |name: &str| port[name].as_u64().unwrap_or(0);
            (
                number("PrivatePort"),
                text(port, "/IP"),
                number("PublicPort"),
                text(port, "/Type"),
            )
        })
        .collect();
    all.sort_unstable();
    let mut groups: Vec<(String, u64, u64)> = Vec::new();
    let (mut shown, mut mapped) = (Vec::new(), Vec::new());
    for (private, ip, public, kind) in all {
        let place = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        if !ip.is_empty() && public != private {
            mapped.push(format!("{place}:{public}->{private}/{kind}"));
            continue;
        }
        let key = match ip.is_empty() {
            true => kind.to_owned(),
            false => format!("{place}/{kind}"),
        };
        match groups.iter_mut().find(|(other, _, _)| *other == key) {
            Some((_, _, last)) if private == *last + 1 => *last = private,
            Some(group) => {
                shown.push(group_text(group));
                (group.1, group.2) = (private, private);
            }
            None => groups.push((key, private, private)),
        }
    }
    shown.extend(groups.iter().map(group_text));
    shown.extend(mapped);
    shown.join(", ")
}

/// `80-81/tcp`, or with an address `0.0.0.0:80-81->80-81/tcp`.
fn group_text((key, first, last): &(String, u64, u64)) -> String {
    let span = match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    match key.rsplit_once('/') {
        Some((place, kind)) => format!("{place}:{span}->{span}/{kind}"),
        None => format!("{span}/{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_a_row_become_a_range() {
        let port = |ip: &str, private: u64, public: u64| json!({"IP": ip, "PrivatePort": private, "PublicPort": public, "Type": "tcp"});
        assert_eq!(
            ports(&json!([port("127.0.0.1", 80, 8111), {"PrivatePort": 443, "Type": "tcp"}])),
            "443/tcp, 127.0.0.1:8111->80/tcp"
        );
        assert_eq!(
            ports(&json!([
                port("0.0.0.0", 80, 80),
                port("0.0.0.0", 81, 81),
                port("::", 80, 8000)
            ])),
            "0.0.0.0:80-81->80-81/tcp, [::]:8000->80/tcp"
        );
    }
}
