//! A service's spec out of the flags of `service create`.

use serde_json::{Map, Value, json};

use super::extras;
use super::references::{credential_config, files, networks};
use super::values::{
    check_labels, credential_spec, env, generic_resources, hosts, name_servers, preference,
    refused, search_domains, swappiness, tagged, ulimits, words,
};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{labels, map_from, mount, ports};

/// Builds the spec. Names of networks, secrets and configs are looked up.
pub(super) async fn from_flags(context: &Context, matches: &Matches) -> Result<Value, CliError> {
    check_labels("-l, --label", matches.list("label"))?;
    check_labels("--container-label", matches.list("container-label"))?;
    let mode = mode(matches)?;
    let networks = networks(context, matches.list("network")).await?;
    let mut container = container(matches)?;
    let mut credential = credential_config(context, &mut container).await?;
    for (kind, field) in [("secret", "Secrets"), ("config", "Configs")] {
        let mut references = files(context, kind, matches.list(kind)).await?;
        if kind == "config" {
            references.extend(credential.take());
        }
        if !references.is_empty() {
            container[field] = references.into();
        }
    }
    let mut template = json!({
        "ContainerSpec": container,
        "Resources": resources(matches)?,
        "Placement": placement(matches)?,
        "ForceUpdate": 0,
    });
    if let Some(policy) = restart_policy(matches)? {
        template["RestartPolicy"] = policy;
    }
    if !networks.is_empty() {
        template["Networks"] = networks.into();
    }
    if let Some(driver) = log_driver(matches) {
        template["LogDriver"] = driver;
    }
    let mut spec = json!({
        "Labels": labels(&[], matches.list("label"))?,
        "TaskTemplate": template,
        "Mode": mode,
    });
    if !matches.text("name").is_empty() {
        spec["Name"] = matches.text("name").into();
    }
    for (prefix, field) in [("update", "UpdateConfig"), ("rollback", "RollbackConfig")] {
        if let Some(config) = update_config(matches, prefix)? {
            spec[field] = config;
        }
    }
    let mut endpoint = json!({"Mode": matches.text("endpoint-mode")});
    let ports = ports(matches.list("publish"))?;
    if !ports.is_empty() {
        endpoint["Ports"] = ports.into();
    }
    spec["EndpointSpec"] = endpoint;
    extras::create(&mut spec, matches)?;
    Ok(spec)
}

fn container(matches: &Matches) -> Result<Value, CliError> {
    let mut container = json!({
        "Image": tagged(matches.arg(0)),
        "Init": matches.flag("init"),
        "DNSConfig": dns(matches)?,
    });
    let labels = labels(&[], matches.list("container-label"))?;
    put_map(&mut container, "Labels", labels);
    put_list(&mut container, "Args", matches.args()[1..].to_vec());
    if let Some(command) = matches.given_text("entrypoint") {
        put_list(&mut container, "Command", words(command, "entrypoint")?);
    }
    for (flag, field) in [
        ("hostname", "Hostname"),
        ("workdir", "Dir"),
        ("user", "User"),
        ("stop-signal", "StopSignal"),
        ("isolation", "Isolation"),
    ] {
        if let Some(given) = matches.given_text(flag).filter(|given| !given.is_empty()) {
            container[field] = given.into();
        }
    }
    for (flag, field) in [("tty", "TTY"), ("read-only", "ReadOnly")] {
        if matches.flag(flag) {
            container[field] = true.into();
        }
    }
    put_list(
        &mut container,
        "Env",
        env("-e, --env", matches.list("env-file"), matches.list("env"))?,
    );
    put_list(&mut container, "Groups", matches.list("group").to_vec());
    let mounts: Vec<Value> = matches
        .list("mount")
        .iter()
        .map(|text| mount(text))
        .collect::<Result<_, _>>()?;
    put_list(&mut container, "Mounts", mounts);
    if let Some(period) = matches.duration("stop-grace-period") {
        container["StopGracePeriod"] = period.into();
    }
    if let Some(mut check) = healthcheck(matches)? {
        // 0 means the image's own, which goes without saying in a new service.
        if let Some(check) = check.as_object_mut() {
            check.retain(|_, value| *value != 0);
        }
        container["Healthcheck"] = check;
    }
    put_list(
        &mut container,
        "Hosts",
        hosts("--host", matches.list("host"))?,
    );
    put_map(&mut container, "Sysctls", map_from(matches.list("sysctl")));
    let (add, drop) = capabilities(matches.list("cap-add"), matches.list("cap-drop"));
    put_list(&mut container, "CapabilityAdd", add);
    put_list(&mut container, "CapabilityDrop", drop);
    put_list(&mut container, "Ulimits", ulimits(matches.list("ulimit"))?);
    if let Some(score) = matches.number("oom-score-adj").filter(|score| *score != 0) {
        container["OomScoreAdj"] = score.into();
    }
    if let Some(given) = matches
        .given_text("credential-spec")
        .filter(|given| !given.is_empty())
    {
        container["Privileges"] = json!({
            "CredentialSpec": credential_spec(given)?,
            "SELinuxContext": null,
            "NoNewPrivileges": false,
        });
    }
    Ok(container)
}

