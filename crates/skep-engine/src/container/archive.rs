//! `docker cp` and `docker export`: a container's files as tar streams.
//!
//! The work is done by a thread whose root directory is the container's, so that no link, however
//! made, leads outside.

use std::io::{PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep_objects::api::container::PathStat;
use tokio_util::io::SyncIoBridge;

use super::rootfs::{RootView, with_root_as_root};
use super::{Container, tar_entry};
use crate::compression::decompressed;
use crate::core::Core;
use crate::engine::{ArchivePutOptions, Reader};
use crate::error::{EngineError, Result};
use crate::outcome::{self, Until};
use crate::timestamp;

impl Core {
    pub(crate) async fn archive_stat(
        self: &Arc<Self>,
        reference: &str,
        path: &str,
    ) -> Result<PathStat> {
        let container = self.containers.find(reference)?;
        let (path, name) = (path.to_owned(), reference.to_owned());
        self.in_root(&container, move || stat(&path, &name))
            .await
            .map_err(|error| container.told(reference, error))
    }

    /// Works in a container's root; for one that ends meanwhile, in what it left.
    async fn in_root<T: Send + 'static>(
        self: &Arc<Self>,
        container: &Container,
        work: impl Fn() -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let exits = container.state().exits;
        let view = self.view_to_read(container)?;
        let of_process = matches!(view, RootView::Running(_));
        match self.in_view(container, view, work.clone()).await {
            Err(error)
                if of_process
                    && super::operation::is_from_within(&error)
                    && self.has_ended(container, exits).await =>
            {
                let view = self.rest_to_read(container)?;
                self.in_view(container, view, work).await
            }
            done => done,
        }
    }

    async fn in_view<T: Send + 'static>(
        &self,
        container: &Container,
        view: RootView,
        work: impl Fn() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let scratch = container.dir.join("rootfs");
        self.blocking(move || with_root_as_root(&view, &scratch, work))
            .await?
    }

    pub(crate) async fn archive_get(
        self: &Arc<Self>,
        reference: &str,
        path: &str,
    ) -> Result<(PathStat, Reader)> {
        let stat = self.archive_stat(reference, path).await?;
        let container = self.containers.find(reference)?;
        let view = self.view_to_read(&container)?;
        let path = path.to_owned();
        let reader = stream(&container, view, move |to| {
            let source = absolute(&path);
            write_tree(&source, &entry_name(&path), to)
        })?;
        self.publish(
            &container,
            "archive-path",
            std::collections::BTreeMap::new(),
        );
        Ok((stat, reader))
    }

    pub(crate) async fn export(self: &Arc<Self>, reference: &str) -> Result<Reader> {
        let container = self.containers.find(reference)?;
        container.refuse_going(reference, || {
            let fate = going_words(&container);
            format!(
                "You cannot export container {} which is {fate}",
                container.id
            )
        })?;
        // Of a running container too without its mounts: volumes are not part of an export.
        let view = RootView::ReadOnly(self.layers(&container)?);
        let reader = stream(&container, view, |to| write_tree(Path::new("/"), b"", to))?;
        self.publish(&container, "export", std::collections::BTreeMap::new());
        Ok(reader)
    }

    pub(crate) async fn archive_put(
        self: &Arc<Self>,
        reference: &str,
        path: &str,
        options: ArchivePutOptions,
        body: Reader,
    ) -> Result<()> {
        let container = self.containers.find(reference)?;
        let marked = || container.removal_in_progress();
        let _operation = container.operate(reference, marked).await?;
        let target = super::mounts::clean(path);
        let user = container.with(|record, _| {
            refuse_read_only(record, &target).map(|()| record.config.user.clone())
        })?;
        let view = self.view_to_write(&container)?;
        let scratch = container.dir.join("rootfs");
        let owner = if options.copy_uid_gid && !user.is_empty() {
            let layers = super::layered::Layered::new(self.layers(&container)?);
            let who = super::start::resolve_user(&layers, &user, &[])?;
            Some((who.uid, who.gid))
        } else {
            None
        };
        let (path, name) = (path.to_owned(), reference.to_owned());
        // A removal by force does not wait for a client that sends no more.
        let body = SyncIoBridge::new(Until {
            from: body,
            over: Box::pin(container.going.clone().cancelled_owned()),
        });
        let unpack = move || {
            let target = absolute(&path);
            let meta = std::fs::metadata(&target).map_err(|_| not_found(&path, &name))?;
            if !meta.is_dir() {
                return Err(EngineError::invalid("extraction point is not a directory"));
            }
            unpack(body, &target, options, owner)
        };
        let done = self
            .blocking(move || with_root_as_root(&view, &scratch, unpack))
            .await?;
        if let Err(error) = done {
            container.refuse_going(reference, marked)?;
            return Err(self.told_running(&container, reference, error).await);
        }
        self.publish(
            &container,
            "extract-to-dir",
            std::collections::BTreeMap::new(),
        );
        Ok(())
    }

    fn view_to_write(&self, container: &Container) -> Result<RootView> {
        let state = container.state();
        if state.running && state.pid > 0 {
            return Ok(RootView::Running(state.pid));
        }
        let mut lower = self.layers(container)?;
        lower.remove(0);
        let root = RootView::Writable {
            lower,
            dir: container.dir.clone(),
        };
        self.with_bound(container, root)
    }
}

