//! Values of service flags that have a grammar of their own, and their refusals.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::error::CliError;
use crate::opts::{environment, split_pair, ulimit};

/// What `--flag` cannot be.
pub(super) fn refused(flag: &str, value: &str, why: impl std::fmt::Display) -> CliError {
    CliError::new(format!(
        "invalid argument \"{value}\" for \"{flag}\" flag: {why}"
    ))
    .with_code(125)
}

/// Checks that no label lacks its name.
pub(super) fn check_labels(flag: &str, labels: &[String]) -> Result<(), CliError> {
    match labels.iter().find(|label| split_pair(label).0.is_empty()) {
        Some(label) => Err(refused(
            flag,
            label,
            format!("invalid label '{label}': empty name"),
        )),
        None => Ok(()),
    }
}

/// An environment: files, then flags; the last of a name wins, at its own place.
pub(super) fn env(flag: &str, files: &[String], given: &[String]) -> Result<Vec<String>, CliError> {
    if let Some(entry) = given.iter().find(|entry| split_pair(entry).0.is_empty()) {
        let why = format!("invalid environment variable: {entry}");
        return Err(refused(flag, entry, why));
    }
    // Each alone, so that names are not put together yet.
    let mut all = environment(files, &[])?;
    for entry in given {
        all.extend(environment(&[], std::slice::from_ref(entry))?);
    }
    let name = |entry: &String| split_pair(entry).0.to_owned();
    let last = |at: usize| {
        all[at + 1..]
            .iter()
            .all(|later| name(later) != name(&all[at]))
    };
    let kept = (0..all.len()).filter(|at| last(*at));
    Ok(kept.map(|at| all[at].clone()).collect())
}

/// Limits by name; the last of a name wins.
pub(super) fn ulimits(flags: &[String]) -> Result<Vec<Value>, CliError> {
    let mut all: Vec<Value> = Vec::new();
    for flag in flags {
        let limit = ulimit(flag)?;
        all.retain(|known| known["Name"] != limit["Name"]);
        all.push(limit);
    }
    all.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    Ok(all)
}

/// Addresses of name servers.
pub(super) fn name_servers(flag: &str, given: &[String]) -> Result<Vec<String>, CliError> {
    let one = |text: &String| {
        let address = text.trim().parse::<IpAddr>().map_err(|_| {
            refused(
                flag,
                text,
                format!("IP address is not correctly formatted: {text}"),
            )
        })?;
        Ok(address.to_string())
    };
    given.iter().map(one).collect()
}

/// Domains that names are looked up in; `.` for none.
pub(super) fn search_domains(flag: &str, given: &[String]) -> Result<Vec<String>, CliError> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let one = |text: &String| {
        let domain = text.trim();
        if domain == "." {
            return Ok(domain.to_owned());
        }
        let bare = domain.strip_suffix('.').unwrap_or(domain);
        if bare.len() < 256 && bare.split('.').all(is_label) {
            Ok(domain.to_owned())
        } else {
            Err(refused(
                flag,
                text,
                format!("{domain} is not a valid domain"),
            ))
        }
    };
    given.iter().map(one).collect()
}

/// `name:ip` as `ip name`.
pub(super) fn hosts(flag: &str, given: &[String]) -> Result<Vec<String>, CliError> {
    let one = |text: &String| {
        let (name, ip) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| refused(flag, text, format!("bad format for add-host: \"{text}\"")))?;
        let bare = match ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')) {
            Some(bare) => bare,
            None => ip,
        };
        if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
            let why = format!("invalid IP address in add-host: \"{ip}\"");
            return Err(refused(flag, text, why));
        }
        Ok(format!("{bare} {name}"))
    };
    given.iter().map(one).collect()
}

/// `spread=node.labels.x`
pub(super) fn preference(flag: &str, text: &str) -> Result<Value, CliError> {
    match text.split_once('=') {
        Some(("spread", descriptor)) => Ok(json!({"Spread": {"SpreadDescriptor": descriptor}})),
        Some((other, _)) => Err(refused(
            flag,
            text,
            format!("unsupported placement preference {other} (only spread is supported)"),
        )),
        None => Err(refused(
            flag,
            text,
            "placement preference must be of the format \"<strategy>=<arg>\"",
        )),
    }
}

/// `kind=count`, each kind once.
pub(super) fn generic_resources(flag: &str, given: &[String]) -> Result<Vec<Value>, CliError> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for text in given {
        let (kind, value) = text.split_once('=').ok_or_else(|| {
            refused(
                flag,
                text,
                format!("invalid generic-resource format `{text}` expected `name=value`"),
            )
        })?;
        all.push((kind, value));
    }
    let invalid = |why: String| {
        CliError::new(format!(
            "invalid generic resource specification: could not parse GenericResource: {why}"
        ))
    };
    let mut counted: Vec<Value> = Vec::new();
    for (kind, value) in &all {
        if kind.is_empty() || value.is_empty() || value.contains('=') {
            return Err(invalid(format!(
                "incorrect term {kind}={value}, missing '=' or malformed expression"
            )));
        }
        let same: Vec<&str> = all
            .iter()
            .filter(|(k, _)| k == kind)
            .map(|(_, v)| *v)
            .collect();
        if same.len() > 1 {
            return Err(invalid(format!(
                "mixed discrete and named resources in expression '{kind}=[{}]'",
                same.join(" ")
            )));
        }
        let count: i64 = value.parse().map_err(|_| {
            CliError::new(format!(
                "invalid generic-resource request `{kind}={value}`, Named Generic Resources is not supported for service create or update"
            ))
        })?;
        counted.push(json!({"DiscreteResourceSpec": {"Kind": kind, "Value": count}}));
    }
    Ok(counted)
}

/// `config://`, `file://` or `registry://`.
pub(super) fn credential_spec(text: &str) -> Result<Value, CliError> {
    let mut spec = json!({"Config": "", "File": "", "Registry": ""});
    for (scheme, field) in [
        ("config://", "Config"),
        ("file://", "File"),
        ("registry://", "Registry"),
    ] {
        if let Some(value) = text.strip_prefix(scheme) {
            spec[field] = value.into();
            return Ok(spec);
        }
    }
    Err(refused(
        "--credential-spec",
        text,
        "invalid credential spec: value must be prefixed with \"config://\", \"file://\", or \"registry://\"",
    ))
}

/// A command line in one text, split as a shell would.
pub(super) fn words(text: &str, flag: &str) -> Result<Vec<String>, CliError> {
    shell_words::split(text).map_err(|_| {
        refused(
            &format!("--{flag}"),
            text,
            "EOF found when expecting closing quote",
        )
    })
}

/// A swappiness, -1 or from 0 to 100.
pub(super) fn swappiness(value: i64) -> Result<i64, CliError> {
    if (-1..=100).contains(&value) {
        Ok(value)
    } else {
        Err(refused(
            "--memory-swappiness",
            &value.to_string(),
            "must be -1 or from 0 to 100",
        ))
    }
}

/// An image as it is written in specs: with a tag, unless it has a digest.
pub(crate) fn tagged(image: &str) -> String {
    match skep_objects::reference::Reference::parse(image) {
        Ok(reference) => reference.or_latest().familiar(),
        // The daemon says what is wrong with it.
        Err(_) => image.to_owned(),
    }
}
