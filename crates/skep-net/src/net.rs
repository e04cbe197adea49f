//! [`Net`]: one daemon's hold on the kernel's network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use skep_objects::skep_v1::EndpointsMessage;

use crate::addr::Cidr;
use crate::bridge::BridgeSpec;
use crate::config::NetConfig;
use crate::dns::{Directory, Forwarder};
use crate::endpoint::Attached;
use crate::error::NetError;
use crate::forget::{Forgetting, forget};
use crate::host::{HostRules, RulesMinder};
use crate::ingress::Ingress;
use crate::macvlan::Macvlan;
use crate::netlink::nft::{NftSocket, NftWatch};
use crate::netlink::route::RouteSocket;
use crate::netns::{HostSockets, Netns};
use crate::overlay::table::NetworkTable;
use crate::overlay::{ETHERNET, Journal, NodeKey, Overlay, SwarmSpec, Warning, WireGuard};
use crate::publish::{OpenPort, Ports, Relays, room};
use crate::sandbox::Sandbox;

/// One daemon's hold on the kernel's network; cheap to clone.
///
/// Methods block for milliseconds at most (kernel calls): call them through `spawn_blocking` in
/// async code. Each is idempotent. After a restart of the daemon the caller ensures its networks
/// and attaches its live endpoints again with the same specs, which adopts what is in the kernel
/// without disturbing it, and then calls [`Net::sweep`] once.
#[derive(Clone, Debug)]
pub struct Net {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub config: NetConfig,
    pub host: Netns,
    pub runtime: tokio::runtime::Handle,
    pub forwarder: Arc<Forwarder>,
    pub has_ipv6: bool,
    state: Mutex<State>,
    _key_minder: KeyMinder,
    _rules_minder: RulesMinder,
}

/// How often the age of the node's key is looked at, and so how long an old one is still answered
/// to: longer than everybody takes to hear of the new one.
const KEY_CHECK: Duration = Duration::from_secs(10 * 60);

/// Replaces the node's key when it is old; it ends when dropped.
#[derive(Debug)]
struct KeyMinder(tokio::task::AbortHandle);

impl KeyMinder {
    fn spawn(inner: Weak<Inner>, runtime: &tokio::runtime::Handle) -> Self {
        let mind = async move {
            let mut tick = tokio::time::interval(KEY_CHECK);
            tick.tick().await;
            loop {
                tick.tick().await;
                let Some(inner) = inner.upgrade() else { return };
                // It writes a file, and waits for the lock.
                let mind = move || Net { inner }.mind_wireguard_key();
                let _ = tokio::task::spawn_blocking(mind).await;
            }
        };
        Self(runtime.spawn(mind).abort_handle())
    }
}

impl Drop for KeyMinder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is in the kernel, as far as this run of the daemon knows.
#[derive(Debug)]
pub(crate) struct State {
    pub host: Netns,
    pub instance: String,
    pub runtime: tokio::runtime::Handle,
    pub node_key: NodeKey,
    pub key_path: PathBuf,
    pub wireguard: Option<WireGuard>,
    /// Sockets of the host's namespace.
    pub route: RouteSocket,
    pub nft: NftSocket,
    pub rules: HostRules,
    pub bridges: BTreeMap<String, Bridge>,
    pub macvlans: BTreeMap<String, Macvlan>,
    pub sandboxes: BTreeMap<String, Sandbox>,
    pub endpoints: BTreeMap<String, Attached>,
    pub ports: Ports,
    pub relays: Relays,
    /// What an earlier run published is swept away: the kernel has what `ports` has.
    pub ports_are_known: bool,
    /// Ports that are reached by the containers' own addresses, by owner.
    pub open: BTreeMap<String, Vec<OpenPort>>,
    pub swarm: Option<SwarmSpec>,
    /// MTU beneath overlay networks.
    pub underlay_mtu: u32,
    pub ingress: Option<Ingress>,
    pub overlays: BTreeMap<String, Overlay>,
    /// Endpoint tables by network; they may come before their networks.
    pub tables: BTreeMap<String, NetworkTable>,
    /// What the managers said last, on disk.
    pub journal: Journal,
    /// Names of all networks.
    pub directory: Arc<Directory>,
    pub warnings: BTreeSet<Warning>,
    /// Connections to be forgotten once the lock is released: [`Net::finish`].
    pub forgetting: Vec<Forgetting>,
}

