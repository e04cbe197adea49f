//! `service inspect`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pretty::describe;
use crate::client::{escape, url};
use crate::cmd::objects::{Shown, inspect, text};
use crate::context::Context;
use crate::error::{CliError, join};
use crate::grammar::Matches;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let format = matches.text("format");
    if matches.flag("pretty") {
        if !format.is_empty() {
            return Err(CliError::new(
                "--format is incompatible with human friendly format",
            ));
        }
        return pretty(context, matches).await;
    }
    let format = if format.is_empty() {
        context.setting("serviceInspectFormat").unwrap_or_default()
    } else {
        format
    };
    let format = format.strip_prefix("raw").unwrap_or(format);
    let shown = Shown::of_swarm(|_| "swarm.Service", false);
    inspect(matches.args(), format, shown, |name| find(context, name)).await
}

async fn find(context: &Context, name: &str) -> Result<Value, CliError> {
    let path = url(
        &format!("/services/{}", escape(name)),
        &[("insertDefaults", "true")],
    );
    context
        .client
        .get(&path)
        .await
        .map_err(|error| match error.is_not_found() {
            true => CliError::new(format!("Error: no such service: {name}")),
            false => error,
        })
}

async fn pretty(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let networks = context.client.get("/networks").await?;
    let networks: BTreeMap<String, String> = networks
        .as_array()
        .into_iter()
        .flatten()
        .map(|network| {
            (
                text(network, "/Id").to_owned(),
                text(network, "/Name").to_owned(),
            )
        })
        .collect();
    let mut errors = Vec::new();
    for name in matches.args() {
        match find(context, name).await {
            Ok(service) => print!("{}", describe(&service, &networks)),
            Err(error) => errors.push(error),
        }
    }
    join(errors)
}
