//! Signing in at a registry: what `/v2/` asks for, password or token, is what it is given.

use http::StatusCode;

use super::credentials::RegistryAuth;
use super::error::ImageError;
use super::insecure::is_insecure;
use super::registry::HUB;
use super::token::{self, Challenge};
use super::web::{Answer, Web};

impl super::Images {
    /// Tries credentials at a registry: `https://index.docker.io/v1/`, or `host[:port]`. Where
    /// http is allowed, https comes first. Gives the token to keep in place of the password, where
    /// the registry has such.
    pub async fn login(&self, server: &str, auth: &RegistryAuth) -> Result<String, ImageError> {
        let host = host_of(server);
        let config = self.0.registry.config();
        let unchecked = is_insecure(&host, &config.insecure);
        let web = Web::new(&config.proxies, unchecked)?;
        let secure = sign_in(&web, &format!("https://{host}/v2/"), auth).await;
        match secure {
            Err(error) if unchecked && error.is_unreachable() => {
                sign_in(&web, &format!("http://{host}/v2/"), auth).await
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

async fn sign_in(web: &Web, url: &str, auth: &RegistryAuth) -> Result<String, ImageError> {
    let refused = |answer: &Answer| match answer.status {
        StatusCode::UNAUTHORIZED => {
            ImageError::LoginRefused(format!("Get {url:?}: {}", answer.complaint()))
        }
        _ => ImageError::Registry(format!(
            "login attempt to {url} failed with status: {}",
            answer.status
        )),
    };
    let first = web.get(url, None).await?;
    if first.status.is_success() {
        return Ok(String::new());
    }
    if first.status != StatusCode::UNAUTHORIZED {
        return Err(refused(&first));
    }
    let basic = auth.basic();
    let (proof, identity) = match Challenge::of(&first) {
        Some(Challenge::Bearer { realm, service })
            if basic.is_some() || !auth.identitytoken.is_empty() =>
        {
            let place = (realm.as_str(), service.as_str());
            match token::fetch(web, place, None, auth).await? {
                Ok(token) => (format!("Bearer {}", token.access), token.refresh),
                Err(answer) => return Err(refused(&answer)),
            }
        }
        _ => (basic.ok_or_else(|| refused(&first))?, String::new()),
    };
    let second = web.get(url, Some(&proof)).await?;
    match second.status.is_success() {
        true => Ok(identity),
        false => Err(refused(&second)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_has_several_names() {
        assert_eq!(host_of("https://index.docker.io/v1/"), HUB);
        assert_eq!(host_of("registry.example:5000"), "registry.example:5000");
        assert_eq!(host_of("http://a.example/v2/"), "a.example");
    }
}
