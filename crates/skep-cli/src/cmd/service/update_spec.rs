//! A service's spec changed by the flags of `service update`; what no flag names stays as it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::references::{files, network_id, networks};
use super::spec::{
    capability, credential_spec, endpoint_mode, generic_resource, healthcheck, hosts, log_driver,
    preference, put_restart, put_update, update_flag_given, words,
};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{environment, map_from, mount, ports, split_pair, ulimit};

/// Changes a spec.
pub(super) async fn apply(
    context: &Context,
    spec: &mut Value,
    matches: &Matches,
) -> Result<(), CliError> {
    change_map(&mut spec["Labels"], matches, "label");
    mode(spec, matches)?;
    if let Some(mode) = matches.given_text("endpoint-mode") {
        spec["EndpointSpec"]["Mode"] = endpoint_mode(mode)?.into();
    }
    published(spec, matches)?;
    for (prefix, field) in [("update", "UpdateConfig"), ("rollback", "RollbackConfig")] {
        if update_flag_given(matches, prefix) {
            put_update(object(&mut spec[field]), matches, prefix)?;
        }
    }
    let template = &mut spec["TaskTemplate"];
    if matches.flag("force") {
        template["ForceUpdate"] = (template["ForceUpdate"].as_u64().unwrap_or(0) + 1).into();
    }
    put_restart_if_any(template, matches)?;
    resources(template, matches)?;
    placement(template, matches)?;
    if let Some(driver) = log_driver(matches) {
        template["LogDriver"] = driver;
    } else if matches.given_text("log-driver") == Some("") {
        object(template).shift_remove("LogDriver");
    }
    attachments(context, template, matches).await?;
    let container = &mut template["ContainerSpec"];
    container_texts(container, matches)?;
    container_lists(container, matches)?;
    references(
        context,
        container,
        matches,
        "secret",
        "Secrets",
        "SecretName",
    )
    .await?;
    references(
        context,
        container,
        matches,
        "config",
        "Configs",
        "ConfigName",
    )
    .await
}