/// A local bridge network in the kernel.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub spec: BridgeSpec,
    pub index: u32,
    /// Bridged frames pass the firewall (br_netfilter): it keeps containers apart where ICC is off,
    /// and a connection that is translated back into the bridge is bridged, not routed.
    pub filtered: bool,
}

impl State {
    pub fn sandbox(&mut self, id: &str) -> Result<&mut Sandbox, NetError> {
        self.sandboxes
            .get_mut(id)
            .ok_or_else(|| NetError::UnknownNetns(id.to_owned()))
    }
}

/// Letters and digits: it becomes part of names in the kernel.
fn check_instance(instance: &str) -> Result<(), NetError> {
    let fits = (1..=8).contains(&instance.len());
    if fits && instance.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(NetError::Invalid {
        what: "instance name",
        value: instance.to_owned(),
    })
}

impl Net {
    /// Opens the host's network from the calling thread's namespace. Must run inside a tokio
    /// runtime, which then serves DNS.
    pub fn open(config: NetConfig) -> Result<Net, NetError> {
        check_instance(&config.instance)?;
        let pins = config.exec_root.join("netns");
        std::fs::create_dir_all(&pins).map_err(|source| NetError::Io {
            attempt: "create",
            path: pins,
            source,
        })?;
        let route = RouteSocket::open().map_err(NetError::netlink("open rtnetlink socket"))?;
        let failed = || NetError::netlink("open nf_tables socket");
        let mut nft = NftSocket::open().map_err(failed())?;
        let own_port = nft.port().map_err(failed())?;
        let rules = HostRules::open(&config.instance, &mut nft)
            .map_err(NetError::netlink("read nf_tables"))?;
        let no_runtime = |_| NetError::Invalid {
            what: "place to open the network",
            value: "outside of a tokio runtime".into(),
        };
        let runtime = tokio::runtime::Handle::try_current().map_err(no_runtime)?;
        let watch = NftWatch::open().map_err(failed())?;
        let rules_name = rules.table(true).name.clone();
        let host = Netns::current()?;
        let (journal, said) = Journal::open(&config.exec_root);
        let key_path = config.exec_root.join("wireguard.key");
        let tables = tables_of(&said);
        let has_ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        let state = State {
            host: host.clone(),
            instance: config.instance.clone(),
            runtime: runtime.clone(),
            node_key: NodeKey::load_or_create(&key_path)?,
            key_path,
            wireguard: None,
            route,
            nft,
            rules,
            bridges: BTreeMap::new(),
            macvlans: BTreeMap::new(),
            sandboxes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            ports: Ports::new(ephemeral_range(), has_ipv6),
            relays: Relays {
                runtime: runtime.clone(),
                host: HostSockets::new(host.clone()),
                room: room(),
            },
            ports_are_known: false,
            open: BTreeMap::new(),
            swarm: None,
            underlay_mtu: ETHERNET,
            ingress: None,
            overlays: BTreeMap::new(),
            tables,
            journal,
            directory: Arc::default(),
            warnings: BTreeSet::new(),
            forgetting: Vec::new(),
        };
        let forwarder = Arc::new(Forwarder::new(host.clone(), config.upstream_dns.clone()));
        let tables = rules_name;
        let inner = Arc::new_cyclic(|inner| Inner {
            config,
            host,
            _key_minder: KeyMinder::spawn(inner.clone(), &runtime),
            _rules_minder: RulesMinder::spawn(inner.clone(), &runtime, watch, own_port, tables),
            runtime,
            forwarder,
            has_ipv6,
            state: Mutex::new(state),
        });
        Ok(Net { inner })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic in another thread left the state as its last completed step has it, and every
        // operation can be repeated.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends an operation: does what the lock need not be held for.
    pub(crate) fn finish(
        &self,
        mut state: MutexGuard<'_, State>,
        result: Result<(), NetError>,
    ) -> Result<(), NetError> {
        let jobs = std::mem::take(&mut state.forgetting);
        drop(state);
        let mut errors: Vec<NetError> = result.err().into_iter().collect();
        errors.extend(forget(jobs).err());
        NetError::collect(errors)
    }

    /// Creates and pins a network namespace with its loopback up; answers the path of the pin. An
    /// existing one of this id is kept.
    pub fn create_netns(&self, id: &str) -> Result<PathBuf, NetError> {
        let pin = self.checked_pin(id)?;
        if !self.state().sandboxes.contains_key(id) {
            // Outside the lock: making a namespace takes longer than all the rest.
            let sandbox = Sandbox::open_or_create(&pin)?;
            self.state()
                .sandboxes
                .entry(id.to_owned())
                .or_insert(sandbox);
        }
        Ok(pin)
    }

    fn checked_pin(&self, id: &str) -> Result<PathBuf, NetError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if id.is_empty() || id.len() > 128 || id.starts_with('.') || !id.bytes().all(plain) {
            return Err(NetError::Invalid {
                what: "namespace id",
                value: id.to_owned(),
            });
        }
        Ok(self.netns_path(id))
    }