fn dns(matches: &Matches) -> Result<Value, CliError> {
    let mut dns = json!({});
    put_list(
        &mut dns,
        "Nameservers",
        name_servers("--dns", matches.list("dns"))?,
    );
    put_list(
        &mut dns,
        "Search",
        search_domains("--dns-search", matches.list("dns-search"))?,
    );
    put_list(&mut dns, "Options", matches.list("dns-option").to_vec());
    Ok(dns)
}

fn mode(matches: &Matches) -> Result<Value, CliError> {
    let mode = matches.text("mode");
    let replicas = matches.count("replicas");
    let at_once = matches.count("max-concurrent");
    let replicated = matches!(mode, "replicated" | "replicated-job");
    if replicas.is_some() && !replicated {
        return Err(CliError::new(
            "replicas can only be used with replicated or replicated-job mode",
        ));
    }
    if matches
        .count("replicas-max-per-node")
        .is_some_and(|most| most > 0)
        && !replicated
    {
        return Err(CliError::new(
            "replicas-max-per-node can only be used with replicated or replicated-job mode",
        ));
    }
    if at_once.is_some() && mode != "replicated-job" {
        return Err(CliError::new(
            "max-concurrent can only be used with replicated-job mode",
        ));
    }
    if mode.ends_with("-job")
        && ["update", "rollback"]
            .iter()
            .any(|prefix| update_flag_given(matches, prefix))
    {
        return Err(CliError::new(
            "update and rollback configuration is not supported for jobs",
        ));
    }
    Ok(match mode {
        "replicated" => match replicas {
            Some(replicas) => json!({"Replicated": {"Replicas": replicas}}),
            None => json!({"Replicated": {}}),
        },
        "global" => json!({"Global": {}}),
        "replicated-job" => {
            let mut job = json!({});
            if let Some(at_once) = at_once.or(replicas) {
                job["MaxConcurrent"] = at_once.into();
            }
            if let Some(replicas) = replicas {
                job["TotalCompletions"] = replicas.into();
            }
            json!({"ReplicatedJob": job})
        }
        "global-job" => json!({"GlobalJob": {}}),
        other => {
            return Err(CliError::new(format!(
                "Unknown mode: {other}, only replicated and global supported"
            )));
        }
    })
}

fn resources(matches: &Matches) -> Result<Value, CliError> {
    let mut resources = json!({"Limits": {}, "Reservations": {}});
    for (group, cpu, memory) in [
        ("Limits", "limit-cpu", "limit-memory"),
        ("Reservations", "reserve-cpu", "reserve-memory"),
    ] {
        if let Some(cpus) = matches.cpus(cpu).filter(|cpus| *cpus != 0) {
            resources[group]["NanoCPUs"] = cpus.into();
        }
        if let Some(bytes) = matches.bytes(memory).filter(|bytes| *bytes != 0) {
            resources[group]["MemoryBytes"] = bytes.into();
        }
    }
    if let Some(pids) = matches.number("limit-pids").filter(|pids| *pids != 0) {
        resources["Limits"]["Pids"] = pids.into();
    }
    swap(&mut resources, matches)?;
    let generic = generic_resources("--generic-resource", matches.list("generic-resource"))?;
    put_list(&mut resources["Reservations"], "GenericResources", generic);
    Ok(resources)
}

