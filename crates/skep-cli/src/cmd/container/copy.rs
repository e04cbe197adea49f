//! `container cp`: files from a container, and into one.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use futures::StreamExt as _;
use serde_json::Value;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::copy_rules::{Place, Source, base_name, placed};
use crate::client::{escape, streamed};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::{CliError, io_text};
use crate::grammar::Matches;
use crate::output::bytes_decimal_to;

/// The bit of Go's file modes that says folder, and the one that says symbolic link.
const GO_DIR: u64 = 1 << 31;
const GO_LINK: u64 = 1 << 27;

/// What is in flight between the archive and the connection.
const PIPE_BYTES: usize = 128 << 10;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (source, target) = (matches.arg(0), matches.arg(1));
    if source.is_empty() {
        return Err(CliError::new("source can not be empty"));
    }
    if target.is_empty() {
        return Err(CliError::new("destination can not be empty"));
    }
    match (split(source), split(target)) {
        ((Some(_), _), (Some(_), _)) => {
            Err(CliError::new("copying between containers is not supported"))
        }
        ((Some(name), path), (None, target)) => from(context, matches, name, path, target).await,
        ((None, source), (Some(name), path)) => to(context, matches, source, name, path).await,
        ((None, _), (None, _)) => Err(CliError::new("must specify at least one container source")),
    }
}

/// `container:path`; what looks like a path of this host is one.
fn split(arg: &str) -> (Option<&str>, &str) {
    if arg.starts_with(['/', '.']) {
        return (None, arg);
    }
    match arg.split_once(':') {
        Some((name, path)) if !name.is_empty() => (Some(name), path),
        _ => (None, arg),
    }
}

fn archive_url(container: &str, path: &str, more: &[(&str, &str)]) -> String {
    let bare = format!("/containers/{}/archive", escape(container));
    let query: Vec<_> = more
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}&"))
        .collect();
    format!("{bare}?{}path={}", query.concat(), escape(path))
}

