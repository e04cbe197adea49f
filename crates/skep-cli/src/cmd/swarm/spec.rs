//! The swarm's settings out of flags.

use serde_json::{Value, json};

use crate::cmd::service::set_strategy;
use crate::error::{CliError, io_text};
use crate::grammar::Matches;
use crate::opts::fields;

/// Puts flags that the user gave into a swarm's spec.
pub(super) fn apply(spec: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if let Some(limit) = matches.number("task-history-limit") {
        spec["Orchestration"]["TaskHistoryRetentionLimit"] = limit.into();
    }
    if let Some(period) = matches.duration("dispatcher-heartbeat") {
        spec["Dispatcher"]["HeartbeatPeriod"] = period.into();
    }
    if let Some(expiry) = matches.duration("cert-expiry") {
        spec["CAConfig"]["NodeCertExpiry"] = expiry.into();
    }
    if matches.given("external-ca") {
        let all: Result<Vec<_>, _> = matches
            .list("external-ca")
            .iter()
            .map(|csv| external_ca(csv))
            .collect();
        spec["CAConfig"]["ExternalCAs"] = all?.into();
    }
    if let Some(count) = matches.count("max-snapshots") {
        spec["Raft"]["KeepOldSnapshots"] = count.into();
    }
    if let Some(name) = matches.given_text("placement-strategy") {
        set_strategy(&mut spec["Labels"], name)?;
    }
    if let Some(interval) = matches.count("snapshot-interval") {
        spec["Raft"]["SnapshotInterval"] = interval.into();
    }
    Ok(())
}

/// External signers that name no root sign for the swarm's present one.
pub(super) fn default_root(spec: &mut Value, root: &str) {
    let all = spec["CAConfig"]["ExternalCAs"].as_array_mut();
    for ca in all.into_iter().flatten().filter(|ca| ca["CACert"] == "") {
        ca["CACert"] = root.into();
    }
}

/// `protocol=cfssl,url=...[,cacert=path][,k=v]`
fn external_ca(csv: &str) -> Result<Value, CliError> {
    let bad = |why: String| refused("external-ca", csv, &why);
    let mut options = serde_json::Map::new();
    let mut ca = json!({"CACert": ""});
    for part in fields(csv)? {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid field '{part}' must be a key=value pair")))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "protocol" if value.eq_ignore_ascii_case("cfssl") => ca["Protocol"] = "cfssl".into(),
            "protocol" => return Err(bad(format!("unrecognized external CA protocol {value}"))),
            "url" => ca["URL"] = value.into(),
            "cacert" => {
                let text = std::fs::read_to_string(value).map_err(|error| {
                    bad(format!(
                        "unable to read CA cert for external CA: open {value}: {}",
                        io_text(&error)
                    ))
                })?;
                if !is_pem(&text) {
                    return Err(bad(
                        "CA cert for external CA must be in PEM format".to_owned()
                    ));
                }
                ca["CACert"] = text.into();
            }
            other => {
                options.insert(other.to_owned(), value.into());
            }
        }
    }
    for (field, name) in [("Protocol", "protocol"), ("URL", "url")] {
        if ca.get(field).is_none() {
            return Err(bad(format!(
                "the external-ca option needs a {name}= parameter"
            )));
        }
    }
    ca["Options"] = Value::Object(options);
    Ok(ca)
}

/// The text of a file of `--ca-cert` or `--ca-key`, where one was given.
pub(super) fn pem_file(matches: &Matches, flag: &str) -> Result<Option<String>, CliError> {
    let Some(path) = matches.given_text(flag) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| refused(flag, path, &format!("open {path}: {}", io_text(&error))))?;
    if is_pem(&text) {
        Ok(Some(text))
    } else {
        Err(refused(flag, path, "file contents must be in PEM format"))
    }
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ") && text.contains("-----END ")
}

/// What a node is available for; nothing where it is not said.
pub(super) fn availability(matches: &Matches) -> Result<&str, CliError> {
    match matches.given_text("availability") {
        None => Ok(""),
        Some(given @ ("active" | "pause" | "drain")) => Ok(given),
        Some(other) => Err(CliError::new(format!(
            "invalid availability {other:?}, only active, pause and drain are supported"
        ))),
    }
}

/// Networks that subnets are cut from.
pub(super) fn pools(matches: &Matches) -> Result<Vec<&str>, CliError> {
    let all = matches.list("default-addr-pool").iter();
    let all: Vec<&str> = all.flat_map(|list| list.split(',')).collect();
    for pool in &all {
        let is_network = pool.split_once('/').is_some_and(|(address, bits)| {
            address.parse::<std::net::IpAddr>().is_ok_and(|address| {
                let most = if address.is_ipv4() { 32 } else { 128 };
                bits.parse::<u8>().is_ok_and(|bits| bits <= most)
            })
        });
        if !is_network {
            let why = format!("invalid string being converted to CIDR: {pool}");
            return Err(refused("default-addr-pool", pool, &why));
        }
    }
    Ok(all)
}

/// An address or interface, with a port.
pub(super) fn listen_addr(matches: &Matches) -> Result<String, CliError> {
    let given = matches.text("listen-addr");
    let (host, port) = match given
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((_, rest)) => (given, rest.strip_prefix(':').unwrap_or_default()),
        None => given.split_once(':').unwrap_or((given, "")),
    };
    if port.contains(':') || port.chars().any(|c| !c.is_ascii_digit()) {
        let bad = given.rsplit(':').next().unwrap_or_default();
        let why = format!("parse \"tcp://{given}\": invalid port \":{bad}\" after host");
        return Err(refused("listen-addr", given, &why));
    }
    Ok(if port.is_empty() {
        format!("{}:2377", host.trim_end_matches(':'))
    } else {
        given.to_owned()
    })
}

fn refused(flag: &str, value: &str, why: &str) -> CliError {
    CliError::new(format!(
        "invalid argument \"{value}\" for \"--{flag}\" flag: {why}"
    ))
    .with_code(125)
}
