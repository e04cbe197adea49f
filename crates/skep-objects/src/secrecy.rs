//! `Debug` of the messages that hold secrets: what they are about, never what they hold.

use std::fmt::{Debug, Formatter, Result};

use crate::swarmkit::{EncryptionKey, JoinTokens, RootCa, RootRotation, SecretSpec};

impl Debug for SecretSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("SecretSpec")
            .field("annotations", &self.annotations)
            .field("data_bytes", &self.data.len())
            .field("templating", &self.templating)
            .field("driver", &self.driver)
            .finish()
    }
}

impl Debug for JoinTokens {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("JoinTokens").finish_non_exhaustive()
    }
}

impl Debug for RootCa {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RootCa")
            .field("ca_cert_hash", &self.ca_cert_hash)
            .field("has_ca_key", &!self.ca_key.is_empty())
            .field("last_forced_rotation", &self.last_forced_rotation)
            .finish_non_exhaustive()
    }
}

impl Debug for RootRotation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RootRotation")
            .field("has_ca_key", &!self.ca_key.is_empty())
            .finish_non_exhaustive()
    }
}

impl Debug for EncryptionKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("EncryptionKey")
            .field("subsystem", &self.subsystem)
            .field("lamport_time", &self.lamport_time)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let spec = SecretSpec {
            data: b"sesame".to_vec(),
            ..SecretSpec::default()
        };
        let tokens = JoinTokens {
            worker: "sesame".into(),
            manager: "sesame".into(),
        };
        let root = RootCa {
            ca_key: b"sesame".to_vec(),
            join_tokens: Some(tokens.clone()),
            root_rotation: Some(RootRotation {
                ca_key: b"sesame".to_vec(),
                ..RootRotation::default()
            }),
            ..RootCa::default()
        };
        let key = EncryptionKey {
            key: b"sesame".to_vec(),
            ..EncryptionKey::default()
        };
        let printed = format!(
            "{spec:?} {tokens:?} {root:?} {:?} {key:?}",
            root.root_rotation
        );
        let bytes = format!("{:?}", b"sesame").replace(['[', ']'], "");
        assert!(
            !printed.contains("sesame") && !printed.contains(&bytes),
            "{printed}"
        );
    }
}
