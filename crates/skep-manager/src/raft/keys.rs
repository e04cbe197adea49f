//! The key that the raft log is sealed with. It lies in the headers of the node's key file, sealed
//! by the swarm's unlock key where there is one.
//!
//! A rotation is in two steps, so that a crash between them leaves a key for everything on disk:
//! the new key is written as pending and the log goes on with it; when nothing is left that an older
//! key sealed, it takes the older one's place.

use rand::RngCore;
use skep_rpc::identity::{FilesError, Kek, KekError, KeyHeaders, NodeFiles};
use skep_store::raft::RaftNode;
use skep_store::seal::{Dek, DekSet, KEY_LEN};

const DEK: &str = "raft-dek";
const PENDING_DEK: &str = "raft-dek-pending";

/// Why the log's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DekError {
    /// The key file cannot be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The unlock key does not open the header.
    #[error("open the raft key in the node's key file: {0}")]
    Kek(#[from] KekError),
    /// What the header holds is no key.
    #[error("the raft key in the node's key file has {0} bytes instead of {KEY_LEN}")]
    Length(usize),
    /// The member was stopped before the rotation was done; it goes on with the next start.
    #[error("the manager stopped before the raft log was sealed anew")]
    Stopped,
}

/// The keys in the node's key file; a new one is made and written when there is none.
pub fn load_or_create(files: &NodeFiles, kek: Option<&Kek>) -> Result<DekSet, DekError> {
    let mut headers = files.headers()?.unwrap_or_default();
    let current = read(&headers, DEK, kek)?;
    let pending = read(&headers, PENDING_DEK, kek)?;
    match (pending, current) {
        (Some(pending), Some(current)) => Ok(DekSet::new(pending).with_older(current)),
        (Some(only), None) | (None, Some(only)) => Ok(DekSet::new(only)),
        (None, None) => {
            let new = generate();
            headers.seal(DEK, kek, new.as_bytes());
            files.set_headers(&headers, kek)?;
            Ok(DekSet::new(new))
        }
    }
}

/// Seals a running member's log with a new key, as is due when autolock is turned on: the old one
/// lay open until then.
pub async fn rotate(files: &NodeFiles, kek: Option<&Kek>, node: &RaftNode) -> Result<(), DekError> {
    let new = generate();
    let mut headers = files.headers()?.unwrap_or_default();
    headers.seal(PENDING_DEK, kek, new.as_bytes());
    files.set_headers(&headers, kek)?;
    if !node.rotate_key(new.clone()).await {
        return Err(DekError::Stopped);
    }
    let mut headers = files.headers()?.unwrap_or_default();
    headers.seal(DEK, kek, new.as_bytes());
    headers.others.remove(PENDING_DEK);
    files.set_headers(&headers, kek)?;
    Ok(())
}

fn read(headers: &KeyHeaders, name: &str, kek: Option<&Kek>) -> Result<Option<Dek>, DekError> {
    let Some(opened) = headers.open(name, kek) else {
        return Ok(None);
    };
    let bytes = opened?;
    let key: [u8; KEY_LEN] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| DekError::Length(bytes.len()))?;
    Ok(Some(Dek::new(key)))
}

fn generate() -> Dek {
    let mut key = [0; KEY_LEN];
    rand::rng().fill_bytes(&mut key);
    Dek::new(key)
}
