//! `volume`: volumes of this host.

use serde_json::{Value, json};

use super::many::{self, Listing};
use super::objects::{Shown, label_text, text};
use crate::client::{escape, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::opts::{labels, map_from};
use crate::output::{Format, Item, List, Row, bytes_decimal};

const CREATE: &str = "
-d, --driver string=local
--availability string=active @1.42
--group string @1.42
--label list
--limit-bytes bytes=0 @1.42
--name string @hidden
-o, --opt map
--required-bytes bytes=0 @1.42
--scope string=single @1.42
--secret map @1.42
--sharing string=none @1.42
--topology-preferred list @1.42
--topology-required list @1.42
--type string=block @1.42";

pub(super) const COMMANDS: &[Command] = &[
    command(
        "volume create",
        &[],
        "[OPTIONS] [VOLUME]",
        "Create a volume",
        Arity::AtMost(1),
        CREATE,
        |c, m| Box::pin(create(c, m)),
    ),
    command(
        "volume ls",
        &["volume list"],
        "[OPTIONS]",
        "List volumes",
        Arity::None,
        "--cluster @1.42\n-f, --filter filter\n--format string\n-q, --quiet",
        |c, m| Box::pin(ls(c, m)),
    ),
    command(
        "volume inspect",
        &[],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Display detailed information on one or more volumes",
        Arity::AtLeast(1),
        "-f, --format string",
        |c, m| Box::pin(show(c, m)),
    ),
    command(
        "volume rm",
        &["volume remove"],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Remove one or more volumes",
        Arity::AtLeast(1),
        "-f, --force",
        |c, m| Box::pin(rm(c, m)),
    ),
    command(
        "volume prune",
        &[],
        "[OPTIONS]",
        "Remove unused local volumes",
        Arity::None,
        "-a, --all\n--filter filter\n-f, --force",
        |c, m| Box::pin(super::prune::volumes(c, m)),
    ),
    command(
        "volume update",
        &[],
        "[OPTIONS] [VOLUME]",
        "Update a volume (cluster volumes only)",
        Arity::Exactly(1),
        "--availability string=active @1.42",
        |c, m| Box::pin(update(c, m)),
    ),
];

async fn create(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = match (matches.arg(0), matches.given_text("name")) {
        (_, None) => matches.arg(0),
        ("", Some(name)) => name,
        _ => {
            return Err(CliError::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
    };
    let mut body = json!({"Driver": matches.text("driver")});
    if !name.is_empty() {
        body["Name"] = name.into();
    }
    for (flag, field) in [("opt", "DriverOpts"), ("label", "Labels")] {
        let map = if flag == "opt" {
            map_from(matches.list(flag))
        } else {
            labels(&[], matches.list(flag))?
        };
        if !map.is_empty() {
            body[field] = Value::Object(map);
        }
    }
    if let Some(spec) = cluster_spec(matches) {
        body["ClusterVolumeSpec"] = spec;
    }
    let answer = context.client.post("/volumes/create", &body).await?;
    println!("{}", text(&answer, "/Name"));
    Ok(())
}

/// What a volume of the cluster is to be, where a flag asks for one.
fn cluster_spec(matches: &Matches) -> Option<Value> {
    const FLAGS: [&str; 7] = [
        "group",
        "scope",
        "sharing",
        "availability",
        "type",
        "limit-bytes",
        "required-bytes",
    ];
    if !FLAGS.iter().any(|flag| matches.given(flag)) {
        return None;
    }
    let mut mode = json!({"Scope": matches.text("scope"), "Sharing": matches.text("sharing")});
    match matches.text("type") {
        "mount" => mode["MountVolume"] = json!({}),
        "block" => mode["BlockVolume"] = json!({}),
        _ => {}
    }
    let mut spec = json!({
        "AccessMode": mode, "Availability": matches.text("availability"),
        "CapacityRange": {
            "RequiredBytes": matches.bytes("required-bytes").unwrap_or(0),
            "LimitBytes": matches.bytes("limit-bytes").unwrap_or(0),
        },
        "AccessibilityRequirements": {},
    });
    if matches.given("group") {
        spec["Group"] = matches.text("group").into();
    }
    let mut secrets: Vec<Value> = map_from(matches.list("secret"))
        .into_iter()
        .map(|(key, secret)| json!({"Key": key, "Secret": secret}))
        .collect();
    secrets.sort_by(|a, b| text(a, "/Key").cmp(text(b, "/Key")));
    if !secrets.is_empty() {
        spec["Secrets"] = secrets.into();
    }
    for (flag, field) in [
        ("topology-required", "Requisite"),
        ("topology-preferred", "Preferred"),
    ] {
        let topologies: Vec<Value> = matches
            .list(flag)
            .iter()
            .map(|list| {
                let segments: Vec<String> = list.split(',').map(str::to_owned).collect();
                json!({"Segments": map_from(&segments)})
            })
            .collect();
        if !topologies.is_empty() {
            spec["AccessibilityRequirements"][field] = topologies.into();
        }
    }
    Some(spec)
}

const LIST: List<'_> = List {
    kind: "*formatter.volumeContext",
    columns: &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")],
    heads: &[("LINKS", "Links"), ("SIZE", "Size")],
    raw: &[("name", "Name"), ("driver", "Driver")],
};

const LISTING: Listing<'_> = Listing {
    path: "/volumes",
    field: "Volumes",
    setting: "volumesFormat",
    list: LIST,
    quiet: |volume, _| text(volume, "/Name").to_owned(),
    item: |volume, _| item(volume),
};

/// A volume as lists tell it.
pub(super) fn item(volume: &Value) -> Item {
    let cluster = volume["ClusterVolume"].as_object();
    let spec = |field: &str| match cluster {
        Some(cluster) => cluster["Spec"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        None => "N/A".to_owned(),
    };
    let usage = volume["UsageData"].as_object();
    let number = |field: &str| {
        usage
            .and_then(|usage| usage.get(field))
            .and_then(Value::as_f64)
    };
    let row = Row::from([
        ("Driver", text(volume, "/Driver").to_owned()),
        ("Name", text(volume, "/Name").to_owned()),
        ("Labels", label_text(&volume["Labels"])),
        ("Mountpoint", text(volume, "/Mountpoint").to_owned()),
        ("Scope", text(volume, "/Scope").to_owned()),
        (
            "Links",
            number("RefCount").map_or_else(|| "N/A".to_owned(), |count| format!("{count:.0}")),
        ),
        (
            "Size",
            number("Size").map_or_else(|| "N/A".to_owned(), bytes_decimal),
        ),
        ("Group", spec("Group")),
        ("Availability", spec("Availability")),
        ("Status", cluster_status(volume)),
    ]);
    Item::new(row, &volume["Labels"])
}

fn cluster_status(volume: &Value) -> String {
    let Some(cluster) = volume
        .get("ClusterVolume")
        .filter(|cluster| cluster.is_object())
    else {
        return "N/A".to_owned();
    };
    if text(cluster, "/Info/VolumeID").is_empty() {
        return "pending creation".to_owned();
    }
    let published = cluster["PublishStatus"].as_array().into_iter().flatten();
    let (mut here, mut pending) = (0, 0);
    for status in published {
        match text(status, "/State") {
            "published" => here += 1,
            _ => pending += 1,
        }
    }
    match (here, pending) {
        (0, 0) => "created".to_owned(),
        (here, 0) => format!("in use ({here} node{})", if here == 1 { "" } else { "s" }),
        _ => format!("in use ({here}/{})", here + pending),
    }
}

async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    if !matches.flag("cluster") {
        return many::list(context, matches, &LISTING).await;
    }
    let all = many::found(context, "/volumes", "Volumes", matches.list("filter")).await?;
    let items: Vec<Item> = all
        .iter()
        .filter(|volume| volume["ClusterVolume"].is_object())
        .map(item)
        .collect();
    let columns = [
        ("VOLUME NAME", "Name"),
        ("GROUP", "Group"),
        ("DRIVER", "Driver"),
        ("AVAILABILITY", "Availability"),
        ("STATUS", "Status"),
    ];
    let list = List {
        columns: &columns,
        ..LIST
    };
    list.print(&Format::read(matches.text("format")), &items)
}

async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let shown = Shown::of_host(|_| "volume.Volume", false);
    many::show(context, matches, "/volumes", &[], shown).await
}

async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let force = if matches.flag("force") { "1" } else { "" };
    many::remove(context, matches.args(), "/volumes", &[("force", force)]).await
}

async fn update(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = format!("/volumes/{}", escape(matches.arg(0)));
    let mut volume = context.client.get(&path).await?;
    if !volume["ClusterVolume"].is_object() {
        return Err(CliError::new("can only update cluster volumes"));
    }
    if let Some(availability) = matches.given_text("availability") {
        volume["ClusterVolume"]["Spec"]["Availability"] = availability.into();
    }
    let version = volume["ClusterVolume"]["Version"]["Index"]
        .as_u64()
        .unwrap_or(0)
        .to_string();
    let body = json!({"Spec": volume["ClusterVolume"]["Spec"]});
    let path = url(&path, &[("version", &version)]);
    context
        .client
        .json(http::Method::PUT, &path, Some(&body))
        .await
        .map(drop)
}
