//! Contexts as archives: `meta.json`, and `tls/docker/*.pem`.

use std::io::{IsTerminal as _, Read, Write as _};

use serde_json::Value;

use super::store::{Stored, TLS_FILES, check_name};
use crate::context::Context;
use crate::error::{CliError, io_text};
use crate::grammar::Matches;

/// No context is larger.
const MOST_BYTES: u64 = 10 << 20;

pub(super) async fn export(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = matches.arg(0);
    let stored = Stored::load(&context.config_dir, name)?;
    let archive = pack(&stored)?;
    if matches.arg(1) == "-" {
        if std::io::stdout().is_terminal() {
            return Err(CliError::new(
                "cowardly refusing to export to a terminal, specify a file path",
            ));
        }
        std::io::stdout().lock().write_all(&archive)?;
        return Ok(());
    }
    let file = match matches.arg(1) {
        "" => format!("{name}.dockercontext"),
        file => file.to_owned(),
    };
    let mut options = std::fs::OpenOptions::new();
    let mut target = options
        .write(true)
        .create_new(true)
        .open(&file)
        .map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "file exists".to_owned(),
                _ => io_text(&error),
            };
            CliError::new(format!("open {file}: {why}"))
        })?;
    target.write_all(&archive)?;
    eprintln!("Written file {file:?}");
    Ok(())
}

fn pack(stored: &Stored) -> Result<Vec<u8>, CliError> {
    let mut archive = tar::Builder::new(Vec::new());
    add(
        &mut archive,
        "meta.json",
        stored.meta.to_string().as_bytes(),
    )?;
    let files: Vec<_> = stored
        .tls_names()
        .into_iter()
        .filter_map(|name| {
            let path = stored.tls_dir.as_ref()?.join("docker").join(name);
            Some((name, std::fs::read(path).ok()?))
        })
        .collect();
    folder(&mut archive, "tls")?;
    if !files.is_empty() {
        folder(&mut archive, "tls/docker")?;
    }
    for (name, bytes) in files {
        add(&mut archive, &format!("tls/docker/{name}"), &bytes)?;
    }
    Ok(archive.into_inner()?)
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut head = tar::Header::new_ustar();
    head.set_size(bytes.len() as u64);
    head.set_mode(0o600);
    archive.append_data(&mut head, name, bytes)
}

fn folder(archive: &mut tar::Builder<Vec<u8>>, name: &str) -> std::io::Result<()> {
    let mut head = tar::Header::new_ustar();
    head.set_entry_type(tar::EntryType::Directory);
    head.set_size(0);
    head.set_mode(0o700);
    archive.append_data(&mut head, name, std::io::empty())
}

pub(super) async fn import(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (name, source) = (matches.arg(0), matches.arg(1));
    check_name(name)?;
    let mut stored = Stored::new(&context.config_dir, name);
    if stored.exists() {
        return Err(CliError::new(format!("context {name:?} already exists")));
    }
    let mut bytes = Vec::new();
    match source {
        "-" => drop(
            std::io::stdin()
                .lock()
                .take(MOST_BYTES + 1)
                .read_to_end(&mut bytes)?,
        ),
        file => {
            let opened = std::fs::File::open(file)
                .map_err(|error| CliError::new(format!("open {file}: {}", io_text(&error))))?;
            opened.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        }
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(CliError::new(format!(
            "read exceeds the defined limit: {MOST_BYTES}"
        )));
    }
    if bytes.starts_with(b"PK") {
        return Err(CliError::new(
            "zip archives of contexts are not supported: unpack it and make a tar archive",
        ));
    }
    let (meta, files) = unpack(&bytes)?;
    stored.meta = meta;
    stored.meta["Name"] = name.into();
    stored.save(&files)?;
    println!("{name}");
    eprintln!("Successfully imported context {name:?}");
    Ok(())
}

/// `meta.json`, and files of TLS by their names.
type Unpacked = (Value, Vec<(&'static str, Vec<u8>)>);

fn unpack(bytes: &[u8]) -> Result<Unpacked, CliError> {
    let broken = |_: std::io::Error| CliError::new("unexpected EOF");
    let mut archive = tar::Archive::new(bytes);
    let (mut meta, mut files) = (None, Vec::new());
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let path = entry.path().map_err(broken)?.display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        let pem = path
            .strip_prefix("tls/docker/")
            .and_then(|name| TLS_FILES.into_iter().find(|known| *known == name));
        match (path.as_str(), pem) {
            ("meta.json", _) => {
                meta = Some(
                    serde_json::from_slice(&content)
                        .map_err(|error| CliError::new(format!("meta.json: {error}")))?,
                );
            }
            (_, Some(name)) => files.push((name, content)),
            (other, None) => {
                return Err(CliError::new(format!(
                    "unexpected file in the archive of a context: {other}"
                )));
            }
        }
    }
    let meta = meta.ok_or_else(|| CliError::new("invalid context: no metadata found"))?;
    Ok((meta, files))
}
