//! `service inspect`.

use serde_json::Value;

use super::list::mode;
use crate::client::{escape, url};
use crate::cmd::objects::{inspect, text};
use crate::context::Context;
use crate::error::{CliError, join};
use crate::grammar::Matches;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let format = matches.text("format");
    if matches.flag("pretty") {
        if !format.is_empty() {
            return Err(CliError::new(
                "--format is incompatible with human friendly format",
            ));
        }
        return pretty(context, matches).await;
    }
    let format = if format.is_empty() {
        context.setting("serviceInspectFormat").unwrap_or_default()
    } else {
        format
    };
    inspect(matches.args(), format, |name| find(context, name)).await
}

async fn find(context: &Context, name: &str) -> Result<Value, CliError> {
    let path = url(
        &format!("/services/{}", escape(name)),
        &[("insertDefaults", "true")],
    );
    context
        .client
        .get(&path)
        .await
        .map_err(|error| match error.is_not_found() {
            true => CliError::new(format!("Error: no such service: {name}")),
            false => error,
        })
}

async fn pretty(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut errors = Vec::new();
    for name in matches.args() {
        match find(context, name).await {
            Ok(service) => print!("{}", describe(&service)),
            Err(error) => errors.push(error),
        }
    }
    join(errors)
}

/// Docker's layout: a tab after each head.
fn describe(service: &Value) -> String {
    let mut text_out = Lines::default();
    let spec = &service["Spec"];
    let template = &spec["TaskTemplate"];
    let container = &template["ContainerSpec"];
    text_out.line(&format!("\nID:\t\t{}", text(service, "/ID")));
    text_out.line(&format!("Name:\t\t{}", text(spec, "/Name")));
    text_out.pairs("Labels:", &spec["Labels"]);
    let shown_mode = match mode(service) {
        "replicated" => "Replicated".to_owned(),
        "global" => "Global".to_owned(),
        "replicated job" => "ReplicatedJob".to_owned(),
        other => other.replace("global job", "GlobalJob"),
    };
    text_out.line(&format!("Service Mode:\t{shown_mode}"));
    if let Some(replicas) = spec["Mode"]["Replicated"]["Replicas"].as_u64() {
        text_out.line(&format!(" Replicas:\t{replicas}"));
    }
    update_status(&mut text_out, &service["UpdateStatus"]);
    text_out.line("Placement:");
    text_out.list(" Constraints:\t", &template["Placement"]["Constraints"]);
    if let Some(most) = template["Placement"]["MaxReplicas"]
        .as_u64()
        .filter(|most| *most > 0)
    {
        text_out.line(&format!(" Max Replicas Per Node:\t{most}"));
    }
    update_config(
        &mut text_out,
        "UpdateConfig:",
        "On failure",
        &spec["UpdateConfig"],
    );
    update_config(
        &mut text_out,
        "RollbackConfig:",
        "On failure",
        &spec["RollbackConfig"],
    );
    container_lines(&mut text_out, container);
    if let Some(name) = template["LogDriver"]["Name"].as_str() {
        text_out.line(&format!("Log Driver:\n Name:\t{name}"));
    }
    text_out.line("Resources:");
    for (group, head) in [("Reservations", " Reservations:"), ("Limits", " Limits:")] {
        let values = &template["Resources"][group];
        let cpus = values["NanoCPUs"].as_f64().unwrap_or(0.0) / 1e9;
        let memory = values["MemoryBytes"].as_f64().unwrap_or(0.0);
        if cpus > 0.0 || memory > 0.0 {
            text_out.line(head);
            if cpus > 0.0 {
                text_out.line(&format!("  CPU:\t\t{cpus}"));
            }
            if memory > 0.0 {
                text_out.line(&format!(
                    "  Memory:\t{}",
                    crate::output::bytes_binary(memory)
                ));
            }
        }
    }
    text_out.list("Networks: ", &network_names(template));
    text_out.line(&format!(
        "Endpoint Mode:\t{}",
        text(service, "/Endpoint/Spec/Mode")
    ));
    ports(&mut text_out, &service["Endpoint"]["Ports"]);
    text_out.0.push('\n');
    text_out.0
}

