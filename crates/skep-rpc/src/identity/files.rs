//! A node's files: root bundle, chain, and key with its headers.
//!
//! ```text
//! certificates/swarm-root-ca.crt   root bundle, PEM
//! certificates/swarm-node.crt      chain, PEM
//! certificates/swarm-node.key      PKCS#8, PEM with headers (kek-version, raft-dek, …); mode 0600
//! certificates/swarm-node.key.new  only while key and chain are being replaced
//! ```
//!
//! Invariant: after a crash at any moment, chain and one of the two key files belong together. With
//! autolock on, the key's body is a sealed record and so are the raft keys in its headers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use skep_objects::ErrorKind;
use skep_objects::swarmkit::MaybeEncryptedRecord;

use super::certificate::{CertificateError, NodeCertificate};
use super::kek::{Kek, KekError};
use super::keys::{KeyError, NodeKey};
use super::node::Credentials;
use super::root::{RootBundle, RootError};
use crate::tls::TlsError;

const LABEL_PLAIN: &str = "PRIVATE KEY";
const LABEL_SEALED: &str = "SKEP SEALED PRIVATE KEY";
const KEK_VERSION: &str = "kek-version";
/// Headers whose values are sealed records, sealed anew when the KEK changes.
const SEALED_HEADERS: [&str; 2] = ["raft-dek", "raft-dek-pending"];

/// Why a node's files cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The disk said no.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came back.
        #[source]
        source: io::Error,
    },
    /// The key file is not what this program writes.
    #[error("malformed key file {0}")]
    Malformed(PathBuf),
    /// Autolock is on and no unlock key was given, or a wrong one.
    #[error("unlock {path}: {source}")]
    Kek {
        /// The key file.
        path: PathBuf,
        /// Locked or wrong.
        #[source]
        source: KekError,
    },
    /// The private key is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The chain is unusable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The root bundle is unusable.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Key and chain do not belong together, or TLS refuses them.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl FilesError {
    /// The node must be unlocked first.
    pub fn is_locked(&self) -> bool {
        matches!(
            self,
            Self::Kek {
                source: KekError::Locked,
                ..
            }
        )
    }

    /// The unlock key given does not fit.
    pub fn is_wrong_key(&self) -> bool {
        matches!(
            self,
            Self::Kek {
                source: KekError::Wrong | KekError::Malformed,
                ..
            }
        )
    }

    /// The node has no such file yet.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The kind of this error, for status codes.
    pub fn kind(&self) -> ErrorKind {
        if self.is_wrong_key() {
            ErrorKind::Unauthenticated
        } else {
            ErrorKind::Internal
        }
    }
}

/// Headers of the key file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyHeaders {
    /// Meta.version of the Cluster that the KEK is from.
    pub kek_version: u64,
    /// All others by name, as they stand in the file.
    pub others: BTreeMap<String, String>,
}

impl KeyHeaders {
    /// Opens the sealed record under the given name.
    pub fn open(&self, name: &str, kek: Option<&Kek>) -> Option<Result<Vec<u8>, KekError>> {
        let record = decode_record(self.others.get(name)?);
        Some(
            record
                .ok_or(KekError::Malformed)
                .and_then(|record| Kek::open(kek, &record)),
        )
    }

    /// Puts a sealed record under the given name.
    pub fn seal(&mut self, name: &str, kek: Option<&Kek>, plain: &[u8]) {
        let record = Kek::seal(kek, plain).encode_to_vec();
        self.others.insert(name.to_owned(), STANDARD.encode(record));
    }
}

fn decode_record(text: &str) -> Option<MaybeEncryptedRecord> {
    MaybeEncryptedRecord::decode(STANDARD.decode(text).ok()?.as_slice()).ok()
}

/// The key file in memory.
struct KeyFile {
    headers: KeyHeaders,
    body: MaybeEncryptedRecord,
}

