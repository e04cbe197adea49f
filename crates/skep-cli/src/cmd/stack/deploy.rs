//! `stack deploy`.

use std::time::Duration;

use serde_json::Value;

use super::remove::list;
use super::services::{Deployment, Resolve};
use super::{checked_name, files, load_options, of_stack, plan, prune};
use crate::client::escape;
use crate::cmd::objects::text;
use crate::cmd::service::wait;
use crate::compose::{Stack, convert, load};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = checked_name(matches.arg(0))?;
    let loaded = load(&load_options(matches)?)?;
    let quiet = matches.flag("quiet");
    loaded
        .warnings
        .iter()
        .for_each(|warning| eprintln!("{warning}"));
    let resolve = Resolve::from_flag(matches.text("resolve-image"))?;
    let is_dry = matches.flag("dry-run");
    if !matches.given("detach") && !quiet && !is_dry {
        eprintln!(
            "Since --detach=false was not specified, tasks will be created in the background.\nIn a future release, --detach=false will become the default."
        );
    }
    let stack = convert(&loaded, name)?;
    manager_only(context).await?;
    external_networks(context, &stack).await?;
    if is_dry {
        let changes = plan::make(context, name, &stack, matches.flag("prune")).await?;
        changes.iter().for_each(|change| println!("{change}"));
        return Ok(());
    }
    if matches.flag("prune") {
        prune::services(context, name, &stack).await?;
    }
    create_networks(context, name, &stack).await?;
    let deployment = Deployment {
        context,
        stack: name,
        resolve,
        with_auth: matches.flag("with-registry-auth"),
        quiet,
        patience: Duration::from_nanos(
            matches
                .duration("wait-timeout")
                .and_then(|nanos| u64::try_from(nanos).ok())
                .unwrap_or(300_000_000_000),
        ),
        secrets: files::deploy(context, "secret", &stack.secrets).await?,
        configs: files::deploy(context, "config", &stack.configs).await?,
    };
    let deployed = deployment.services(&stack).await?;
    if !matches.flag("detach") {
        for (id, name) in &deployed {
            wait(context, id, name, quiet).await?;
        }
    }
    prune::superseded(context, &deployment).await?;
    if matches.flag("prune") {
        prune::others(context, name, &stack).await?;
    }
    Ok(())
}

async fn manager_only(context: &Context) -> Result<(), CliError> {
    let info = context.client.get("/info").await?;
    if info["Swarm"]["ControlAvailable"] == true {
        return Ok(());
    }
    Err(CliError::new(
        "this node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again",
    ))
}

async fn external_networks(context: &Context, stack: &Stack) -> Result<(), CliError> {
    for name in &stack.external_networks {
        let network = match context
            .client
            .get(&format!("/networks/{}", escape(name)))
            .await
        {
            Ok(network) => network,
            Err(error) if error.is_not_found() => {
                return Err(CliError::new(format!(
                    "network \"{name}\" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed"
                )));
            }
            Err(error) => return Err(error),
        };
        let scope = text(&network, "/Scope");
        if scope != "swarm" {
            return Err(CliError::new(format!(
                "network \"{name}\" is declared as external, but it is not in the right scope: \"{scope}\" instead of \"swarm\""
            )));
        }
    }
    Ok(())
}

async fn create_networks(context: &Context, name: &str, stack: &Stack) -> Result<(), CliError> {
    let known = list(context, "/networks", &of_stack(name)).await?;
    for body in &stack.networks {
        let name = text(body, "/Name");
        if known.iter().any(|network| text(network, "/Name") == name) {
            continue;
        }
        println!("Creating network {name}");
        create_network(context, body).await.map_err(|error| {
            CliError::new(format!(
                "failed to create network {name}: {}",
                error.message
            ))
        })?;
    }
    Ok(())
}

async fn create_network(context: &Context, body: &Value) -> Result<Value, CliError> {
    context.client.post("/networks/create", body).await
}
