//! This node's WireGuard key, and the tunnel address that follows from a node's id.

use std::fs;
use std::io::Write;
use std::net::Ipv6Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use boringtun::x25519::{PublicKey, StaticSecret};
use sha2::{Digest, Sha256};

use crate::addr::Cidr;
use crate::error::NetError;

/// Tunnel addresses: this prefix and twelve bytes of a hash of the node's id.
const PREFIX: [u8; 4] = [0xfd, 0x53, 0x6b, 0x70];

/// After this a key is replaced: as often as Docker replaces those of its encrypted networks.
pub(crate) const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// A node's key pair.
#[derive(Clone)]
pub(crate) struct NodeKey {
    pub secret: StaticSecret,
    pub public: PublicKey,
    made: SystemTime,
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKey")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl NodeKey {
    /// Reads the key from a file, or makes one.
    pub fn load_or_create(path: &Path) -> Result<NodeKey, NetError> {
        let stored = fs::read(path)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let made = fs::metadata(path).and_then(|m| m.modified());
        match (stored, made) {
            (Some(bytes), Ok(made)) => Ok(NodeKey::new(bytes, made)),
            _ => NodeKey::create(path),
        }
    }

    /// Makes a key and writes it to a file, in place of another.
    pub fn create(path: &Path) -> Result<NodeKey, NetError> {
        let bytes: [u8; 32] = rand::random();
        let failed = |source| NetError::Io {
            attempt: "write key",
            path: path.to_owned(),
            source,
        };
        let temporary = path.with_extension("tmp");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary).map_err(failed)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)?;
        Ok(NodeKey::new(bytes, SystemTime::now()))
    }

    fn new(bytes: [u8; 32], made: SystemTime) -> NodeKey {
        let secret = StaticSecret::from(bytes);
        let public = PublicKey::from(&secret);
        NodeKey {
            secret,
            public,
            made,
        }
    }

    /// Whether it is to be replaced. A clock that was set back does not make it so.
    pub fn is_old(&self) -> bool {
        self.made.elapsed().is_ok_and(|age| age > LIFE)
    }
}

/// The tunnel address of a node: keys come and go, it stays.
pub(crate) fn address_of(node_id: &str) -> Ipv6Addr {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&PREFIX);
    bytes[4..].copy_from_slice(&Sha256::digest(node_id)[..12]);
    Ipv6Addr::from(bytes)
}

/// All tunnel addresses.
pub(crate) fn network() -> Cidr {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&PREFIX);
    Cidr::new(Ipv6Addr::from(bytes).into(), 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_after_a_restart_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wireguard.key");
        let first = NodeKey::load_or_create(&path).unwrap();
        let second = NodeKey::load_or_create(&path).unwrap();
        assert_eq!(first.public, second.public);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!second.is_old());
        let long_ago = SystemTime::now() - LIFE * 2;
        fs::File::open(&path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        assert!(NodeKey::load_or_create(&path).unwrap().is_old());
        let third = NodeKey::create(&path).unwrap();
        assert!(third.public != second.public && !third.is_old());
    }

    #[test]
    fn tunnel_addresses_are_the_nodes() {
        let (one, two) = (address_of("one"), address_of("two"));
        assert!(one != two && network().contains(one.into()));
    }
}