/// What Docker says where a mount may not be written.
const READ_ONLY_MOUNT: &str = "mounted volume is marked read-only";

/// Refuses what may not be written at `path`: the root, or the mount that it is on. Where a link leads
/// elsewhere, the kernel refuses.
fn refuse_read_only(record: &super::Record, path: &str) -> Result<()> {
    let inside = |target: &str| {
        path == target
            || path
                .strip_prefix(target)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let mount = record
        .mounts
        .iter()
        .filter(|mount| inside(&mount.point.destination))
        .max_by_key(|mount| mount.point.destination.len());
    match mount {
        Some(mount) if !mount.point.rw => Err(EngineError::not_allowed(READ_ONLY_MOUNT)),
        None if record.host_config.readonly_rootfs => Err(EngineError::not_allowed(
            "container rootfs is marked read-only",
        )),
        _ => Ok(()),
    }
}

fn not_found(path: &str, reference: &str) -> EngineError {
    EngineError::not_found(format!(
        "Could not find the file {path} in container {reference}"
    ))
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path.trim_start_matches('/'))
}

/// The name that the tar's entries begin with: the last part as it was asked for. Docker's command
/// line goes by it: `.` stands for what is within a directory, `/` for the root.
fn entry_name(path: &str) -> Vec<u8> {
    if path.ends_with("/.") || path == "." {
        return b".".to_vec();
    }
    match super::mounts::clean(path).rsplit('/').next() {
        None | Some("") => b"/".to_vec(),
        Some(name) => name.as_bytes().to_vec(),
    }
}

fn stat(path: &str, reference: &str) -> Result<PathStat> {
    let at = absolute(path);
    let follow = path.ends_with('/') || path.ends_with("/.");
    let meta = if follow {
        std::fs::metadata(&at)
    } else {
        std::fs::symlink_metadata(&at)
    };
    let meta = meta.map_err(|_| not_found(path, reference))?;
    let link_target = if meta.file_type().is_symlink() {
        std::fs::canonicalize(&at)
            .map(|to| to.display().to_string())
            .unwrap_or_default()
    } else {
        String::new()
    };
    let name = super::mounts::clean(path)
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    Ok(PathStat {
        name: if name.is_empty() {
            "/".to_owned()
        } else {
            name
        },
        size: i64::try_from(meta.len()).unwrap_or(i64::MAX),
        mode: go_mode(&meta),
        mtime: timestamp::text(meta.modified().unwrap_or(std::time::UNIX_EPOCH)),
        link_target,
    })
}

/// Go's `os.FileMode`, whose bits of kind are its own.
fn go_mode(meta: &std::fs::Metadata) -> u32 {
    let kind = meta.file_type();
    let mut mode = meta.mode() & 0o777;
    let bits = [
        (kind.is_dir(), 31),
        (kind.is_symlink(), 27),
        (kind.is_block_device() || kind.is_char_device(), 26),
        (kind.is_fifo(), 25),
        (kind.is_socket(), 24),
        (meta.mode() & 0o4000 != 0, 23),
        (meta.mode() & 0o2000 != 0, 22),
        (kind.is_char_device(), 21),
        (meta.mode() & 0o1000 != 0, 20),
    ];
    for (is, bit) in bits {
        if is {
            mode |= 1 << bit;
        }
    }
    mode
}

