//! What one container may look up: the names of the networks it is on, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use super::DnsSpec;
use super::answer::Lookup;
use super::names::NetworkNames;

/// The names of all networks of this host.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    networks: RwLock<BTreeMap<String, NetworkNames>>,
}

impl Directory {
    /// Replaces the names of a network.
    pub fn set(&self, network_id: &str, names: NetworkNames) {
        let mut networks = self
            .networks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        networks.insert(network_id.to_owned(), names);
    }

    /// Forgets a network.
    pub fn remove(&self, network_id: &str) {
        self.networks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(network_id);
    }

    /// Whether the network is known.
    pub fn has(&self, network_id: &str) -> bool {
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        networks.contains_key(network_id)
    }

    /// Changes the names of a network, if it is known.
    pub fn change(&self, network_id: &str, change: impl FnOnce(&mut NetworkNames)) {
        let networks = self.networks.write();
        let mut networks = networks.unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = networks.get_mut(network_id) {
            change(names);
        }
    }

    fn find<T>(&self, networks: &[String], f: impl Fn(&NetworkNames) -> Option<T>) -> Option<T> {
        let known = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        networks.iter().find_map(|id| f(known.get(id)?))
    }
}

/// What a container sees of the directory, as of now.
#[derive(Debug)]
pub(crate) struct Zone {
    directory: Arc<Directory>,
    view: RwLock<Arc<View>>,
}

/// A container's settings and networks.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub spec: DnsSpec,
    /// In the order in which they were attached: the first that knows a name decides.
    pub networks: Vec<String>,
}

impl Zone {
    pub fn new(directory: Arc<Directory>, view: View) -> Zone {
        Zone {
            directory,
            view: RwLock::new(Arc::new(view)),
        }
    }

    pub fn view(&self) -> Arc<View> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn set_view(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    fn find<T>(&self, f: impl Fn(&NetworkNames) -> Option<T>) -> Option<T> {
        self.directory.find(&self.view().networks, f)
    }
}

impl Lookup for Zone {
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        let view = self.view();
        let extra = view
            .spec
            .extra_names
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let extra: Vec<IpAddr> = extra.map(|(_, ip)| *ip).collect();
        if !extra.is_empty() {
            return Some(extra);
        }
        self.find(|names| names.resolve(name))
    }

    fn reverse(&self, ip: IpAddr) -> Option<String> {
        self.find(|names| names.reverse(ip).map(str::to_owned))
    }
}
