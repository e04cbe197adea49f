//! `swarm backup` and `swarm restore`: a swarm into a file, and back.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use http::Method;
use http_body_util::BodyStream;

use crate::client::{full, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches};

const KEY: &str = "x-skep-backup-key";

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "swarm backup",
        aliases: &[],
        usage: "[OPTIONS] FILE",
        about: "Write everything that the swarm's managers know into a sealed file",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "--key string\n--key-file string\n-q, --quiet",
        run: |context, matches| Box::pin(backup(context, matches)),
    },
    Command {
        path: "swarm restore",
        aliases: &[],
        usage: "[OPTIONS] FILE",
        about: "Make a swarm of this one manager out of a backup",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "
--advertise-addr string
--data-path-addr string
--key string
--key-file string
--listen-addr node-addr=0.0.0.0:2377",
        run: |context, matches| Box::pin(restore(context, matches)),
    },
];

/// The key that was given on the command line or in a file; empty without one.
fn key(matches: &Matches) -> Result<String, CliError> {
    match (matches.given_text("key"), matches.given_text("key-file")) {
        (Some(_), Some(_)) => Err(CliError::new("specify only one of --key and --key-file")),
        (Some(key), None) => Ok(key.to_owned()),
        (None, Some(path)) => fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .map_err(|error| CliError::new(format!("read {path}: {error}"))),
        (None, None) => Ok(String::new()),
    }
}

async fn backup(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = PathBuf::from(&matches.args()[0]);
    if path.exists() {
        return Err(CliError::new(format!(
            "{}: file exists: a backup does not replace another",
            path.display()
        )));
    }
    let key = key(matches)?;
    let headers = if key.is_empty() {
        vec![]
    } else {
        vec![(KEY, key.as_str())]
    };
    let answer = context
        .client
        .send(Method::POST, "/swarm/backup", &headers, full(""))
        .await?;
    let made = answer
        .headers()
        .get(KEY)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let bytes = write(&path, answer.into_body()).await?;
    if matches.flag("quiet") {
        if let Some(made) = made {
            println!("{made}");
        }
        return Ok(());
    }
    println!("Backup of the swarm: {} ({bytes} bytes)", path.display());
    match made {
        Some(made) => println!(
            "\nIt is sealed with this key, without which it cannot be restored. Keep it somewhere \
             else than the file:\n\n    {made}\n"
        ),
        None if key.is_empty() => println!("It is sealed with the swarm's unlock key."),
        None => {}
    }
    Ok(())
}

/// The file appears under its name only when all of it is on the disk.
async fn write(path: &Path, body: hyper::body::Incoming) -> Result<u64, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::new(format!("write {}: {error}", path.display()));
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(|e| failed(&e))?;
    let mut bytes = 0;
    let mut frames = BodyStream::new(body);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|e| failed(&e))?;
        if let Ok(data) = frame.into_data() {
            bytes += data.len() as u64;
            file.write_all(&data).map_err(|e| failed(&e))?;
        }
    }
    file.sync_all().map_err(|e| failed(&e))?;
    fs::rename(&part, path).map_err(|e| failed(&e))?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|e| failed(&e))?;
    }
    Ok(bytes)
}

async fn restore(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = &matches.args()[0];
    let key = key(matches)?;
    if key.is_empty() {
        return Err(CliError::new(
            "a backup is opened with the key that `swarm backup` printed, or the swarm's unlock \
             key: give it with --key or --key-file",
        ));
    }
    let file = fs::read(path).map_err(|error| CliError::new(format!("read {path}: {error}")))?;
    let query = [
        ("listenAddr", matches.text("listen-addr")),
        ("advertiseAddr", matches.text("advertise-addr")),
        ("dataPathAddr", matches.text("data-path-addr")),
    ];
    context
        .client
        .send(
            Method::POST,
            &url("/swarm/restore", &query),
            &[(KEY, &key), ("content-type", "application/octet-stream")],
            full(file),
        )
        .await?;
    let info = context.client.get("/info").await?;
    let node = info["Swarm"]["NodeID"].as_str().unwrap_or_default();
    println!("Swarm restored: current node ({node}) is now its only manager.");
    println!(
        "\nWorkers come back by themselves where this manager has the address of one they know.\n\
         The old managers were removed: make them leave (`swarm leave --force`) and join again."
    );
    Ok(())
}