/// `--memory-swap` and `--memory-swappiness`.
pub(super) fn swap(resources: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if let Some(text) = matches.given_text("memory-swap") {
        let bytes = if text == "-1" {
            Some(-1)
        } else {
            matches.bytes("memory-swap")
        };
        resources["SwapBytes"] = bytes.into();
    }
    if let Some(value) = matches.number("memory-swappiness") {
        resources["MemorySwappiness"] = swappiness(value)?.into();
    }
    Ok(())
}

fn placement(matches: &Matches) -> Result<Value, CliError> {
    let mut placement = json!({});
    put_list(
        &mut placement,
        "Constraints",
        matches.list("constraint").to_vec(),
    );
    let preferences: Vec<Value> = matches
        .list("placement-pref")
        .iter()
        .map(|text| preference("--placement-pref", text))
        .collect::<Result<_, _>>()?;
    put_list(&mut placement, "Preferences", preferences);
    if let Some(most) = matches
        .count("replicas-max-per-node")
        .filter(|most| *most > 0)
    {
        placement["MaxReplicas"] = most.into();
    }
    Ok(placement)
}

fn restart_policy(matches: &Matches) -> Result<Option<Value>, CliError> {
    let mut policy = Map::new();
    put_restart(&mut policy, matches)?;
    if policy.is_empty() {
        return Ok(None);
    }
    policy.entry("Condition").or_insert_with(|| "any".into());
    policy
        .entry("Delay")
        .or_insert_with(|| 5_000_000_000_i64.into());
    policy.entry("MaxAttempts").or_insert_with(|| 0.into());
    Ok(Some(Value::Object(policy)))
}

/// Puts the restart flags that were given.
pub(super) fn put_restart(
    policy: &mut Map<String, Value>,
    matches: &Matches,
) -> Result<(), CliError> {
    if let Some(condition) = matches.given_text("restart-condition") {
        policy.insert("Condition".to_owned(), condition.into());
    }
    if let Some(delay) = matches.duration("restart-delay") {
        policy.insert("Delay".to_owned(), delay.into());
    }
    if let Some(most) = matches.count("restart-max-attempts") {
        policy.insert("MaxAttempts".to_owned(), most.into());
    }
    if let Some(window) = matches.duration("restart-window") {
        policy.insert("Window".to_owned(), window.into());
    }
    Ok(())
}

pub(super) fn log_driver(matches: &Matches) -> Option<Value> {
    let name = matches
        .given_text("log-driver")
        .filter(|name| !name.is_empty())?;
    let mut driver = json!({"Name": name});
    put_map(&mut driver, "Options", map_from(matches.list("log-opt")));
    Some(driver)
}

const UPDATE_PARTS: [&str; 6] = [
    "parallelism",
    "delay",
    "monitor",
    "failure-action",
    "max-failure-ratio",
    "order",
];

pub(super) fn update_flag_given(matches: &Matches, prefix: &str) -> bool {
    UPDATE_PARTS
        .iter()
        .any(|part| matches.given(&format!("{prefix}-{part}")))
}

/// `--update-*` or `--rollback-*` as a whole, where any was given.
fn update_config(matches: &Matches, prefix: &str) -> Result<Option<Value>, CliError> {
    if !update_flag_given(matches, prefix) {
        return Ok(None);
    }
    let mut config = Map::new();
    put_update(&mut config, matches, prefix)?;
    update_defaults(&mut config);
    Ok(Some(Value::Object(config)))
}

/// What Docker's command line writes where it is not told.
pub(super) fn update_defaults(config: &mut Map<String, Value>) {
    let defaults = [
        ("Parallelism", Value::from(1)),
        ("FailureAction", "pause".into()),
        ("Monitor", 5_000_000_000_i64.into()),
        ("MaxFailureRatio", 0.into()),
        ("Order", "stop-first".into()),
    ];
    for (field, value) in defaults {
        config.entry(field).or_insert(value);
    }
}

