//! `docker commit`: the writable layer as the topmost layer of a new image.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use skep_objects::api::container::Config;

use super::layered::{Layered, is_opaque};
use super::rootfs::with_dir_as_root;
use super::{Container, changes, merge};
use crate::core::Core;
use crate::engine::CommitOptions;
use crate::error::Result;
use crate::outcome::Pipe;

/// What an image is to be made of.
pub(crate) struct Committed {
    /// The image that the container was made from.
    pub parent: String,
    /// How to run it.
    pub config: Map<String, Value>,
    /// The layer as a tar stream in the form that images travel in.
    pub layer: Pipe,
    /// The command that the history shows.
    pub created_by: String,
}

impl Core {
    /// Prepares an image of a container; the stream ends when the layer does.
    pub(crate) async fn prepare_commit(
        self: &Arc<Self>,
        container: &Arc<Container>,
        reference: &str,
        options: &CommitOptions,
    ) -> Result<Committed> {
        let fate = || {
            let fate = super::archive::going_words(container);
            format!(
                "You cannot commit container {} which is {fate}",
                container.id
            )
        };
        container.refuse_going(reference, fate)?;
        let record = container.record();
        let mut config = options.config.clone().unwrap_or_default();
        if config == Config::default() {
            config.clone_from(&record.config);
        } else {
            merge::merge(&mut config, &record.config)?;
        }
        // What was of the container only.
        config.hostname.clear();
        config.domainname.clear();
        (
            config.attach_stdin,
            config.attach_stdout,
            config.attach_stderr,
        ) = (false, false, false);
        config.image.clear();
        let config = match serde_json::to_value(&config) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let mut layers = self.layers(container)?;
        let upper = layers.remove(0);
        let paused = options.pause && self.pause_for_commit(container, reference).await?;
        let (core, held) = (self.clone(), container.clone());
        let handle = tokio::runtime::Handle::current();
        let layer = Pipe::fill(move |to| {
            let written = write_layer(&upper, &Layered::new(layers), to);
            if paused {
                handle.block_on(core.thaw_after_commit(&held));
            }
            written.and(held.refuse_closed().map_err(std::io::Error::other))
        });
        let layer = match layer {
            Err(error) if paused => {
                self.thaw_after_commit(container).await;
                return Err(error);
            }
            layer => layer?,
        };
        let words = std::iter::once(record.path.clone()).chain(record.args.iter().cloned());
        Ok(Committed {
            parent: record.image_id,
            config,
            layer,
            created_by: words.collect::<Vec<_>>().join(" "),
        })
    }

    /// Freezes what runs; false when there is nothing to freeze.
    async fn pause_for_commit(&self, container: &Container, reference: &str) -> Result<bool> {
        let marked = || container.removal_in_progress();
        let _operation = container.operate(reference, marked).await?;
        let state = container.state();
        if !state.running || state.paused || state.restarting {
            return Ok(false);
        }
        match self.freeze(container, state.exits).await {
            Ok(()) => Ok(true),
            Err(_) if self.has_ended(container, state.exits).await => Ok(false),
            Err(error) => Err(container.told(reference, error)),
        }
    }

    async fn thaw_after_commit(&self, container: &Container) {
        let _operation = container.operation.lock().await;
        if !container.state().paused {
            return;
        }
        match self.thaw(container).await {
            Ok(()) => self.publish(container, "unpause", BTreeMap::new()),
            Err(error) => {
                tracing::warn!(container.id = %container.id, %error, "container not thawed after a commit");
            }
        }
    }
}

fn write_layer(upper: &Path, lower: &Layered, to: impl Write + Send) -> std::io::Result<()> {
    let own = changes::own(lower);
    // The container may run, and put a link where a directory was a moment ago.
    let written = with_dir_as_root(upper, || {
        let mut tar = tar::Builder::new(std::io::BufWriter::with_capacity(64 << 10, to));
        tar.follow_symlinks(false);
        tar.sparse(false);
        let done = append(&mut tar, Path::new("/"), Path::new(""), &own);
        Ok(done.and_then(|()| tar.into_inner()?.flush()))
    });
    written.map_err(std::io::Error::other)?
}

/// Overlayfs's whiteouts become the names that images have for them.
fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    dir: &Path,
    at: &Path,
    own: &[&str],
) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(dir)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let inside = at.join(entry.file_name());
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            // Gone since it was listed.
            continue;
        };
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            empty_file(
                tar,
                at.join(format!(".wh.{}", entry.file_name().to_string_lossy())),
            )?;
            continue;
        }
        if own.contains(&format!("/{}", inside.display()).as_str()) {
            continue;
        }
        if meta.is_dir() {
            tar.append_dir(&inside, &path)?;
            if is_opaque(&path) {
                empty_file(tar, inside.join(".wh..wh..opq"))?;
            }
            append(tar, &path, &inside, own)?;
        } else if !meta.file_type().is_socket() {
            tar.append_path_with_name(&path, &inside)?;
        }
    }
    Ok(())
}

fn empty_file<W: Write>(tar: &mut tar::Builder<W>, name: PathBuf) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    tar.append_data(&mut header, name, std::io::empty())
}
