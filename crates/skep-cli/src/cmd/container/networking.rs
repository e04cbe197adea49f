//! `--network` and `--publish` of containers.

use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{NetworkAttachment, endpoint_settings, fields, network_attachment};

/// The network mode, and an endpoint for each network.
pub(super) fn endpoints(matches: &Matches) -> Result<(String, Map<String, Value>), CliError> {
    let mut attachments = Vec::new();
    for text in matches.list("network") {
        attachments.push(network_attachment(text)?);
    }
    let (user, other): (Vec<_>, Vec<_>) = attachments
        .iter()
        .partition(|one| is_user_defined(&one.target));
    if !user.is_empty() && !other.is_empty() {
        return Err(refused(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ));
    }
    for (number, one) in attachments.iter().enumerate() {
        if attachments[..number]
            .iter()
            .any(|before| before.target == one.target)
        {
            return Err(refused(&format!(
                "network \"{}\" is specified multiple times",
                one.target
            )));
        }
    }
    if attachments.is_empty() {
        attachments.push(network_attachment("default")?);
    }
    take_flags(matches, &mut attachments[0])?;
    let mode = attachments[0].target.clone();
    let mut all = Map::new();
    for (number, attachment) in attachments.iter().enumerate() {
        // The network of the host, of none, and of another container have no endpoint of ours.
        if matches!(attachment.target.as_str(), "host" | "none")
            || attachment.target.starts_with("container:")
        {
            continue;
        }
        let is_first_of_users = number == 0 && is_user_defined(&attachment.target);
        let links = if is_first_of_users {
            matches.list("link")
        } else {
            &[]
        };
        all.insert(attachment.target.clone(), endpoint(attachment, links));
    }
    Ok((mode, all))
}

/// `--ip`, `--network-alias` and their like are about the first network.
fn take_flags(matches: &Matches, first: &mut NetworkAttachment) -> Result<(), CliError> {
    let twice = |flag: &str, what: &str| {
        refused(&format!(
            "conflicting options: cannot specify both --{flag} and per-network {what}"
        ))
    };
    for (flag, what, field) in [
        ("ip", "IPv4 address", &mut first.ipv4),
        ("ip6", "IPv6 address", &mut first.ipv6),
        ("mac-address", "MAC address", &mut first.mac),
    ] {
        if let Some(value) = matches.given_text(flag) {
            if !field.is_empty() {
                return Err(twice(flag, what));
            }
            *field = value.to_owned();
        }
    }
    let aliases = matches.list("network-alias");
    if !aliases.is_empty() {
        if !first.aliases.is_empty() {
            return Err(twice("network-alias", "alias"));
        }
        if !is_user_defined(&first.target) {
            return Err(refused(
                "network-scoped aliases are only supported for user-defined networks",
            ));
        }
        first.aliases = aliases.to_vec();
    }
    let local = matches.list("link-local-ip");
    if !local.is_empty() {
        if !first.link_local.is_empty() {
            return Err(twice("link-local-ip", "link-local IP addresses"));
        }
        first.link_local = local.to_vec();
    }
    if !first.mac.is_empty() && !is_mac(&first.mac) {
        return Err(refused(&format!(
            "{} is not a valid mac address",
            first.mac
        )));
    }
    Ok(())
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<_> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_user_defined(network: &str) -> bool {
    !matches!(network, "default" | "bridge" | "host" | "none" | "nat" | "")
        && !network.starts_with("container:")
}

fn endpoint(attachment: &NetworkAttachment, links: &[String]) -> Value {
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
    endpoint_settings(
        null_if(addresses.is_empty(), Value::Object(addresses.clone())),
        null_if(links.is_empty(), json!(links)),
        null_if(attachment.aliases.is_empty(), json!(attachment.aliases)),
        null_if(
            attachment.driver_opts.is_empty(),
            json!(attachment.driver_opts),
        ),
        &attachment.mac,
        attachment.gateway_priority,
    )
}

fn refused(why: &str) -> CliError {
    CliError::new(why).with_code(125)
}

type Ports = (Map<String, Value>, Map<String, Value>);

/// Exposed ports and port bindings.
pub(super) fn ports(matches: &Matches) -> Result<Ports, CliError> {
    let (mut exposed, mut bindings) = (Map::new(), Map::new());
    for text in matches.list("publish") {
        publish(text, &mut exposed, &mut bindings)?;
    }
    for text in matches.list("expose") {
        if text.contains(':') {
            return Err(refused(&format!(
                "invalid port format for --expose: {text}"
            )));
        }
        let (target, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range(target).ok_or_else(|| {
            refused(&format!(
                "invalid range format for --expose: {text}, error: strconv.ParseUint: parsing \"{target}\": invalid syntax"
            ))
        })?;
        for port in first..=last {
            exposed
                .entry(format!("{port}/{protocol}"))
                .or_insert_with(|| json!({}));
        }
    }
    Ok((exposed, bindings))
}

fn publish(
    text: &str,
    exposed: &mut Map<String, Value>,
    bindings: &mut Map<String, Value>,
) -> Result<(), CliError> {
    let (address, host, target) = if text.contains('=') {
        long(text)?
    } else {
        short(text)
    };
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(refused(&format!("invalid IP address: {address}")));
    }
    let (target, protocol) = target.split_once('/').unwrap_or((&target, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(refused(&format!("invalid proto: {protocol}")));
    }
    let (first, last) =
        range(target).ok_or_else(|| refused(&format!("invalid containerPort: {target}")))?;
    let from = match host.as_str() {
        "" => None,
        text => Some(range(text).ok_or_else(|| refused(&format!("invalid hostPort: {text}")))?),
    };
    for port in first..=last {
        let published = match from {
            None => String::new(),
            Some((low, high)) if high - low == last - first => (low + (port - first)).to_string(),
            // The daemon picks one out of the range.
            Some((low, high)) if first == last => format!("{low}-{high}"),
            Some(_) => {
                return Err(refused(&format!(
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
    Ok(())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// `[[address:]host:]target`, with brackets around addresses that have colons.
fn short(text: &str) -> (String, String, String) {
    let (rest, target) = match text.rsplit_once(':') {
        None => return (String::new(), String::new(), text.to_owned()),
        Some(parts) => parts,
    };
    let (address, host) = match rest.rsplit_once(':') {
        None => ("", rest),
        Some(parts) => parts,
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    (address.to_owned(), host.to_owned(), target.to_owned())
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
