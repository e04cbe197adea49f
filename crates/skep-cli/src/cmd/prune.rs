//! `prune` of every noun, and of all at once: what goes, the question, what is gone.

use serde_json::Value;

use super::objects::{confirmed, text};
use crate::client::{filters, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::bytes_decimal;

const QUESTION: &str = "Are you sure you want to continue?";

/// What was removed, and how many bytes that freed.
#[derive(Debug, Default)]
struct Gone {
    title: &'static str,
    lines: Vec<String>,
    bytes: f64,
}

impl Gone {
    fn print(&self) {
        if !self.lines.is_empty() {
            println!("{}:\n{}\n", self.title, self.lines.join("\n"));
        }
    }
}

/// The filters that the user gave, and those of `config.json` that do not contradict them.
fn all_filters(context: &Context, matches: &Matches) -> Vec<String> {
    let mut all = matches.list("filter").to_vec();
    let settled = context.config["pruneFilters"]
        .as_array()
        .into_iter()
        .flatten();
    for filter in settled.filter_map(Value::as_str) {
        let opposite = match filter.split_once('=') {
            Some(("label", value)) => format!("label!={value}"),
            Some(("label!", value)) => format!("label={value}"),
            _ => String::new(),
        };
        if !all.contains(&opposite) && !all.iter().any(|given| given == filter) {
            all.push(filter.to_owned());
        }
    }
    all
}

fn may_go_on(matches: &Matches, warning: &str) -> Result<bool, CliError> {
    Ok(matches.flag("force") || confirmed(&format!("{warning}\n{QUESTION}"))?)
}

/// Asks a noun's daemon side to prune.
async fn prune(
    context: &Context,
    path: &str,
    given: &[String],
    field: &str,
    title: &'static str,
) -> Result<Gone, CliError> {
    let query = filters(given)?;
    let answer = context
        .client
        .post_empty(&url(path, &[("filters", &query)]))
        .await?;
    let line = |gone: &Value| match gone {
        Value::String(name) => name.clone(),
        gone => match gone["Untagged"].as_str() {
            Some(name) => format!("untagged: {name}"),
            None => format!("deleted: {}", text(gone, "/Deleted")),
        },
    };
    Ok(Gone {
        title,
        lines: answer[field]
            .as_array()
            .into_iter()
            .flatten()
            .map(line)
            .collect(),
        bytes: answer["SpaceReclaimed"].as_f64().unwrap_or(0.0),
    })
}

fn tell_total(bytes: f64) {
    println!("Total reclaimed space: {}", bytes_decimal(bytes));
}

async fn prune_containers(context: &Context, given: &[String]) -> Result<Gone, CliError> {
    prune(
        context,
        "/containers/prune",
        given,
        "ContainersDeleted",
        "Deleted Containers",
    )
    .await
}

async fn prune_networks(context: &Context, given: &[String]) -> Result<Gone, CliError> {
    prune(
        context,
        "/networks/prune",
        given,
        "NetworksDeleted",
        "Deleted Networks",
    )
    .await
}

async fn prune_volumes(context: &Context, given: &[String]) -> Result<Gone, CliError> {
    prune(
        context,
        "/volumes/prune",
        given,
        "VolumesDeleted",
        "Deleted Volumes",
    )
    .await
}

async fn prune_images(context: &Context, given: &[String], all: bool) -> Result<Gone, CliError> {
    let given = [given, &[format!("dangling={}", !all)]].concat();
    prune(
        context,
        "/images/prune",
        &given,
        "ImagesDeleted",
        "Deleted Images",
    )
    .await
}

/// A daemon that does not build has no cache of builds.
async fn prune_builds(context: &Context, given: &[String], all: bool) -> Result<Gone, CliError> {
    let query = filters(given)?;
    let all = if all { "all=1&" } else { "" };
    let path = format!(
        "/build/prune?{all}filters={}",
        crate::client::escape_query(&query)
    );
    match context.client.post_empty(&path).await {
        Err(error) if matches!(error.status, Some(404 | 501)) => Ok(Gone::default()),
        answer => {
            let answer = answer?;
            let names = answer["CachesDeleted"].as_array().into_iter().flatten();
            Ok(Gone {
                title: "Deleted build cache objects",
                lines: names.filter_map(Value::as_str).map(str::to_owned).collect(),
                bytes: answer["SpaceReclaimed"].as_f64().unwrap_or(0.0),
            })
        }
    }
}

pub(super) async fn containers(context: &Context, matches: &Matches) -> Result<(), CliError> {
    if !may_go_on(matches, "WARNING! This will remove all stopped containers.")? {
        return Ok(());
    }
    let gone = prune_containers(context, &all_filters(context, matches)).await?;
    gone.print();
    tell_total(gone.bytes);
    Ok(())
}

pub(super) async fn images(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let all = matches.flag("all");
    let what = match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !may_go_on(matches, &format!("WARNING! This will remove {what}."))? {
        return Ok(());
    }
    let gone = prune_images(context, &all_filters(context, matches), all).await?;
    gone.print();
    tell_total(gone.bytes);
    Ok(())
}

pub(super) async fn networks(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let warning =
        "WARNING! This will remove all custom networks not used by at least one container.";
    if !may_go_on(matches, warning)? {
        return Ok(());
    }
    prune_networks(context, &all_filters(context, matches))
        .await?
        .print();
    Ok(())
}

pub(super) async fn volumes(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let all = matches.flag("all");
    let mut given = all_filters(context, matches);
    if all && given.iter().any(|filter| filter.starts_with("all=")) {
        return Err(CliError::new(
            "conflicting options: cannot specify both --all and --filter all=1",
        ));
    }
    // Older daemons have no anonymous ones among theirs: there, all is what there is.
    let knows_all = !crate::gate::older(&context.client.version().await?, "1.42");
    if all && !knows_all {
        return Err(CliError::new(format!(
            "\"--all\" requires API version 1.42, but the Docker daemon API version is {}",
            context.client.version().await?
        )));
    }
    let what = match all || !knows_all {
        true => "local volumes",
        false => "anonymous local volumes",
    };
    let warning = format!("WARNING! This will remove {what} not used by at least one container.");
    let warning = match all {
        true => warning.replace("local volumes", "all local volumes"),
        false => warning,
    };
    if !may_go_on(matches, &warning)? {
        return Ok(());
    }
    if all {
        given.push("all=true".to_owned());
    }
    let gone = prune_volumes(context, &given).await?;
    gone.print();
    tell_total(gone.bytes);
    Ok(())
}

pub(super) async fn builds(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let all = matches.flag("all");
    let warning = match all {
        true => "WARNING! This will remove all build cache.",
        false => "WARNING! This will remove all dangling build cache.",
    };
    if !may_go_on(matches, warning)? {
        return Ok(());
    }
    let gone = prune_builds(context, &all_filters(context, matches), all).await?;
    gone.print();
    tell_total(gone.bytes);
    Ok(())
}

/// `system prune`.
pub(super) async fn system(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (all, with_volumes) = (matches.flag("all"), matches.flag("volumes"));
    let given = all_filters(context, matches);
    if with_volumes && given.iter().any(|filter| filter.starts_with("until=")) {
        return Err(CliError::new(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    if !may_go_on(matches, &system_warning(all, with_volumes, &given))? {
        return Ok(());
    }
    let mut bytes = 0.0;
    let mut tell = |gone: Gone| {
        gone.print();
        bytes += gone.bytes;
    };
    tell(prune_containers(context, &given).await?);
    tell(prune_networks(context, &given).await?);
    if with_volumes {
        tell(prune_volumes(context, &given).await?);
    }
    tell(prune_images(context, &given, all).await?);
    tell(prune_builds(context, &given, all).await?);
    tell_total(bytes);
    Ok(())
}

fn system_warning(all: bool, volumes: bool, given: &[String]) -> String {
    let mut lines = vec![
        "WARNING! This will remove:",
        "  - all stopped containers",
        "  - all networks not used by at least one container",
    ];
    if volumes {
        lines.push("  - all anonymous volumes not used by at least one container");
    }
    lines.extend(match all {
        true => [
            "  - all images without at least one container associated to them",
            "  - all build cache",
        ],
        false => ["  - all dangling images", "  - unused build cache"],
    });
    let mut text = lines.join("\n") + "\n";
    if !given.is_empty() {
        let mut given = given.to_vec();
        given.sort();
        text += "\n  Items to be pruned will be filtered with:\n";
        text += &given
            .iter()
            .map(|filter| format!("  - {filter}\n"))
            .collect::<String>();
    }
    text
}
