//! A container's place on a network: addresses taken, an interface made, names known.

use std::net::IpAddr;
use std::sync::Arc;

use skep_net::{Cidr, Endpoint, EndpointSpec, Mac};
use skep_objects::ErrorKind;
use skep_objects::api::network::{EndpointIpamConfig, EndpointResource, EndpointSettings};
use skep_objects::ids::new_hex_id;

use super::Networks;
use super::record::NetworkRecord;
use crate::error::{EngineError, Result};

/// Who joins.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub id: String,
    /// Without leading slash.
    pub name: String,
    pub hostname: String,
    pub netns: String,
}

/// Addresses on one network, taken but not yet in the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub network: Arc<NetworkRecord>,
    pub endpoint_id: String,
    pub addresses: Vec<Cidr>,
    pub gateways: Vec<IpAddr>,
    pub mac: Option<Mac>,
    /// `--link-local-ip`, beside the addresses.
    pub link_local: Vec<Cidr>,
    pub names: Vec<String>,
    pub wanted: EndpointSettings,
}

/// A lease that is in the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub settings: EndpointSettings,
}

impl Networks {
    /// Takes addresses for `member`. Give them back with [`Networks::give_back`] if it does not join.
    pub(crate) fn lease(
        &self,
        network: Arc<NetworkRecord>,
        member: &Member,
        wanted: &EndpointSettings,
    ) -> Result<Lease> {
        if network.config_only {
            return Err(EngineError::not_allowed(
                "cannot create endpoint on configuration-only network",
            ));
        }
        let ipam = wanted.ipam_config.clone().unwrap_or_default();
        let link_local = link_local(&ipam)?;
        endpoint_options(wanted)?;
        let mac = match wanted.mac_address.as_str() {
            "" => None,
            _ if network.driver == "ipvlan" => {
                return Err(EngineError::invalid(
                    "ipvlan interfaces do not support custom mac address assignment",
                ));
            }
            text => Some(
                text.parse()
                    .map_err(|_| EngineError::invalid(format!("invalid MAC address: {text}")))?,
            ),
        };
        let mut addresses = Vec::new();
        if network.swarm {
            for text in [&ipam.ipv4_address, &ipam.ipv6_address] {
                addresses.extend(swarm_address(&network, text));
            }
        } else {
            let subnets = network.subnets();
            let mut state = self.state();
            if !state.by_id.contains_key(&network.id) {
                // Removed since it was found.
                return Err(EngineError::not_found(format!(
                    "network {} not found",
                    network.name
                )));
            }
            for v4 in [true, false] {
                let asked = if v4 {
                    &ipam.ipv4_address
                } else {
                    &ipam.ipv6_address
                };
                let subnet = subnets.iter().find(|subnet| subnet.subnet.is_ipv4() == v4);
                let taken = match (asked.parse::<IpAddr>(), subnet) {
                    (Ok(ip), _) => state
                        .addresses
                        .take(&network.id, ip, &subnets)
                        .map(|()| ip)
                        .map_err(|error| refused(&network.name, error)),
                    (Err(_), Some(subnet)) => state.addresses.take_any(&network.id, subnet),
                    (Err(_), None) => continue,
                };
                // The subnet that has the address, where there are several of a family.
                let prefix = |ip: &IpAddr| {
                    let of = subnets.iter().find(|subnet| subnet.subnet.contains(*ip));
                    of.or(subnet).map_or(0, |subnet| subnet.subnet.prefix)
                };
                match taken {
                    Ok(ip) => addresses.push(Cidr::new(ip, prefix(&ip))),
                    Err(error) => {
                        addresses
                            .iter()
                            .for_each(|cidr| state.addresses.release(&network.id, cidr.addr));
                        return Err(error);
                    }
                }
            }
        }
        let has_none = network.is_isolated() || network.is_routed_wire();
        let gateways = if network.swarm || has_none {
            Vec::new()
        } else {
            network
                .subnets()
                .iter()
                .filter_map(|subnet| subnet.way_out.or(subnet.gateway))
                .collect()
        };
        Ok(Lease {
            endpoint_id: new_hex_id(),
            addresses,
            gateways,
            mac,
            link_local,
            names: names(&network, member, wanted),
            wanted: wanted.clone(),
            network,
        })
    }

    /// Gives the addresses of a lease back.
    pub(crate) fn give_back(&self, lease: &Lease) {
        if !lease.network.swarm {
            let mut state = self.state();
            lease
                .addresses
                .iter()
                .for_each(|cidr| state.addresses.release(&lease.network.id, cidr.addr));
        }
    }

