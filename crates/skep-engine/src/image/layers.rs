//! Unpacked layers: directories that overlayfs mounts as lower directories.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use skep_objects::ids::new_hex_id;

use super::ImageError;
use super::blobs::{HashingReader, verify};
use super::unpack;
use crate::compression::decompressed;

const NAME_DIGITS: usize = 26;

/// The unpacked layers of one data root, by diff id.
#[derive(Debug)]
pub(super) struct Layers {
    root: PathBuf,
}

impl Layers {
    /// Opens the store and removes what an interrupted run left half unpacked.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let root = root.join("layers");
        fs::create_dir_all(&root).map_err(ImageError::io("create", &root))?;
        let entries = fs::read_dir(&root).map_err(ImageError::io("list", &root))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("new-")
                || name.to_string_lossy().starts_with("old-")
            {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(ImageError::io("remove", path))?;
            }
        }
        Ok(Self { root })
    }

    fn dir(&self, diff_id: &str) -> PathBuf {
        let hex = diff_id.trim_start_matches("sha256:");
        self.root.join(&hex[..NAME_DIGITS.min(hex.len())])
    }

    /// The lower directory of a layer.
    pub fn path(&self, diff_id: &str) -> PathBuf {
        self.dir(diff_id).join("diff")
    }

    pub fn has(&self, diff_id: &str) -> bool {
        self.dir(diff_id).exists()
    }

    /// Bytes of file content in the layer.
    pub fn size(&self, diff_id: &str) -> u64 {
        fs::read_to_string(self.dir(diff_id).join("size"))
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Unpacks a layer, compressed or not; gives its diff id and size. What does not have the
    /// expected diff id, or would leave its directory, is refused and leaves nothing behind.
    pub fn unpack(
        &self,
        expected: Option<&str>,
        blob: impl Read,
    ) -> Result<(String, u64), ImageError> {
        let new = tempfile::Builder::new()
            .prefix("new-")
            .tempdir_in(&self.root)
            .map_err(ImageError::io("create a directory in", &self.root))?;
        let diff = new.path().join("diff");
        fs::create_dir(&diff).map_err(ImageError::io("create", &diff))?;
        let stream = decompressed(blob).map_err(|source| ImageError::Stream {
            what: "read layer",
            source,
        })?;
        let mut stream = HashingReader::new(stream);
        let size = unpack::apply(&diff, &mut stream)?;
        let diff_id = stream.finish().map_err(|source| ImageError::Stream {
            what: "read layer",
            source,
        })?;
        if let Some(expected) = expected {
            verify("layer", expected, &diff_id)?;
        }
        let size_file = new.path().join("size");
        fs::write(&size_file, size.to_string()).map_err(ImageError::io("write", size_file))?;
        let root = File::open(&self.root).map_err(ImageError::io("open", &self.root))?;
        rustix::fs::syncfs(&root)
            .map_err(|error| ImageError::io("sync", &self.root)(error.into()))?;
        let target = self.dir(&diff_id);
        if !target.exists() {
            fs::rename(new.path(), &target).map_err(ImageError::io("rename", target))?;
            // Records that name it are written after this.
            root.sync_all()
                .map_err(ImageError::io("sync", &self.root))?;
            // The directory has its final name now: nothing is left to remove.
            let _ = new.keep();
        }
        Ok((diff_id, size))
    }

    /// Takes a layer out of the store; its files go with [`Doomed::remove`], or with the next start.
    pub fn take_out(&self, diff_id: &str) -> Result<Option<Doomed>, ImageError> {
        let dir = self.dir(diff_id);
        // The same layer may be back, and go again, before these files are gone.
        let old = self.root.join(format!("old-{}", new_hex_id()));
        match fs::rename(&dir, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => {
                result.map_err(ImageError::io("rename", dir))?;
                Ok(Some(Doomed(old)))
            }
        }
    }

    /// The names of all layer directories.
    pub fn list(&self) -> Result<Vec<String>, ImageError> {
        let entries = fs::read_dir(&self.root).map_err(ImageError::io("list", &self.root))?;
        Ok(entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()))
            .filter(|name| name.len() == NAME_DIGITS)
            .collect())
    }

    /// Whether a directory of [`Layers::list`] is this layer's.
    pub fn is_named(name: &str, diff_id: &str) -> bool {
        diff_id.trim_start_matches("sha256:").starts_with(name)
    }
}

/// Files of a layer that is no longer there. Removing them takes long: not to be done under a lock.
#[derive(Debug)]
#[must_use]
pub(super) struct Doomed(PathBuf);

impl Doomed {
    pub fn remove(self) -> Result<(), ImageError> {
        fs::remove_dir_all(&self.0).map_err(ImageError::io("remove", self.0))
    }
}
