//! A container's networks: joined at start, left at the end, changed while it runs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use skep_net::DnsSpec;
use skep_objects::api::container::HostConfig;
use skep_objects::api::network::EndpointSettings;

use super::etc_files::Resolver;
use super::record::{Record, RunState};
use super::{Container, ports};
use crate::core::Core;
use crate::error::{EngineError, Result};
use crate::network::{GATEWAY_BRIDGE, Joined, Lease, Member, NetworkRecord, Publishing};

/// The key, among a running container's endpoints, of its way out of swarm networks.
pub(super) const GATEWAY_ENDPOINT: &str = "\u{0}gateway";

/// What a container's network will be, before anything is in the kernel.
pub(super) struct NetworkPlan {
    /// Path of the namespace; none is the host's.
    pub netns: Option<PathBuf>,
    /// Id of the namespace to make; empty when it is the host's or another container's.
    pub own: String,
    pub member: Member,
    pub leases: Vec<(String, Lease)>,
    pub resolver: Resolver,
}

impl NetworkPlan {
    /// The container's own addresses, which `/etc/hosts` names.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let visible = self
            .leases
            .iter()
            .filter(|(name, _)| name != GATEWAY_ENDPOINT);
        visible
            .flat_map(|(_, lease)| lease.addresses.iter().map(|cidr| cidr.addr))
            .collect()
    }
}

impl Record {
    /// The container as its networks know it, in the namespace of this id.
    pub(super) fn member(&self, netns: &str) -> Member {
        Member {
            id: self.id.clone(),
            name: self.name.clone(),
            hostname: self.config.hostname.clone(),
            netns: netns.to_owned(),
        }
    }
}

impl Core {
    /// Takes addresses; nothing is in the kernel yet.
    pub(super) fn plan_network(&self, record: &Record) -> Result<NetworkPlan> {
        let host = &record.host_config;
        let member = record.member(&record.id);
        let mut plan = NetworkPlan {
            netns: None,
            own: String::new(),
            member,
            leases: Vec::new(),
            resolver: Resolver::Host,
        };
        if let Some(other) = super::oci::shared(&host.network_mode) {
            let other = self.containers.find(other)?;
            let state = other.state();
            if !state.running || state.pid == 0 {
                return Err(EngineError::conflict(format!(
                    "cannot join network of a non running container: {}",
                    other.id
                )));
            }
            plan.netns = Some(PathBuf::from(format!("/proc/{}/ns/net", state.pid)));
            return Ok(plan);
        }
        if host.network_mode == "host" {
            return Ok(plan);
        }
        plan.own.clone_from(&record.id);
        plan.netns = Some(self.networks.net().netns_path(&record.id));
        plan.resolver = Resolver::Direct;
        let leased = self.lease_all(record, &mut plan);
        if let Err(error) = leased {
            self.give_back(&plan);
            return Err(EngineError::Network {
                doing: "failed to set up container networking".to_owned(),
                kind: error.kind(),
                reason: error.to_string(),
            });
        }
        Ok(plan)
    }

    fn lease_all(&self, record: &Record, plan: &mut NetworkPlan) -> Result<()> {
        let mut swarm = false;
        // The network that was asked for first has the first interface.
        let mode = &record.host_config.network_mode;
        let mut endpoints: Vec<_> = record.endpoints.iter().collect();
        endpoints.sort_by_key(|(name, wanted)| *name != mode && wanted.network_id != *mode);
        for (name, wanted) in endpoints {
            let network = self.network_of(name, wanted)?;
            if network.config_only {
                return Err(EngineError::not_allowed(
                    "cannot create endpoint on configuration-only network",
                ));
            }
            if matches!(network.driver.as_str(), "null" | "host") {
                continue;
            }
            swarm |= network.ingress || (network.swarm && !network.internal);
            if !network.is_default_bridge() {
                plan.resolver = Resolver::Embedded;
            }
            let mut wanted = wanted.clone();
            if wanted.mac_address.is_empty() && record.host_config.network_mode == *name {
                wanted.mac_address.clone_from(&record.config.mac_address);
            }
            let lease = self.networks.lease(network, &plan.member, &wanted)?;
            plan.leases.push((name.clone(), lease));
        }
        // Swarm networks lead nowhere else; whoever is on one gets a way out beside it.
        let has_way_out = plan
            .leases
            .iter()
            .any(|(_, lease)| !lease.gateways.is_empty());
        if swarm && !has_way_out {
            let network = self.networks.find(GATEWAY_BRIDGE)?;
            let lease = self
                .networks
                .lease(network, &plan.member, &EndpointSettings::default())?;
            plan.leases.push((GATEWAY_ENDPOINT.to_owned(), lease));
        }
        Ok(())
    }

