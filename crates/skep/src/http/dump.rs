//! `POST /system/dump`: what somebody needs who looks into a trouble with this daemon, as a tar.
//! Nothing in it gives access to anything: values are left out by the names of their fields.

use std::fmt::Write as _;
use std::fs;

use bytes::Bytes;
use futures::stream;
use serde_json::Value;

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};
use crate::daemon::{logging, metrics};

/// Parts of names of fields, and of environment variables, whose values are left out.
const SECRET: [&str; 8] = [
    "token",
    "secret",
    "password",
    "passwd",
    "key",
    "credential",
    "auth",
    "data",
];

pub async fn dump(call: Call) -> Result<Response> {
    let api = &call.api;
    let mut files: Vec<(&str, Vec<u8>)> = vec![
        ("info.json", json(super::system::shown_info(api).await)),
        ("version.json", json(super::system::shown_version(api))),
        ("metrics.txt", metrics::text(api).await.into_bytes()),
        ("daemon.log", logging::recent().into_bytes()),
        ("threads.txt", threads().into_bytes()),
        (
            "limits.txt",
            fs::read("/proc/self/limits").unwrap_or_default(),
        ),
        (
            "mounts.txt",
            fs::read("/proc/self/mountinfo").unwrap_or_default(),
        ),
        ("sockets.txt", sockets().into_bytes()),
        (
            "interfaces.txt",
            fs::read("/proc/self/net/dev").unwrap_or_default(),
        ),
    ];
    let all = skep_engine::ListOptions {
        all: true,
        ..Default::default()
    };
    let containers = api.engine.list(&all).await.unwrap_or_default();
    files.push(("containers.json", json(serde_json::to_value(containers))));
    let networks = api.engine.networks().list(&Default::default()).await;
    let networks = networks.unwrap_or_default();
    files.push(("networks.json", json(serde_json::to_value(networks))));
    match api.swarm.doctor().await {
        Ok(found) => files.push(("doctor.json", json(serde_json::to_value(found)))),
        Err(error) => files.push(("doctor.txt", error.message.into_bytes())),
    }
    if let Some(objects) = api.swarm.objects() {
        files.push(("swarm.json", json(Ok(objects))));
    }
    let tar = archive(&files).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(call::stream(
        "application/x-tar",
        stream::iter([Ok::<_, std::io::Error>(Bytes::from(tar))]),
    ))
}

fn json(value: serde_json::Result<Value>) -> Vec<u8> {
    match value {
        Ok(mut value) => {
            redact(&mut value);
            serde_json::to_vec_pretty(&value).unwrap_or_default()
        }
        Err(error) => error.to_string().into_bytes(),
    }
}

/// Replaces every value whose field, or whose environment variable, is named like a secret.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_secret(name) && !value.is_null() {
                    *value = "[left out]".into();
                } else if is_environment(name) {
                    redact_environment(value);
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn is_environment(name: &str) -> bool {
    name.eq_ignore_ascii_case("env")
}

/// Values of environment variables are often passwords, whatever their name is.
fn redact_environment(value: &mut Value) {
    for entry in value.as_array_mut().into_iter().flatten() {
        if let Some((name, _)) = entry.as_str().and_then(|text| text.split_once('=')) {
            *entry = format!("{name}=[left out]").into();
        }
    }
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let name = lower.trim_end_matches('s');
    // Names and ids of secrets are no secrets, nor are public keys.
    let is_name = name.ends_with("name") || name.ends_with("id") || name.contains("public");
    !is_name && SECRET.iter().any(|part| name.ends_with(part))
}

/// Each thread's name, what it waits for, and its stack in the kernel.
fn threads() -> String {
    let mut out = String::new();
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    for task in tasks {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "thread {} {} state {} waits in {}\n{}",
            task.file_name().to_string_lossy(),
            read("comm").trim(),
            read("stat")
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split(' ')
                .nth(1)
                .unwrap_or_default(),
            read("wchan"),
            read("stack"),
        );
    }
    out
}

fn sockets() -> String {
    ["tcp", "tcp6", "udp", "udp6"]
        .map(|kind| {
            let table = fs::read_to_string(format!("/proc/self/net/{kind}")).unwrap_or_default();
            format!("{kind}\n{table}\n")
        })
        .concat()
}

fn archive(files: &[(&str, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        header.set_mtime(now.map(|d| d.as_secs()).unwrap_or_default());
        tar.append_data(&mut header, format!("skep-dump/{name}"), content.as_slice())?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_secrets_are_left_out_and_their_names_are_not() {
        let mut value = json!({
            "JoinTokens": {"Worker": "SWMTKN-1-a-b"},
            "UnlockKey": "SWMKEY-1-x",
            "Spec": {"Name": "word", "Data": "aHVzaA==", "Env": ["DB_URL=postgres://u:p@h", "PLAIN"]},
            "SecretName": "word",
            "SecretID": "abc",
            "CertIssuerPublicKey": "public",
            "Replicas": 3,
        });
        redact(&mut value);
        assert_eq!(
            value,
            json!({
                "JoinTokens": "[left out]",
                "UnlockKey": "[left out]",
                "Spec": {"Name": "word", "Data": "[left out]", "Env": ["DB_URL=[left out]", "PLAIN"]},
                "SecretName": "word",
                "SecretID": "abc",
                "CertIssuerPublicKey": "public",
                "Replicas": 3,
            })
        );
    }
}
