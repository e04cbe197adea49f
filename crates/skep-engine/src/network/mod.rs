//! Networks of one host, and this host's part of the swarm's.
//!
//! Local networks are records on disk; those of the swarm come from the managers and live in memory
//! only. The kernel's side is skep-net's. Addresses of local networks are given out here, at start,
//! and a running container's state says which it holds.

mod addresses;
mod connect;
mod create;
mod default_bridge;
mod lease;
mod options;
mod plan;
mod pools;
mod prune;
mod record;
mod swarm;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use skep_net::{BridgeSpec, BridgeSubnet, Cidr, MacvlanSpec, Net, NetConfig, NetError};
use skep_objects::ErrorKind;
use skep_objects::api::network as api;

use crate::config::{DefaultBridge, EngineConfig};
use crate::core::Core;
use crate::engine::SwarmInfo;
use crate::error::{EngineError, Result};
use crate::events::Events;
use crate::filters::Filters;
use addresses::Addresses;
pub(crate) use lease::{Joined, Lease, Member};
pub(crate) use options::Publishing;
pub(crate) use record::NetworkRecord;

/// The network that gives containers on swarm networks their way out.
pub(crate) const GATEWAY_BRIDGE: &str = "docker_gwbridge";

/// How long a member of a swarm waits before it removes what nobody took up, and how often.
const BEFORE_SWEEP: Duration = Duration::from_secs(60);
const MOST_WAITS: usize = 60;

/// The networks of one host. A cheap clone.
#[derive(Debug, Clone)]
pub struct Networks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    config: Arc<EngineConfig>,
    net: Net,
    events: Events,
    state: Mutex<State>,
    /// Held while networks are made and removed, so that two never get the same subnet.
    changes: tokio::sync::Mutex<()>,
    core: OnceLock<Weak<Core>>,
}

#[derive(Debug, Default)]
struct State {
    by_id: BTreeMap<String, Arc<NetworkRecord>>,
    addresses: Addresses,
    /// By network id, then by container id.
    members: BTreeMap<String, BTreeMap<String, api::EndpointResource>>,
    swarm: Option<SwarmInfo>,
    /// This node's addresses by network id.
    node_addresses: BTreeMap<String, Vec<String>>,
    /// This node as an endpoint, by network id; shown, but keeps no network.
    node_endpoints: BTreeMap<String, api::EndpointResource>,
}

