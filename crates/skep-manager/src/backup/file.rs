//! The file that a backup is:
//!
//! ```text
//!  0            8 bytes   "SKEPBAK" and the version of the format, 1
//!  8            4         length h of the header, little endian, at most 64 KiB
//!  12           h         header, JSON: what it is a backup of; readable without the key
//!  12 + h       24        nonce
//!  36 + h       n         StoreSnapshot (SwarmKit's message), sealed: NaCl secretbox
//!  end - 32     32        SHA-256 over everything before
//! ```
//!
//! The header is repeated inside the seal, so that a changed one is noticed.

use prost::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use skep_objects::ErrorKind;
use skep_objects::swarmkit::{
    MaybeEncryptedRecord, StoreSnapshot, maybe_encrypted_record::Algorithm,
};
use skep_rpc::identity::{Kek, KekError};

const MAGIC: &[u8; 7] = b"SKEPBAK";
const VERSION: u8 = 1;
const MAX_HEADER: usize = 64 << 10;
const NONCE: usize = 24;
const SUM: usize = 32;

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Header {
    /// The swarm's id.
    #[serde(rename = "ClusterID")]
    pub cluster_id: String,
    /// The node that it was taken on.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// When, as RFC 3339.
    pub created: String,
    /// The version of the store.
    pub index: u64,
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something else.
    #[error("not a backup of a swarm: it does not begin as one")]
    NotABackup,
    /// Made by a later program.
    #[error("backup has format {0}, and this program knows format {VERSION} only: use a newer one")]
    Version(u8),
    /// Shorter than it says.
    #[error("backup is cut short: it ends at byte {0}")]
    Short(usize),
    /// The checksum is another one.
    #[error("backup is damaged: its checksum does not match what is in it")]
    Damaged,
    /// The key is another one.
    #[error("backup cannot be opened: invalid key provided")]
    Key,
    /// Sealed properly, but by a program with a mistake.
    #[error("backup holds what cannot be read: {0}")]
    Content(String),
}

impl BackupError {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// The file's bytes.
pub fn seal(header: &Header, snapshot: &StoreSnapshot, key: &Kek) -> Vec<u8> {
    let head = serde_json::to_vec(header).unwrap_or_default();
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut plain = length.to_vec();
    plain.extend_from_slice(&head);
    snapshot
        .encode(&mut plain)
        .expect("a vector takes what memory holds");
    let sealed = Kek::seal(Some(key), &plain);
    let mut file = MAGIC.to_vec();
    file.push(VERSION);
    file.extend_from_slice(&length);
    file.extend_from_slice(&head);
    file.extend_from_slice(&sealed.nonce);
    file.extend_from_slice(&sealed.data);
    let sum = Sha256::digest(&file);
    file.extend_from_slice(&sum);
    file
}

/// What is in the file, checked from the outside in.
pub fn open(file: &[u8], key: &Kek) -> Result<(Header, StoreSnapshot), BackupError> {
    let rest = file.strip_prefix(MAGIC).ok_or(BackupError::NotABackup)?;
    let short = || BackupError::Short(file.len());
    let (version, _) = rest.split_first().ok_or_else(short)?;
    if *version != VERSION {
        return Err(BackupError::Version(*version));
    }
    let split = file.len().checked_sub(SUM).ok_or_else(short)?;
    let (body, sum) = file.split_at(split);
    let (head, sealed) = split_head(body.get(MAGIC.len() + 1..).ok_or_else(short)?, &short)?;
    if Sha256::digest(body).as_slice() != sum {
        return Err(BackupError::Damaged);
    }
    let record = MaybeEncryptedRecord {
        algorithm: Algorithm::SecretboxSalsa20Poly1305.into(),
        nonce: sealed.get(..NONCE).ok_or_else(short)?.to_vec(),
        data: sealed[NONCE..].to_vec(),
    };
    let plain = Kek::open(Some(key), &record).map_err(|error| match error {
        KekError::Wrong | KekError::Malformed | KekError::Locked | KekError::Algorithm(_) => {
            BackupError::Key
        }
    })?;
    let (inner, objects) = split_head(&plain, &short)?;
    if inner != head {
        return Err(BackupError::Damaged);
    }
    let content = |error: String| BackupError::Content(error);
    let header = serde_json::from_slice(head).map_err(|e| content(e.to_string()))?;
    let snapshot = StoreSnapshot::decode(objects).map_err(|e| content(e.to_string()))?;
    Ok((header, snapshot))
}

/// A length, that many bytes, and the rest.
fn split_head<'a>(
    bytes: &'a [u8],
    short: &dyn Fn() -> BackupError,
) -> Result<(&'a [u8], &'a [u8]), BackupError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_HEADER || length > rest.len() {
        return Err(short());
    }
    Ok(rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::Cluster;

    use super::*;

    fn made() -> (Vec<u8>, Kek, Header, StoreSnapshot) {
        let header = Header {
            cluster_id: "c1".into(),
            node_id: "n1".into(),
            created: "2026-11-28T00:00:00Z".into(),
            index: 7,
        };
        let snapshot = StoreSnapshot {
            clusters: vec![Cluster {
                id: "c1".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let key = Kek::generate();
        (seal(&header, &snapshot, &key), key, header, snapshot)
    }

    #[test]
    fn what_was_sealed_is_opened_with_the_key_alone() {
        let (file, key, header, snapshot) = made();
        assert_eq!(open(&file, &key).unwrap(), (header, snapshot));
        assert!(matches!(
            open(&file, &Kek::generate()),
            Err(BackupError::Key)
        ));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let (file, key, ..) = made();
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &key).is_err(), "byte {at}");
            assert!(open(&file[..at], &key).is_err(), "cut at {at}");
        }
        assert!(matches!(open(b"", &key), Err(BackupError::NotABackup)));
        let mut newer = file;
        newer[7] = 2;
        assert!(matches!(open(&newer, &key), Err(BackupError::Version(2))));
    }
}
