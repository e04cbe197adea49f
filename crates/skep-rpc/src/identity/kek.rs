//! The key that locks a manager's secrets at rest (autolock), and what it wraps.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use rand::RngCore;
use skep_objects::swarmkit::MaybeEncryptedRecord;
use skep_objects::swarmkit::maybe_encrypted_record::Algorithm;

const PREFIX: &str = "SWMKEY-1-";
const KEY_BYTES: usize = 32;

/// Why an unlock key cannot be read, or something locked with it not be opened.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The text is not an unlock key.
    #[error("invalid unlock key")]
    Malformed,
    /// The record is locked and no key was given.
    #[error("record is encrypted and no key was given")]
    Locked,
    /// The key does not open the record.
    #[error("invalid key: record cannot be decrypted")]
    Wrong,
    /// The record is sealed in a way that this version does not know.
    #[error("unknown encryption algorithm {0}")]
    Algorithm(i32),
}

/// A key-encryption key: 32 bytes, shown to people as `SWMKEY-1-…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Kek([u8; KEY_BYTES]);

impl Kek {
    /// A new random key.
    pub fn generate() -> Self {
        let mut key = [0; KEY_BYTES];
        rand::rng().fill_bytes(&mut key);
        Self(key)
    }

    /// From the raw bytes that the store keeps (Cluster.unlock_keys).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KekError> {
        Ok(Self(bytes.try_into().map_err(|_| KekError::Malformed)?))
    }

    /// Reads `SWMKEY-1-…`.
    pub fn parse(text: &str) -> Result<Self, KekError> {
        let body = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(KekError::Malformed)?;
        Self::from_bytes(
            &STANDARD_NO_PAD
                .decode(body)
                .map_err(|_| KekError::Malformed)?,
        )
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals with this key, or leaves in the clear without one.
    pub fn seal(kek: Option<&Kek>, plain: &[u8]) -> MaybeEncryptedRecord {
        let Some(kek) = kek else {
            return MaybeEncryptedRecord {
                algorithm: Algorithm::None.into(),
                data: plain.to_vec(),
                nonce: Vec::new(),
            };
        };
        let mut nonce = [0u8; 24];
        rand::rng().fill_bytes(&mut nonce);
        let data = XSalsa20Poly1305::new(Key::from_slice(&kek.0))
            .encrypt(Nonce::from_slice(&nonce), plain)
            .expect("secretbox seals any length that fits in memory");
        MaybeEncryptedRecord {
            algorithm: Algorithm::SecretboxSalsa20Poly1305.into(),
            data,
            nonce: nonce.to_vec(),
        }
    }

    /// Opens what [`Kek::seal`] made.
    pub fn open(kek: Option<&Kek>, record: &MaybeEncryptedRecord) -> Result<Vec<u8>, KekError> {
        match Algorithm::try_from(record.algorithm) {
            Ok(Algorithm::None) => Ok(record.data.clone()),
            Ok(Algorithm::SecretboxSalsa20Poly1305) => {
                let kek = kek.ok_or(KekError::Locked)?;
                if record.nonce.len() != 24 {
                    return Err(KekError::Wrong);
                }
                XSalsa20Poly1305::new(Key::from_slice(&kek.0))
                    .decrypt(Nonce::from_slice(&record.nonce), record.data.as_slice())
                    .map_err(|_| KekError::Wrong)
            }
            Ok(Algorithm::FernetAes128Cbc) | Err(_) => Err(KekError::Algorithm(record.algorithm)),
        }
    }
}

/// As users see it.
impl fmt::Display for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD_NO_PAD.encode(self.0))
    }
}

/// Keys stay out of logs.
impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unlock_key_of_dockerd_reads_and_prints_the_same() {
        let text = "SWMKEY-1-4OEES1/8OyL89UYzh70kTGxz1u8Y/2oyyjnaSd7AT9g";
        assert_eq!(Kek::parse(text).unwrap().to_string(), text);
        assert!(Kek::parse("SWMKEY-1-abc").is_err());
        assert!(Kek::parse(&text[3..]).is_err());
    }

    #[test]
    fn only_the_right_key_opens() {
        let (kek, other) = (Kek::generate(), Kek::generate());
        let sealed = Kek::seal(Some(&kek), b"secret");
        assert_eq!(Kek::open(Some(&kek), &sealed).unwrap(), b"secret");
        assert!(matches!(
            Kek::open(Some(&other), &sealed),
            Err(KekError::Wrong)
        ));
        assert!(matches!(Kek::open(None, &sealed), Err(KekError::Locked)));
        assert_eq!(Kek::open(None, &Kek::seal(None, b"x")).unwrap(), b"x");
    }
}
