//! `stack rm`.

use serde_json::Value;

use super::{checked_name, of_stack};
use crate::client::url;
use crate::cmd::objects::{each, text};
use crate::context::Context;
use crate::error::{CliError, join};
use crate::grammar::Matches;
use crate::output::natural_cmp;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let detach = matches.flag("detach");
    each(matches.args(), |name| async move {
        checked_name(name)?;
        remove(context, name).await?;
        if !detach {
            await_tasks(context, name).await?;
        }
        Ok(())
    })
    .await
}

async fn remove(context: &Context, stack: &str) -> Result<(), CliError> {
    let filter = of_stack(stack);
    let services = sorted(list(context, "/services", &filter).await?);
    let secrets = list(context, "/secrets", &filter).await?;
    let configs = list(context, "/configs", &filter).await?;
    let networks = list(context, "/networks", &filter).await?;
    if [&services, &secrets, &configs, &networks]
        .iter()
        .all(|objects| objects.is_empty())
    {
        eprintln!("Nothing found in stack: {stack}");
        return Ok(());
    }
    let mut errors = Vec::new();
    for (kind, path, objects) in [
        ("service", "/services", services),
        ("secret", "/secrets", secrets),
        ("config", "/configs", configs),
        ("network", "/networks", networks),
    ] {
        for object in objects {
            let (id, name) = match kind {
                "network" => (text(&object, "/Id"), text(&object, "/Name")),
                _ => (text(&object, "/ID"), text(&object, "/Spec/Name")),
            };
            println!("Removing {kind} {name}");
            match context.client.delete(&format!("{path}/{id}")).await {
                Err(error) if !error.is_not_found() => {
                    errors.push(CliError::new(format!(
                        "failed to remove {kind} {id}: {}",
                        error.message
                    )));
                }
                _ => {}
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    join(errors).map_err(|error| {
        CliError::new(format!(
            "{}\nFailed to remove some resources from stack: {stack}",
            error.message
        ))
    })
}

/// Services by name.
pub(super) fn sorted(mut services: Vec<Value>) -> Vec<Value> {
    services.sort_by(|a, b| natural_cmp(text(a, "/Spec/Name"), text(b, "/Spec/Name")));
    services
}

pub(super) async fn list(
    context: &Context,
    path: &str,
    filter: &str,
) -> Result<Vec<Value>, CliError> {
    match context
        .client
        .get(&url(path, &[("filters", filter)]))
        .await?
    {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// Waits until no task of the stack is left to end. The API has no stream of this.
async fn await_tasks(context: &Context, stack: &str) -> Result<(), CliError> {
    loop {
        let tasks = list(context, "/tasks", &of_stack(stack)).await?;
        let ended = [
            "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
        ];
        if tasks
            .iter()
            .all(|task| ended.contains(&text(task, "/Status/State")))
        {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
