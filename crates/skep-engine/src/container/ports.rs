//! Ports: exposed, asked for, published.

use std::collections::BTreeMap;
use std::net::IpAddr;

use skep_net::{OpenPort, PortMapping, Protocol, PublishedPort};
use skep_objects::api::container::{Config, HostConfig, Nothing, Port, PortBinding, PortMap};

use crate::error::{EngineError, Result};
use crate::network::Publishing;

/// `80/tcp` as number and protocol.
pub(crate) fn parse(text: &str) -> Result<(u16, Protocol)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => {
            return Err(EngineError::invalid(format!(
                "invalid port specification: \"{text}\": invalid protocol '{other}'"
            )));
        }
    };
    match number.parse::<u16>() {
        Ok(number) => Ok((number, protocol)),
        Err(_) => Err(EngineError::invalid(format!(
            "invalid port specification: \"{text}\""
        ))),
    }
}

/// `8080` or `8000-8010`; empty is any.
fn range(text: &str) -> Result<(u16, u16)> {
    if text.is_empty() {
        return Ok((0, 0));
    }
    let bad = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| bad())?,
        last.parse().map_err(|_| bad())?,
    );
    if last < first {
        Err(bad())
    } else {
        Ok((first, last))
    }
}

/// Refuses ports that are none.
pub(crate) fn validate(config: &Config, host: &HostConfig) -> Result<()> {
    for port in config.exposed_ports.iter().flat_map(BTreeMap::keys) {
        parse(port)?;
    }
    for (port, bindings) in host.port_bindings.iter().flatten() {
        parse(port)?;
        for binding in bindings.iter().flatten() {
            range(&binding.host_port)?;
            let host_ip = binding.host_ip.as_str();
            match host_ip.parse::<IpAddr>() {
                Err(_) if !host_ip.is_empty() => {
                    return Err(EngineError::invalid(format!(
                        "invalid IP address {host_ip}"
                    )));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A port that is published is exposed too.
pub(crate) fn expose_published(config: &mut Config, host: &HostConfig) {
    for port in host.port_bindings.iter().flat_map(BTreeMap::keys) {
        config
            .exposed_ports
            .get_or_insert_default()
            .entry(port.clone())
            .or_insert(Nothing {});
    }
}

/// The ports that are to be published, with where.
fn wanted(config: &Config, host: &HostConfig) -> Vec<(String, PortBinding)> {
    let mut wanted: Vec<(String, PortBinding)> = Vec::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        match bindings.as_deref() {
            None | Some([]) => wanted.push((port.clone(), PortBinding::default())),
            Some(bindings) => wanted.extend(
                bindings
                    .iter()
                    .map(|binding| (port.clone(), binding.clone())),
            ),
        }
    }
    if host.publish_all_ports {
        let bound: Vec<String> = wanted.iter().map(|(port, _)| port.clone()).collect();
        let exposed = config.exposed_ports.iter().flat_map(BTreeMap::keys);
        wanted.extend(
            exposed
                .filter(|port| !bound.contains(port))
                .map(|port| (port.clone(), PortBinding::default())),
        );
    }
    wanted
}

/// The ports that are reached by the container's own addresses.
pub(crate) fn open(
    config: &Config,
    host: &HostConfig,
    container_ips: &[IpAddr],
    publishing: &Publishing,
) -> Result<Vec<OpenPort>> {
    let mut open = Vec::new();
    for (port, _) in wanted(config, host) {
        let (container_port, protocol) = parse(&port)?;
        let ips = container_ips.iter().copied();
        for container_ip in ips.filter(|ip| publishing.direct || publishing.is_routed(*ip)) {
            open.push(OpenPort {
                protocol,
                container_ip,
                container_port,
            });
        }
    }
    open.sort_unstable();
    open.dedup();
    Ok(open)
}

/// What skep-net is to publish for a container with these addresses.
pub(crate) fn mappings(
    config: &Config,
    host: &HostConfig,
    container_ips: &[IpAddr],
    publishing: &Publishing,
) -> Result<Vec<PortMapping>> {
    let translated: Vec<IpAddr> = container_ips
        .iter()
        .copied()
        .filter(|ip| !publishing.is_routed(*ip))
        .collect();
    if translated.is_empty() {
        return Ok(Vec::new());
    }
    // A family that is routed is not relayed to either.
    let relay = publishing.relay && translated.len() == container_ips.len();
    // Who asks for an address of a family that is routed gets the port there as it is.
    let is_routed = |binding: &PortBinding| {
        let ip: Option<IpAddr> = binding.host_ip.parse().ok();
        ip.is_some_and(|ip| publishing.is_routed(ip))
    };
    wanted(config, host)
        .into_iter()
        .filter(|(_, binding)| !is_routed(binding))
        .map(|(port, binding)| {
            let (container_port, protocol) = parse(&port)?;
            let (host_port, host_port_end) = range(&binding.host_port)?;
            let host_ip = binding
                .host_ip
                .parse::<IpAddr>()
                .ok()
                .filter(|ip| !ip.is_unspecified() || ip.is_ipv6());
            // 0.0.0.0 is not every address: it is every IPv4 address.
            let host_ip = if binding.host_ip.is_empty() {
                publishing.host_ip
            } else if binding.host_ip == "0.0.0.0" {
                binding.host_ip.parse().ok()
            } else {
                host_ip
            };
            let may_relay = relay && protocol != Protocol::Sctp;
            if let Some(ip) = host_ip.filter(|_| !may_relay) {
                check_translatable(&port, ip, &translated)?;
            }
            Ok(PortMapping {
                protocol,
                host_ip,
                host_port,
                host_port_end,
                container_ips: translated.clone(),
                relay,
                container_port,
            })
        })
        .collect()
}

/// Refuses a port that the kernel cannot translate, where nothing else serves it.
fn check_translatable(port: &str, host_ip: IpAddr, container_ips: &[IpAddr]) -> Result<()> {
    let reason = if host_ip.is_ipv6() && host_ip.is_loopback() {
        "the kernel does not translate it".to_owned()
    } else if container_ips
        .iter()
        .all(|own| own.is_ipv4() != host_ip.is_ipv4())
    {
        let family = if host_ip.is_ipv4() { "IPv4" } else { "IPv6" };
        format!("the container has no {family} address on its network")
    } else {
        return Ok(());
    };
    Err(EngineError::invalid(format!(
        "cannot publish port {port} on {host_ip}: {reason}, and nothing relays it \
         (SCTP, --userland-proxy=false or a routed network)"
    )))
}

/// Exposed ports with where they are published, as `inspect` shows them.
pub(crate) fn port_map(config: &Config, published: &[PublishedPort]) -> PortMap {
    let mut map: PortMap = config
        .exposed_ports
        .iter()
        .flat_map(BTreeMap::keys)
        .map(|port| (port.clone(), None))
        .collect();
    for port in published {
        let key = format!("{}/{}", port.container_port, port.protocol);
        let binding = PortBinding {
            host_ip: port.host_ip.to_string(),
            host_port: port.host_port.to_string(),
        };
        map.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    map
}

/// The same as `ps` shows it.
pub(crate) fn summary(map: &PortMap) -> Vec<Port> {
    let mut ports = Vec::new();
    for (key, bindings) in map {
        let Ok((private_port, protocol)) = parse(key) else {
            continue;
        };
        let port = Port {
            private_port,
            protocol: protocol.to_string(),
            ..Port::default()
        };
        match bindings.as_deref() {
            None | Some([]) => ports.push(port),
            Some(bindings) => ports.extend(bindings.iter().map(|binding| Port {
                ip: binding.host_ip.clone(),
                public_port: binding.host_port.parse().unwrap_or(0),
                ..port.clone()
            })),
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_number_and_a_protocol() {
        assert_eq!(parse("80").unwrap(), (80, Protocol::Tcp));
        assert_eq!(parse("53/UDP").unwrap(), (53, Protocol::Udp));
        for bad in ["", "x/tcp", "70000/tcp", "80/icmp"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_published_on_are_refused() {
        let check = |host_ip: &str| {
            let binding = PortBinding {
                host_ip: host_ip.to_owned(),
                ..PortBinding::default()
            };
            let host = HostConfig {
                port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
                ..HostConfig::default()
            };
            validate(&Config::default(), &host).map_err(|error| error.to_string())
        };
        assert_eq!(check("127.0.0.1"), Ok(()));
        assert_eq!(check("::"), Ok(()));
        assert_eq!(check("x").unwrap_err(), "invalid IP address x");
        assert_eq!(check("::1"), Ok(()));
    }

    #[test]
    fn sctp_is_refused_where_only_a_relay_could_serve_it() {
        let check = |port: &str, host_ip: &str| {
            let binding = PortBinding {
                host_ip: host_ip.to_owned(),
                host_port: "1234".to_owned(),
            };
            let host = HostConfig {
                port_bindings: Some([(port.to_owned(), Some(vec![binding]))].into()),
                ..HostConfig::default()
            };
            let publishing = Publishing {
                relay: true,
                ..Publishing::default()
            };
            let ip = "172.17.0.2".parse().unwrap();
            mappings(&Config::default(), &host, &[ip], &publishing)
                .map(|mappings| mappings.len())
                .map_err(|error| error.to_string())
        };
        assert_eq!(check("1234/sctp", ""), Ok(1));
        assert_eq!(check("1234/sctp", "127.0.0.1"), Ok(1));
        assert_eq!(check("1234/tcp", "::"), Ok(1));
        let text = check("1234/sctp", "::").unwrap_err();
        assert!(
            text.starts_with(
                "cannot publish port 1234/sctp on ::: the container has no IPv6 address"
            ),
            "{text}"
        );
    }

    #[test]
    fn publish_all_adds_the_exposed_ports_not_bound_yet() {
        let exposed = ["80/tcp", "81/tcp"].map(|port| (port.to_owned(), Nothing {}));
        let config = Config {
            exposed_ports: Some(exposed.into_iter().collect()),
            ..Config::default()
        };
        let bound = (
            "80/tcp".to_owned(),
            Some(vec![PortBinding {
                host_port: "8000-8010".into(),
                ..Default::default()
            }]),
        );
        let host = HostConfig {
            port_bindings: Some([bound].into_iter().collect()),
            publish_all_ports: true,
            ..HostConfig::default()
        };
        let ip = "172.17.0.2".parse().unwrap();
        let mappings = mappings(&config, &host, &[ip], &Publishing::default()).unwrap();
        let ports: Vec<_> = mappings
            .iter()
            .map(|m| (m.container_port, m.host_port, m.host_port_end))
            .collect();
        assert_eq!(ports, [(80, 8000, 8010), (81, 0, 0)]);
        // Where containers are routed to, nothing of the host is bound.
        let routed = Publishing {
            routed: [true, false],
            ..Publishing::default()
        };
        assert_eq!(super::mappings(&config, &host, &[ip], &routed).unwrap(), []);
        let open = open(&config, &host, &[ip], &routed).unwrap();
        let open: Vec<_> = open.iter().map(|port| port.container_port).collect();
        assert_eq!(open, [80, 81]);
    }
}
