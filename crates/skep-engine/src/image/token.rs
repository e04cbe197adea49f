//! Bearer tokens: what a registry asks for, and how it is had for a password or an identity token.
//!
//! The protocol is the Docker registry's: a refusal names a server that gives tokens, which is asked
//! with GET for a password, and with POST for an identity token, which is an OAuth2 refresh token.

use std::time::{Duration, Instant};

use http::header;
use serde::Deserialize;

use super::credentials::RegistryAuth;
use super::error::ImageError;
use super::web::{Answer, Web, escaped};

/// Who asks, for the server's records.
const CLIENT: &str = "docker";
/// How long a token is good for whose server does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password.
    Basic,
    /// A token that another address gives.
    Bearer {
        /// The address.
        realm: String,
        /// The registry's name there.
        service: String,
    },
}

/// A token that was given.
#[derive(Clone)]
pub(super) struct Token {
    /// What goes into `Authorization`, after `Bearer`.
    pub access: String,
    /// What it may be renewed with; empty when nothing was given.
    pub refresh: String,
    /// When to ask for another.
    pub renew_at: Instant,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Given {
    token: String,
    access_token: String,
    refresh_token: String,
    expires_in: u64,
}

impl Challenge {
    /// What a refusal asks for.
    pub fn of(answer: &Answer) -> Option<Self> {
        let values = answer.headers.get_all(header::WWW_AUTHENTICATE);
        values
            .iter()
            .find_map(|value| Self::parse(value.to_str().ok()?))
    }

    /// Reads `Bearer realm="...",service="..."`, or `Basic ...`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, String::new());
        let mut rest = rest.trim_start();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = value.to_owned(),
                _ => {}
            }
            rest = next.trim_start_matches([',', ' ']);
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
        })
    }
}

/// Asks `realm` for a token, for a password or an identity token as `auth` has it; without `scope`
/// it shows only who one is. The refusal is the server's answer.
pub(super) async fn fetch(
    web: &Web,
    (realm, service): (&str, &str),
    scope: Option<&str>,
    auth: &RegistryAuth,
) -> Result<Result<Token, Answer>, ImageError> {
    let answer = if auth.identitytoken.is_empty() {
        let url = with_query(realm, service, scope, &auth.username);
        web.get(&url, auth.basic().as_deref()).await?
    } else {
        let mut fields = vec![
            ("client_id", CLIENT),
            ("grant_type", "refresh_token"),
            ("refresh_token", auth.identitytoken.as_str()),
            ("service", service),
        ];
        fields.extend(scope.map(|scope| ("scope", scope)));
        web.post(realm, &fields).await?
    };
    if !answer.status.is_success() {
        return Ok(Err(answer));
    }
    let given: Given = serde_json::from_slice(&answer.body)
        .map_err(|error| ImageError::invalid("token", error))?;
    let access = if given.token.is_empty() {
        given.access_token
    } else {
        given.token
    };
    if access.is_empty() {
        return Err(ImageError::Registry(
            "authorization server did not include a token in the response".to_owned(),
        ));
    }
    let life = match given.expires_in {
        0 => DEFAULT_LIFE,
        seconds => Duration::from_secs(seconds.min(24 * 3600)),
    };
    Ok(Ok(Token {
        access,
        refresh: given.refresh_token,
        // Well before its end: a request may wait for others.
        renew_at: Instant::now() + life / 2,
    }))
}

fn with_query(realm: &str, service: &str, scope: Option<&str>, account: &str) -> String {
    let mark = if realm.contains('?') { '&' } else { '?' };
    let mut url = format!(
        "{realm}{mark}account={}&client_id={CLIENT}&offline_token=true&service={}",
        escaped(account),
        escaped(service)
    );
    if let Some(scope) = scope {
        url.push_str(&format!("&scope={}", escaped(scope)));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_name_where_tokens_come_from() {
        assert_eq!(
            Challenge::parse(
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="a,b""#
            ),
            Some(Challenge::Bearer {
                realm: "https://auth.example/token".to_owned(),
                service: "registry.example".to_owned(),
            })
        );
        assert_eq!(
            Challenge::parse(r#"Basic realm="x""#),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(
            with_query("http://a/t", "s t", Some("r:x:pull"), "me"),
            "http://a/t?account=me&client_id=docker&offline_token=true&service=s%20t&scope=r%3Ax%3Apull"
        );
    }
}