/// What the daemon says of a path: name, mode, target of a link.
fn stat_of(headers: &http::HeaderMap) -> Option<Value> {
    let text = headers.get("x-docker-container-path-stat")?.to_str().ok()?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

async fn stat(context: &Context, container: &str, path: &str) -> Result<Value, CliError> {
    let url = archive_url(container, path, &[]);
    let answer = context
        .client
        .send(http::Method::HEAD, &url, &[], crate::client::empty())
        .await?;
    stat_of(answer.headers())
        .ok_or_else(|| CliError::new("unable to decode container path stat header"))
}

/// Where a link within a container leads.
fn followed(stat: &Value, path: &str) -> Option<String> {
    let is_link = stat["mode"].as_u64().unwrap_or(0) & GO_LINK != 0;
    let target = text(stat, "/linkTarget");
    if !is_link || target.is_empty() {
        return None;
    }
    match target.starts_with('/') {
        true => Some(target.to_owned()),
        false => {
            let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
            Some(parent.join(target).display().to_string())
        }
    }
}

async fn from(
    context: &Context,
    matches: &Matches,
    container: &str,
    path: &str,
    target: &str,
) -> Result<(), CliError> {
    let mut path = path.to_owned();
    if matches.flag("follow-link")
        && let Ok(stat) = stat(context, container, &path).await
        && let Some(target) = followed(&stat, &path)
    {
        path = target;
    }
    let url = archive_url(container, &path, &[]);
    let answer = context
        .client
        .send(http::Method::GET, &url, &[], crate::client::empty())
        .await?;
    let stat = stat_of(answer.headers())
        .ok_or_else(|| CliError::new("unable to decode container path stat header"))?;
    let mut bytes = crate::client::data(answer.into_body());
    if target == "-" {
        let mut out = std::io::stdout();
        while let Some(part) = bytes.next().await {
            out.write_all(&part?)?;
        }
        return Ok(out.flush()?);
    }
    let source = Source {
        name: base_name(&path).unwrap_or_else(|| text(&stat, "/name").to_owned()),
        is_dir: stat["mode"].as_u64().unwrap_or(0) & GO_DIR != 0,
        contents: path.ends_with("/.") || path == ".",
    };
    let own = local_place(target);
    let root = match placed(&source, &own)? {
        (dir, None) => dir,
        (dir, Some(name)) => format!("{}/{name}", dir.trim_end_matches('/')),
    };
    let keeps_owner = matches.flag("archive");
    let reader = SyncIoBridge::new(StreamReader::new(
        bytes.map(|part| part.map_err(|error| std::io::Error::other(error.message))),
    ));
    let source_name = source.name.clone();
    let contents = source.is_dir && source.contents;
    let unpacked = tokio::task::spawn_blocking(move || {
        unpack(
            reader,
            &source_name,
            Path::new(&root),
            keeps_owner,
            contents,
        )
    });
    let size = unpacked
        .await
        .map_err(|error| CliError::new(error.to_string()))??;
    tell(
        matches,
        size,
        &std::path::absolute(target)?.display().to_string(),
    );
    Ok(())
}

fn tell(matches: &Matches, size: u64, target: &str) {
    if !matches.flag("quiet") && std::io::stdout().is_terminal() {
        eprintln!(
            "Successfully copied {} to {target}",
            bytes_decimal_to(size as f64, 3)
        );
    }
}

/// A path of this host as a target.
fn local_place(target: &str) -> Place {
    let found = std::fs::metadata(target);
    Place {
        path: target.to_owned(),
        exists: found.is_ok(),
        is_dir: found.is_ok_and(|found| found.is_dir()),
    }
}

/// Lays an archive's files down at `root`, which stands for the archive's first name. Nothing is
/// written through a link that the archive itself brought. Returns how many bytes there were.
fn unpack(
    reader: impl std::io::Read,
    name: &str,
    root: &Path,
    keeps_owner: bool,
    contents: bool,
) -> Result<u64, CliError> {
    if contents {
        // The archive of what is within a folder need not have the folder.
        std::fs::create_dir_all(root)?;
    }
    let mut counted = Counted {
        inner: reader,
        count: 0,
    };
    let mut archive = tar::Archive::new(&mut counted);
    archive.set_preserve_ownerships(keeps_owner);
    for entry in archive.entries()? {
        let mut entry = entry?;
        entry.set_preserve_permissions(true);
        entry.set_preserve_mtime(true);
        let path = entry.path()?.into_owned();
        let rest = below(&path, name).ok_or_else(|| {
            CliError::new(format!("the archive leaves its place: {}", path.display()))
        })?;
        let place = if rest.as_os_str().is_empty() {
            root.to_owned()
        } else {
            root.join(&rest)
        };
        check_parents(root, &rest)?;
        let failed = |error: std::io::Error| {
            CliError::new(format!("{}: {}", place.display(), io_text(&error)))
        };
        match entry.header().entry_type() {
            tar::EntryType::Directory if place.is_dir() => {}
            tar::EntryType::Link => {
                let target = entry
                    .link_name()?
                    .map(std::borrow::Cow::into_owned)
                    .unwrap_or_default();
                let target = below(&target, name).ok_or_else(|| {
                    CliError::new(format!(
                        "the archive links out of its place: {}",
                        path.display()
                    ))
                })?;
                check_parents(root, &target)?;
                let _ = std::fs::remove_file(&place);
                std::fs::hard_link(root.join(target), &place).map_err(failed)?;
            }
            _ => drop(entry.unpack(&place).map_err(failed)?),
        }
    }
    // What fills the archive up counts too.
    std::io::copy(&mut counted, &mut std::io::sink())?;
    Ok(counted.count)
}

/// What a name of the archive is below the archive's first name, which is `.` where only what is
/// within a folder was asked for, and `/` for the root; nothing where it leaves it.
fn below(path: &Path, name: &str) -> Option<PathBuf> {
    let mut parts = path.components().peekable();
    let first = [
        Component::CurDir,
        Component::RootDir,
        Component::Normal(name.as_ref()),
    ];
    if parts.peek().is_some_and(|part| first.contains(part)) {
        parts.next();
    }
    let rest: PathBuf = parts.collect();
    let is_inside = rest
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    is_inside.then_some(rest)
}

/// Refuses a path whose folders below `root` are links.
fn check_parents(root: &Path, rest: &Path) -> Result<(), CliError> {
    let mut place = root.to_owned();
    let folders = rest.parent().into_iter().flat_map(Path::components);
    for part in folders {
        place.push(part);
        if std::fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink()) {
            return Err(CliError::new(format!(
                "the archive writes through a link: {}",
                place.display()
            )));
        }
    }
    Ok(())
}