/// Docker's words for what is becoming of a container.
pub(super) fn going_words(container: &Container) -> &'static str {
    match container.with(|_, state| state.dead) {
        true => "Dead",
        false => "being removed",
    }
}

/// Runs `write` in the container's root, its output the reader that is returned.
fn stream(
    container: &Arc<Container>,
    view: RootView,
    write: impl FnOnce(PipeWriter) -> Result<()> + Send + 'static,
) -> Result<Reader> {
    let container = container.clone();
    outcome::fill(move |to| {
        let scratch = container.dir.join("rootfs");
        with_root_as_root(&view, &scratch, move || write(to))?;
        container.refuse_closed()
    })
}

/// Writes a file, or a directory with all that is in it; with an empty name only what is in it.
fn write_tree(source: &Path, name: &[u8], to: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(std::io::BufWriter::with_capacity(64 << 10, to));
    let fail = |error: std::io::Error| EngineError::io("archive", source)(error);
    let meta = std::fs::symlink_metadata(source).map_err(fail)?;
    let written = if meta.is_dir() {
        append_dir(&mut tar, source, name)
    } else {
        tar_entry::append(&mut tar, source, name)
    };
    written.map_err(fail)?;
    tar.into_inner()
        .and_then(|mut inner| inner.flush())
        .map_err(fail)
}

fn append_dir<W: Write>(tar: &mut tar::Builder<W>, dir: &Path, name: &[u8]) -> std::io::Result<()> {
    let mut prefix = name.to_vec();
    if !name.is_empty() && name != b"/" {
        prefix.push(b'/');
    }
    if !name.is_empty() {
        tar_entry::append(tar, dir, &prefix)?;
    }
    let mut entries: Vec<_> = std::fs::read_dir(dir)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let inside = [prefix.as_slice(), entry.file_name().as_bytes()].concat();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            append_dir(tar, &path, &inside)?;
        } else if !kind.is_socket() {
            match tar_entry::append(tar, &path, &inside) {
                // Gone since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// Unpacks below `target`, within the root that the thread has.
fn unpack(
    body: impl Read,
    target: &Path,
    options: ArchivePutOptions,
    owner: Option<(u32, u32)>,
) -> Result<()> {
    let bad = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem {
            return EngineError::not_allowed(READ_ONLY_MOUNT);
        }
        // What goes wrong is told by the cause; what is above it only names the file.
        let mut text = format!("Error processing tar file: {error}");
        let causes = std::iter::successors(std::error::Error::source(&error), |it| it.source());
        if let Some(cause) = causes.last() {
            text += &format!(": {cause}");
        }
        EngineError::invalid(text)
    };
    let mut body = body;
    let mut archive = tar::Archive::new(decompressed(&mut body).map_err(bad)?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_unpack_xattrs(true);
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let inside = entry.path().map_err(bad)?.into_owned();
        let place = target.join(&inside);
        if options.no_overwrite_dir_non_dir
            && let Ok(meta) = std::fs::symlink_metadata(&place)
        {
            let is_dir = entry.header().entry_type().is_dir();
            if meta.is_dir() != is_dir {
                let (what, by) = if is_dir {
                    ("non-directory", "directory")
                } else {
                    ("directory", "non-directory")
                };
                return Err(EngineError::invalid(format!(
                    "cannot overwrite {what} \"{}\" with {by} \"{}\"",
                    place.display(),
                    target.display()
                )));
            }
        }
        let unpacked = entry.unpack_in(target).map_err(bad)?;
        if let (true, Some((uid, gid))) = (unpacked, owner) {
            std::os::unix::fs::lchown(&place, Some(uid), Some(gid)).map_err(bad)?;
        }
    }
    drop(archive);
    // What pads the end of a tar is read too, or the client would find nobody to send it to.
    std::io::copy(&mut body, &mut std::io::sink()).map_err(bad)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_named_by_the_last_part_of_the_path() {
        for (path, name) in [("/a/b", "b"), ("/a/b/", "b"), ("/a/b/.", "."), ("/", "/")] {
            assert_eq!(entry_name(path), name.as_bytes(), "{path}");
        }
    }

    #[test]
    fn modes_are_go_s() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::chmod(dir.path(), rustix::fs::Mode::from_raw_mode(0o1755)).unwrap();
        assert_eq!(
            go_mode(&std::fs::metadata(dir.path()).unwrap()),
            (1 << 31) | (1 << 20) | 0o755
        );
    }
}
