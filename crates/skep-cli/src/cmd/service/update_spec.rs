//! A service's spec changed by the flags of `service update`; what no flag names stays as it is.

use serde_json::Value;

use super::extras;
use super::references::{network_id, networks};
use super::spec::{log_driver, put_restart, put_update, swap, update_defaults, update_flag_given};
use super::update_container;
use super::update_lists::{change_map, object, remove, strings};
use super::values::{generic_resources, preference, refused};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{port_spec, ports};

/// Changes a spec.
pub(super) async fn apply(
    context: &Context,
    spec: &mut Value,
    matches: &Matches,
) -> Result<(), CliError> {
    change_map(spec, "Labels", matches, "label");
    extras::update(spec, matches)?;
    mode(spec, matches)?;
    if let Some(mode) = matches.given_text("endpoint-mode") {
        spec["EndpointSpec"]["Mode"] = mode.into();
    }
    published(spec, matches)?;
    for (prefix, field) in [("update", "UpdateConfig"), ("rollback", "RollbackConfig")] {
        if update_flag_given(matches, prefix) {
            let config = object(&mut spec[field]);
            if config.is_empty() {
                update_defaults(config);
            }
            put_update(config, matches, prefix)?;
        }
    }
    let template = &mut spec["TaskTemplate"];
    if matches.flag("force") {
        template["ForceUpdate"] = (template["ForceUpdate"].as_u64().unwrap_or(0) + 1).into();
    }
    restart(template, matches)?;
    resources(template, matches)?;
    placement(template, matches)?;
    if let Some(driver) = log_driver(matches) {
        template["LogDriver"] = driver;
    } else if matches.given_text("log-driver") == Some("") {
        // Back to the daemon's own.
        remove(template, "LogDriver");
    }
    attachments(context, template, matches).await?;
    update_container::apply(context, &mut template["ContainerSpec"], matches).await
}

fn mode(spec: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if let Some(count) = matches.count("replicas") {
        if spec["Mode"].get("Replicated").is_none() {
            return Err(CliError::new(
                "replicas can only be used with replicated mode",
            ));
        }
        spec["Mode"]["Replicated"]["Replicas"] = count.into();
    }
    if let Some(count) = matches.count("max-concurrent") {
        if spec["Mode"].get("ReplicatedJob").is_none() {
            return Err(CliError::new(
                "max-concurrent can only be used with replicated-job mode",
            ));
        }
        spec["Mode"]["ReplicatedJob"]["MaxConcurrent"] = count.into();
    }
    Ok(())
}

