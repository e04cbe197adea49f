//! The way to registries, where it leads through proxies.

/// Where requests leave this network, as `HTTP_PROXY` and the like say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://` addresses; empty for none.
    pub http: String,
    /// For `https://` addresses; empty for none.
    pub https: String,
    /// Hosts, domains and subnets that are reached directly, separated by commas.
    pub none_for: String,
}

impl Proxies {
    pub(super) fn for_http(&self) -> Option<&str> {
        Some(self.http.as_str()).filter(|proxy| !proxy.is_empty())
    }

    pub(super) fn for_https(&self) -> Option<&str> {
        Some(self.https.as_str()).filter(|proxy| !proxy.is_empty())
    }

    /// What is reached directly: this host always.
    pub(super) fn around(&self) -> String {
        let own = "localhost,127.0.0.0/8,::1";
        if self.none_for.is_empty() {
            return own.to_owned();
        }
        format!("{own},{}", self.none_for)
    }
}