    pub(super) fn network_of(
        &self,
        name: &str,
        settings: &EndpointSettings,
    ) -> Result<Arc<NetworkRecord>> {
        if !settings.network_id.is_empty()
            && let Ok(network) = self.networks.find(&settings.network_id)
        {
            return Ok(network);
        }
        self.networks.find(name)
    }

    pub(super) fn give_back(&self, plan: &NetworkPlan) {
        plan.leases
            .iter()
            .for_each(|(_, lease)| self.networks.give_back(lease));
    }

    /// Makes interfaces, published ports and the name server. What was made before a failure is taken
    /// down by [`Core::leave_network`].
    pub(super) async fn join_network(
        &self,
        record: &Record,
        plan: NetworkPlan,
        state: &mut RunState,
    ) -> Result<()> {
        let begun = Instant::now();
        let is_own = !plan.own.is_empty();
        state.netns.clone_from(&plan.own);
        let way_out = way_out(&plan.leases);
        let (mut ips, mut publishing) = (Vec::new(), Publishing::default());
        let mut leases = plan.leases.into_iter();
        while let Some((name, lease)) = leases.next() {
            let is_way_out = way_out.as_deref() == Some(name.as_str());
            // Ports are published of bridges only: elsewhere containers are reached as they are. Where
            // there is no way out there is none in.
            if lease.network.driver == "bridge" && is_way_out {
                publishing = self.networks.publishing(&lease.network)?;
                ips = lease.addresses.iter().map(|cidr| cidr.addr).collect();
            }
            match self.join(lease, &plan.member, is_way_out).await {
                Ok(joined) => state.endpoints.insert(name, joined.settings),
                Err(error) => {
                    leases.for_each(|(_, lease)| self.networks.give_back(&lease));
                    return Err(error);
                }
            };
        }
        if plan.resolver == Resolver::Embedded {
            self.serve_names(record).await?;
        }
        self.publish_ports(record, &record.host_config, &ips, &publishing, state)
            .await?;
        if is_own {
            self.metrics.networks.allocate.since(begun);
        }
        Ok(())
    }

    pub(super) async fn join(
        &self,
        lease: Lease,
        member: &Member,
        is_way_out: bool,
    ) -> Result<Joined> {
        let begun = Instant::now();
        let joined = self.networks.join(lease, member, is_way_out).await?;
        self.metrics.networks.connect.since(begun);
        Ok(joined)
    }

    pub(super) async fn serve_names(&self, record: &Record) -> Result<()> {
        let spec = self.dns_spec(record);
        let netns = record.id.clone();
        self.networks
            .kernel("serve names", move |net| net.serve_dns(&netns, &spec))
            .await
    }

    fn dns_spec(&self, record: &Record) -> DnsSpec {
        let internal = |name: &String, settings: &EndpointSettings| {
            self.network_of(name, settings).is_ok_and(|n| n.internal)
        };
        DnsSpec {
            upstreams: record
                .host_config
                .dns
                .iter()
                .flatten()
                .filter_map(|ip| ip.parse().ok())
                .collect(),
            extra_names: self
                .linked(record)
                .into_iter()
                .map(|link| (link.alias, link.ip))
                .collect(),
            no_forward: !record.endpoints.is_empty()
                && record
                    .endpoints
                    .iter()
                    .all(|(name, settings)| internal(name, settings)),
        }
    }

