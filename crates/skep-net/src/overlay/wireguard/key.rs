//! This node's WireGuard key, and the tunnel address that follows from a public key.

use std::fs;
use std::io::Write;
use std::net::Ipv6Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use boringtun::x25519::{PublicKey, StaticSecret};

use crate::addr::Cidr;
use crate::error::NetError;

/// Tunnel addresses: this prefix and twelve bytes of the node's public key.
const PREFIX: [u8; 4] = [0xfd, 0x53, 0x6b, 0x70];

/// A node's key pair.
#[derive(Clone)]
pub(crate) struct NodeKey {
    pub secret: StaticSecret,
    pub public: PublicKey,
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKey")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl NodeKey {
    /// Reads the key from a file, or makes one.
    pub fn load_or_create(path: &Path) -> Result<NodeKey, NetError> {
        let stored = fs::read(path)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if let Some(bytes) = stored {
            return Ok(NodeKey::new(bytes));
        }
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
        Ok(NodeKey::new(bytes))
    }

    fn new(bytes: [u8; 32]) -> NodeKey {
        let secret = StaticSecret::from(bytes);
        let public = PublicKey::from(&secret);
        NodeKey { secret, public }
    }

    /// This node's tunnel address.
    pub fn address(&self) -> Ipv6Addr {
        address_of(self.public.as_bytes())
    }
}

/// The tunnel address of a node with this public key.
pub(crate) fn address_of(public: &[u8; 32]) -> Ipv6Addr {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&PREFIX);
    bytes[4..].copy_from_slice(&public[..12]);
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
        assert!(network().contains(first.address().into()));
    }
}
