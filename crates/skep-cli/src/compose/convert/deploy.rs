//! What `deploy` says, and what stands in for it.

use serde_json::{Map, Value, json};

use crate::compose::durations::duration;
use crate::compose::normal::plain;
use crate::error::CliError;
use crate::grammar::{parse_bytes, parse_cpus};

pub(super) fn mode(service: &Value) -> Result<Value, CliError> {
    let deploy = &service["deploy"];
    let replicas = deploy["replicas"].as_u64();
    match deploy["mode"].as_str().unwrap_or("replicated") {
        "" | "replicated" => Ok(match replicas {
            Some(replicas) => json!({"Replicated": {"Replicas": replicas}}),
            None => json!({"Replicated": {}}),
        }),
        "replicated-job" => Ok(match replicas {
            Some(replicas) => {
                json!({"ReplicatedJob": {"MaxConcurrent": replicas, "TotalCompletions": replicas}})
            }
            None => json!({"ReplicatedJob": {}}),
        }),
        "global" | "global-job" if replicas.is_some() => Err(CliError::new(
            "replicas can only be used with replicated or replicated-job mode",
        )),
        "global" => Ok(json!({"Global": {}})),
        "global-job" => Ok(json!({"GlobalJob": {}})),
        other => Err(CliError::new(format!("Unknown mode: {other}"))),
    }
}

pub(super) fn endpoint(service: &Value) -> Result<Value, CliError> {
    let mut endpoint = json!({});
    if let Some(mode) = service["deploy"]["endpoint_mode"]
        .as_str()
        .filter(|mode| !mode.is_empty())
    {
        endpoint["Mode"] = mode.to_ascii_lowercase().into();
    }
    let mut ports: Vec<Value> = service["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let mut converted = json!({
                "Protocol": port["protocol"].as_str().unwrap_or("tcp"),
                "TargetPort": port["target"],
            });
            if let Some(published) = port["published"]
                .as_u64()
                .filter(|published| *published > 0)
            {
                converted["PublishedPort"] = published.into();
            }
            converted["PublishMode"] = port["mode"].as_str().unwrap_or("ingress").into();
            converted
        })
        .collect();
    ports.sort_by_key(|port| port["PublishedPort"].as_u64());
    if !ports.is_empty() {
        endpoint["Ports"] = ports.into();
    }
    Ok(endpoint)
}

pub(super) fn update_config(config: &Value, at: &str) -> Result<Option<Value>, CliError> {
    if !config.is_object() {
        return Ok(None);
    }
    let mut converted = json!({"Parallelism": config["parallelism"].as_u64().unwrap_or(1)});
    if let Some(delay) =
        duration(&config["delay"], &format!("deploy.{at}.delay"))?.filter(|delay| *delay != 0)
    {
        converted["Delay"] = delay.into();
    }
    if let Some(action) = config["failure_action"].as_str() {
        converted["FailureAction"] = action.into();
    }
    if let Some(monitor) =
        duration(&config["monitor"], &format!("deploy.{at}.monitor"))?.filter(|time| *time != 0)
    {
        converted["Monitor"] = monitor.into();
    }
    let ratio = match plain(&config["max_failure_ratio"]).as_str() {
        "" => 0.0,
        text => text.parse::<f64>().map_err(|_| {
            CliError::new(format!("deploy.{at}.max_failure_ratio must be a number"))
        })?,
    };
    converted["MaxFailureRatio"] = if ratio == 0.0 { 0.into() } else { ratio.into() };
    converted["Order"] = config["order"].as_str().unwrap_or("stop-first").into();
    if config["order"].is_null()
        && let Some(object) = converted.as_object_mut()
    {
        object.shift_remove("Order");
    }
    Ok(Some(converted))
}

pub(super) fn restart_policy(service: &Value) -> Result<Option<Value>, CliError> {
    let policy = &service["deploy"]["restart_policy"];
    if policy.is_object() {
        let mut converted = Map::new();
        if let Some(condition) = policy["condition"].as_str() {
            converted.insert("Condition".to_owned(), condition.into());
        }
        for (from, to) in [("delay", "Delay"), ("window", "Window")] {
            if let Some(time) = duration(&policy[from], &format!("deploy.restart_policy.{from}"))? {
                converted.insert(to.to_owned(), time.into());
            }
        }
        if let Some(most) = policy["max_attempts"].as_u64() {
            converted.insert("MaxAttempts".to_owned(), most.into());
        }
        return Ok(Some(Value::Object(converted)));
    }
    // Docker says that it ignores `restart`, and applies it all the same.
    let restart = service["restart"].as_str().unwrap_or_default();
    let (name, count) = restart.split_once(':').unwrap_or((restart, ""));
    match name {
        "" | "no" => Ok(None),
        "always" | "unless-stopped" => Ok(Some(json!({"Condition": "any"}))),
        "on-failure" => {
            let mut policy = json!({"Condition": "on-failure", "MaxAttempts": 0});
            if !count.is_empty() {
                let most: u64 = count.parse().map_err(|_| {
                    CliError::new(
                        "invalid restart policy format: maximum retry count must be an integer",
                    )
                })?;
                policy["MaxAttempts"] = most.into();
            }
            Ok(Some(policy))
        }
        other => Err(CliError::new(format!("unknown restart policy: {other}"))),
    }
}