    /// Makes the interface. With `default_route` the container's way out is through it.
    pub(crate) async fn join(
        &self,
        lease: Lease,
        member: &Member,
        default_route: bool,
    ) -> Result<Joined> {
        let mut spec = EndpointSpec::new(&lease.endpoint_id, &lease.network.id, &member.netns);
        spec.addresses.clone_from(&lease.addresses);
        spec.mac = lease.mac;
        spec.names.clone_from(&lease.names);
        spec.link_local.clone_from(&lease.link_local);
        shape(&mut spec, &lease.network, &lease.wanted)?;
        if default_route {
            spec.default_gateways.clone_from(&lease.gateways);
            spec.default_link = has_link_route(&lease.network);
        }
        if lease.network.driver == "null" || lease.network.driver == "host" {
            return Ok(Joined {
                settings: settings(&lease, None),
            });
        }
        let doing = format!(
            "failed to set up container networking: join network {}",
            lease.network.name
        );
        let endpoint = match self.kernel(&doing, move |net| net.attach(&spec)).await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                self.give_back(&lease);
                return Err(error);
            }
        };
        let settings = settings(&lease, Some(&endpoint));
        self.count(&lease.network, member, &settings);
        self.publish("connect", &lease.network, Some(&member.id));
        Ok(Joined { settings })
    }

    /// Counts a container as a member, which `inspect` shows.
    pub(crate) fn count(
        &self,
        network: &NetworkRecord,
        member: &Member,
        settings: &EndpointSettings,
    ) {
        let with_prefix = |ip: &str, prefix: u32| {
            if ip.is_empty() {
                String::new()
            } else {
                format!("{ip}/{prefix}")
            }
        };
        let resource = EndpointResource {
            name: member.name.clone(),
            endpoint_id: settings.endpoint_id.clone(),
            mac_address: settings.mac_address.clone(),
            ipv4_address: with_prefix(&settings.ip_address, settings.ip_prefix_len),
            ipv6_address: with_prefix(
                &settings.global_ipv6_address,
                settings.global_ipv6_prefix_len,
            ),
        };
        self.state()
            .members
            .entry(network.id.clone())
            .or_default()
            .insert(member.id.clone(), resource);
    }

    /// Takes a running container up again after a restart of the daemon, interface and all.
    pub(crate) async fn adopt(
        &self,
        network: Arc<NetworkRecord>,
        member: &Member,
        settings: &EndpointSettings,
        default_route: bool,
    ) -> Result<()> {
        if matches!(network.driver.as_str(), "null" | "host") {
            return Ok(());
        }
        let cidr =
            |ip: &str, prefix: u32| Some(Cidr::new(ip.parse().ok()?, u8::try_from(prefix).ok()?));
        let mut spec = EndpointSpec::new(&settings.endpoint_id, &network.id, &member.netns);
        spec.addresses
            .extend(cidr(&settings.ip_address, settings.ip_prefix_len));
        spec.addresses.extend(cidr(
            &settings.global_ipv6_address,
            settings.global_ipv6_prefix_len,
        ));
        spec.mac = settings.mac_address.parse().ok();
        spec.names = names(&network, member, settings);
        spec.link_local = link_local(&settings.ipam_config.clone().unwrap_or_default())?;
        shape(&mut spec, &network, settings)?;
        if default_route {
            spec.default_gateways
                .extend(settings.gateway.parse::<IpAddr>().ok());
            spec.default_gateways
                .extend(settings.ipv6_gateway.parse::<IpAddr>().ok());
            spec.default_link = has_link_route(&network);
        }
        if !network.swarm {
            let mut state = self.state();
            spec.addresses
                .iter()
                .for_each(|cidr| state.addresses.hold(&network.id, cidr.addr));
        }
        self.count(&network, member, settings);
        self.kernel(&format!("join network {}", network.name), move |net| {
            net.attach(&spec)
        })
        .await
        .map(|_| ())
    }

    /// Takes a container off a network: interface, addresses, membership.
    pub(crate) async fn leave(
        &self,
        network: &NetworkRecord,
        container: &str,
        settings: &EndpointSettings,
    ) -> Result<()> {
        let result = if settings.endpoint_id.is_empty()
            || matches!(network.driver.as_str(), "null" | "host")
        {
            Ok(())
        } else {
            let endpoint = settings.endpoint_id.clone();
            self.kernel(&format!("leave network {}", network.name), move |net| {
                net.detach(&endpoint)
            })
            .await
        };
        self.forget(network, container, settings);
        result
    }

    /// The same without the kernel, where the whole namespace goes.
    pub(crate) fn forget(
        &self,
        network: &NetworkRecord,
        container: &str,
        settings: &EndpointSettings,
    ) {
        {
            let mut state = self.state();
            if let Some(members) = state.members.get_mut(&network.id) {
                members.remove(container);
            }
            for ip in [&settings.ip_address, &settings.global_ipv6_address] {
                if let (false, Ok(ip)) = (network.swarm, ip.parse()) {
                    state.addresses.release(&network.id, ip);
                }
            }
        }
        self.publish("disconnect", network, Some(container));
    }
}

fn has_link_route(network: &NetworkRecord) -> bool {
    network.is_routed_wire() && !network.is_isolated()
}

/// An address that was asked for in vain, in the frame of Docker's text.
fn refused(network: &str, error: EngineError) -> EngineError {
    match error.kind() {
        ErrorKind::InvalidArgument => EngineError::invalid(format!(
            "invalid config for network {network}: invalid endpoint settings:\n{error}"
        )),
        _ => error,
    }
}