/// Puts the `--update-*` or `--rollback-*` flags that were given.
pub(super) fn put_update(
    config: &mut Map<String, Value>,
    matches: &Matches,
    prefix: &str,
) -> Result<(), CliError> {
    let name = |part: &str| format!("{prefix}-{part}");
    if let Some(count) = matches.count(&name("parallelism")) {
        config.insert("Parallelism".to_owned(), count.into());
    }
    if let Some(delay) = matches.duration(&name("delay")) {
        config.insert("Delay".to_owned(), delay.into());
    }
    if let Some(monitor) = matches.duration(&name("monitor")) {
        config.insert("Monitor".to_owned(), monitor.into());
    }
    if let Some(ratio) = matches.fraction(&name("max-failure-ratio")) {
        config.insert("MaxFailureRatio".to_owned(), number(ratio));
    }
    for (part, field) in [("failure-action", "FailureAction"), ("order", "Order")] {
        if let Some(given) = matches.given_text(&name(part)) {
            config.insert(field.to_owned(), given.into());
        }
    }
    Ok(())
}

/// A fraction as Go writes it: without a point where there is nothing behind it.
fn number(value: f64) -> Value {
    #[allow(clippy::cast_possible_truncation)] // it has no fraction and is small
    if value.fract() == 0.0 && value.abs() < 1e15 {
        (value as i64).into()
    } else {
        value.into()
    }
}

pub(super) fn healthcheck(matches: &Matches) -> Result<Option<Value>, CliError> {
    let timings = [
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
    ];
    let any = matches.given("health-cmd")
        || matches.given("health-retries")
        || timings.iter().any(|(flag, _)| matches.given(flag));
    if matches.flag("no-healthcheck") {
        if any {
            return Err(CliError::new(
                "--no-healthcheck conflicts with --health-* options",
            ));
        }
        return Ok(Some(json!({"Test": ["NONE"]})));
    }
    for (flag, _) in timings {
        if matches.duration(flag).is_some_and(|time| time < 0) {
            return Err(refused(
                &format!("--{flag}"),
                matches.text(flag),
                "duration cannot be negative",
            ));
        }
    }
    if !any {
        return Ok(None);
    }
    let mut check = json!({});
    if let Some(command) = matches
        .given_text("health-cmd")
        .filter(|command| !command.is_empty())
    {
        check["Test"] = json!(["CMD-SHELL", command]);
    }
    for (flag, field) in timings {
        if let Some(value) = matches.duration(flag) {
            check[field] = value.into();
        }
    }
    if let Some(retries) = matches.number("health-retries") {
        check["Retries"] = retries.into();
    }
    Ok(Some(check))
}

/// Names in Docker's form, sorted, each once.
pub(super) fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let normal = |names: &[String]| -> Vec<String> {
        let mut all: Vec<String> = names.iter().map(|name| capability(name)).collect();
        // Of a new service there is nothing to reset.
        all.retain(|name| name != "RESET");
        all.sort();
        all.dedup();
        if all.iter().any(|name| name == "ALL") {
            vec!["ALL".to_owned()]
        } else {
            all
        }
    };
    let (add, drop) = (normal(add), normal(drop));
    // What is added need not be dropped.
    let drop = drop
        .into_iter()
        .filter(|name| name == "ALL" || !add.contains(name))
        .collect();
    (add, drop)
}

/// `net_admin` is `CAP_NET_ADMIN`.
pub(super) fn capability(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase();
    if upper == "ALL" || upper == "RESET" || upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    }
}

pub(super) fn put_list<T: Into<Value>>(object: &mut Value, field: &str, list: Vec<T>) {
    if !list.is_empty() {
        object[field] = Value::Array(list.into_iter().map(Into::into).collect());
    }
}

pub(super) fn put_map(object: &mut Value, field: &str, map: Map<String, Value>) {
    if !map.is_empty() {
        object[field] = Value::Object(map);
    }
}