async fn to(
    context: &Context,
    matches: &Matches,
    source: &str,
    container: &str,
    path: &str,
) -> Result<(), CliError> {
    let mut path = path.to_owned();
    let mut found = stat(context, container, &path).await.ok();
    if let Some(target) = found.as_ref().and_then(|stat| followed(stat, &path)) {
        path = target;
        found = stat(context, container, &path).await.ok();
    }
    let place = Place {
        exists: found.is_some(),
        is_dir: found.is_some_and(|stat| stat["mode"].as_u64().unwrap_or(0) & GO_DIR != 0),
        path: path.clone(),
    };
    let owner = if matches.flag("archive") { "true" } else { "" };
    let more = [("copyUIDGID", owner), ("noOverwriteDirNonDir", "true")];
    if source == "-" {
        if !place.is_dir {
            return Err(CliError::new(format!(
                "destination \"{container}:{path}\" must be a directory"
            )));
        }
        let body = streamed(ReaderStream::new(tokio::io::stdin()));
        return put(context, &archive_url(container, &path, &more), body).await;
    }
    let (own, source) = local_source(source, matches.flag("follow-link"))?;
    let (dir, name) = placed(&source, &place)?;
    let (reader, writer) = tokio::io::duplex(PIPE_BYTES);
    let writer = SyncIoBridge::new(writer);
    let packed = tokio::task::spawn_blocking(move || pack(writer, &own, name.as_deref()));
    let url = archive_url(container, &dir, &more);
    let sent = put(context, &url, streamed(ReaderStream::new(reader))).await;
    let packed = packed
        .await
        .map_err(|error| CliError::new(error.to_string()))?;
    // A daemon that refused did not read on; its word is the reason.
    sent?;
    tell(matches, packed?, &format!("{container}:{path}"));
    Ok(())
}

async fn put(
    context: &Context,
    url: &str,
    body: http_body_util::combinators::BoxBody<bytes::Bytes, std::io::Error>,
) -> Result<(), CliError> {
    let headers = [("content-type", "application/x-tar")];
    context
        .client
        .send(http::Method::PUT, url, &headers, body)
        .await
        .map(drop)
}

/// What is to be copied from this host, in full and by its rules.
fn local_source(given: &str, follow: bool) -> Result<(PathBuf, Source), CliError> {
    let whole = std::path::absolute(given)?;
    let mut metadata = std::fs::symlink_metadata(&whole).map_err(|error| {
        let missing = whole
            .ancestors()
            .filter(|path| std::fs::symlink_metadata(path).is_err())
            .last();
        CliError::new(format!(
            "lstat {}: {}",
            missing.unwrap_or(&whole).display(),
            io_text(&error)
        ))
    })?;
    let mut path = whole.clone();
    if metadata.is_symlink() && (follow || given.ends_with('/')) {
        path = std::fs::canonicalize(&whole)?;
        metadata = std::fs::metadata(&path)?;
    }
    let name = base_name(&whole.display().to_string()).unwrap_or_default();
    let contents = given.ends_with("/.") || given == ".";
    let source = Source {
        name,
        is_dir: metadata.is_dir(),
        contents,
    };
    Ok((path, source))
}

/// Writes a file or a folder as an archive; `name` is what it is called there, or nothing where
/// only the folder's contents are wanted.
fn pack(writer: impl std::io::Write, path: &Path, name: Option<&str>) -> Result<u64, CliError> {
    let mut counted = Counted {
        inner: writer,
        count: 0,
    };
    let mut archive = tar::Builder::new(&mut counted);
    archive.follow_symlinks(false);
    let failed = |error: std::io::Error| CliError::new(format!("{}: {error}", path.display()));
    let is_dir = std::fs::symlink_metadata(path).map_err(failed)?.is_dir();
    let added = match (is_dir, name) {
        (true, name) => archive.append_dir_all(name.unwrap_or("."), path),
        (false, name) => archive.append_path_with_name(path, name.unwrap_or_default()),
    };
    // What the other end closed, it has a reason for.
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    match added.and_then(|()| archive.into_inner().map(drop)) {
        Err(error) if !closed(&error) => return Err(failed(error)),
        _ => {}
    }
    let _ = counted.inner.flush();
    Ok(counted.count)
}

struct Counted<T> {
    inner: T,
    count: u64,
}

impl<R: std::io::Read> std::io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl<W: std::io::Write> std::io::Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_before_a_colon() {
        assert_eq!(split("c:/a"), (Some("c"), "/a"));
        assert_eq!(split("/a:b"), (None, "/a:b"));
        assert_eq!(split("./a:b"), (None, "./a:b"));
        assert_eq!(split("a"), (None, "a"));
    }

    #[test]
    fn what_is_packed_is_unpacked_under_another_name_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("src");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/f"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", source.join("link")).unwrap();
        let mut bytes = Vec::new();
        pack(&mut bytes, &source, Some("src")).unwrap();
        let target = dir.path().join("dst");
        unpack(bytes.as_slice(), "src", &target, false, false).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("sub/f")).unwrap(), "x");
        assert!(target.join("link").is_symlink());

        let mut evil = tar::Builder::new(Vec::new());
        let mut head = tar::Header::new_gnu();
        head.set_size(1);
        evil.append_data(&mut head, "src/link/passwd", &b"x"[..])
            .unwrap();
        let refused = unpack(
            evil.into_inner().unwrap().as_slice(),
            "src",
            &target,
            false,
            false,
        );
        assert!(refused.unwrap_err().message.contains("through a link"));
    }
}