fn network_names(template: &Value) -> Value {
    let names = template["Networks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|network| network["Target"].clone());
    Value::Array(names.collect())
}

fn update_status(out: &mut Lines, status: &Value) {
    if text(status, "/State").is_empty() {
        return;
    }
    out.line("UpdateStatus:");
    out.line(&format!(" State:\t\t{}", text(status, "/State")));
    for (field, head) in [
        ("StartedAt", " Started:\t"),
        ("CompletedAt", " Completed:\t"),
    ] {
        if let Some(time) = status[field].as_str() {
            out.line(&format!("{head}{}", crate::output::ago(time)));
        }
    }
    out.line(&format!(" Message:\t{}", text(status, "/Message")));
}

fn update_config(out: &mut Lines, head: &str, action: &str, config: &Value) {
    if !config.is_object() {
        return;
    }
    out.line(head);
    out.line(&format!(
        " Parallelism:\t{}",
        config["Parallelism"].as_u64().unwrap_or(0)
    ));
    if let Some(delay) = config["Delay"].as_i64().filter(|delay| *delay > 0) {
        out.line(&format!(" Delay:\t\t{}", go_duration(delay)));
    }
    out.line(&format!(" {action}:\t{}", text(config, "/FailureAction")));
    if let Some(monitor) = config["Monitor"].as_i64().filter(|monitor| *monitor > 0) {
        out.line(&format!(" Monitoring Period: {}", go_duration(monitor)));
    }
    out.line(&format!(
        " Max failure ratio: {}",
        config["MaxFailureRatio"].as_f64().unwrap_or(0.0)
    ));
    out.line(&format!(
        " {} order:      {}",
        if head.starts_with("Up") {
            "Update"
        } else {
            "Rollback"
        },
        text(config, "/Order")
    ));
}

fn container_lines(out: &mut Lines, container: &Value) {
    out.line("ContainerSpec:");
    out.line(&format!(" Image:\t\t{}", text(container, "/Image")));
    for (field, head) in [
        ("Command", " Command:\t"),
        ("Args", " Args:\t\t"),
        ("Env", " Env:\t\t"),
    ] {
        out.list(head, &container[field]);
    }
    for (field, head) in [("Dir", " Dir:\t\t"), ("User", " User:\t\t")] {
        if let Some(value) = container[field].as_str().filter(|value| !value.is_empty()) {
            out.line(&format!("{head}{value}"));
        }
    }
    if let Some(init) = container["Init"].as_bool() {
        out.line(&format!(" Init:\t\t{init}"));
    }
    let mounts: Vec<&Value> = container["Mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    if !mounts.is_empty() {
        out.line("Mounts:");
        for mount in mounts {
            out.line(&format!(" Target:\t{}", text(mount, "/Target")));
            out.line(&format!("  Source:\t{}", text(mount, "/Source")));
            out.line(&format!("  ReadOnly:\t{}", mount["ReadOnly"] == true));
            out.line(&format!("  Type:\t\t{}", text(mount, "/Type")));
        }
    }
    for (field, head, name) in [
        ("Configs", "Configs:", "ConfigName"),
        ("Secrets", "Secrets:", "SecretName"),
    ] {
        let references: Vec<&Value> = container[field].as_array().into_iter().flatten().collect();
        if !references.is_empty() {
            out.line(head);
            for reference in references {
                out.line(&format!(" Target:\t{}", text(reference, "/File/Name")));
                out.line(&format!(
                    "  Source:\t{}",
                    reference[name].as_str().unwrap_or_default()
                ));
            }
        }
    }
}

fn ports(out: &mut Lines, ports: &Value) {
    let ports: Vec<&Value> = ports.as_array().into_iter().flatten().collect();
    if ports.is_empty() {
        return;
    }
    out.line("Ports:");
    for port in ports {
        out.line(&format!(" PublishedPort = {}", port["PublishedPort"]));
        out.line(&format!("  Protocol = {}", text(port, "/Protocol")));
        out.line(&format!("  TargetPort = {}", port["TargetPort"]));
        out.line(&format!("  PublishMode = {}", text(port, "/PublishMode")));
    }
}

/// Go's notation of a duration: `1m30s`, `500ms`.
fn go_duration(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let rest = nanos % 1_000_000_000;
    if seconds == 0 {
        return format!("{}ms", rest / 1_000_000);
    }
    let fraction = if rest == 0 {
        String::new()
    } else {
        format!(".{rest:09}").trim_end_matches('0').to_owned()
    };
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}{fraction}s"),
        (0, m, s) => format!("{m}m{s}{fraction}s"),
        (h, m, s) => format!("{h}h{m}m{s}{fraction}s"),
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn list(&mut self, head: &str, list: &Value) {
        let items: Vec<_> = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !items.is_empty() {
            self.line(&format!("{head}{} ", items.join(" ")));
        }
    }

    fn pairs(&mut self, head: &str, map: &Value) {
        if let Some(map) = map.as_object().filter(|map| !map.is_empty()) {
            self.line(head);
            for (key, value) in map {
                self.line(&format!(" {key}={}", value.as_str().unwrap_or_default()));
            }
        }
    }
}