/// Addresses that mean something on this wire only.
fn link_local(ipam: &EndpointIpamConfig) -> Result<Vec<Cidr>> {
    let parse = |text: &String| {
        let ip: IpAddr = text
            .parse()
            .map_err(|_| EngineError::invalid(format!("invalid link-local IP address: {text}")))?;
        Ok(Cidr::new(ip, if ip.is_ipv4() { 16 } else { 64 }))
    };
    ipam.link_local_ips.iter().map(parse).collect()
}

/// The name of an interface, and switches of the kernel for it.
type Shape = (Option<String>, Vec<(String, String)>);

/// What an endpoint's driver options say.
fn endpoint_options(wanted: &EndpointSettings) -> Result<Shape> {
    const PREFIX: &str = "com.docker.network.endpoint.";
    let (mut name, mut sysctls) = (None, Vec::new());
    for (key, value) in wanted.driver_opts.iter().flatten() {
        match key.strip_prefix(PREFIX) {
            Some("ifname") => name = Some(value.clone()),
            Some("sysctls") => {
                for entry in value.split(',') {
                    let (key, value) = entry.split_once('=').ok_or_else(|| {
                        EngineError::invalid(format!("invalid endpoint sysctl: {entry}"))
                    })?;
                    // Docker's command line sends driver options in small letters.
                    let key = key.replace(".ifname.", ".IFNAME.");
                    let words: Vec<&str> = key.split('.').collect();
                    let good =
                        matches!(words[..], ["net", "ipv4" | "ipv6" | "mpls", _, "IFNAME", _]);
                    if !good {
                        return Err(EngineError::invalid(format!(
                            "unrecognised network interface sysctl '{key}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
                        )));
                    }
                    sysctls.push((words[1..].join("/"), value.to_owned()));
                }
            }
            _ => {}
        }
    }
    Ok((name, sysctls))
}

/// Names the interface and sets its switches.
fn shape(
    spec: &mut EndpointSpec,
    network: &NetworkRecord,
    wanted: &EndpointSettings,
) -> Result<()> {
    if let Some(prefix) = super::options::interface_prefix(network) {
        prefix.clone_into(&mut spec.ifname_prefix);
    }
    (spec.ifname, spec.sysctls) = endpoint_options(wanted)?;
    Ok(())
}

/// An address of a swarm network, with the prefix of its subnet when it has none of its own.
fn swarm_address(network: &NetworkRecord, text: &str) -> Option<Cidr> {
    let cidr: Cidr = text.parse().ok()?;
    if text.contains('/') {
        return Some(cidr);
    }
    let subnet = network
        .subnets()
        .into_iter()
        .find(|subnet| subnet.subnet.contains(cidr.addr))?;
    Some(Cidr::new(cidr.addr, subnet.subnet.prefix))
}

/// What others on the network call this container. The default bridge knows no names.
fn names(network: &NetworkRecord, member: &Member, wanted: &EndpointSettings) -> Vec<String> {
    let is_named = network.swarm || (network.driver == "bridge" || network.is_wire());
    if network.is_default_bridge() || !is_named {
        return Vec::new();
    }
    let mut names = vec![member.name.clone()];
    let short = member.id.get(..12).unwrap_or(&member.id).to_owned();
    for name in wanted
        .aliases
        .iter()
        .flatten()
        .cloned()
        .chain([short, member.hostname.clone()])
    {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What `inspect` shows of an endpoint in use.
fn settings(lease: &Lease, endpoint: Option<&Endpoint>) -> EndpointSettings {
    let address = |v4: bool| lease.addresses.iter().find(|cidr| cidr.is_ipv4() == v4);
    let gateway = |v4: bool| {
        lease
            .gateways
            .iter()
            .find(|ip| ip.is_ipv4() == v4)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let text = |cidr: Option<&Cidr>| cidr.map(|cidr| cidr.addr.to_string()).unwrap_or_default();
    let prefix = |cidr: Option<&Cidr>| cidr.map_or(0, |cidr| u32::from(cidr.prefix));
    let mut wanted = lease.wanted.clone();
    // A swarm address was given with its prefix, which is shown apart.
    for ip in wanted.ipam_config.iter_mut().flat_map(
        |EndpointIpamConfig {
             ipv4_address,
             ipv6_address,
             ..
         }| [ipv4_address, ipv6_address],
    ) {
        *ip = ip.split('/').next().unwrap_or_default().to_owned();
    }
    EndpointSettings {
        mac_address: endpoint
            .filter(|_| lease.network.driver != "ipvlan")
            .map(|endpoint| endpoint.mac.to_string())
            .unwrap_or_default(),
        network_id: lease.network.id.clone(),
        endpoint_id: lease.endpoint_id.clone(),
        gateway: gateway(true),
        ip_address: text(address(true)),
        ip_prefix_len: prefix(address(true)),
        ipv6_gateway: gateway(false),
        global_ipv6_address: text(address(false)),
        global_ipv6_prefix_len: prefix(address(false)),
        dns_names: Some(lease.names.clone()).filter(|names| !names.is_empty()),
        ..wanted
    }
}
