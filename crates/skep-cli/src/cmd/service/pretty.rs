//! `service inspect --pretty`, in Docker's layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use skep_objects::extras::Extra;

use super::list::mode;
use crate::cmd::objects::text;
use crate::output::go_duration;

/// A service in words. `networks` are names by id.
pub(super) fn describe(service: &Value, networks: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let spec = &service["Spec"];
    let template = &spec["TaskTemplate"];
    let container = &template["ContainerSpec"];
    head(&mut out, service);
    update_status(&mut out, &service["UpdateStatus"]);
    placement(&mut out, &template["Placement"]);
    update_config(&mut out, "Update", &spec["UpdateConfig"]);
    update_config(&mut out, "Rollback", &spec["RollbackConfig"]);
    container_lines(&mut out, container);
    extras(&mut out, container);
    capabilities(&mut out, container);
    mounts(&mut out, container);
    files(&mut out, container);
    log_driver(&mut out, &template["LogDriver"]);
    resources(&mut out, &template["Resources"]);
    let names: Vec<&str> = items(&template["Networks"])
        .map(|network| text(network, "/Target"))
        .map(|id| networks.get(id).map_or(id, String::as_str))
        .collect();
    if !names.is_empty() {
        line(&mut out, &format!("Networks: {} ", names.join(" ")));
    }
    let mode = match text(service, "/Endpoint/Spec/Mode") {
        "" => text(spec, "/EndpointSpec/Mode"),
        mode => mode,
    };
    line(&mut out, &format!("Endpoint Mode:\t{mode}"));
    ports(&mut out, &service["Endpoint"]["Ports"]);
    health(&mut out, &container["Healthcheck"]);
    out.push('\n');
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn words(list: &Value) -> String {
    items(list)
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

fn head(out: &mut String, service: &Value) {
    let spec = &service["Spec"];
    line(out, &format!("\nID:\t\t{}", text(service, "/ID")));
    line(out, &format!("Name:\t\t{}", text(spec, "/Name")));
    if let Some(labels) = spec["Labels"].as_object().filter(|map| !map.is_empty()) {
        line(out, "Labels:");
        for (key, value) in labels {
            line(
                out,
                &format!(" {key}={}", value.as_str().unwrap_or_default()),
            );
        }
    }
    let shown = match mode(service) {
        "replicated" => "Replicated",
        "global" => "Global",
        "replicated job" => "ReplicatedJob",
        "global job" => "GlobalJob",
        other => other,
    };
    line(out, &format!("Service Mode:\t{shown}"));
    if let Some(replicas) = spec["Mode"]["Replicated"]["Replicas"].as_u64() {
        line(out, &format!(" Replicas:\t{replicas}"));
    }
}

fn update_status(out: &mut String, status: &Value) {
    let state = text(status, "/State");
    if state.is_empty() {
        return;
    }
    line(out, &format!("UpdateStatus:\n State:\t\t{state}"));
    if let Some(time) = status["StartedAt"].as_str() {
        line(out, &format!(" Started:\t{}", crate::output::ago(time)));
    }
    if let Some(time) = status["CompletedAt"]
        .as_str()
        .filter(|_| state == "completed")
    {
        line(out, &format!(" Completed:\t{}", crate::output::ago(time)));
    }
    line(out, &format!(" Message:\t{}", text(status, "/Message")));
}

fn placement(out: &mut String, placement: &Value) {
    line(out, "Placement:");
    let constraints = words(&placement["Constraints"]);
    if !constraints.is_empty() {
        line(out, &format!(" Constraints:\t[{constraints}]"));
    }
    let preferences: Vec<_> = items(&placement["Preferences"])
        .map(|preference| format!("spread={}", text(preference, "/Spread/SpreadDescriptor")))
        .collect();
    if !preferences.is_empty() {
        line(out, &format!(" Preferences:   [{}]", preferences.join(" ")));
    }
    if let Some(most) = placement["MaxReplicas"].as_u64().filter(|most| *most > 0) {
        line(out, &format!(" Max Replicas Per Node:   {most}"));
    }
}

fn update_config(out: &mut String, kind: &str, config: &Value) {
    if !config.is_object() {
        return;
    }
    line(out, &format!("{kind}Config:"));
    let parallelism = config["Parallelism"].as_u64().unwrap_or(0);
    line(out, &format!(" Parallelism:\t{parallelism}"));
    if let Some(delay) = config["Delay"].as_i64().filter(|delay| *delay > 0) {
        line(out, &format!(" Delay:\t\t{}", go_duration(delay)));
    }
    line(
        out,
        &format!(" On failure:\t{}", text(config, "/FailureAction")),
    );
    if let Some(monitor) = config["Monitor"].as_i64().filter(|monitor| *monitor > 0) {
        line(
            out,
            &format!(" Monitoring Period: {}", go_duration(monitor)),
        );
    }
    let ratio = config["MaxFailureRatio"].as_f64().unwrap_or(0.0);
    line(out, &format!(" Max failure ratio: {ratio}"));
    let order = format!("{kind} order:");
    line(out, &format!(" {order:<19}{}", text(config, "/Order")));
}

fn container_lines(out: &mut String, container: &Value) {
    line(out, "ContainerSpec:");
    line(out, &format!(" Image:\t\t{}", text(container, "/Image")));
    for (field, head) in [("Args", " Args:\t\t"), ("Env", " Env:\t\t")] {
        let all = words(&container[field]);
        if !all.is_empty() {
            line(out, &format!("{head}{all} "));
        }
    }
    if let Some(dir) = container["Dir"].as_str().filter(|dir| !dir.is_empty()) {
        line(out, &format!(" Dir:\t\t{dir}"));
    }
    if let Some(init) = container["Init"].as_bool() {
        line(out, &format!(" Init:\t\t{init}"));
    }
    if let Some(user) = container["User"].as_str().filter(|user| !user.is_empty()) {
        line(out, &format!(" User: {user}"));
    }
}

/// What Docker's services cannot have.
fn extras(out: &mut String, container: &Value) {
    for extra in Extra::ALL {
        let value = container["Labels"][extra.label()]
            .as_str()
            .unwrap_or_default();
        if value.is_empty() {
            continue;
        }
        let head = match extra {
            Extra::Privileged => "Privileged",
            Extra::Device => "Devices",
            Extra::Gpus => "GPUs",
            Extra::Pid => "Pid Mode",
            Extra::Ipc => "Ipc Mode",
            Extra::ShmSize => "Shm Size",
            Extra::SecurityOpt => "Security Options",
        };
        line(out, &format!(" {head}: {value}"));
    }
}

fn capabilities(out: &mut String, container: &Value) {
    let add = words(&container["CapabilityAdd"]);
    let drop = words(&container["CapabilityDrop"]);
    if !add.is_empty() || !drop.is_empty() {
        line(out, "Capabilities:");
    }
    for (head, list) in [(" Add:", add), (" Drop:", drop)] {
        if !list.is_empty() {
            line(out, &format!("{head} {list}"));
        }
    }
    if let Some(sysctls) = container["Sysctls"]
        .as_object()
        .filter(|map| !map.is_empty())
    {
        line(out, "SysCtls:");
        for (key, value) in sysctls {
            line(
                out,
                &format!(" {key}: {}", value.as_str().unwrap_or_default()),
            );
        }
    }
    let mut limits = items(&container["Ulimits"]).peekable();
    if limits.peek().is_some() {
        line(out, "Ulimits:");
    }
    for limit in limits {
        let (soft, hard) = (&limit["Soft"], &limit["Hard"]);
        line(out, &format!(" {}: {soft}:{hard}", text(limit, "/Name")));
    }
}

fn mounts(out: &mut String, container: &Value) {
    let mut mounts = items(&container["Mounts"]).peekable();
    if mounts.peek().is_some() {
        line(out, "Mounts:");
    }
    for mount in mounts {
        line(out, &format!(" Target:\t{}", text(mount, "/Target")));
        line(out, &format!("  Source:\t{}", text(mount, "/Source")));
        line(out, &format!("  ReadOnly:\t{}", mount["ReadOnly"] == true));
        line(out, &format!("  Type:\t\t{}", text(mount, "/Type")));
    }
}

fn files(out: &mut String, container: &Value) {
    for (field, name) in [("Configs", "/ConfigName"), ("Secrets", "/SecretName")] {
        let mut references = items(&container[field])
            .filter(|reference| reference.get("File").is_some())
            .peekable();
        if references.peek().is_some() {
            line(out, &format!("{field}:"));
        }
        for reference in references {
            line(out, &format!(" Target:\t{}", text(reference, "/File/Name")));
            line(out, &format!("  Source:\t{}", text(reference, name)));
        }
    }
}

fn log_driver(out: &mut String, driver: &Value) {
    let Some(name) = driver["Name"].as_str() else {
        return;
    };
    line(out, &format!("Log Driver:\n Name:\t\t{name}"));
    if let Some(options) = driver["Options"].as_object().filter(|map| !map.is_empty()) {
        line(out, " LogOpts:");
        for (key, value) in options {
            let head = format!("{key}:");
            line(
                out,
                &format!("  {head:<16}{}", value.as_str().unwrap_or_default()),
            );
        }
    }
    out.push('\n');
}

fn resources(out: &mut String, resources: &Value) {
    line(out, "Resources:");
    for group in ["Reservations", "Limits"] {
        let values = &resources[group];
        let cpus = values["NanoCPUs"].as_f64().unwrap_or(0.0) / 1e9;
        let memory = values["MemoryBytes"].as_f64().unwrap_or(0.0);
        let pids = values["Pids"].as_i64().unwrap_or(0);
        if cpus <= 0.0 && memory <= 0.0 && pids <= 0 {
            continue;
        }
        line(out, &format!(" {group}:"));
        if cpus > 0.0 {
            line(out, &format!("  CPU:\t\t{cpus}"));
        }
        if memory > 0.0 {
            let memory = crate::output::bytes_binary(memory);
            line(out, &format!("  Memory:\t{memory}"));
        }
        if pids > 0 {
            line(out, &format!("  PIDs:\t\t{pids}"));
        }
    }
}

fn ports(out: &mut String, ports: &Value) {
    let ports: Vec<&Value> = items(ports).collect();
    let Some(last) = ports.len().checked_sub(1) else {
        return;
    };
    line(out, "Ports:");
    for (at, port) in ports.iter().enumerate() {
        line(out, &format!(" PublishedPort = {}", port["PublishedPort"]));
        line(out, &format!("  Protocol = {}", text(port, "/Protocol")));
        line(out, &format!("  TargetPort = {}", port["TargetPort"]));
        // Docker's template leaves a space behind the last.
        let end = if at == last { " " } else { "" };
        line(
            out,
            &format!("  PublishMode = {}{end}", text(port, "/PublishMode")),
        );
    }
}

fn health(out: &mut String, check: &Value) {
    if !check.is_object() {
        return;
    }
    let time = |field: &str| go_duration(check[field].as_i64().unwrap_or(0));
    let retries = check["Retries"].as_i64().unwrap_or(0);
    let _ = write!(
        out,
        " Healthcheck:\n  Interval = {}\n  Retries = {retries}\n  StartPeriod =\t{}\n  Timeout =\t{}\n",
        time("Interval"),
        time("StartPeriod"),
        time("Timeout"),
    );
    let tests: Vec<&str> = items(&check["Test"]).filter_map(Value::as_str).collect();
    if tests.is_empty() {
        return;
    }
    line(out, "  Tests:");
    for (at, test) in tests.iter().enumerate() {
        let end = if at + 1 == tests.len() { " " } else { "" };
        line(out, &format!("\t Test = {test}{end}"));
    }
}
