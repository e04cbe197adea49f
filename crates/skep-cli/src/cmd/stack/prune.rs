//! What a stack no longer has.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::of_stack;
use super::remove::{list, sorted};
use super::services::Deployment;
use crate::cmd::objects::text;
use crate::cmd::versions;
use crate::compose::Stack;
use crate::context::Context;
use crate::error::CliError;

/// How long tasks of removed services may hold on to a network.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts: nothing tells when the last task let go.
const PAUSE: Duration = Duration::from_millis(200);

/// Services of the stack that the file does not have, before others are made.
pub(super) async fn services(context: &Context, name: &str, stack: &Stack) -> Result<(), CliError> {
    for service in sorted(list(context, "/services", &of_stack(name)).await?) {
        let known = text(&service, "/Spec/Name");
        if stack.services.iter().all(|spec| spec["Name"] != known) {
            println!("Removing service {known}");
            let id = text(&service, "/ID");
            context.client.delete(&format!("/services/{id}")).await?;
        }
    }
    Ok(())
}

/// Versions of the stack's secrets and configs that nothing refers to any more.
pub(super) async fn superseded(
    context: &Context,
    deployment: &Deployment<'_>,
) -> Result<(), CliError> {
    for (kind, objects) in [
        ("secret", &deployment.secrets),
        ("config", &deployment.configs),
    ] {
        for (name, version) in objects {
            if version.number > 1 {
                versions::remove_superseded(context, kind, name).await?;
            }
        }
    }
    Ok(())
}

/// Secrets, configs and networks of the stack that the file does not have.
pub(super) async fn others(context: &Context, name: &str, stack: &Stack) -> Result<(), CliError> {
    for (kind, object) in unwanted(context, name, stack).await? {
        let (id, shown) = match kind {
            "network" => (text(&object, "/Id"), text(&object, "/Name")),
            _ => (text(&object, "/ID"), text(&object, "/Spec/Name")),
        };
        println!("Removing {kind} {shown}");
        remove(context, kind, id).await.map_err(|error| {
            CliError::new(format!(
                "failed to remove {kind} {shown}: {}",
                error.message
            ))
        })?;
    }
    Ok(())
}

/// Objects of the stack, but for services, that the file does not have.
pub(super) async fn unwanted(
    context: &Context,
    name: &str,
    stack: &Stack,
) -> Result<Vec<(&'static str, Value)>, CliError> {
    let filter = of_stack(name);
    let has = |bodies: &[Value], name: &str| bodies.iter().any(|body| body["Name"] == name);
    let mut all = Vec::new();
    for (kind, bodies) in [("secret", &stack.secrets), ("config", &stack.configs)] {
        for object in list(context, &format!("/{kind}s"), &filter).await? {
            if !has(bodies, versions::known_name(&object)) {
                all.push((kind, object));
            }
        }
    }
    for network in list(context, "/networks", &filter).await? {
        if !has(&stack.networks, text(&network, "/Name")) {
            all.push(("network", network));
        }
    }
    Ok(all)
}

/// A network stays in use until the last task of a removed service has ended.
async fn remove(context: &Context, kind: &str, id: &str) -> Result<(), CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match context.client.delete(&format!("/{kind}s/{id}")).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error)
                if kind == "network"
                    && error.message.contains("in use")
                    && Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