    pub(super) async fn publish_ports(
        &self,
        record: &Record,
        host: &HostConfig,
        ips: &[IpAddr],
        publishing: &Publishing,
        state: &mut RunState,
    ) -> Result<()> {
        let mappings = ports::mappings(&record.config, host, ips, publishing)?;
        let published = if mappings.is_empty() {
            Vec::new()
        } else {
            let owner = record.id.clone();
            let has_address = |endpoint: &&EndpointSettings| {
                let own = [&endpoint.ip_address, &endpoint.global_ipv6_address];
                ips.iter().any(|ip| own.contains(&&ip.to_string()))
            };
            let endpoint = state.endpoints.values().find(has_address);
            let doing = format!(
                "failed to set up container networking: driver failed programming external connectivity on endpoint {} ({})",
                record.name,
                endpoint.map_or("", |endpoint| &endpoint.endpoint_id),
            );
            self.networks
                .kernel(&doing, move |net| net.publish(&owner, &mappings))
                .await?
        };
        let open = ports::open(&record.config, &record.host_config, ips, publishing)?;
        if !open.is_empty() {
            let owner = record.id.clone();
            self.networks
                .kernel("open ports", move |net| net.open_ports(&owner, &open))
                .await?;
        }
        state.ports = ports::port_map(&record.config, &published);
        Ok(())
    }

    /// Takes a container off all its networks. Every step is tried; the errors are logged here.
    pub(super) async fn leave_network(&self, id: &str, state: &RunState) {
        if state.netns.is_empty() {
            return;
        }
        let begun = Instant::now();
        for (name, settings) in &state.endpoints {
            if let Ok(network) = self.network_of(name, settings) {
                self.networks.forget(&network, id, settings);
            }
        }
        let (owner, netns) = (id.to_owned(), state.netns.clone());
        let left = self
            .networks
            .kernel("leave the network", move |net| {
                let unpublished = net.unpublish(&owner);
                net.remove_netns(&netns).and(unpublished)
            })
            .await;
        match left {
            Ok(()) => self.metrics.networks.release.since(begun),
            Err(error) => {
                tracing::warn!(container.id = id, %error, "network of a container not taken down whole");
            }
        }
    }

    /// Takes up the network of a container that runs on after a restart of the daemon.
    pub(super) async fn adopt_network(&self, container: &Container) -> Result<()> {
        let (record, state) = (container.record(), container.state());
        if state.netns.is_empty() {
            return Ok(());
        }
        let member = record.member(&state.netns);
        let netns = state.netns.clone();
        self.networks
            .kernel("keep a network namespace", move |net| {
                net.create_netns(&netns)
            })
            .await?;
        let mut embedded = false;
        let (mut ips, mut publishing) = (Vec::new(), Publishing::default());
        let best = best_way_out(&state.endpoints);
        for (name, settings) in &state.endpoints {
            // A swarm network is not known until the managers tell of it; then the agent asks again.
            let Ok(network) = self.network_of(name, settings) else {
                continue;
            };
            embedded |= !network.is_default_bridge() && name != GATEWAY_ENDPOINT;
            let is_way_out = best.as_ref() == Some(name);
            if is_way_out && network.driver == "bridge" {
                publishing = self.networks.publishing(&network)?;
                ips.extend(settings.ip_address.parse::<IpAddr>().ok());
                ips.extend(settings.global_ipv6_address.parse::<IpAddr>().ok());
            }
            self.networks
                .adopt(network, &member, settings, is_way_out)
                .await?;
        }
        if embedded {
            self.serve_names(&record).await?;
        }
        let mut again = RunState {
            ports: state.ports.clone(),
            ..RunState::default()
        };
        let fixed = with_fixed_ports(&record, &state);
        self.publish_ports(&record, &fixed, &ips, &publishing, &mut again)
            .await
    }

    /// Takes up, on a swarm network that has become known, the containers which ran before the daemon.
    pub(crate) async fn adopt_on(&self, network: &Arc<NetworkRecord>) {
        for container in self.containers.all() {
            let (record, state) = (container.record(), container.state());
            let member = record.member(&state.netns);
            for settings in self.unknown_endpoints(&container.id, &state) {
                if settings.network_id != network.id {
                    continue;
                }
                let adopted = self
                    .networks
                    .adopt(network.clone(), &member, &settings, false)
                    .await;
                if let Err(error) = adopted.and(self.serve_names(&record).await) {
                    tracing::warn!(container.id = %container.id, network.id = %network.id, %error, "endpoint not taken up");
                }
            }
        }
    }

