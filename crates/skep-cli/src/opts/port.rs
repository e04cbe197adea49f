//! `--publish` of services: short `[published:]target[/protocol]` with ranges, or long CSV.

use serde_json::{Value, json};

use super::fields;
use crate::error::CliError;

/// Every port that one flag publishes, as services take them.
pub fn port_spec(text: &str) -> Result<Vec<Value>, CliError> {
    let bad = |why: String| {
        CliError::new(format!(
            "invalid argument \"{text}\" for \"-p, --publish\" flag: {why}"
        ))
        .with_code(125)
    };
    if text.contains('=') {
        long(text, &bad).map(|port| vec![port])
    } else {
        short(text, &bad)
    }
}

/// All flags' ports; the same port twice is refused.
pub fn ports(texts: &[String]) -> Result<Vec<Value>, CliError> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(port_spec(text)?);
    }
    Ok(all)
}

fn long(text: &str, bad: &dyn Fn(String) -> CliError) -> Result<Value, CliError> {
    let mut port =
        json!({"Protocol": "tcp", "TargetPort": 0, "PublishedPort": 0, "PublishMode": "ingress"});
    for field in fields(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid field: {field}")))?;
        let number = |what: &str| {
            value.parse::<u16>().map_err(|_| {
                bad(format!(
                    "invalid {what} port ({value}): value must be an integer: invalid syntax"
                ))
            })
        };
        match key.to_ascii_lowercase().as_str() {
            "protocol" if matches!(value, "tcp" | "udp" | "sctp") => {
                port["Protocol"] = value.into()
            }
            "protocol" => return Err(bad(format!("invalid protocol value '{value}'"))),
            "mode" if matches!(value, "ingress" | "host") => port["PublishMode"] = value.into(),
            "mode" => {
                return Err(bad(format!(
                    "invalid publish mode value ({value}): must be either 'ingress' or 'host'"
                )));
            }
            "target" => port["TargetPort"] = number("target")?.into(),
            "published" => port["PublishedPort"] = number("published")?.into(),
            other => return Err(bad(format!("invalid field key: {other}"))),
        }
    }
    if port["TargetPort"] == 0 {
        return Err(bad(format!("missing mandatory field '{}'", "target")));
    }
    Ok(without_zero(port))
}

fn short(text: &str, bad: &dyn Fn(String) -> CliError) -> Result<Vec<Value>, CliError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(
        protocol.to_ascii_lowercase().as_str(),
        "tcp" | "udp" | "sctp"
    ) {
        return Err(bad(format!("invalid proto: {protocol}")));
    }
    let parts: Vec<_> = ports.split(':').collect();
    let (published, target) = match parts.as_slice() {
        [target] => ("", *target),
        [published, target] => (*published, *target),
        [ip, _, _] if ip.parse::<std::net::IpAddr>().is_ok() => {
            return Err(bad("hostip is not supported".to_owned()));
        }
        [ip @ .., _, _] => {
            return Err(bad(format!("invalid IP address: {}", ip.join(":"))));
        }
        [] => ("", ""),
    };
    if target.is_empty() {
        let shown = if text.is_empty() { "<empty>" } else { text };
        return Err(bad(format!("no port specified: {shown}")));
    }
    let range = |text: &str, what: &str| -> Result<(u16, u16), CliError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| {
            text.parse::<u16>()
                .map_err(|_| bad(format!("invalid {what}: {text}")))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(bad(format!("invalid {what}: {text}")));
        }
        Ok((first, last))
    };
    let (first, last) = range(target, "containerPort")?;
    if first == 0 {
        return Err(bad(format!("invalid containerPort: {target}")));
    }
    let (from, to) = if published.is_empty() {
        (0, 0)
    } else {
        range(published, "hostPort")?
    };
    if !published.is_empty() && to - from != last - first && first != last {
        return Err(bad(format!(
            "invalid ranges specified for container and host Ports: {target} and {published}"
        )));
    }
    let count = (last - first).max(to - from);
    let port = |offset: u16| {
        // Several published ports may lead to one target.
        let target = if first == last { first } else { first + offset };
        let published = if from == 0 { 0 } else { from + offset };
        without_zero(json!({
            "Protocol": protocol.to_ascii_lowercase(), "TargetPort": target,
            "PublishedPort": published, "PublishMode": "ingress",
        }))
    };
    Ok((0..=count).map(port).collect())
}

/// A port that the swarm is to choose is not written down.
fn without_zero(mut port: Value) -> Value {
    if port["PublishedPort"] == 0
        && let Some(object) = port.as_object_mut()
    {
        object.shift_remove("PublishedPort");
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_expand_and_long_forms_name_their_parts() {
        let ports = port_spec("8000-8001:80-81/udp").unwrap();
        assert_eq!(
            ports[1],
            json!({"Protocol": "udp", "TargetPort": 81, "PublishedPort": 8001, "PublishMode": "ingress"})
        );
        let port = &port_spec("target=80,mode=host").unwrap()[0];
        assert_eq!(
            *port,
            json!({"Protocol": "tcp", "TargetPort": 80, "PublishMode": "host"})
        );
        assert_eq!(port_spec("80").unwrap()[0]["TargetPort"], 80);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("1.2.3.4:80:80", "hostip is not supported"),
            ("80/xyz", "invalid proto: xyz"),
            (
                "target=80,mode=x",
                "invalid publish mode value (x): must be either 'ingress' or 'host'",
            ),
            ("published=80", "missing mandatory field 'target'"),
            ("x", "invalid containerPort: x"),
        ] {
            assert!(
                port_spec(text).unwrap_err().message.ends_with(why),
                "{text}"
            );
        }
    }
}