/// GPUs of `deploy.resources.reservations.devices`, as `--gpus` says them.
pub(super) fn gpus(service: &Value) -> Result<Option<String>, CliError> {
    let devices = &service["deploy"]["resources"]["reservations"]["devices"];
    let Some(request) = devices.as_array().and_then(|list| list.first()) else {
        return Ok(None);
    };
    let texts = |key: &str| -> Vec<String> {
        let list = request[key].as_array().into_iter().flatten();
        list.map(plain).collect()
    };
    let capabilities = texts("capabilities");
    let is_gpu = |name: &String| matches!(name.as_str(), "gpu" | "nvidia" | "compute" | "utility");
    if devices.as_array().is_some_and(|list| list.len() > 1)
        || !capabilities.is_empty() && !capabilities.iter().any(is_gpu)
    {
        return Err(CliError::new(
            "deploy.resources.reservations.devices: one request for devices of the capability \"gpu\" is supported",
        ));
    }
    let ids = texts("device_ids");
    let mut fields = Vec::new();
    match (plain(&request["count"]).as_str(), ids.is_empty()) {
        ("", true) => fields.push("count=all".to_owned()),
        (count, true) => fields.push(format!("count={count}")),
        ("", false) => fields.push(format!("\"device={}\"", ids.join(","))),
        (_, false) => {
            return Err(CliError::new(
                "deploy.resources.reservations.devices: \"count\" and \"device_ids\" attributes are exclusive",
            ));
        }
    }
    if let Some(driver) = request["driver"].as_str().filter(|name| !name.is_empty()) {
        fields.push(format!("driver={driver}"));
    }
    let others: Vec<_> = capabilities
        .iter()
        .filter(|name| *name != "gpu")
        .cloned()
        .collect();
    if !others.is_empty() {
        fields.push(format!("\"capabilities={}\"", others.join(",")));
    }
    Ok(Some(fields.join(",")))
}

/// `memswap_limit`, which is memory and swap together, and `mem_swappiness`.
fn swap(service: &Value, converted: &mut Value) -> Result<(), CliError> {
    let both = plain(&service["memswap_limit"]);
    if both == "-1" {
        converted["SwapBytes"] = (-1).into();
    } else if !both.is_empty() {
        let both = parse_bytes(&both).map_err(CliError::new)?;
        let memory = converted["Limits"]["MemoryBytes"].as_i64().unwrap_or(0);
        if memory == 0 || both < memory {
            return Err(CliError::new(
                "memswap_limit: must be as large as a memory limit at least",
            ));
        }
        converted["SwapBytes"] = (both - memory).into();
    }
    let swappiness = plain(&service["mem_swappiness"]);
    if !swappiness.is_empty() {
        let value: i64 = swappiness
            .parse()
            .ok()
            .filter(|value| (-1..=100).contains(value))
            .ok_or_else(|| CliError::new("mem_swappiness: must be from 0 to 100"))?;
        converted["MemorySwappiness"] = value.into();
    }
    Ok(())
}

pub(super) fn resources(service: &Value) -> Result<Value, CliError> {
    let mut converted = json!({});
    let resources = &service["deploy"]["resources"];
    for (from, to) in [("limits", "Limits"), ("reservations", "Reservations")] {
        let given = &resources[from];
        if !given.is_object() {
            continue;
        }
        let mut group = json!({});
        if !given["cpus"].is_null() {
            group["NanoCPUs"] = parse_cpus(&plain(&given["cpus"]))
                .map_err(CliError::new)?
                .into();
        }
        if !given["memory"].is_null() {
            group["MemoryBytes"] = parse_bytes(&plain(&given["memory"]))
                .map_err(CliError::new)?
                .into();
        }
        if let Some(pids) = given["pids"].as_i64() {
            group["Pids"] = pids.into();
        }
        let generic: Vec<Value> = given["generic_resources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| {
                let spec = &entry["discrete_resource_spec"];
                json!({"DiscreteResourceSpec": {"Kind": spec["kind"], "Value": spec["value"]}})
            })
            .collect();
        if !generic.is_empty() {
            group["GenericResources"] = generic.into();
        }
        converted[to] = group;
    }
    swap(service, &mut converted)?;
    Ok(converted)
}

pub(super) fn placement(service: &Value) -> Value {
    let placement = &service["deploy"]["placement"];
    let mut converted = json!({});
    if let Some(constraints) = placement["constraints"]
        .as_array()
        .filter(|list| !list.is_empty())
    {
        converted["Constraints"] = constraints.clone().into();
    }
    let preferences: Vec<Value> = placement["preferences"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|preference| json!({"Spread": {"SpreadDescriptor": preference["spread"]}}))
        .collect();
    if !preferences.is_empty() {
        converted["Preferences"] = preferences.into();
    }
    if let Some(most) = placement["max_replicas_per_node"].as_u64() {
        converted["MaxReplicas"] = most.into();
    }
    if let Some(platform) = service["platform"].as_str() {
        let mut parts = platform.split('/');
        let (os, architecture) = (parts.next(), parts.next());
        converted["Platforms"] = json!([{
            "Architecture": architecture.unwrap_or_default(), "OS": os.unwrap_or_default(),
        }]);
    }
    converted
}
