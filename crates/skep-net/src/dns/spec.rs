//! What a container's resolver is told, and the `resolv.conf` that points to it.

use std::net::{IpAddr, Ipv4Addr};

/// Where containers find their name server.
pub const EMBEDDED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Settings of one container's resolver. Names come from the networks it is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsSpec {
    /// `--dns`: where unknown names go; empty means the daemon's.
    pub upstreams: Vec<IpAddr>,
    /// Names that only this container knows (`--link`).
    pub extra_names: Vec<(String, IpAddr)>,
    /// The container may not reach the outside: unknown names are answered with NXDOMAIN.
    pub no_forward: bool,
}

/// The text of a container's `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// `nameserver` lines.
    pub nameservers: Vec<IpAddr>,
    /// `search` list.
    pub search: Vec<String>,
    /// `options` list.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// What a container on user-defined or swarm networks gets: the embedded server with
    /// `ndots:0`, the given search list, and the given options.
    pub fn embedded(search: &[String], options: &[String]) -> ResolvConf {
        let mut all = vec!["ndots:0".to_owned()];
        all.extend(options.iter().filter(|o| !o.starts_with("ndots:")).cloned());
        if let Some(ndots) = options.iter().find(|o| o.starts_with("ndots:")) {
            all[0].clone_from(ndots);
        }
        ResolvConf {
            nameservers: vec![IpAddr::V4(EMBEDDED)],
            search: search.to_vec(),
            options: all,
        }
    }

    /// Reads a `resolv.conf`; lines that are not understood are skipped, as the C library does.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let addr: Option<IpAddr> =
                        words.next().and_then(|w| w.split('%').next()?.parse().ok());
                    conf.nameservers.extend(addr);
                }
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }

    /// The same without name servers that only the host itself reaches (127.0.0.0/8, `::1`). When
    /// none remains, Google's, as Docker does.
    pub fn for_bridge(mut self) -> ResolvConf {
        self.nameservers.retain(|a| !a.is_loopback());
        if self.nameservers.is_empty() {
            self.nameservers = vec![IpAddr::from([8, 8, 8, 8]), IpAddr::from([8, 8, 4, 4])];
        }
        self
    }
}

impl std::fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.search.is_empty() {
            writeln!(f, "search {}", self.search.join(" "))?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_points_to_the_container_s_own_server() {
        let text = ResolvConf::embedded(&["example.org".into()], &[]).to_string();
        assert_eq!(
            text,
            "nameserver 127.0.0.11\nsearch example.org\noptions ndots:0\n"
        );
    }

    #[test]
    fn user_s_ndots_wins() {
        let conf = ResolvConf::embedded(&[], &["timeout:2".into(), "ndots:3".into()]);
        assert_eq!(conf.options, ["ndots:3", "timeout:2"]);
    }

    #[test]
    fn host_s_file_is_read_leniently() {
        let conf = ResolvConf::parse(
            "# c\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\nsearch a b\nbogus\n",
        );
        assert_eq!(conf.nameservers.len(), 2);
        assert_eq!(conf.search, ["a", "b"]);
        assert_eq!(
            conf.for_bridge().nameservers,
            ["fe80::1".parse::<IpAddr>().unwrap()]
        );
    }
}
