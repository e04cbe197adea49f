//! Credentials for registries, as clients send them.

use oci_client::secrets;
use serde::Deserialize;

use super::ImageError;

/// Credentials, as `X-Registry-Auth` carries them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// The two above, `user:password` in base64.
    pub auth: String,
    /// A token in place of a password.
    pub identitytoken: String,
    /// A bearer token that is sent as it is.
    pub registrytoken: String,
    /// Whom they are for, where the client says so.
    pub serveraddress: String,
}

impl std::fmt::Debug for RegistryAuth {
    /// Never shows a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl RegistryAuth {
    /// Decodes the header: base64url of JSON. Empty gives no credentials.
    pub fn decode(header: &str) -> Result<Self, ImageError> {
        use base64::Engine as _;
        if header.is_empty() {
            return Ok(Self::default());
        }
        let bad = |error: String| ImageError::invalid("X-Registry-Auth header", error);
        let plain = header
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(plain)
            .map_err(|error| bad(error.to_string()))?;
        let auth: Option<Self> =
            serde_json::from_slice(&json).map_err(|error| bad(error.to_string()))?;
        Ok(auth.unwrap_or_default())
    }

    /// Whether they were given for this host in so many words.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let address = self.serveraddress.split_once("://");
        let rest = address.map_or(self.serveraddress.as_str(), |(_, rest)| rest);
        rest.split('/').next() == Some(host)
    }

    /// User and password as the header `Authorization` has them; nothing without a user.
    pub(super) fn basic(&self) -> Option<String> {
        use base64::Engine as _;
        match self.secret() {
            secrets::RegistryAuth::Basic(user, password) => {
                let pair = format!("{user}:{password}");
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                Some(format!("Basic {pair}"))
            }
            _ => None,
        }
    }

    /// In the client's terms. An identity token has to be exchanged first: [`super::token`].
    pub(super) fn secret(&self) -> secrets::RegistryAuth {
        use base64::Engine as _;
        if !self.registrytoken.is_empty() {
            return secrets::RegistryAuth::Bearer(self.registrytoken.clone());
        }
        if !self.username.is_empty() {
            return secrets::RegistryAuth::Basic(self.username.clone(), self.password.clone());
        }
        let pair = base64::engine::general_purpose::STANDARD
            .decode(&self.auth)
            .ok()
            .and_then(|pair| String::from_utf8(pair).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, password)) => {
                secrets::RegistryAuth::Basic(user.to_owned(), password.to_owned())
            }
            None => secrets::RegistryAuth::Anonymous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_decode_from_either_alphabet_and_never_show() {
        use base64::Engine as _;
        let json = r#"{"username":"u","password":"p?>~"}"#;
        for header in [
            base64::engine::general_purpose::URL_SAFE.encode(json),
            base64::engine::general_purpose::STANDARD.encode(json),
        ] {
            let auth = RegistryAuth::decode(&header).unwrap();
            assert_eq!(auth.password, "p?>~");
            assert!(!format!("{auth:?}").contains("p?>~"));
        }
        assert_eq!(RegistryAuth::decode("").unwrap(), RegistryAuth::default());
        assert!(RegistryAuth::decode("%%").is_err());
    }
}