impl KeyFile {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let label = lines
            .next()?
            .strip_prefix("-----BEGIN ")?
            .strip_suffix("-----")?;
        let mut headers = KeyHeaders::default();
        let mut base64 = String::new();
        for line in lines {
            if line.starts_with("-----END ") {
                break;
            }
            match line.split_once(": ") {
                Some((KEK_VERSION, version)) => headers.kek_version = version.parse().ok()?,
                Some((name, value)) => {
                    headers.others.insert(name.to_owned(), value.to_owned());
                }
                None => base64.push_str(line.trim()),
            }
        }
        let bytes = STANDARD.decode(base64).ok()?;
        let body = match label {
            LABEL_PLAIN => Kek::seal(None, &bytes),
            LABEL_SEALED => MaybeEncryptedRecord::decode(bytes.as_slice()).ok()?,
            _ => return None,
        };
        Some(Self { headers, body })
    }

    fn print(headers: &KeyHeaders, key: &NodeKey, kek: Option<&Kek>) -> String {
        let (label, body) = match kek {
            None => (LABEL_PLAIN, key.pkcs8_der().to_vec()),
            Some(_) => (
                LABEL_SEALED,
                Kek::seal(kek, key.pkcs8_der()).encode_to_vec(),
            ),
        };
        let mut out = format!(
            "-----BEGIN {label}-----\n{KEK_VERSION}: {}\n",
            headers.kek_version
        );
        for (name, value) in &headers.others {
            out.push_str(&format!("{name}: {value}\n"));
        }
        out.push('\n');
        let text = STANDARD.encode(body);
        for line in text.as_bytes().chunks(64) {
            out.extend(line.iter().map(|b| char::from(*b)));
            out.push('\n');
        }
        out.push_str(&format!("-----END {label}-----\n"));
        out
    }
}

/// The `certificates` directory of a node.
#[derive(Clone, Debug)]
pub struct NodeFiles {
    dir: PathBuf,
}

