//! Content-addressed files: what images are made of, as it travels.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::ImageError;

/// A download that is not gone on with for so long is begun anew.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How names begin that nobody goes on with after a crash.
const UNFINISHED: &[u8] = b"new-";
/// Manifests and configs larger than this are refused.
pub(super) const MAX_DOCUMENT_BYTES: u64 = 8 << 20;

/// The blobs of one data root.
#[derive(Debug)]
pub(super) struct Blobs {
    whole: PathBuf,
    partial: PathBuf,
}

impl Blobs {
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let blobs = Self {
            whole: root.join("blobs/sha256"),
            partial: root.join("blobs/partial"),
        };
        for dir in [&blobs.whole, &blobs.partial] {
            fs::create_dir_all(dir).map_err(ImageError::io("create", dir))?;
        }
        blobs.remove_unfinished();
        Ok(blobs)
    }

    /// What a crash interrupted; downloads under their digest are kept, to be gone on with.
    fn remove_unfinished(&self) {
        for entry in fs::read_dir(&self.partial).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED) {
                let path = entry.path();
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let _ = if is_dir {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                };
            }
        }
    }

    /// Removes downloads that nobody has gone on with for a day.
    pub fn remove_old_partials(&self) {
        for entry in fs::read_dir(&self.partial).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|meta| meta.modified());
            let age = age.ok().and_then(|then| then.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED_AFTER) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes downloads that broke off, but those that somebody goes on with; gives their bytes.
    pub fn remove_partials(&self, is_needed: impl Fn(&str) -> bool) -> u64 {
        let mut won_bytes = 0;
        for entry in fs::read_dir(&self.partial).into_iter().flatten().flatten() {
            let digest = format!("sha256:{}", entry.file_name().to_string_lossy());
            if !skep_objects::reference::is_digest(&digest) || is_needed(&digest) {
                continue;
            }
            let bytes = entry.metadata().map_or(0, |meta| meta.len());
            if fs::remove_file(entry.path()).is_ok() {
                won_bytes += bytes;
            }
        }
        won_bytes
    }

    /// A directory for the files of an archive that is being read.
    pub fn staging(&self) -> Result<tempfile::TempDir, ImageError> {
        tempfile::Builder::new()
            .prefix("new-")
            .tempdir_in(&self.partial)
            .map_err(ImageError::io("create a directory in", &self.partial))
    }

    pub fn path(&self, digest: &str) -> PathBuf {
        self.whole.join(hex_of(digest))
    }

    /// Where a download of this blob gathers.
    pub fn partial_path(&self, digest: &str) -> PathBuf {
        self.partial.join(hex_of(digest))
    }

    pub fn has(&self, digest: &str) -> bool {
        self.path(digest).exists()
    }

    pub fn open_blob(&self, digest: &str) -> Result<File, ImageError> {
        let path = self.path(digest);
        File::open(&path).map_err(ImageError::io("open", path))
    }

    pub fn size(&self, digest: &str) -> Result<u64, ImageError> {
        let path = self.path(digest);
        fs::metadata(&path)
            .map(|meta| meta.len())
            .map_err(ImageError::io("look at", path))
    }

    /// Reads a manifest or config, and verifies it.
    pub fn document(&self, digest: &str) -> Result<Vec<u8>, ImageError> {
        let mut text = Vec::new();
        self.open_blob(digest)?
            .take(MAX_DOCUMENT_BYTES)
            .read_to_end(&mut text)
            .map_err(ImageError::io("read", self.path(digest)))?;
        verify("blob", digest, &digest_of(&text))?;
        Ok(text)
    }

    /// Stores a document that is in memory; gives its digest.
    pub fn put(&self, content: &[u8]) -> Result<String, ImageError> {
        let digest = digest_of(content);
        if !self.has(&digest) {
            let mut writer = self.writer()?;
            writer
                .write_all(content)
                .map_err(ImageError::io("write", &self.partial))?;
            writer.finish(None)?;
        }
        Ok(digest)
    }

    /// A writer whose content becomes a blob when it is finished, and vanishes when it is dropped.
    pub fn writer(&self) -> Result<BlobWriter<'_>, ImageError> {
        let file = tempfile::Builder::new()
            .prefix("new-")
            .tempfile_in(&self.partial)
            .map_err(ImageError::io("create a file in", &self.partial))?;
        Ok(BlobWriter {
            blobs: self,
            file,
            hash: Sha256::new(),
            size_bytes: 0,
        })
    }

    /// Makes a whole, verified download a blob.
    pub fn commit_partial(&self, digest: &str) -> Result<(), ImageError> {
        let from = self.partial_path(digest);
        File::open(&from)
            .and_then(|file| file.sync_data())
            .map_err(ImageError::io("sync", &from))?;
        fs::rename(&from, self.path(digest)).map_err(ImageError::io("rename", from))?;
        self.sync_names()
    }

    /// Records that name a blob are written after the blob has its name on the disk.
    fn sync_names(&self) -> Result<(), ImageError> {
        File::open(&self.whole)
            .and_then(|dir| dir.sync_all())
            .map_err(ImageError::io("sync", &self.whole))
    }

    pub fn remove(&self, digest: &str) -> Result<(), ImageError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ImageError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// All blobs on disk.
    pub fn list(&self) -> Result<Vec<String>, ImageError> {
        let entries = fs::read_dir(&self.whole).map_err(ImageError::io("list", &self.whole))?;
        Ok(entries
            .filter_map(|entry| Some(format!("sha256:{}", entry.ok()?.file_name().to_str()?)))
            .collect())
    }
}

/// See [`Blobs::writer`].
#[derive(Debug)]
pub(super) struct BlobWriter<'a> {
    blobs: &'a Blobs,
    file: tempfile::NamedTempFile,
    hash: Sha256,
    size_bytes: u64,
}

impl BlobWriter<'_> {
    /// What the digest will be, if nothing more is written.
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(self.hash.clone().finalize()))
    }

    /// Gives digest and size; refuses content that has not the expected digest.
    pub fn finish(self, expected: Option<&str>) -> Result<(String, u64), ImageError> {
        let digest = format!("sha256:{}", hex::encode(self.hash.finalize()));
        if let Some(expected) = expected {
            verify("blob", expected, &digest)?;
        }
        let path = self.blobs.path(&digest);
        self.file
            .as_file()
            .sync_data()
            .map_err(ImageError::io("sync", self.file.path()))?;
        self.file
            .persist(&path)
            .map_err(|error| ImageError::io("rename", path)(error.error))?;
        self.blobs.sync_names()?;
        Ok((digest, self.size_bytes))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.file.write(content)?;
        self.hash.update(&content[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Hashes what passes through.
#[derive(Debug)]
pub(super) struct HashingReader<R> {
    inner: R,
    hash: Sha256,
    pub size_bytes: u64,
}

impl<R: Read> HashingReader<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size_bytes: 0,
        }
    }

    /// Reads to the end and gives the digest of everything.
    pub fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(format!("sha256:{}", hex::encode(self.hash.finalize())))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.size_bytes += count as u64;
        Ok(count)
    }
}

pub(super) fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

pub(super) fn verify(what: &'static str, expected: &str, found: &str) -> Result<(), ImageError> {
    if expected == found {
        return Ok(());
    }
    Err(ImageError::Corrupt {
        what,
        digest: expected.to_owned(),
        found: found.to_owned(),
    })
}

/// The hexadecimal part, safe as a file name: anything else becomes a name that no blob has.
fn hex_of(digest: &str) -> &str {
    match skep_objects::reference::is_digest(digest) {
        true => &digest["sha256:".len()..],
        false => "none",
    }
}
