//! `node inspect --pretty`, in Docker's layout.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cmd::objects::text;
use crate::output::bytes_binary;

/// A node in words.
pub(super) fn describe(node: &Value) -> String {
    let mut lines = vec![format!("ID:\t\t\t{}", text(node, "/ID"))];
    if let Some(name) = node["Spec"]["Name"]
        .as_str()
        .filter(|name| !name.is_empty())
    {
        lines.push(format!("Name:\t\t\t{name}"));
    }
    labels(&mut lines, "Labels:", &node["Spec"]["Labels"]);
    let description = &node["Description"];
    lines.push(format!(
        "Hostname:              \t{}",
        text(description, "/Hostname")
    ));
    let joined = text(node, "/CreatedAt")
        .trim_end_matches('Z')
        .replace('T', " ");
    lines.push(format!("Joined at:             \t{joined} +0000 utc"));
    status(&mut lines, node);
    platform(&mut lines, description);
    plugins(&mut lines, &description["Engine"]["Plugins"]);
    lines.push(format!(
        "Engine Version:\t\t{}",
        text(description, "/Engine/EngineVersion")
    ));
    labels(
        &mut lines,
        "Engine Labels:",
        &description["Engine"]["Labels"],
    );
    let tls = &description["TLSInfo"];
    if tls.is_object() {
        lines.push("TLS Info:\n TrustRoot:".to_owned());
        lines.push(text(tls, "/TrustRoot").to_owned());
        lines.push(format!(
            " Issuer Subject:\t{}",
            text(tls, "/CertIssuerSubject")
        ));
        lines.push(format!(
            " Issuer Public Key:\t{}",
            text(tls, "/CertIssuerPublicKey")
        ));
    }
    lines.join("\n") + "\n"
}

fn labels(lines: &mut Vec<String>, head: &str, labels: &Value) {
    let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else {
        return;
    };
    lines.push(head.to_owned());
    for (key, value) in labels {
        lines.push(format!(" - {key}={}", value.as_str().unwrap_or_default()));
    }
}

fn status(lines: &mut Vec<String>, node: &Value) {
    let title = |pointer: &str| super::title(text(node, pointer));
    lines.push(format!("Status:\n State:\t\t\t{}", title("/Status/State")));
    let message = text(node, "/Status/Message");
    if !message.is_empty() {
        lines.push(format!(" Message:\t\t{}", super::title(message)));
    }
    lines.push(format!(
        " Availability:         \t{}",
        title("/Spec/Availability")
    ));
    let address = text(node, "/Status/Addr");
    if !address.is_empty() {
        lines.push(format!(" Address:\t\t{address}"));
    }
    let manager = &node["ManagerStatus"];
    if manager.is_object() {
        let leader = if manager["Leader"] == true {
            "Yes"
        } else {
            "No"
        };
        lines.push(format!(
            "Manager Status:\n Address:\t\t{}",
            text(manager, "/Addr")
        ));
        lines.push(format!(
            " Raft Status:\t\t{}",
            title("/ManagerStatus/Reachability")
        ));
        lines.push(format!(" Leader:\t\t{leader}"));
    }
}

fn platform(lines: &mut Vec<String>, description: &Value) {
    let cpus = description["Resources"]["NanoCPUs"].as_i64().unwrap_or(0) / 1_000_000_000;
    let memory = description["Resources"]["MemoryBytes"]
        .as_f64()
        .unwrap_or(0.0);
    lines.push(format!(
        "Platform:\n Operating System:\t{}",
        text(description, "/Platform/OS")
    ));
    lines.push(format!(
        " Architecture:\t\t{}",
        text(description, "/Platform/Architecture")
    ));
    lines.push(format!(
        "Resources:\n CPUs:\t\t\t{cpus}\n Memory:\t\t{}",
        bytes_binary(memory)
    ));
}

/// Plugins by type.
fn plugins(lines: &mut Vec<String>, plugins: &Value) {
    let mut by_type: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for plugin in plugins.as_array().into_iter().flatten() {
        by_type
            .entry(text(plugin, "/Type"))
            .or_default()
            .push(text(plugin, "/Name"));
    }
    if by_type.is_empty() {
        return;
    }
    lines.push("Plugins:".to_owned());
    for (kind, names) in by_type {
        lines.push(format!(" {kind}:\t\t{}", names.join(", ")));
    }
}