impl NodeFiles {
    /// The files under a swarm state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("certificates"),
        }
    }

    fn root_path(&self) -> PathBuf {
        self.dir.join("swarm-root-ca.crt")
    }

    fn chain_path(&self) -> PathBuf {
        self.dir.join("swarm-node.crt")
    }

    fn key_path(&self) -> PathBuf {
        self.dir.join("swarm-node.key")
    }

    fn new_key_path(&self) -> PathBuf {
        self.dir.join("swarm-node.key.new")
    }

    /// The root bundle.
    pub fn load_roots(&self) -> Result<RootBundle, FilesError> {
        Ok(RootBundle::from_pem(&read(&self.root_path())?)?)
    }

    /// Replaces the root bundle.
    pub fn save_roots(&self, roots: &RootBundle) -> Result<(), FilesError> {
        self.make_dir()?;
        write_atomically(&self.root_path(), roots.pem(), 0o644)
    }

    /// Everything, unlocked with the KEK where autolock is on.
    pub fn load(&self, kek: Option<&Kek>) -> Result<Credentials, FilesError> {
        let roots = self.load_roots()?;
        let chain = NodeCertificate::from_pem(&read(&self.chain_path())?)?;
        let first = self.read_key(&self.key_path(), kek);
        let first = match first {
            Ok((_, key)) => Credentials::new(key, chain.clone(), roots.clone()).map_err(Into::into),
            Err(e) => Err(e),
        };
        if first.is_ok() || !self.new_key_path().exists() {
            return first;
        }
        // A crash came between the new chain and its key taking the old one's place, or before the new
        // chain: then that key belongs to nothing, and what is wrong is what is wrong with the first.
        let second = self.read_key(&self.new_key_path(), kek).ok();
        let second = second.and_then(|(_, key)| Credentials::new(key, chain, roots).ok());
        let Some(credentials) = second else {
            return first;
        };
        rename(&self.new_key_path(), &self.key_path())?;
        Ok(credentials)
    }

    /// Replaces key and chain as one; the headers stay.
    pub fn save(
        &self,
        key: &NodeKey,
        chain: &NodeCertificate,
        kek: Option<&Kek>,
    ) -> Result<(), FilesError> {
        self.make_dir()?;
        let headers = self.headers()?.unwrap_or_default();
        let text = KeyFile::print(&headers, key, kek);
        write_atomically(&self.new_key_path(), text.as_bytes(), 0o600)?;
        write_atomically(&self.chain_path(), chain.pem(), 0o644)?;
        rename(&self.new_key_path(), &self.key_path())
    }

    /// The headers of the key file, which need no unlocking; `None` without a key file.
    pub fn headers(&self) -> Result<Option<KeyHeaders>, FilesError> {
        match self.parse_key(&self.key_path()) {
            Ok(file) => Ok(Some(file.headers)),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Replaces the headers; the key stays.
    pub fn set_headers(&self, headers: &KeyHeaders, kek: Option<&Kek>) -> Result<(), FilesError> {
        let (_, key) = self.read_key(&self.key_path(), kek)?;
        let text = KeyFile::print(headers, &key, kek);
        write_atomically(&self.key_path(), text.as_bytes(), 0o600)
    }

    /// Whether the key file is sealed; false without one.
    pub fn is_locked(&self) -> Result<bool, FilesError> {
        match self.parse_key(&self.key_path()) {
            Ok(file) => Ok(Kek::open(None, &file.body).is_err()),
            Err(e) if e.is_missing() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Seals the key and the raft keys in its headers anew. An older version is ignored (false).
    pub fn set_kek(
        &self,
        old: Option<&Kek>,
        new: Option<&Kek>,
        version: u64,
    ) -> Result<bool, FilesError> {
        let (mut headers, key) = self.read_key(&self.key_path(), old)?;
        if version <= headers.kek_version {
            return Ok(false);
        }
        for name in SEALED_HEADERS {
            if let Some(plain) = headers.open(name, old) {
                let plain = plain.map_err(|source| FilesError::Kek {
                    path: self.key_path(),
                    source,
                })?;
                headers.seal(name, new, &plain);
            }
        }
        headers.kek_version = version;
        let text = KeyFile::print(&headers, &key, new);
        write_atomically(&self.key_path(), text.as_bytes(), 0o600)?;
        Ok(true)
    }

    fn make_dir(&self) -> Result<(), FilesError> {
        fs::create_dir_all(&self.dir).map_err(io_error("create", &self.dir))
    }

    fn parse_key(&self, path: &Path) -> Result<KeyFile, FilesError> {
        let text =
            String::from_utf8(read(path)?).map_err(|_| FilesError::Malformed(path.to_owned()))?;
        KeyFile::parse(&text).ok_or_else(|| FilesError::Malformed(path.to_owned()))
    }

    fn read_key(
        &self,
        path: &Path,
        kek: Option<&Kek>,
    ) -> Result<(KeyHeaders, NodeKey), FilesError> {
        let file = self.parse_key(path)?;
        let der = Kek::open(kek, &file.body).map_err(|source| FilesError::Kek {
            path: path.to_owned(),
            source,
        })?;
        Ok((file.headers, NodeKey::from_pkcs8(der)?))
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FilesError {
    let path = path.to_owned();
    move |source| FilesError::Io {
        action,
        path,
        source,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    fs::read(path).map_err(io_error("read", path))
}

fn rename(from: &Path, to: &Path) -> Result<(), FilesError> {
    fs::rename(from, to).map_err(io_error("rename", from))?;
    sync_dir(to)
}

fn sync_dir(path: &Path) -> Result<(), FilesError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(io_error("sync", dir))
}

/// Either the old content or the new one is there after a crash, never a part.
fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), FilesError> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&tmp)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(io_error("write", &tmp))?;
    rename(&tmp, path)
}

#[cfg(test)]
mod tests;
