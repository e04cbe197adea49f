//! Which version of the API a client speaks: `/v1.43/...`, or none for the newest.

use super::error::{ApiError, Result};

/// A version of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32, pub u32);

/// The newest that we speak.
pub const MAX: ApiVersion = ApiVersion(1, 51);
/// The oldest that we speak.
pub const MIN: ApiVersion = ApiVersion(1, 24);

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl ApiVersion {
    /// Reads `1.43`.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| text.parse().ok())
                .flatten()
        };
        Some(Self(number(major)?, number(minor)?))
    }
}

/// Takes the version off a path: what is left, and the version asked for.
pub fn strip(path: &str) -> Result<(&str, ApiVersion)> {
    let Some(rest) = path.strip_prefix("/v") else {
        return Ok((path, MAX));
    };
    let (text, rest) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let Some(version) = ApiVersion::parse(text) else {
        return Ok((path, MAX));
    };
    if version > MAX {
        return Err(ApiError::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {MAX}"
        )));
    }
    if version < MIN {
        return Err(ApiError::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {MIN}, please upgrade your client to a newer version"
        )));
    }
    Ok((rest, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_off_before_routing() {
        assert_eq!(
            strip("/v1.43/info").expect("good"),
            ("/info", ApiVersion(1, 43))
        );
        assert_eq!(strip("/info").expect("good"), ("/info", MAX));
        assert_eq!(strip("/volumes").expect("good"), ("/volumes", MAX));
        assert_eq!(strip("/v1.43").expect("good"), ("/", ApiVersion(1, 43)));
    }

    #[test]
    fn versions_out_of_range_are_refused_with_docker_s_text() {
        let refusal = strip("/v1.99/info").expect_err("too new");
        assert_eq!(
            refusal.message,
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        let refusal = strip("/v1.12/info").expect_err("too old");
        assert!(
            refusal.message.starts_with(
                "client version 1.12 is too old. Minimum supported API version is 1.24"
            )
        );
        assert_eq!(refusal.status, 400);
    }
}