    /// Whether containers run on networks that nobody has told of yet.
    pub(crate) fn has_unknown_endpoints(&self) -> bool {
        let unknown = |container: &Arc<Container>| {
            !self
                .unknown_endpoints(&container.id, &container.state())
                .is_empty()
        };
        self.containers.all().iter().any(unknown)
    }

    fn unknown_endpoints(&self, id: &str, state: &RunState) -> Vec<EndpointSettings> {
        let joined = state.running && !state.netns.is_empty();
        let endpoints = state
            .endpoints
            .values()
            .filter(|settings| joined && !settings.endpoint_id.is_empty());
        endpoints
            .filter(|settings| !self.networks.is_member(&settings.network_id, id))
            .cloned()
            .collect()
    }
}

/// The way out among networks that were joined: the highest priority, then by name.
pub(super) fn best_way_out(endpoints: &BTreeMap<String, EndpointSettings>) -> Option<String> {
    let candidates = endpoints
        .iter()
        .filter(|(_, settings)| !settings.gateway.is_empty() || !settings.ipv6_gateway.is_empty());
    let best = candidates.min_by_key(|(name, settings)| (-settings.gw_priority, (*name).clone()));
    best.map(|(name, _)| name.clone())
}

/// Which network leads outside: the highest priority, then the gateway's own, then by name.
fn way_out(leases: &[(String, Lease)]) -> Option<String> {
    let candidates = leases
        .iter()
        .filter(|(_, lease)| !lease.gateways.is_empty());
    let best = candidates.min_by_key(|(name, lease)| (-lease.wanted.gw_priority, name.clone()));
    best.map(|(name, _)| name.clone())
}

/// Refuses what an endpoint on this network cannot have, with Docker's texts.
pub(super) fn validate_endpoint(network: &str, wanted: &EndpointSettings) -> Result<()> {
    let ipam = wanted.ipam_config.clone().unwrap_or_default();
    let mut errors = Vec::new();
    let is_user_defined = !matches!(network, "bridge" | "host" | "none" | "default");
    let has_address = !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty();
    if has_address && !is_user_defined {
        errors.push(
            "user specified IP address is supported on user defined networks only".to_owned(),
        );
    }
    if !is_user_defined
        && wanted
            .aliases
            .as_ref()
            .is_some_and(|aliases| !aliases.is_empty())
    {
        errors.push(
            "network-scoped alias is supported only for containers in user defined networks"
                .to_owned(),
        );
    }
    let bare = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
    let (v4, v6) = (bare(&ipam.ipv4_address), bare(&ipam.ipv6_address));
    if !v4.is_empty() && v4.parse::<std::net::Ipv4Addr>().is_err() {
        errors.push(format!("invalid IPv4 address: {v4}"));
    }
    if !v6.is_empty() && v6.parse::<std::net::Ipv6Addr>().is_err() {
        errors.push(format!("invalid IPv6 address: {v6}"));
    }
    for ip in &ipam.link_local_ips {
        if ip.parse::<IpAddr>().is_err() {
            errors.push(format!("invalid link-local IP address: {ip}"));
        }
    }
    if !wanted.mac_address.is_empty() && wanted.mac_address.parse::<skep_net::Mac>().is_err() {
        errors.push(format!("invalid MAC address: {}", wanted.mac_address));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let list = match &errors[..] {
        [one] => one.clone(),
        several => format!("* {}", several.join("\n* ")),
    };
    Err(EngineError::invalid(format!(
        "invalid config for network {network}: invalid endpoint settings:\n{list}"
    )))
}

/// The ports as they were chosen, so that taking them up again gives the same; as they were asked
/// for where none is published, since nothing led out.
pub(super) fn with_fixed_ports(record: &Record, state: &RunState) -> HostConfig {
    let mut host = record.host_config.clone();
    if state.ports.values().all(Option::is_none) {
        return host;
    }
    host.publish_all_ports = false;
    let published: BTreeMap<_, _> = state
        .ports
        .iter()
        .filter(|(_, bindings)| bindings.is_some())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    host.port_bindings = Some(published);
    host
}