impl Networks {
    /// Reads the local networks and makes the three that every host has.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(crate) async fn open(config: Arc<EngineConfig>, events: Events) -> Result<Self> {
        let dir = config.data_root.join("networks");
        std::fs::create_dir_all(&dir).map_err(EngineError::io("create", &dir))?;
        let mut by_id = BTreeMap::new();
        for entry in std::fs::read_dir(&dir).map_err(EngineError::io("read", &dir))? {
            let path = entry.map_err(EngineError::io("read", &dir))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match NetworkRecord::load(&path) {
                Ok(record) => {
                    by_id.insert(record.id.clone(), Arc::new(record));
                }
                Err(error) => {
                    tracing::error!(network.file = %path.display(), %error, "record of a network cannot be read; the network is gone, and may be made again by its name");
                    let _ = std::fs::rename(&path, path.with_extension("json.damaged"));
                }
            }
        }
        let mut net = NetConfig::new(&config.exec_root, instance(&config)?);
        net.upstream_dns = config.dns.iter().filter_map(|ip| ip.parse().ok()).collect();
        net.ip_forward = config.ip_forward;
        let net = Net::open(net).map_err(|error| refused("open the network", &error))?;
        let networks = Self(Arc::new(Inner {
            dir,
            config,
            net,
            events,
            state: Mutex::new(State {
                by_id,
                ..State::default()
            }),
            changes: tokio::sync::Mutex::default(),
            core: OnceLock::new(),
        }));
        networks.make_predefined().await?;
        Ok(networks)
    }

    /// Tells where containers are found; called once.
    pub(crate) fn set_core(&self, core: Weak<Core>) {
        let _ = self.0.core.set(core);
    }

    fn core(&self) -> Result<Arc<Core>> {
        self.0.core.get().and_then(Weak::upgrade).ok_or_else(|| {
            EngineError::refused(ErrorKind::Unavailable, "the engine is shutting down")
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernel's side.
    pub(crate) fn net(&self) -> &Net {
        &self.0.net
    }

    /// Runs a call of skep-net, which blocks, off the async threads.
    pub(crate) async fn kernel<T: Send + 'static>(
        &self,
        doing: &str,
        call: impl FnOnce(&Net) -> std::result::Result<T, NetError> + Send + 'static,
    ) -> Result<T> {
        let net = self.0.net.clone();
        let result = tokio::task::spawn_blocking(move || call(&net)).await;
        match result {
            Ok(result) => result.map_err(|error| refused(doing, &error)),
            Err(error) => Err(EngineError::refused(ErrorKind::Internal, error.to_string())),
        }
    }

    /// A network by id, name, or the unique beginning of an id.
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<NetworkRecord>> {
        let state = self.state();
        if let Some(network) = state.by_id.get(reference) {
            return Ok(network.clone());
        }
        let mut named = state
            .by_id
            .values()
            .filter(|network| network.name == reference);
        let mut begun = state
            .by_id
            .values()
            .filter(|network| !reference.is_empty() && network.id.starts_with(reference));
        let found = match (named.next(), named.next()) {
            (Some(one), None) => Some(one),
            (Some(_), Some(_)) => return Err(ambiguous(reference)),
            _ => match (begun.next(), begun.next()) {
                (Some(_), Some(_)) => return Err(ambiguous(reference)),
                (one, _) => one,
            },
        };
        found
            .cloned()
            .ok_or_else(|| EngineError::not_found(format!("network {reference} not found")))
    }

    /// Networks on this host, those of the swarm that tasks here use included.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn list(&self, filters: &Filters) -> Result<Vec<api::Network>> {
        filters.validate(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = filters.flag("dangling")?;
        let kind = filters.get("type").next().map(str::to_owned);
        if let Some(other) = kind
            .as_deref()
            .filter(|kind| !matches!(*kind, "builtin" | "custom"))
        {
            return Err(EngineError::invalid(format!(
                "invalid filter: 'type'='{other}'"
            )));
        }
        let state = self.state();
        let wanted = state.by_id.values().filter(|network| {
            let unused = state
                .members
                .get(&network.id)
                .is_none_or(BTreeMap::is_empty);
            dangling.is_none_or(|dangling| dangling == (unused && !network.is_predefined()))
                && kind
                    .as_deref()
                    .is_none_or(|kind| (kind == "builtin") == network.is_predefined())
                && filters.exact("driver", &network.driver)
                && filters.exact("scope", network.scope())
                && filters.prefix("id", &network.id)
                && filters.pattern("name", &network.name)
                && filters.labels("label", &network.labels())
        });
        Ok(wanted.map(|network| view::network(network, None)).collect())
    }

    /// One network by id, name or unique prefix of an id.
    ///
    /// # Errors
    /// `network x not found`.
    pub async fn inspect(&self, reference: &str, verbose: bool) -> Result<api::Network> {
        let _ = verbose;
        let network = self.find(reference)?;
        let state = self.state();
        let mut members = state.members.get(&network.id).cloned().unwrap_or_default();
        if let Some(node) = state.node_endpoints.get(&network.id) {
            members.insert("ingress-sbox".to_owned(), node.clone());
        }
        drop(state);
        Ok(view::network(&network, Some(members)))
    }

    /// How many containers are on each network, for `info` and `df`.
    #[must_use]
    pub fn is_in_use(&self, id: &str) -> bool {
        self.state()
            .members
            .get(id)
            .is_some_and(|members| !members.is_empty())
    }

    /// How ports of containers on a network are published.
    pub(crate) fn publishing(&self, network: &NetworkRecord) -> Result<Publishing> {
        Ok(Publishing {
            direct: self.0.config.allow_direct_routing,
            relay: self.0.config.userland_proxy,
            ..Publishing::of(network)?
        })
    }

    /// Puts a local network in the kernel.
    async fn ensure_in_kernel(&self, network: &NetworkRecord) -> Result<()> {
        if network.is_wire() {
            let (parent, wire) = options::wire(network)?;
            let spec = MacvlanSpec {
                network_id: network.id.clone(),
                name: network.name.clone(),
                parent,
                wire,
                mtu: network.mtu(),
            };
            let doing = format!("create network {}", network.name);
            return self
                .kernel(&doing, move |net| net.ensure_macvlan(&spec))
                .await;
        }
        if network.driver != "bridge" {
            return Ok(());
        }
        let options = options::BridgeOptions::parse(network)?;
        let mut spec = BridgeSpec::new(&network.id, &network.bridge);
        spec.subnets = network
            .subnets()
            .iter()
            .filter_map(|subnet| {
                Some(BridgeSubnet {
                    gateway: Cidr::new(subnet.gateway?, subnet.subnet.prefix),
                })
            })
            .collect();
        spec.name.clone_from(&network.name);
        spec.mtu = network.mtu();
        spec.icc = options.icc;
        spec.masquerade = options.masquerade;
        spec.gateway_modes = options.gateway_modes;
        spec.internal = network.internal;
        spec.take_over = self.may_take_over(network);
        self.kernel(&format!("create network {}", network.name), move |net| {
            net.ensure_bridge(&spec)
        })
        .await
    }

    /// Whether the bridge of a network was asked for by name, and so may be one that is there.
    fn may_take_over(&self, network: &NetworkRecord) -> bool {
        if network.is_default_bridge() {
            return network.bridge != DefaultBridge::default().name;
        }
        network.name != GATEWAY_BRIDGE
            && network.option("com.docker.network.bridge.name") == Some(&network.bridge)
    }

    fn publish(&self, action: &str, network: &NetworkRecord, container: Option<&str>) {
        let mut attributes = BTreeMap::from([
            ("name".to_owned(), network.name.clone()),
            ("type".to_owned(), network.driver.clone()),
        ]);
        if let Some(container) = container {
            attributes.insert("container".to_owned(), container.to_owned());
        }
        self.0
            .events
            .publish("network", action, &network.id, attributes);
    }
}

fn ambiguous(reference: &str) -> EngineError {
    EngineError::invalid(format!(
        "network {reference} is ambiguous (2 matches found based on name)"
    ))
}

fn refused(doing: &str, error: &NetError) -> EngineError {
    EngineError::Network {
        doing: doing.to_owned(),
        reason: error.to_string(),
        kind: error.kind(),
    }
}

/// This daemon's short name in the kernel, the same after each restart.
fn instance(config: &EngineConfig) -> Result<String> {
    let path = config.data_root.join("instance");
    if let Ok(name) = std::fs::read_to_string(&path) {
        let name = name.trim();
        if (4..=8).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Ok(name.to_owned());
        }
    }
    let name: String = skep_objects::ids::new_id().chars().take(6).collect();
    crate::container::write_atomically(&path, name.as_bytes(), true)?;
    Ok(name)
}

impl Networks {
    /// Removes what an earlier daemon left in the kernel and nobody took up.
    ///
    /// A member of a swarm waits with it: its tasks' networks are not known before the managers, or
    /// what the agent remembers of them, have told.
    pub(crate) async fn sweep(&self, core: &Arc<Core>) {
        if !self.0.dir.join("swarm").exists() {
            self.sweep_now().await;
            return;
        }
        let (networks, core) = (self.clone(), core.clone());
        core.tasks.clone().spawn(async move {
            for _ in 0..MOST_WAITS {
                tokio::select! {
                    () = tokio::time::sleep(BEFORE_SWEEP) => {}
                    () = core.stopping.cancelled() => return,
                }
                if !core.has_unknown_endpoints() {
                    networks.sweep_now().await;
                    return;
                }
            }
        });
    }

    async fn sweep_now(&self) {
        if let Err(error) = self.kernel("remove leftovers", Net::sweep).await {
            tracing::warn!(%error, "network leftovers not removed whole");
        }
    }

    /// Whether a container is counted as a member of a network.
    pub(crate) fn is_member(&self, network: &str, container: &str) -> bool {
        self.state()
            .members
            .get(network)
            .is_some_and(|members| members.contains_key(container))
    }
}
