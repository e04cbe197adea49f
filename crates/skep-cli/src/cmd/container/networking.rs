//! `--network` and `--publish` of containers.

use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{fields, network_attachment};

/// The network mode, and an endpoint for each network.
pub(super) fn endpoints(matches: &Matches) -> Result<(String, Map<String, Value>), CliError> {
    let mut attachments = Vec::new();
    for text in matches.list("network") {
        attachments.push(network_attachment(text)?);
    }
    if attachments.is_empty() {
        attachments.push(network_attachment("default")?);
    }
    let first = &mut attachments[0];
    let twice = |what: &str| {
        CliError::new(format!(
            "conflicting options: cannot specify both --{what} and per-network {what}"
        ))
        .with_code(125)
    };
    for (flag, field) in [
        ("ip", &mut first.ipv4),
        ("ip6", &mut first.ipv6),
        ("mac-address", &mut first.mac),
    ] {
        if let Some(value) = matches.given_text(flag) {
            if !field.is_empty() {
                return Err(twice(flag));
            }
            *field = value.to_owned();
        }
    }
    first
        .aliases
        .extend_from_slice(matches.list("network-alias"));
    first
        .link_local
        .extend_from_slice(matches.list("link-local-ip"));
    let mode = first.target.clone();
    let mut all = Map::new();
    for (number, attachment) in attachments.iter().enumerate() {
        let mut addresses = Map::new();
        for (field, value) in [
            ("IPv4Address", &attachment.ipv4),
            ("IPv6Address", &attachment.ipv6),
        ] {
            if !value.is_empty() {
                addresses.insert(field.to_owned(), value.as_str().into());
            }
        }
        if !attachment.link_local.is_empty() {
            addresses.insert("LinkLocalIPs".to_owned(), json!(attachment.link_local));
        }
        let null_if = |empty: bool, value: Value| if empty { Value::Null } else { value };
        let links = matches.list("link");
        all.insert(
            attachment.target.clone(),
            json!({
                "IPAMConfig": null_if(addresses.is_empty(), Value::Object(addresses.clone())),
                "Links": null_if(number > 0 || links.is_empty(), json!(links)),
                "Aliases": null_if(attachment.aliases.is_empty(), json!(attachment.aliases)),
                "MacAddress": attachment.mac,
                "DriverOpts": null_if(attachment.driver_opts.is_empty(), json!(attachment.driver_opts)),
                "GwPriority": attachment.gateway_priority,
            }),
        );
    }
    Ok((mode, all))
}

type Ports = (Map<String, Value>, Map<String, Value>);

/// Exposed ports and port bindings.
pub(super) fn ports(matches: &Matches) -> Result<Ports, CliError> {
    let (mut exposed, mut bindings) = (Map::new(), Map::new());
    for text in matches.list("publish") {
        let bad = |why: &str| {
            CliError::new(format!(
                "invalid argument \"{text}\" for \"-p, --publish\" flag: {why}"
            ))
            .with_code(125)
        };
        let (address, host, target) = if text.contains('=') {
            long(text)?
        } else {
            short(text).ok_or_else(|| bad("invalid port specification"))?
        };
        let (target, protocol) = target.split_once('/').unwrap_or((&target, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(bad(&format!("invalid proto: {protocol}")));
        }
        let (first, last) =
            range(target).ok_or_else(|| bad(&format!("invalid containerPort: {target}")))?;
        let from = match host.as_str() {
            "" => None,
            text => Some(range(text).ok_or_else(|| bad(&format!("invalid hostPort: {text}")))?),
        };
        for port in first..=last {
            let published = match from {
                None => String::new(),
                Some((low, high)) if high - low == last - first => {
                    (low + (port - first)).to_string()
                }
                // The daemon picks one out of the range.
                Some((low, high)) if first == last => format!("{low}-{high}"),
                Some(_) => {
                    return Err(bad(&format!(
                        "invalid ranges specified for container and host Ports: {target} and {host}"
                    )));
                }
            };
            let name = format!("{port}/{protocol}");
            exposed.insert(name.clone(), json!({}));
            let list = bindings.entry(name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!({"HostIp": address, "HostPort": published}));
            }
        }
    }
    for text in matches.list("expose") {
        let bad =
            || CliError::new(format!("invalid range format for --expose: {text}")).with_code(125);
        let (target, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range(target).ok_or_else(bad)?;
        for port in first..=last {
            exposed
                .entry(format!("{port}/{protocol}"))
                .or_insert_with(|| json!({}));
        }
    }
    Ok((exposed, bindings))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// `[[address:]host:]target`, with brackets around addresses that have colons.
fn short(text: &str) -> Option<(String, String, String)> {
    let (rest, target) = match text.rsplit_once(':') {
        None => return Some((String::new(), String::new(), text.to_owned())),
        Some(parts) => parts,
    };
    let (address, host) = match rest.rsplit_once(':') {
        None => ("", rest),
        Some(parts) => parts,
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    (address.is_empty() || address.parse::<std::net::IpAddr>().is_ok())
        .then(|| (address.to_owned(), host.to_owned(), target.to_owned()))
}

fn long(text: &str) -> Result<(String, String, String), CliError> {
    let (mut host, mut target, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in fields(text)? {
        match field.split_once('=') {
            Some(("target", value)) => target = value.to_owned(),
            Some(("published", value)) => host = value.to_owned(),
            Some(("protocol", value)) => protocol = value.to_owned(),
            Some(("mode", "host" | "ingress")) => {}
            _ => {
                return Err(CliError::new(format!(
                    "invalid argument \"{text}\" for \"-p, --publish\" flag: invalid field: {field}"
                ))
                .with_code(125));
            }
        }
    }
    Ok((String::new(), host, format!("{target}/{protocol}")))
}
