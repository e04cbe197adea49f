//! Searching a registry that offers it: Docker's first protocol, which Docker Hub still speaks.

use serde::Deserialize;
use skep_objects::reference::Reference;

use super::credentials::RegistryAuth;
use super::error::ImageError;
use super::insecure::is_insecure;
use super::web::{Web, escaped};

/// Where Docker Hub is searched.
const HUB_INDEX: &str = "index.docker.io";

/// Bounds of how many results are asked for, and the default.
const LIMITS: std::ops::RangeInclusive<u32> = 1..=100;
const DEFAULT_LIMIT: u32 = 25;

/// An image that a registry found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct SearchResult {
    /// How many users like it.
    pub star_count: i64,
    /// Whether it is one of Docker's own.
    pub is_official: bool,
    /// Its name.
    pub name: String,
    /// Whether the registry built it; no longer in use.
    pub is_automated: bool,
    /// What it is, in the words of who made it.
    pub description: String,
}

#[derive(Debug, Deserialize)]
struct Results {
    #[serde(default)]
    results: Vec<SearchResult>,
}

impl super::Images {
    /// Images that a term finds; `registry.example/term` asks that registry.
    pub async fn search(
        &self,
        term: &str,
        limit: Option<u32>,
        auth: &RegistryAuth,
    ) -> Result<Vec<SearchResult>, ImageError> {
        if term.contains("://") {
            return Err(ImageError::invalid(
                "repository name",
                format!("repository name ({term}) should not have a scheme"),
            ));
        }
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !LIMITS.contains(&limit) {
            return Err(ImageError::invalid(
                "limit",
                format!(
                    "limit {limit} is outside the range of [{}, {}]",
                    LIMITS.start(),
                    LIMITS.end()
                ),
            ));
        }
        let (host, term) = place(term);
        let config = self.0.registry.config();
        let unchecked = is_insecure(&host, &config.insecure);
        let web = Web::new(&config.proxies, unchecked)?;
        let path = format!("{host}/v1/search?q={}&n={limit}", escaped(&term));
        let authorization = auth.basic();
        let ask = |scheme: &str| {
            let url = format!("{scheme}://{path}");
            let (web, authorization) = (web.clone(), authorization.clone());
            async move { web.get(&url, authorization.as_deref()).await }
        };
        let answer = match ask("https").await {
            Err(error) if unchecked && error.is_unreachable() => ask("http").await?,
            answer => answer?,
        };
        if !answer.status.is_success() {
            return Err(ImageError::Registry(format!(
                "Unexpected status code {}",
                answer.status.as_u16()
            )));
        }
        let found: Results = serde_json::from_slice(&answer.body)
            .map_err(|error| ImageError::invalid("answer of the registry", error))?;
        Ok(found.results)
    }
}

/// The registry that a term names, and the term for it.
fn place(term: &str) -> (String, String) {
    let named = term
        .split_once('/')
        .filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost");
    match named {
        Some((host, rest)) if !matches!(host, "docker.io" | "index.docker.io") => {
            (host.to_owned(), rest.to_owned())
        }
        // Official images are found by their short names.
        _ => {
            let full = Reference::parse(term).map(|reference| reference.familiar_name());
            (
                HUB_INDEX.to_owned(),
                full.unwrap_or_else(|_| term.to_owned()),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_name_its_registry() {
        let check = |term: &str, host: &str, rest: &str| {
            assert_eq!(place(term), (host.to_owned(), rest.to_owned()), "{term}");
        };
        check("nginx", HUB_INDEX, "nginx");
        check("library/nginx", HUB_INDEX, "nginx");
        check("some/thing", HUB_INDEX, "some/thing");
        check("127.0.0.1:5000/x", "127.0.0.1:5000", "x");
    }
}
