//! Image references: `[host[:port]/]path[:tag][@digest]`, with Docker's short forms.
//!
//! The grammar is that of the distribution project; `nginx` means `docker.io/library/nginx:latest`.

use std::fmt;

/// The registry that a reference without a host means.
pub const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const MAX_NAME_BYTES: usize = 255;

/// Why a string is no image reference. The texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Something in it is outside the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has upper case letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    /// The repository is longer than 255 bytes.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// 64 hexadecimal digits could be mistaken for an id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
}

/// A reference to an image in a registry: always with domain and path, with a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Parses what a user typed. Neither tag nor digest is added: see [`Reference::or_latest`].
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_hex_id(text) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(ReferenceError::Format);
        }
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        let (domain, path) = split_domain(name);
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(path));
        }
        if !is_domain(&domain) || !is_path(&path) {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + path.len() > MAX_NAME_BYTES {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self {
            domain,
            path,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The registry, such as `docker.io` or `127.0.0.1:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, such as `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, `sha256:` and 64 hexadecimal digits, if one was given.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same with tag `latest` where neither tag nor digest was given.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The same repository at another tag, without digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository at a digest, without tag.
    pub fn with_digest(&self, digest: &str) -> Result<Self, ReferenceError> {
        if !is_digest(digest) {
            return Err(ReferenceError::Format);
        }
        Ok(Self {
            tag: None,
            digest: Some(digest.to_owned()),
            ..self.clone()
        })
    }

    /// The repository as users see it: without `docker.io/` and `library/`.
    pub fn familiar_name(&self) -> String {
        if self.domain == DEFAULT_DOMAIN {
            return self
                .path
                .strip_prefix(OFFICIAL_PREFIX)
                .unwrap_or(&self.path)
                .to_owned();
        }
        format!("{}/{}", self.domain, self.path)
    }

    /// The whole reference as users see it.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// The repository in full: `docker.io/library/nginx`.
    pub fn canonical_name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    fn suffixed(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = format!("{name}:{tag}");
        }
        if let Some(digest) = &self.digest {
            name = format!("{name}@{digest}");
        }
        name
    }
}

impl fmt::Display for Reference {
    /// The reference in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.canonical_name()))
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// Whether the text is `sha256:` and 64 lower-case hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_hex_id)
}

/// Whether the text is 64 lower-case hexadecimal digits.
pub fn is_hex_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn split_domain(name: &str) -> (String, String) {
    let (domain, rest) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL_PREFIX}{rest}"));
    }
    (domain.to_owned(), rest.to_owned())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, port)) => {
                if v6.parse::<std::net::Ipv6Addr>().is_err() {
                    return false;
                }
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    port.is_none_or(is_port)
        && host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    if bytes.is_empty() || !alnum(bytes[0]) || !alnum(bytes[bytes.len() - 1]) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    tag.len() <= 128
        && bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, full: &str, familiar: &str) {
        let reference = Reference::parse(text).unwrap();
        assert_eq!(
            (
                reference.to_string().as_str(),
                reference.familiar().as_str()
            ),
            (full, familiar)
        );
    }

    #[test]
    fn short_names_mean_docker_hub() {
        check("nginx", "docker.io/library/nginx", "nginx");
        check("nginx:1", "docker.io/library/nginx:1", "nginx:1");
        check("docker.io/nginx", "docker.io/library/nginx", "nginx");
        check("index.docker.io/a/b", "docker.io/a/b", "a/b");
        check("a/b:c", "docker.io/a/b:c", "a/b:c");
    }

    #[test]
    fn a_first_part_with_dot_colon_or_localhost_is_a_registry() {
        check(
            "127.0.0.1:5000/web:2",
            "127.0.0.1:5000/web:2",
            "127.0.0.1:5000/web:2",
        );
        check("localhost/web", "localhost/web", "localhost/web");
        check("[::1]:5000/web", "[::1]:5000/web", "[::1]:5000/web");
    }

    #[test]
    fn digests_and_tags_may_stand_together() {
        let digest = format!("sha256:{}", "a".repeat(64));
        check(
            &format!("x:1@{digest}"),
            &format!("docker.io/library/x:1@{digest}"),
            &format!("x:1@{digest}"),
        );
    }

    #[test]
    fn what_is_outside_the_grammar_is_refused() {
        for bad in [
            "",
            ":1",
            "a:",
            "a@sha256:1",
            "-a",
            "a//b",
            "a/",
            "/a",
            "a..b",
            "a:b:c",
            "a b",
            "é",
        ] {
            assert_eq!(
                Reference::parse(bad),
                Err(ReferenceError::Format),
                "{bad:?}"
            );
        }
        assert_eq!(
            Reference::parse("Nginx"),
            Err(ReferenceError::UpperCase("library/Nginx".into()))
        );
        assert!(matches!(
            Reference::parse(&"a".repeat(64)),
            Err(ReferenceError::LooksLikeId(_))
        ));
        assert_eq!(
            Reference::parse(&"a".repeat(300)),
            Err(ReferenceError::TooLong)
        );
    }
}
