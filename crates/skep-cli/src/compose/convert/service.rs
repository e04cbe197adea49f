//! One service.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{IMAGE_LABEL, Parts, deploy};
use crate::compose::dotenv;
use crate::compose::durations::duration;
use crate::compose::normal::{file_mode, plain};
use crate::compose::volumes::mount;
use crate::error::{CliError, io_text};
use crate::grammar::parse_bytes;
use crate::opts::{environment, set_devices, set_extra, set_gpus, set_ipc, set_pid, set_security};
use skep_objects::extras::Extra;

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
    let groups = strings(&service["group_add"]);
    if !groups.is_empty() {
        container["Groups"] = groups.into();
    }
    let env = environment_of(service)?;
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
    let mut mounts: Vec<Value> = service["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|volume| mount(volume, parts.stack, &parts.volumes, &parts.namespace))
        .collect::<Result<_, _>>()?;
    for text in strings(&service["tmpfs"]) {
        mounts.push(tmpfs(&text)?);
    }
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
    if service["credential_spec"].is_object() {
        container["Privileges"]["CredentialSpec"] = credential_spec(&service["credential_spec"])?;
    }
    references(parts, service, &mut container)?;
    extras(service, &mut container)?;
    Ok(container)
}

/// Where Windows containers get credentials; a config is named by its key in the file.
fn credential_spec(spec: &Value) -> Result<Value, CliError> {
    let given = |key: &str| spec[key].as_str().unwrap_or_default();
    let all = [
        ("Config", given("config")),
        ("File", given("file")),
        ("Registry", given("registry")),
    ];
    let names: Vec<_> = all
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    match &names[..] {
        [_] => Ok(json!({"Config": all[0].1, "File": all[1].1, "Registry": all[2].1})),
        [] => Err(CliError::new(
            "invalid credential spec: must provide either \"Config\", \"File\", or \"Registry\"",
        )),
        [one, other] => Err(CliError::new(format!(
            "invalid credential spec: cannot specify both {one} and {other}"
        ))),
        [one, other, third, ..] => Err(CliError::new(format!(
            "invalid credential spec: cannot specify both {one}, {other} and {third}"
        ))),
    }
}

/// What services have beyond Docker's API.
fn extras(service: &Value, container: &mut Value) -> Result<(), CliError> {
    if service["privileged"] == true {
        set_extra(container, Extra::Privileged, "true");
    }
    let devices = strings(&service["devices"]);
    if !devices.is_empty() {
        set_devices(container, &devices)?;
    }
    if let Some(gpus) = deploy::gpus(service)? {
        set_gpus(container, &gpus)?;
    }
    if let Some(mode) = service["pid"].as_str() {
        set_pid(container, mode)?;
    }
    if let Some(mode) = service["ipc"].as_str() {
        set_ipc(container, mode)?;
    }
    if !service["shm_size"].is_null() {
        let bytes = parse_bytes(&plain(&service["shm_size"])).map_err(CliError::new)?;
        set_extra(container, Extra::ShmSize, &bytes.to_string());
    }
    let options = strings(&service["security_opt"]);
    if !options.is_empty() {
        set_security(container, &options)?;
    }
    if let Some(labels) = container["Labels"].as_object_mut() {
        *labels = sorted(std::mem::take(labels));
    }
    Ok(())
}

/// `/path[:size=64m,mode=1770,...]`
fn tmpfs(text: &str) -> Result<Value, CliError> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount = json!({"Type": "tmpfs", "Target": target});
    let mut rest = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let bad = || CliError::new(format!("tmpfs: invalid option {option:?} in {text:?}"));
        match option.split_once('=') {
            Some(("size", size)) => {
                let bytes = parse_bytes(size).map_err(|_| bad())?;
                mount["TmpfsOptions"]["SizeBytes"] = bytes.into();
            }
            Some(("mode", mode)) => {
                let mode = u32::from_str_radix(mode, 8).map_err(|_| bad())?;
                mount["TmpfsOptions"]["Mode"] = mode.into();
            }
            None if option == "ro" => mount["ReadOnly"] = true.into(),
            None if option == "rw" => {}
            Some((key, value)) => rest.push(json!([key, value])),
            None => rest.push(json!([option])),
        }
    }
    if !rest.is_empty() {
        mount["TmpfsOptions"]["Options"] = rest.into();
    }
    Ok(mount)
}

