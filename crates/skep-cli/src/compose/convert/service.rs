//! One service.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{IMAGE_LABEL, Parts, deploy};
use crate::compose::durations::duration;
use crate::compose::normal::plain;
use crate::compose::volumes::mount;
use crate::error::CliError;
use crate::opts::environment;

pub(super) fn convert(parts: &Parts<'_>, key: &str, service: &Value) -> Result<Value, CliError> {
    let image = service["image"].as_str().unwrap_or_default();
    let mut labels = service["deploy"]["labels"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    labels.insert(IMAGE_LABEL.to_owned(), image.into());
    labels.extend(parts.namespace.clone());
    let mut template = json!({
        "ContainerSpec": container(parts, service)?,
        "Resources": deploy::resources(service)?,
        "Placement": deploy::placement(service),
        "Networks": networks(parts, key, service)?,
        "ForceUpdate": 0,
    });
    if let Some(policy) = deploy::restart_policy(service)? {
        template["RestartPolicy"] = policy;
    }
    if let Some(driver) = service["logging"]["driver"].as_str() {
        let options = service["logging"]["options"]
            .as_object()
            .into_iter()
            .flatten();
        let options: Map<_, _> = options
            .map(|(key, value)| (key.clone(), plain(value).into()))
            .collect();
        template["LogDriver"] = json!({"Name": driver, "Options": options});
    }
    let mut spec = json!({
        "Name": parts.scoped(key),
        "Labels": sorted(labels),
        "TaskTemplate": template,
        "Mode": deploy::mode(service)?,
        "EndpointSpec": deploy::endpoint(service)?,
    });
    for (from, to) in [
        ("update_config", "UpdateConfig"),
        ("rollback_config", "RollbackConfig"),
    ] {
        if let Some(config) = deploy::update_config(&service["deploy"][from], from)? {
            spec[to] = config;
        }
    }
    Ok(spec)
}

fn container(parts: &Parts<'_>, service: &Value) -> Result<Value, CliError> {
    let mut labels = service["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(parts.namespace.clone());
    let mut container = json!({
        "Image": service["image"],
        "Labels": sorted(labels),
        "Privileges": {"CredentialSpec": null, "SELinuxContext": null, "NoNewPrivileges": false},
    });
    for (from, to) in [("entrypoint", "Command"), ("command", "Args")] {
        let words = strings(&service[from]);
        if !words.is_empty() {
            container[to] = words.into();
        }
    }
    for (from, to) in [
        ("hostname", "Hostname"),
        ("working_dir", "Dir"),
        ("user", "User"),
        ("stop_signal", "StopSignal"),
        ("isolation", "Isolation"),
    ] {
        if let Some(text) = service[from].as_str().filter(|text| !text.is_empty()) {
            container[to] = text.into();
        }
    }
    for (from, to) in [
        ("tty", "TTY"),
        ("stdin_open", "OpenStdin"),
        ("read_only", "ReadOnly"),
    ] {
        if service[from] == true {
            container[to] = true.into();
        }
    }
    if let Some(init) = service["init"].as_bool() {
        container["Init"] = init.into();
    }
    let env = environment_of(parts, service)?;
    if !env.is_empty() {
        container["Env"] = env.into();
    }
    if let Some(period) = duration(&service["stop_grace_period"], "stop_grace_period")? {
        container["StopGracePeriod"] = period.into();
    }
    if let Some(check) = healthcheck(service)? {
        container["Healthcheck"] = check;
    }
    let hosts = hosts(service)?;
    if !hosts.is_empty() {
        container["Hosts"] = hosts.into();
    }
    dns(service, &mut container);
    let mounts: Vec<Value> = service["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|volume| mount(volume, parts.stack, &parts.volumes, &parts.namespace))
        .collect::<Result<_, _>>()?;
    if !mounts.is_empty() {
        container["Mounts"] = mounts.into();
    }
    if let Some(sysctls) = service["sysctls"].as_object().filter(|map| !map.is_empty()) {
        container["Sysctls"] = Value::Object(sorted(sysctls.clone()));
    }
    if let Some(score) = service["oom_score_adj"].as_i64() {
        container["OomScoreAdj"] = score.into();
    }
    capabilities(service, &mut container);
    let ulimits = ulimits(service);
    if !ulimits.is_empty() {
        container["Ulimits"] = ulimits.into();
    }
    if let Some(spec) = service["credential_spec"].as_object() {
        let (kind, value) = match spec.iter().next() {
            Some(only) if spec.len() == 1 => only,
            _ => {
                return Err(CliError::new(
                    "invalid credential spec: must provide exactly one of `Config`, `File`, or `Registry`",
                ));
            }
        };
        let field = match kind.as_str() {
            "config" => "Config",
            "file" => "File",
            _ => "Registry",
        };
        container["Privileges"]["CredentialSpec"] = json!({field: value});
    }
    references(parts, service, &mut container)?;
    Ok(container)
}

/// `env_file` first, then `environment`; sorted, as a redeployed stack must give the same spec.
fn environment_of(parts: &Parts<'_>, service: &Value) -> Result<Vec<String>, CliError> {
    let files: Vec<String> = strings(&service["env_file"])
        .iter()
        .map(|file| parts.dir.join(file).to_string_lossy().into_owned())
        .collect();
    let given: Vec<String> = match &service["environment"] {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                if value.is_null() {
                    key.clone()
                } else {
                    format!("{key}={}", plain(value))
                }
            })
            .collect(),
        list => strings(list),
    };
    let mut all = environment(&files, &given)?;
    // A name that the caller has no value for is left out.
    all.retain(|entry| entry.contains('='));
    all.sort();
    Ok(all)
}

fn healthcheck(service: &Value) -> Result<Option<Value>, CliError> {
    let check = &service["healthcheck"];
    if !check.is_object() {
        return Ok(None);
    }
    if check["disable"] == true {
        if !check["test"].is_null() {
            return Err(CliError::new(
                "test and disable can't be set at the same time",
            ));
        }
        return Ok(Some(json!({"Test": ["NONE"]})));
    }
    let mut converted = json!({});
    match &check["test"] {
        Value::String(command) => converted["Test"] = json!(["CMD-SHELL", command]),
        Value::Array(words) => converted["Test"] = words.clone().into(),
        _ => {}
    }
    for (from, to) in [
        ("timeout", "Timeout"),
        ("interval", "Interval"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ] {
        if let Some(time) = duration(&check[from], &format!("healthcheck.{from}"))? {
            converted[to] = time.into();
        }
    }
    if let Some(retries) = check["retries"].as_i64() {
        converted["Retries"] = retries.into();
    }
    Ok(Some(converted))
}

/// `host:ip` or a map, as `ip host`.
fn hosts(service: &Value) -> Result<Vec<String>, CliError> {
    let pairs: Vec<(String, String)> = match &service["extra_hosts"] {
        Value::Object(map) => map
            .iter()
            .map(|(host, ip)| (host.clone(), plain(ip)))
            .collect(),
        Value::Array(list) => list
            .iter()
            .map(|entry| {
                let entry = plain(entry);
                let split = entry.split_once('=').or_else(|| entry.split_once(':'));
                split
                    .map(|(host, ip)| (host.to_owned(), ip.to_owned()))
                    .ok_or_else(|| CliError::new(format!("bad format for extra_hosts: {entry}")))
            })
            .collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    Ok(pairs
        .iter()
        .map(|(host, ip)| format!("{} {host}", ip.trim_matches(['[', ']'])))
        .collect())
}

fn dns(service: &Value, container: &mut Value) {
    let (servers, search) = (strings(&service["dns"]), strings(&service["dns_search"]));
    if !servers.is_empty() {
        container["DNSConfig"]["Nameservers"] = servers.into();
    }
    if !search.is_empty() {
        container["DNSConfig"]["Search"] = search.into();
    }
}

fn capabilities(service: &Value, container: &mut Value) {
    let normal = |list: &Value| {
        let mut all: Vec<String> = strings(list)
            .iter()
            .map(|name| name.to_ascii_uppercase())
            .map(|name| {
                if name == "ALL" || name.starts_with("CAP_") {
                    name
                } else {
                    format!("CAP_{name}")
                }
            })
            .collect();
        all.sort();
        all.dedup();
        if all.contains(&"ALL".to_owned()) {
            vec!["ALL".to_owned()]
        } else {
            all
        }
    };
    let (add, drop) = (normal(&service["cap_add"]), normal(&service["cap_drop"]));
    let drop: Vec<_> = drop
        .into_iter()
        .filter(|name| name == "ALL" || !add.contains(name))
        .collect();
    if !add.is_empty() {
        container["CapabilityAdd"] = add.into();
    }
    if !drop.is_empty() {
        container["CapabilityDrop"] = drop.into();
    }
}

fn ulimits(service: &Value) -> Vec<Value> {
    let sorted: BTreeMap<_, _> = service["ulimits"]
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    sorted
        .into_iter()
        .map(|(name, limit)| match limit {
            Value::Object(limit) => {
                json!({"Name": name, "Hard": limit.get("hard"), "Soft": limit.get("soft")})
            }
            single => json!({"Name": name, "Hard": single, "Soft": single}),
        })
        .collect()
}

/// Secrets and configs by name; their ids are filled in when they exist.
fn references(parts: &Parts<'_>, service: &Value, container: &mut Value) -> Result<(), CliError> {
    for (kind, field, id, name, section) in [
        (
            "secret",
            "Secrets",
            "SecretID",
            "SecretName",
            &parts.secrets,
        ),
        (
            "config",
            "Configs",
            "ConfigID",
            "ConfigName",
            &parts.configs,
        ),
    ] {
        let mut all = Vec::new();
        for reference in service[format!("{kind}s")].as_array().into_iter().flatten() {
            let source = reference["source"].as_str().unwrap_or_default();
            let entry = section
                .get(source)
                .ok_or_else(|| CliError::new(format!("undefined {kind} \"{source}\"")))?;
            let text = |field: &str, default: &str| {
                reference[field].as_str().unwrap_or(default).to_owned()
            };
            let file = json!({
                "Name": text("target", source),
                "UID": text("uid", "0"),
                "GID": text("gid", "0"),
                "Mode": reference["mode"].as_u64().unwrap_or(0o444),
            });
            all.push(json!({"File": file, id: "", name: parts.name_of(entry, source)}));
        }
        if !all.is_empty() {
            all.sort_by_key(|reference| reference[name].as_str().unwrap_or_default().to_owned());
            container[field] = all.into();
        }
    }
    Ok(())
}

fn networks(parts: &Parts<'_>, key: &str, service: &Value) -> Result<Vec<Value>, CliError> {
    let default = Map::from_iter([("default".to_owned(), Value::Null)]);
    let wanted = service["networks"]
        .as_object()
        .filter(|networks| !networks.is_empty())
        .unwrap_or(&default);
    let mut all = Vec::new();
    for (name, options) in wanted {
        let entry = match parts.networks.get(name) {
            Some(entry) => entry.clone(),
            None if name == "default" => json!({}),
            None => return Err(CliError::new(format!("undefined network \"{name}\""))),
        };
        let target = parts.name_of(&entry, name);
        let mut attachment = json!({"Target": target});
        let mut aliases = strings(&options["aliases"]);
        // Only networks of users resolve aliases.
        if !super::PREDEFINED.contains(&target.as_str()) {
            aliases.push(key.to_owned());
        }
        if !aliases.is_empty() {
            attachment["Aliases"] = aliases.into();
        }
        if let Some(driver_opts) = options["driver_opts"].as_object() {
            attachment["DriverOpts"] = Value::Object(driver_opts.clone());
        }
        all.push(attachment);
    }
    all.sort_by_key(|attachment| attachment["Target"].as_str().unwrap_or_default().to_owned());
    Ok(all)
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(plain).collect()
}

fn sorted(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .collect()
}
