//! `system df`: what takes how much of the disk.

use serde_json::{Value, json};

use crate::cmd::container::item as container_item;
use crate::cmd::image::items_of;
use crate::cmd::objects::text;
use crate::cmd::volume::item as volume_item;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{
    Format, Item, List, Row, Template, ago, bytes_decimal, bytes_decimal_to, local_text,
};

const LIST: List<'_> = List {
    kind: "*formatter.diskUsageImagesContext",
    columns: &[
        ("TYPE", "Type"),
        ("TOTAL", "TotalCount"),
        ("ACTIVE", "Active"),
        ("SIZE", "Size"),
        ("RECLAIMABLE", "Reclaimable"),
    ],
    heads: &[],
    raw: &[
        ("type", "Type"),
        ("total", "TotalCount"),
        ("active", "Active"),
        ("size", "Size"),
        ("reclaimable", "Reclaimable"),
    ],
};

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let usage = context.client.get("/system/df").await?;
    let format = Format::read(matches.text("format"));
    if matches.flag("verbose") {
        return verbose(&usage, &format);
    }
    LIST.print(
        &format,
        &[
            images(&usage),
            containers(&usage),
            volumes(&usage),
            builds(&usage),
        ],
    )
}

fn all<'a>(usage: &'a Value, field: &str) -> &'a [Value] {
    usage[field].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or(0.0)
}

/// One line of the summary; `share` tells how much of the whole could go.
fn summary(kind: &str, total: usize, active: usize, size: f64, free: f64, share: bool) -> Item {
    // The sum of nothing is a negative zero.
    let (size, free) = (size + 0.0, free + 0.0);
    let percent = if size > 0.0 { free * 100.0 / size } else { 0.0 };
    let reclaimable = match share && size > 0.0 {
        true => format!("{} ({}%)", bytes_decimal(free), percent.trunc()),
        false => bytes_decimal(free),
    };
    let row = Row::from([
        ("Type", kind.to_owned()),
        ("TotalCount", total.to_string()),
        ("Active", active.to_string()),
        ("Size", bytes_decimal(size)),
        ("Reclaimable", reclaimable),
    ]);
    Item::new(row, &Value::Null)
}

/// Layers are told once, however many images share them.
fn images(usage: &Value) -> Item {
    let all = all(usage, "Images");
    let size = number(usage, "/LayersSize");
    let is_used = |image: &&Value| number(image, "/Containers") > 0.0;
    let used: f64 = all
        .iter()
        .filter(is_used)
        .filter(|image| number(image, "/Size") >= 0.0 && number(image, "/SharedSize") >= 0.0)
        .map(|image| number(image, "/Size") - number(image, "/SharedSize"))
        .sum();
    summary(
        "Images",
        all.len(),
        all.iter().filter(is_used).count(),
        size,
        size - used,
        true,
    )
}

fn containers(usage: &Value) -> Item {
    let all = all(usage, "Containers");
    let is_active = |one: &&Value| {
        let state = text(one, "/State");
        ["running", "paused", "restarting"]
            .iter()
            .any(|active| state.contains(active))
    };
    let size = all.iter().map(|one| number(one, "/SizeRw")).sum();
    let free = all
        .iter()
        .filter(|one| !is_active(one))
        .map(|one| number(one, "/SizeRw"))
        .sum();
    summary(
        "Containers",
        all.len(),
        all.iter().filter(is_active).count(),
        size,
        free,
        true,
    )
}

fn volumes(usage: &Value) -> Item {
    let all = all(usage, "Volumes");
    let is_active = |one: &&Value| number(one, "/UsageData/RefCount") > 0.0;
    let size_of = |one: &Value| number(one, "/UsageData/Size").max(0.0);
    let size = all.iter().map(size_of).sum();
    let free = all.iter().filter(|one| !is_active(one)).map(size_of).sum();
    summary(
        "Local Volumes",
        all.len(),
        all.iter().filter(is_active).count(),
        size,
        free,
        true,
    )
}

/// What a build shares with images is told there.
fn builds(usage: &Value) -> Item {
    let all = all(usage, "BuildCache");
    let own = || all.iter().filter(|one| one["Shared"] != true);
    let size = own().map(|one| number(one, "/Size")).sum();
    let free = own()
        .filter(|one| one["InUse"] != true)
        .map(|one| number(one, "/Size"))
        .sum();
    let active = all.iter().filter(|one| one["InUse"] == true).count();
    summary("Build Cache", all.len(), active, size, free, false)
}

