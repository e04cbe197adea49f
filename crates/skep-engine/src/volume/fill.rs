//! Filling a new volume with what an image has at its place: whole, or not at all.
//!
//! The content is copied beside the volume's own and then moved into it, entry by entry, since a container
//! may have the directory already. A crash while it is copied leaves a volume that is empty; one while it
//! is moved is made good by the next start.

use std::io;
use std::path::Path;
use std::sync::PoisonError;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Volumes, is_empty, no_such};
use crate::copy_tree;
use crate::error::{EngineError, Result};

/// What is being copied; of no worth until it is whole.
const FILLING: &str = "_filling";
/// What is whole, and is being moved into the volume.
const FILLED: &str = "_filled";

impl Volumes {
    /// Has `copy` fill a directory whose content becomes that of the volume, if that is empty. One at a
    /// time for each volume.
    pub(crate) fn fill(&self, name: &str, copy: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let turn = match self.known().get(name) {
            Some(entry) => entry.filling.clone(),
            None => return Err(no_such(name)),
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_empty(&self.data_dir(name)) {
            return Ok(());
        }
        let dir = self.dir(name);
        let filling = dir.join(FILLING);
        remove(&filling)?;
        std::fs::create_dir(&filling).map_err(EngineError::io("create", &filling))?;
        if let Err(error) = copy(&filling) {
            // A full disk must get its room back.
            remove(&filling)?;
            return Err(error);
        }
        let filled = dir.join(FILLED);
        std::fs::rename(&filling, &filled).map_err(EngineError::io("rename", &filling))?;
        settle(&dir)
    }
}

/// Ends what was begun in a volume's directory: moves what is whole, and drops what is not.
pub(super) fn settle(dir: &Path) -> Result<()> {
    remove(&dir.join(FILLING))?;
    let (filled, data) = (dir.join(FILLED), dir.join("_data"));
    let entries = match std::fs::read_dir(&filled) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(EngineError::io("read", &filled))?,
    };
    for entry in entries {
        let entry = entry.map_err(EngineError::io("read", &filled))?;
        let place = data.join(entry.file_name());
        match renameat_with(CWD, entry.path(), CWD, &place, RenameFlags::NOREPLACE) {
            // A container has written that meanwhile, and keeps it.
            Err(Errno::EXIST) => {}
            moved => moved.map_err(|error| EngineError::io("rename", place)(error.into()))?,
        }
    }
    copy_tree::copy_attributes(&filled, &data)?;
    remove(&filled)
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::io("remove", dir)(error))
        }
        _ => Ok(()),
    }
}
