//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use skep_net::ResolvConf;
use skep_objects::api::container::{Config, HostConfig};

use crate::config::EngineConfig;
use crate::error::{EngineError, Result};

/// How a container resolves names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolver {
    /// The host's own way.
    Host,
    /// Name servers that the container reaches itself: the default bridge.
    Direct,
    /// skep's server at 127.0.0.11.
    Embedded,
}

const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// The text of `/etc/hosts`: Docker's lines, what the user adds, linked containers, itself.
pub(crate) fn hosts(
    config: &Config,
    host: &HostConfig,
    own: &[IpAddr],
    links: &[(String, IpAddr)],
    gateways: &[IpAddr],
) -> Result<String> {
    let mut text = if host.network_mode == "host" {
        std::fs::read_to_string("/etc/hosts").unwrap_or_else(|_| LOCAL.to_owned())
    } else {
        LOCAL.to_owned()
    };
    for entry in host.extra_hosts.iter().flatten() {
        let (name, ip) = extra_host(entry)?;
        for ip in ip.iter().chain(gateways.iter().filter(|_| ip.is_none())) {
            writeln!(text, "{ip}\t{name}").expect("a string takes all");
        }
    }
    for (name, ip) in links {
        writeln!(text, "{ip}\t{name}").expect("a string takes all");
    }
    for ip in own {
        writeln!(text, "{ip}\t{}", own_names(config)).expect("a string takes all");
    }
    Ok(text)
}

/// The whole name and, where that has dots, its first part, however they were given.
fn own_names(config: &Config) -> String {
    let mut whole = config.hostname.clone();
    if !config.domainname.is_empty() {
        whole = format!("{whole}.{}", config.domainname);
    }
    match whole.split_once('.') {
        Some((first, _)) => format!("{whole} {first}"),
        None => whole,
    }
}

/// The same text where the container's own addresses have changed; all else stays as it is.
pub(crate) fn with_own(text: &str, config: &Config, before: &[IpAddr], now: &[IpAddr]) -> String {
    let names = own_names(config);
    let line = |ip: &IpAddr| format!("{ip}\t{names}");
    let gone: Vec<String> = before
        .iter()
        .filter(|ip| !now.contains(ip))
        .map(line)
        .collect();
    let kept = text.lines().filter(|text| !gone.iter().any(|g| g == text));
    let new = now.iter().filter(|ip| !before.contains(ip)).map(line);
    let lines = kept.map(str::to_owned).chain(new);
    lines.map(|line| line + "\n").collect()
}

/// `name:ip` or `name=ip`; no address for `host-gateway`, the host as seen from the default bridge.
pub(crate) fn extra_host(text: &str) -> Result<(String, Option<IpAddr>)> {
    let bad = || {
        EngineError::invalid(format!(
            "invalid IP address in add-host: \"{}\"",
            text.split_once([':', '=']).map_or("", |(_, ip)| ip)
        ))
    };
    let Some((name, ip)) = text
        .split_once([':', '='])
        .filter(|(name, _)| !name.is_empty())
    else {
        return Err(EngineError::invalid(format!(
            "bad format for add-host: \"{text}\""
        )));
    };
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    if ip == "host-gateway" {
        return Ok((name.to_owned(), None));
    }
    ip.parse::<IpAddr>()
        .map(|ip| (name.to_owned(), Some(ip)))
        .map_err(|_| bad())
}

/// The text of `/etc/resolv.conf`.
pub(crate) fn resolv_conf(host: &HostConfig, engine: &EngineConfig, resolver: Resolver) -> String {
    let list = |own: &Option<Vec<String>>, default: &[String]| match own.as_deref() {
        None | Some([]) => default.to_vec(),
        Some(own) => own.to_vec(),
    };
    let of_host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let of_host = ResolvConf::parse(&of_host);
    let servers = list(&host.dns, &engine.dns);
    let mut search = list(&host.dns_search, &engine.dns_search);
    // `--dns-search .` asks for none.
    let no_search = search.iter().any(|domain| domain == ".");
    if search.is_empty() {
        search.clone_from(&of_host.search);
    }
    if no_search {
        search.clear();
    }
    let mut options = list(&host.dns_options, &engine.dns_options);
    if options.is_empty() {
        options.clone_from(&of_host.options);
    }
    if resolver == Resolver::Embedded {
        return ResolvConf::embedded(&search, &options).to_string();
    }
    let mut conf = if resolver == Resolver::Direct {
        of_host.for_bridge()
    } else {
        of_host
    };
    if !servers.is_empty() {
        conf.nameservers = servers.iter().filter_map(|ip| ip.parse().ok()).collect();
    }
    ResolvConf {
        search,
        options,
        ..conf
    }
    .to_string()
}

/// Writes in place: a running container sees the same file.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(EngineError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_end_with_the_container_itself() {
        let config = Config {
            hostname: "web".into(),
            domainname: "example.org".into(),
            ..Config::default()
        };
        let host = HostConfig {
            extra_hosts: Some(vec!["db:10.0.0.9".into(), "up=host-gateway".into()]),
            ..HostConfig::default()
        };
        let text = hosts(
            &config,
            &host,
            &["172.17.0.2".parse().unwrap()],
            &[],
            &["172.17.0.1".parse().unwrap()],
        )
        .unwrap();
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.9\tdb\n172.17.0.1\tup\n172.17.0.2\tweb.example.org web\n"));
    }

    #[test]
    fn a_name_with_dots_is_known_by_its_first_part_too() {
        for (hostname, domainname, expect) in [
            ("web", "", "web"),
            ("web.example.org", "", "web.example.org web"),
            ("web", "example.org", "web.example.org web"),
        ] {
            let config = Config {
                hostname: hostname.into(),
                domainname: domainname.into(),
                ..Config::default()
            };
            assert_eq!(own_names(&config), expect);
        }
    }

    #[test]
    fn the_user_s_name_servers_replace_the_host_s() {
        let host = HostConfig {
            dns: Some(vec!["9.9.9.9".into()]),
            dns_search: Some(vec![".".into()]),
            ..HostConfig::default()
        };
        let text = resolv_conf(&host, &EngineConfig::default(), Resolver::Direct);
        assert!(text.starts_with("nameserver 9.9.9.9\n"), "{text}");
        assert!(!text.contains("search"));
    }

    #[test]
    fn bad_hosts_are_refused() {
        for bad in ["x", ":1.2.3.4", "a:b"] {
            assert!(extra_host(bad).is_err(), "{bad}");
        }
    }
}
