//! `stack deploy --dry-run`: what a deployment would do.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::remove::{list, sorted};
use super::{differences, of_stack, prune};
use crate::cmd::objects::text;
use crate::cmd::versions;
use crate::compose::Stack;
use crate::context::Context;
use crate::error::CliError;

/// One object, and what would become of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    verb: &'static str,
    kind: &'static str,
    name: String,
    why: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} {:<7} {}", self.verb, self.kind, self.name)?;
        if self.why.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.why)
        }
    }
}

fn change(verb: &'static str, kind: &'static str, name: &str, why: &str) -> Change {
    Change {
        verb,
        kind,
        name: name.to_owned(),
        why: why.to_owned(),
    }
}

/// Every change, in the order in which it would be made. Nothing is changed.
pub(super) async fn make(
    context: &Context,
    name: &str,
    stack: &Stack,
    prunes: bool,
) -> Result<Vec<Change>, CliError> {
    let mut changes = Vec::new();
    let services = list(context, "/services", &of_stack(name)).await?;
    if prunes {
        for service in sorted(services.clone()) {
            let known = text(&service, "/Spec/Name");
            if stack.services.iter().all(|spec| spec["Name"] != known) {
                changes.push(change("remove", "service", known, ""));
            }
        }
    }
    let networks = list(context, "/networks", "{}").await?;
    for body in &stack.networks {
        let name = text(body, "/Name");
        let is_there = networks.iter().any(|network| network["Name"] == name);
        let verb = if is_there { "keep" } else { "create" };
        changes.push(change(verb, "network", name, ""));
    }
    for (kind, bodies) in [("secret", &stack.secrets), ("config", &stack.configs)] {
        for body in bodies {
            changes.push(file(context, kind, body).await?);
        }
    }
    let ids: BTreeMap<&str, &str> = networks
        .iter()
        .map(|network| (text(network, "/Id"), text(network, "/Name")))
        .collect();
    for spec in &stack.services {
        let name = text(spec, "/Name");
        let known = services.iter().find(|s| s["Spec"]["Name"] == name);
        changes.push(match known {
            None => change("create", "service", name, ""),
            Some(service) => {
                let found = differences::of(&service["Spec"], spec, &ids);
                let verb = if found.is_empty() { "keep" } else { "update" };
                change(verb, "service", name, &found.join(", "))
            }
        });
    }
    if prunes {
        for (kind, object) in prune::unwanted(context, name, stack).await? {
            let field = if kind == "network" {
                "/Name"
            } else {
                "/Spec/Name"
            };
            changes.push(change("remove", kind, text(&object, field), ""));
        }
    }
    Ok(changes)
}

async fn file(context: &Context, kind: &'static str, body: &Value) -> Result<Change, CliError> {
    let name = text(body, "/Name");
    let Some(known) = versions::newest(context, kind, name).await? else {
        return Ok(change("create", kind, name, ""));
    };
    if kind == "secret" {
        let why = "unless its content changed, which only the deployment can tell";
        return Ok(change("keep", kind, name, why));
    }
    if known.object["Spec"]["Data"] == body["Data"] {
        return Ok(change("keep", kind, name, ""));
    }
    let why = format!("new version {}", known.number + 1);
    Ok(change("update", kind, name, &why))
}
