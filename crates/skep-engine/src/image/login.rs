//! Signing in at a registry: what `/v2/` asks for, password or token, is what it is given.

use http::{StatusCode, header};

use super::error::ImageError;
use super::registry::{HUB, RegistryAuth, is_insecure};
use super::web::{self, Answer, escaped};

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Challenge {
    /// User and password.
    Basic,
    /// A token that another address gives for user and password.
    Bearer { realm: String, service: String },
}

impl super::Images {
    /// Tries credentials at a registry: `https://index.docker.io/v1/`, or `host[:port]`. Where
    /// http is allowed, https comes first.
    pub async fn login(&self, server: &str, auth: &RegistryAuth) -> Result<(), ImageError> {
        let host = host_of(server);
        let unchecked = is_insecure(&host, &self.0.registry.config().insecure);
        let secure = sign_in(&format!("https://{host}/v2/"), auth, unchecked).await;
        match secure {
            Err(error) if unchecked && error.is_unreachable() => {
                sign_in(&format!("http://{host}/v2/"), auth, unchecked).await
            }
            result => result,
        }
    }
}

/// The host of a server's name or address; Docker Hub has several.
fn host_of(server: &str) -> String {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or(rest) {
        "" | "docker.io" | "index.docker.io" => HUB.to_owned(),
        host => host.to_owned(),
    }
}

async fn sign_in(url: &str, auth: &RegistryAuth, unchecked: bool) -> Result<(), ImageError> {
    let refused = |answer: &Answer| match answer.status {
        StatusCode::UNAUTHORIZED => {
            ImageError::LoginRefused(format!("Get {url:?}: {}", answer.complaint()))
        }
        _ => ImageError::Registry(format!(
            "login attempt to {url} failed with status: {}",
            answer.status
        )),
    };
    let first = web::get(url, None, unchecked).await?;
    if first.status.is_success() {
        return Ok(());
    }
    if first.status != StatusCode::UNAUTHORIZED {
        return Err(refused(&first));
    }
    let Some(basic) = auth.basic() else {
        return Err(refused(&first));
    };
    let proof = match challenge(&first) {
        Some(Challenge::Bearer { realm, service }) => {
            let path = token_url(&realm, &service, &auth.username);
            let answer = web::get(&path, Some(&basic), unchecked).await?;
            if !answer.status.is_success() {
                return Err(refused(&answer));
            }
            format!("Bearer {}", token_of(&answer)?)
        }
        Some(Challenge::Basic) | None => basic,
    };
    let second = web::get(url, Some(&proof), unchecked).await?;
    match second.status.is_success() {
        true => Ok(()),
        false => Err(refused(&second)),
    }
}

fn challenge(answer: &Answer) -> Option<Challenge> {
    answer
        .headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| parse(value.to_str().ok()?))
        .next()
}

/// Reads `Bearer realm="...",service="..."`, or `Basic ...`.
fn parse(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
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
    Some(Challenge::Bearer {
        realm: realm?,
        service,
    })
}

fn token_url(realm: &str, service: &str, account: &str) -> String {
    let mark = if realm.contains('?') { '&' } else { '?' };
    format!(
        "{realm}{mark}account={}&client_id=docker&service={}",
        escaped(account),
        escaped(service)
    )
}

fn token_of(answer: &Answer) -> Result<String, ImageError> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body)
        .map_err(|error| ImageError::invalid("token", error))?;
    ["token", "access_token"]
        .into_iter()
        .find_map(|name| body[name].as_str().filter(|token| !token.is_empty()))
        .map(str::to_owned)
        .ok_or_else(|| {
            ImageError::Registry(
                "authorization server did not include a token in the response".to_owned(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_name_where_tokens_come_from() {
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="a,b""#
            ),
            Some(Challenge::Bearer {
                realm: "https://auth.example/token".to_owned(),
                service: "registry.example".to_owned(),
            })
        );
        assert_eq!(parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate"), None);
        assert_eq!(
            token_url("http://a/t", "s t", "me"),
            "http://a/t?account=me&client_id=docker&service=s%20t"
        );
    }

    #[test]
    fn the_hub_has_several_names() {
        assert_eq!(host_of("https://index.docker.io/v1/"), HUB);
        assert_eq!(host_of("registry.example:5000"), "registry.example:5000");
        assert_eq!(host_of("http://a.example/v2/"), "a.example");
    }
}