/// `env_file` first, then `environment`; sorted, as a redeployed stack must give the same spec.
fn environment_of(service: &Value) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    for file in service["env_file"].as_array().into_iter().flatten() {
        all.extend(env_file(file)?);
    }
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
    all.extend(given);
    let mut all = environment(&[], &all)?;
    all.sort();
    Ok(all)
}

/// The variables of a service by name; null where the caller has no value.
pub(in crate::compose) fn environment_map(service: &Value) -> Result<Map<String, Value>, CliError> {
    let mut names: Map<String, Value> = match &service["environment"] {
        Value::Object(map) => map
            .iter()
            .map(|(key, _)| (key.clone(), Value::Null))
            .collect(),
        list => strings(list)
            .iter()
            .map(|entry| {
                (
                    entry.split('=').next().unwrap_or(entry).to_owned(),
                    Value::Null,
                )
            })
            .collect(),
    };
    for entry in environment_of(service)? {
        if let Some((name, value)) = entry.split_once('=') {
            names.insert(name.to_owned(), value.into());
        }
    }
    Ok(names)
}

/// The variables of one file; one that need not be there may be missing.
fn env_file(file: &Value) -> Result<Vec<String>, CliError> {
    let path = file["path"].as_str().unwrap_or_default().to_owned();
    if file["required"] == false && !std::path::Path::new(&path).exists() {
        return Ok(Vec::new());
    }
    match file["format"].as_str() {
        Some("raw") => environment(&[path], &[]),
        None | Some("") => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| CliError::new(format!("open {path}: {}", io_text(&error))))?;
            let all = dotenv::parse(&text, &|name| std::env::var(name).ok())
                .map_err(|why| CliError::new(format!("{path}: {why}")))?;
            Ok(all
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect())
        }
        Some(other) => Err(CliError::new(format!(
            "env_file: unsupported format {other:?}"
        ))),
    }
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
    Ok(host_pairs(service)?
        .iter()
        .map(|(host, ip)| format!("{} {host}", ip.trim_matches(['[', ']'])))
        .collect())
}

/// Hosts and their addresses.
pub(in crate::compose) fn host_pairs(service: &Value) -> Result<Vec<(String, String)>, CliError> {
    Ok(match &service["extra_hosts"] {
        Value::Object(map) => map
            .iter()
            .flat_map(|(host, ips)| match ips {
                Value::Array(ips) => ips.iter().map(|ip| (host.clone(), plain(ip))).collect(),
                ip => vec![(host.clone(), plain(ip))],
            })
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
    })
}

fn dns(service: &Value, container: &mut Value) {
    let (servers, search) = (strings(&service["dns"]), strings(&service["dns_search"]));
    if !servers.is_empty() {
        container["DNSConfig"]["Nameservers"] = servers.into();
    }
    if !search.is_empty() {
        container["DNSConfig"]["Search"] = search.into();
    }
    let options = strings(&service["dns_opt"]);
    if !options.is_empty() {
        container["DNSConfig"]["Options"] = options.into();
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
                "Mode": file_mode(&reference["mode"])?.unwrap_or(0o444),
            });
            all.push(json!({"File": file, id: "", name: parts.name_of(entry, source)}));
        }
        let credential = container["Privileges"]["CredentialSpec"]["Config"].as_str();
        if let Some(source) = credential.filter(|source| kind == "config" && !source.is_empty()) {
            let entry = section
                .get(source)
                .ok_or_else(|| CliError::new(format!("undefined {kind} \"{source}\"")))?;
            all.push(json!({"Runtime": {}, id: "", name: parts.name_of(entry, source)}));
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
            let texts = driver_opts.iter();
            attachment["DriverOpts"] = texts
                .map(|(key, value)| (key.clone(), plain(value).into()))
                .collect::<Map<_, _>>()
                .into();
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