    /// Where the namespace of this id is pinned.
    pub fn netns_path(&self, id: &str) -> PathBuf {
        self.inner.config.exec_root.join("netns").join(id)
    }

    /// Removes a namespace with all its endpoints, published ports and its name server.
    pub fn remove_netns(&self, id: &str) -> Result<(), NetError> {
        let pin = self.checked_pin(id)?;
        let mut errors = Vec::new();
        errors.extend(self.unpublish(id).err());
        let mut state = self.state();
        let released = state.release_all(id);
        errors.extend(self.finish(state, released).err());
        errors.extend(Netns::unpin(&pin).err());
        NetError::collect(errors)
    }

    /// The addresses that this kernel can have: networks span hosts with and without IPv6.
    pub(crate) fn usable(&self, addresses: &[Cidr]) -> Vec<Cidr> {
        let has_v4 = addresses.iter().any(Cidr::is_ipv4);
        let can = |address: &&Cidr| address.is_ipv4() || self.inner.has_ipv6 || !has_v4;
        addresses.iter().filter(can).copied().collect()
    }

    /// What works but not wholly, now.
    pub fn warnings(&self) -> BTreeSet<Warning> {
        self.state().warnings.clone()
    }

    /// This node's WireGuard public key, for `NodeEndpoint.wireguard_public_key`.
    pub fn wireguard_public_key(&self) -> Vec<u8> {
        self.state().node_key.public.as_bytes().to_vec()
    }

    pub(crate) fn instance(&self) -> &str {
        &self.inner.config.instance
    }
}

/// The tables that these messages lead to, one after the other.
fn tables_of(messages: &[EndpointsMessage]) -> BTreeMap<String, NetworkTable> {
    let mut tables: BTreeMap<String, NetworkTable> = BTreeMap::new();
    for message in messages {
        if message.complete {
            tables.clear();
        }
        for network in &message.networks {
            let table = tables.entry(network.network_id.clone()).or_default();
            if network.gone {
                table.clear();
            } else {
                table.merge(network);
            }
        }
    }
    tables
}

/// The kernel's range of ephemeral ports, or its default.
fn ephemeral_range() -> (u16, u16) {
    let path = Path::new("/proc/sys/net/ipv4/ip_local_port_range");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(low)), Some(Ok(high))) if low <= high => (low, high),
        _ => (32768, 60999),
    }
}