fn mode(spec: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if let Some(count) = matches.count("replicas") {
        if spec["Mode"].get("Replicated").is_some() {
            spec["Mode"]["Replicated"]["Replicas"] = count.into();
        } else if spec["Mode"].get("ReplicatedJob").is_some() {
            spec["Mode"]["ReplicatedJob"]["TotalCompletions"] = count.into();
        } else {
            return Err(CliError::new(
                "replicas can only be used with replicated mode",
            ));
        }
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
        let (target, protocol) = removed.split_once('/').unwrap_or((removed, "tcp"));
        let target: u64 = target.parse().map_err(|_| {
            CliError::new(format!(
                "invalid argument \"{removed}\" for \"--publish-rm\" flag"
            ))
        })?;
        all.retain(|port| {
            port["TargetPort"].as_u64() != Some(target) || text(port, "/Protocol") != protocol
        });
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
    all.sort_by_key(|port| (port["PublishedPort"].as_u64(), port["TargetPort"].as_u64()));
    spec["EndpointSpec"]["Ports"] = all.into();
    Ok(())
}

fn put_restart_if_any(template: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if ["condition", "delay", "max-attempts", "window"]
        .iter()
        .any(|part| matches.given(&format!("restart-{part}")))
    {
        put_restart(object(&mut template["RestartPolicy"]), matches)?;
    }
    Ok(())
}

fn resources(template: &mut Value, matches: &Matches) -> Result<(), CliError> {
    for (group, cpu, memory) in [
        ("Limits", "limit-cpu", "limit-memory"),
        ("Reservations", "reserve-cpu", "reserve-memory"),
    ] {
        if let Some(cpus) = matches.cpus(cpu) {
            template["Resources"][group]["NanoCPUs"] = cpus.into();
        }
        if let Some(bytes) = matches.bytes(memory) {
            template["Resources"][group]["MemoryBytes"] = bytes.into();
        }
    }
    if let Some(pids) = matches.number("limit-pids") {
        template["Resources"]["Limits"]["Pids"] = pids.into();
    }
    if let Some(swap) = matches.bytes("memory-swap") {
        template["Resources"]["SwapBytes"] = swap.into();
    }
    if let Some(swappiness) = matches.number("memory-swappiness") {
        template["Resources"]["MemorySwappiness"] = swappiness.into();
    }
    if matches.given("generic-resource-add") || matches.given("generic-resource-rm") {
        let list = &mut template["Resources"]["Reservations"]["GenericResources"];
        let kind = |value: &Value| text(value, "/DiscreteResourceSpec/Kind").to_owned();
        let mut all: Vec<Value> = list.as_array().cloned().unwrap_or_default();
        all.retain(|value| {
            !matches
                .list("generic-resource-rm")
                .iter()
                .any(|gone| split_pair(gone).0 == kind(value))
        });
        for added in matches.list("generic-resource-add") {
            let added = generic_resource(added)?;
            all.retain(|value| kind(value) != kind(&added));
            all.push(added);
        }
        *list = all.into();
    }
    Ok(())
}

fn placement(template: &mut Value, matches: &Matches) -> Result<(), CliError> {
    change_list(
        &mut template["Placement"]["Constraints"],
        matches,
        "constraint",
    );
    if let Some(most) = matches.count("replicas-max-per-node") {
        template["Placement"]["MaxReplicas"] = most.into();
    }
    if matches.given("placement-pref-add") || matches.given("placement-pref-rm") {
        let list = &mut template["Placement"]["Preferences"];
        let mut all: Vec<Value> = list.as_array().cloned().unwrap_or_default();
        let gone: Vec<Value> = matches
            .list("placement-pref-rm")
            .iter()
            .map(|text| preference(text))
            .collect::<Result<_, _>>()?;
        all.retain(|known| !gone.contains(known));
        for added in matches.list("placement-pref-add") {
            all.push(preference(added)?);
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
    for added in networks(context, matches.list("network-add")).await? {
        if all.iter().any(|known| known["Target"] == added["Target"]) {
            return Err(CliError::new(format!(
                "service is already attached to network {}",
                text(&added, "/Target")
            )));
        }
        all.push(added);
    }
    all.sort_by(|a, b| text(a, "/Target").cmp(text(b, "/Target")));
    template["Networks"] = all.into();
    Ok(())
}

fn container_texts(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    for (flag, field) in [
        ("image", "Image"),
        ("hostname", "Hostname"),
        ("workdir", "Dir"),
        ("user", "User"),
        ("stop-signal", "StopSignal"),
        ("isolation", "Isolation"),
    ] {
        if let Some(given) = matches.given_text(flag) {
            container[field] = given.into();
        }
    }
    for (flag, field) in [("tty", "TTY"), ("read-only", "ReadOnly"), ("init", "Init")] {
        if matches.given(flag) {
            container[field] = matches.flag(flag).into();
        }
    }
    for (flag, field) in [("args", "Args"), ("entrypoint", "Command")] {
        if let Some(given) = matches.given_text(flag) {
            container[field] = words(given, flag)?.into();
        }
    }
    if let Some(period) = matches.duration("stop-grace-period") {
        container["StopGracePeriod"] = period.into();
    }
    if let Some(score) = matches.number("oom-score-adj") {
        container["OomScoreAdj"] = score.into();
    }
    match matches.given_text("credential-spec") {
        Some("") => drop(object(&mut container["Privileges"]).shift_remove("CredentialSpec")),
        Some(given) => container["Privileges"]["CredentialSpec"] = credential_spec(given)?,
        None => {}
    }
    if let Some(changes) = healthcheck(matches)? {
        let is_off = changes["Test"] == json!(["NONE"]);
        if is_off || container["Healthcheck"]["Test"] == json!(["NONE"]) {
            container["Healthcheck"] = changes;
        } else {
            let check = object(&mut container["Healthcheck"]);
            for (field, value) in object(&mut changes.clone()).iter() {
                check.insert(field.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn container_lists(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    change_map(&mut container["Labels"], matches, "container-label");
    change_map(&mut container["Sysctls"], matches, "sysctl");
    change_list(&mut container["Groups"], matches, "group");
    for (flag, field) in [
        ("dns", "Nameservers"),
        ("dns-search", "Search"),
        ("dns-option", "Options"),
    ] {
        change_list(&mut container["DNSConfig"][field], matches, flag);
    }
    if matches.given("env-add") || matches.given("env-rm") {
        let known: Vec<String> = strings(&container["Env"]);
        let gone = matches.list("env-rm");
        let kept: Vec<String> = known
            .into_iter()
            .filter(|entry| !gone.iter().any(|gone| gone == split_pair(entry).0))
            .collect();
        let all = environment(&[], &[kept, matches.list("env-add").to_vec()].concat())?;
        container["Env"] = all.into();
    }
    if matches.given("host-add") || matches.given("host-rm") {
        let mut all = strings(&container["Hosts"]);
        for gone in matches.list("host-rm") {
            let (name, ip) = gone.split_once(':').unwrap_or((gone, ""));
            all.retain(|entry| {
                let mut words = entry.split(' ');
                let same_ip = words.next() == Some(ip) || ip.is_empty();
                !(same_ip && words.any(|known| known == name))
            });
        }
        all.extend(hosts(matches.list("host-add"))?);
        container["Hosts"] = all.into();
    }
    if matches.given("mount-add") || matches.given("mount-rm") {
        let added: Vec<Value> = matches
            .list("mount-add")
            .iter()
            .map(|text| mount(text))
            .collect::<Result<_, _>>()?;
        replace_by(
            &mut container["Mounts"],
            "Target",
            matches.list("mount-rm"),
            added,
        );
    }
    if matches.given("ulimit-add") || matches.given("ulimit-rm") {
        let added: Vec<Value> = matches
            .list("ulimit-add")
            .iter()
            .map(|text| ulimit(text))
            .collect::<Result<_, _>>()?;
        replace_by(
            &mut container["Ulimits"],
            "Name",
            matches.list("ulimit-rm"),
            added,
        );
    }
    capabilities(container, matches);
    Ok(())
}

/// Adding what is dropped takes it off the list of what is dropped, and the other way round; `RESET`
/// empties a list.
fn capabilities(container: &mut Value, matches: &Matches) {
    if !matches.given("cap-add") && !matches.given("cap-drop") {
        return;
    }
    let mut add = strings(&container["CapabilityAdd"]);
    let mut drop = strings(&container["CapabilityDrop"]);
    for name in matches.list("cap-drop").iter().map(|name| capability(name)) {
        if name == "RESET" {
            drop.clear();
        } else if let Some(at) = add.iter().position(|known| *known == name) {
            add.remove(at);
        } else if !drop.contains(&name) {
            drop.push(name);
        }
    }
    for name in matches.list("cap-add").iter().map(|name| capability(name)) {
        if name == "RESET" {
            add.clear();
        } else if let Some(at) = drop.iter().position(|known| *known == name) {
            drop.remove(at);
        } else if !add.contains(&name) {
            add.push(name);
        }
    }
    add.sort();
    drop.sort();
    container["CapabilityAdd"] = add.into();
    container["CapabilityDrop"] = drop.into();
}

async fn references(
    context: &Context,
    container: &mut Value,
    matches: &Matches,
    kind: &str,
    field: &str,
    name_field: &str,
) -> Result<(), CliError> {
    let (add, rm) = (format!("{kind}-add"), format!("{kind}-rm"));
    if !matches.given(&add) && !matches.given(&rm) {
        return Ok(());
    }
    let added = files(context, kind, matches.list(&add)).await?;
    replace_by(&mut container[field], name_field, matches.list(&rm), added);
    Ok(())
}

/// Takes out what is named, then puts in what is new in the place of what has the same key.
fn replace_by(list: &mut Value, key: &str, gone: &[String], added: Vec<Value>) {
    let mut all: Vec<Value> = list.as_array().cloned().unwrap_or_default();
    let key_of = |value: &Value| value[key].as_str().unwrap_or_default().to_owned();
    all.retain(|value| !gone.contains(&key_of(value)));
    for new in added {
        all.retain(|value| key_of(value) != key_of(&new));
        all.push(new);
    }
    all.sort_by_key(&key_of);
    *list = all.into();
}

fn change_list(list: &mut Value, matches: &Matches, flag: &str) {
    let (add, rm) = (format!("{flag}-add"), format!("{flag}-rm"));
    if !matches.given(&add) && !matches.given(&rm) {
        return;
    }
    let mut all = strings(list);
    all.retain(|known| !matches.list(&rm).contains(known));
    for new in matches.list(&add) {
        if !all.contains(new) {
            all.push(new.clone());
        }
    }
    *list = all.into();
}

fn change_map(map: &mut Value, matches: &Matches, flag: &str) {
    let (add, rm) = (format!("{flag}-add"), format!("{flag}-rm"));
    if !matches.given(&add) && !matches.given(&rm) {
        return;
    }
    let map = object(map);
    for gone in matches.list(&rm) {
        map.shift_remove(gone);
    }
    for (key, value) in map_from(matches.list(&add)) {
        map.insert(key, value);
    }
    let sorted: BTreeMap<String, Value> = std::mem::take(map).into_iter().collect();
    map.extend(sorted);
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// The object that a value is, or becomes.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}
