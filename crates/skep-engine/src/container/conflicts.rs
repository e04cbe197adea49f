//! Options of a request that exclude each other, with Docker's texts. Looked for before the image's
//! settings are merged in: what an image exposes is in nobody's way.

use skep_objects::api::container::{Config, HostConfig, NetworkingConfig};

use crate::error::{EngineError, Result};

const NETWORK: &str = "and the network mode";

/// Refuses what the namespaces asked for leave no room for.
pub(super) fn check(
    config: &Config,
    host: &HostConfig,
    networking: &NetworkingConfig,
) -> Result<()> {
    let found = uts(config, host)
        .or_else(|| addresses(config, host, networking))
        .or_else(|| network_of_another(config, host));
    match found {
        Some(text) => Err(EngineError::invalid(format!("conflicting options: {text}"))),
        None => Ok(()),
    }
}

fn uts(config: &Config, host: &HostConfig) -> Option<String> {
    if host.uts_mode != "host" {
        return None;
    }
    let names = [
        (&config.hostname, "hostname"),
        (&config.domainname, "domainname"),
    ];
    let (_, what) = names.iter().find(|(name, _)| !name.is_empty())?;
    Some(format!("{what} and the UTS mode"))
}

/// Where there is no interface of the container's own, none can have an address.
fn addresses(config: &Config, host: &HostConfig, networking: &NetworkingConfig) -> Option<String> {
    let mode = host.network_mode.as_str();
    let has_none = matches!(mode, "host" | "none") || super::oci::shared(mode).is_some();
    let mut wanted = networking.endpoints_config.iter().flatten();
    let has_mac = !config.mac_address.is_empty()
        || wanted.any(|(name, wanted)| {
            let mac = wanted.iter().any(|wanted| !wanted.mac_address.is_empty());
            name == mode && mac
        });
    (has_none && has_mac).then(|| format!("mac-address {NETWORK}"))
}

fn network_of_another(config: &Config, host: &HostConfig) -> Option<String> {
    super::oci::shared(&host.network_mode)?;
    fn any<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let ports = host.port_bindings.as_ref();
    let publishes = host.publish_all_ports || ports.is_some_and(|ports| !ports.is_empty());
    let exposed = config.exposed_ports.as_ref();
    let found = [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (
            !config.domainname.is_empty(),
            "domainname and the network mode",
        ),
        (
            any(host.links.as_ref()),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (any(host.dns.as_ref()), "dns and the network mode"),
        (
            any(host.dns_search.as_ref()),
            "dns-search and the network mode",
        ),
        (
            any(host.dns_options.as_ref()),
            "dns-option and the network mode",
        ),
        (
            any(host.extra_hosts.as_ref()),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            publishes,
            "port publishing and the container type network mode",
        ),
        (
            exposed.is_some_and(|ports| !ports.is_empty()),
            "port exposing and the container type network mode",
        ),
    ];
    let (_, text) = found.iter().find(|(given, _)| *given)?;
    Some((*text).to_owned())
}