fn published(spec: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if !matches.given("publish-add") && !matches.given("publish-rm") {
        return Ok(());
    }
    let mut all: Vec<Value> = spec["EndpointSpec"]["Ports"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for removed in matches.list("publish-rm") {
        // What is published may be written down too: it does not matter.
        let targets = port_spec(removed).map_err(|error| {
            let why = error
                .message
                .rsplit_once(" flag: ")
                .map_or("", |(_, why)| why);
            refused("--publish-rm", removed, why)
        })?;
        for gone in targets {
            all.retain(|port| {
                port["TargetPort"] != gone["TargetPort"] || port["Protocol"] != gone["Protocol"]
            });
        }
    }
    for added in ports(matches.list("publish-add"))? {
        let same = |port: &Value| {
            port["TargetPort"] == added["TargetPort"]
                && port["Protocol"] == added["Protocol"]
                && port["PublishedPort"] == added["PublishedPort"]
        };
        all.retain(|port| !same(port));
        all.push(added);
    }
    // Docker's order, which is that of texts: an order of our own would look like a change.
    all.sort_by_key(|port| {
        let number = |field: &str| port[field].as_u64().unwrap_or(0);
        format!(
            "{}:{}/{}/{}",
            number("PublishedPort"),
            number("TargetPort"),
            text(port, "/Protocol"),
            text(port, "/PublishMode")
        )
    });
    spec["EndpointSpec"]["Ports"] = all.into();
    Ok(())
}

fn restart(template: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if ["condition", "delay", "max-attempts", "window"]
        .iter()
        .any(|part| matches.given(&format!("restart-{part}")))
    {
        let policy = object(&mut template["RestartPolicy"]);
        if policy.is_empty() {
            policy.insert("Condition".to_owned(), "any".into());
            policy.insert("Delay".to_owned(), 5_000_000_000_i64.into());
            policy.insert("MaxAttempts".to_owned(), 0.into());
        }
        put_restart(policy, matches)?;
    }
    Ok(())
}

fn resources(template: &mut Value, matches: &Matches) -> Result<(), CliError> {
    for (group, cpu, memory) in [
        ("Limits", "limit-cpu", "limit-memory"),
        ("Reservations", "reserve-cpu", "reserve-memory"),
    ] {
        for (field, value) in [
            ("NanoCPUs", matches.cpus(cpu)),
            ("MemoryBytes", matches.bytes(memory)),
        ] {
            if let Some(value) = value {
                set_count(&mut template["Resources"][group], field, value);
            }
        }
    }
    if let Some(pids) = matches.number("limit-pids") {
        set_count(&mut template["Resources"]["Limits"], "Pids", pids);
    }
    if matches.given("memory-swap") || matches.given("memory-swappiness") {
        swap(&mut template["Resources"], matches)?;
    }
    if !matches.given("generic-resource-add") && !matches.given("generic-resource-rm") {
        return Ok(());
    }
    let kind = |value: &Value| text(value, "/DiscreteResourceSpec/Kind").to_owned();
    let list = &mut template["Resources"]["Reservations"]["GenericResources"];
    let mut all: Vec<Value> = list.as_array().cloned().unwrap_or_default();
    for gone in matches.list("generic-resource-rm") {
        let before = all.len();
        all.retain(|value| kind(value) != *gone);
        if all.len() == before {
            return Err(CliError::new(format!(
                "could not find generic-resource `{gone}` to remove it"
            )));
        }
    }
    let added = matches.list("generic-resource-add");
    for added in generic_resources("--generic-resource-add", added)? {
        all.retain(|value| kind(value) != kind(&added));
        all.push(added);
    }
    *list = all.into();
    Ok(())
}

/// A limit; none is not written down.
fn set_count(group: &mut Value, field: &str, value: i64) {
    if value == 0 {
        remove(group, field);
    } else {
        group[field] = value.into();
    }
}

fn placement(template: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if matches.given("constraint-add") || matches.given("constraint-rm") {
        let list = &mut template["Placement"]["Constraints"];
        let mut all = strings(list);
        all.retain(|known| !matches.list("constraint-rm").contains(known));
        all.extend(matches.list("constraint-add").iter().cloned());
        all.sort();
        all.dedup();
        *list = all.into();
    }
    if let Some(most) = matches.count("replicas-max-per-node") {
        template["Placement"]["MaxReplicas"] = most.into();
    }
    if matches.given("placement-pref-add") || matches.given("placement-pref-rm") {
        let list = &mut template["Placement"]["Preferences"];
        let mut all: Vec<Value> = list.as_array().cloned().unwrap_or_default();
        for gone in matches.list("placement-pref-rm") {
            let gone = preference("--placement-pref-rm", gone)?;
            all.retain(|known| *known != gone);
        }
        for added in matches.list("placement-pref-add") {
            all.push(preference("--placement-pref-add", added)?);
        }
        *list = all.into();
    }
    Ok(())
}

async fn attachments(
    context: &Context,
    template: &mut Value,
    matches: &Matches,
) -> Result<(), CliError> {
    if !matches.given("network-add") && !matches.given("network-rm") {
        return Ok(());
    }
    let mut all: Vec<Value> = template["Networks"].as_array().cloned().unwrap_or_default();
    for name in matches.list("network-rm") {
        let id = network_id(context, name).await?;
        all.retain(|known| text(known, "/Target") != id);
    }
    for flag in matches.list("network-add") {
        for added in networks(context, std::slice::from_ref(flag)).await? {
            if all.iter().any(|known| known["Target"] == added["Target"]) {
                let name = crate::opts::network_attachment(flag)?.target;
                return Err(CliError::new(format!(
                    "service is already attached to network {name}"
                )));
            }
            all.push(added);
        }
    }
    all.sort_by(|a, b| text(a, "/Target").cmp(text(b, "/Target")));
    template["Networks"] = all.into();
    Ok(())
}
