//! Encryption of what lies on disk: NaCl secretbox (XSalsa20-Poly1305), as SwarmKit's managers use.
//!
//! The data encryption key (DEK) seals the log and the snapshots. The caller keeps it, in the headers
//! of the node's key file.

use std::fmt;

use crypto_secretbox::aead::AeadInPlace;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use sha2::{Digest, Sha256};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce; a random one is never drawn twice.
pub(crate) const NONCE_LEN: usize = 24;
/// Bytes that sealing adds.
pub(crate) const TAG_LEN: usize = 16;

/// A data encryption key.
#[derive(Clone, PartialEq, Eq)]
pub struct Dek([u8; KEY_LEN]);

/// The keys that what is on disk may be sealed with: the current one first.
///
/// More than one while a rotation is under way.
#[derive(Debug, Clone)]
pub struct DekSet {
    current: Dek,
    others: Vec<Dek>,
}

/// The key is another one, or the bytes were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl Dek {
    /// A key from its bytes, which should come from a good random source.
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        Dek(bytes)
    }

    /// The bytes, for the key file.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Tells keys apart without giving them away, so that a wrong key is not taken for damage.
    pub(crate) fn fingerprint(&self) -> [u8; 8] {
        let digest = Sha256::new()
            .chain_update(b"skep dek fingerprint")
            .chain_update(self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&digest.finalize()[..8]);
        id
    }

    /// Seals `buffer` from byte `from` on, in place; the tag goes to the end.
    pub(crate) fn seal_tail(&self, nonce: &[u8; NONCE_LEN], buffer: &mut Vec<u8>, from: usize) {
        let cipher = XSalsa20Poly1305::new(&self.0.into());
        let tag = cipher.encrypt_in_place_detached(nonce.into(), b"", &mut buffer[from..]);
        let tag = tag.expect("a secretbox holds more than memory does");
        buffer.extend_from_slice(&tag);
    }

    /// Opens what [`Dek::seal_tail`] sealed.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], data: &[u8]) -> Result<Vec<u8>, Refused> {
        let cipher = XSalsa20Poly1305::new(&self.0.into());
        let split = data.len().checked_sub(TAG_LEN).ok_or(Refused)?;
        let (sealed, tag) = data.split_at(split);
        let mut plain = sealed.to_vec();
        cipher
            .decrypt_in_place_detached(nonce.into(), b"", &mut plain, tag.into())
            .map_err(|_| Refused)?;
        Ok(plain)
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(..)")
    }
}

impl DekSet {
    /// Only one key.
    pub fn new(current: Dek) -> Self {
        DekSet {
            current,
            others: Vec::new(),
        }
    }

    /// A further key that older files may be sealed with.
    #[must_use]
    pub fn with_older(mut self, key: Dek) -> Self {
        self.others.push(key);
        self
    }

    /// The key that new files are sealed with.
    pub fn current(&self) -> &Dek {
        &self.current
    }

    /// Makes another key the current one and keeps the others for reading.
    pub(crate) fn rotate(&mut self, key: Dek) {
        if key != self.current {
            let old = std::mem::replace(&mut self.current, key);
            self.others.push(old);
        }
    }

    /// The key of this fingerprint.
    pub(crate) fn find(&self, fingerprint: [u8; 8]) -> Option<&Dek> {
        let mut keys = std::iter::once(&self.current).chain(&self.others);
        keys.find(|key| key.fingerprint() == fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_noticed() {
        let key = Dek::new([3; KEY_LEN]);
        let nonce = [9; NONCE_LEN];
        let mut buffer = b"head and body".to_vec();
        key.seal_tail(&nonce, &mut buffer, 4);
        assert_eq!(&buffer[..4], b"head");
        assert_eq!(key.open(&nonce, &buffer[4..]).unwrap(), b" and body");
        buffer[6] ^= 1;
        assert_eq!(key.open(&nonce, &buffer[4..]), Err(Refused));
    }
}