fn verbose(usage: &Value, format: &Format) -> Result<(), CliError> {
    let tables = matches!(format, Format::Table);
    let images: Vec<Item> = all(usage, "Images")
        .iter()
        // An image has one line, whatever else it is called.
        .filter_map(|image| items_of(image, !tables, false).into_iter().next())
        .collect();
    let containers: Vec<Item> = all(usage, "Containers")
        .iter()
        .map(|one| own_size(container_item(one, !tables)))
        .collect();
    let volumes: Vec<Item> = all(usage, "Volumes").iter().map(volume_item).collect();
    let builds: Vec<Item> = all(usage, "BuildCache")
        .iter()
        .map(|one| build_item(one, !tables))
        .collect();
    let objects = |items: &[Item]| Value::Array(items.iter().map(Item::sorted).collect());
    match format {
        Format::Table => {
            let size = builds_size(usage);
            print_tables(&[images, containers, volumes, builds], &size)
        }
        Format::Json | Format::Template(_) | Format::TableOf(_) | Format::Raw => {
            let mut object = json!({
                "Images": objects(&images), "Containers": objects(&containers),
                "Volumes": objects(&volumes), "BuildCache": objects(&builds),
            });
            for image in object["Images"].as_array_mut().into_iter().flatten() {
                // Here, Docker tells no digest.
                image["Digest"] = "".into();
            }
            match format.template() {
                None => println!("{}", crate::output::escaped_json(&object)),
                Some(template) => {
                    let bad = |error| CliError::new(format!("template parsing error: {error}"));
                    let template = Template::compile(template).map_err(bad)?;
                    print!(
                        "{}",
                        template
                            .render_as(&object, "*formatter.DiskUsageContext")
                            .map_err(bad)?
                    );
                }
            }
            Ok(())
        }
    }
}

/// A container without the size of its image, which others share.
fn own_size(item: Item) -> Item {
    let size = item.text("Size");
    let own = size.split(" (").next().unwrap_or(&size).to_owned();
    item.with("Size", own.into())
}

fn builds_size(usage: &Value) -> String {
    let own = all(usage, "BuildCache")
        .iter()
        .filter(|one| one["Shared"] != true);
    bytes_decimal(own.map(|one| number(one, "/Size")).sum::<f64>() + 0.0)
}

fn build_item(one: &Value, full: bool) -> Item {
    let id: String = match full {
        true => text(one, "/ID").to_owned(),
        false => text(one, "/ID").chars().take(12).collect(),
    };
    let row = Row::from([
        ("ID", id),
        ("CacheType", text(one, "/Type").to_owned()),
        ("Description", text(one, "/Description").to_owned()),
        ("Parent", text(one, "/Parent").to_owned()),
        ("Size", bytes_decimal_to(number(one, "/Size"), 3)),
        ("CreatedAt", local_text(text(one, "/CreatedAt"))),
        ("CreatedSince", ago(text(one, "/CreatedAt"))),
        ("LastUsedAt", local_text(text(one, "/LastUsedAt"))),
        ("LastUsedSince", ago(text(one, "/LastUsedAt"))),
        ("UsageCount", format!("{:.0}", number(one, "/UsageCount"))),
        ("InUse", (one["InUse"] == true).to_string()),
        ("Shared", (one["Shared"] == true).to_string()),
    ]);
    Item::new(row, &Value::Null)
}

fn print_tables(
    [images, containers, volumes, builds]: &[Vec<Item>; 4],
    build_size: &str,
) -> Result<(), CliError> {
    let table = |columns: &[(&str, &str)], items: &[Item]| {
        let list = List { columns, ..LIST };
        list.print(&Format::Table, items)
    };
    println!("Images space usage:\n");
    table(
        &[
            ("REPOSITORY", "Repository"),
            ("TAG", "Tag"),
            ("IMAGE ID", "ID"),
            ("CREATED", "CreatedSince"),
            ("SIZE", "Size"),
            ("SHARED SIZE", "SharedSize"),
            ("UNIQUE SIZE", "UniqueSize"),
            ("CONTAINERS", "Containers"),
        ],
        images,
    )?;
    println!("\nContainers space usage:\n");
    table(
        &[
            ("CONTAINER ID", "ID"),
            ("IMAGE", "Image"),
            ("COMMAND", "Command"),
            ("LOCAL VOLUMES", "LocalVolumes"),
            ("SIZE", "Size"),
            ("CREATED", "RunningFor"),
            ("STATUS", "Status"),
            ("NAMES", "Names"),
        ],
        containers,
    )?;
    println!("\nLocal Volumes space usage:\n");
    table(
        &[
            ("VOLUME NAME", "Name"),
            ("LINKS", "Links"),
            ("SIZE", "Size"),
        ],
        volumes,
    )?;
    println!("\nBuild cache usage: {build_size}\n");
    table(
        &[
            ("CACHE ID", "ID"),
            ("CACHE TYPE", "CacheType"),
            ("SIZE", "Size"),
            ("CREATED", "CreatedSince"),
            ("LAST USED", "LastUsedSince"),
            ("USAGE", "UsageCount"),
            ("SHARED", "Shared"),
        ],
        builds,
    )
}
