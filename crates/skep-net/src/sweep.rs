//! Removing what an earlier run left, and everything at the end.

use std::collections::BTreeSet;
use std::path::Path;

use crate::endpoint::{alias, unmarked_name};
use crate::error::NetError;
use crate::host::{OPEN, PUBLISH, PUBLISH_ANY};
use crate::net::{Net, State};
use crate::netlink::nft::{Element, Transaction};
use crate::netns::Netns;
use crate::overlay::{Space, remove_guard, sweep_wireguard};

impl Net {
    /// Removes what an earlier run of this daemon left and nobody ensured, attached or published
    /// since [`Net::open`]: namespaces, interfaces, rules. All errors are collected.
    pub fn sweep(&self) -> Result<(), NetError> {
        let mut errors = Vec::new();
        let mut state = self.state();
        errors.extend(self.sweep_pins(&state).err());
        errors.extend(state.sweep_links(self.instance()).err());
        errors.extend(state.sweep_ports().err());
        if state.ingress.is_none() {
            let mesh = crate::ingress::remove_tables(self.instance(), &mut state.nft);
            errors.extend(mesh.map_err(NetError::netlink("sweep the mesh")).err());
        }
        if state.wireguard.is_none() {
            errors.extend(sweep_wireguard(self.instance(), &mut state.route).err());
            errors.extend(remove_guard(self.instance(), &mut state.nft).err());
        }
        NetError::collect(errors)
    }

    fn sweep_pins(&self, state: &State) -> Result<(), NetError> {
        let dir = self.inner.config.exec_root.join("netns");
        let mut errors = Vec::new();
        for name in names_in(&dir)? {
            if !state.owns_pin(&name) {
                errors.extend(Netns::unpin(&dir.join(&name)).err());
            }
        }
        NetError::collect(errors)
    }

    /// Removes every trace of this daemon from the kernel's network.
    pub fn destroy(&self) -> Result<(), NetError> {
        let mut errors = Vec::new();
        let sandboxes: Vec<String> = self.state().sandboxes.keys().cloned().collect();
        for id in sandboxes {
            errors.extend(self.remove_netns(&id).err());
        }
        let bridges: Vec<String> = self.state().bridges.keys().cloned().collect();
        for id in bridges {
            errors.extend(self.remove_bridge(&id).err());
        }
        errors.extend(self.set_swarm(None).err());
        errors.extend(self.sweep().err());
        let mut state = self.state();
        let state = &mut *state;
        let failed = NetError::netlink("remove firewall tables");
        errors.extend(state.rules.remove(&mut state.nft).map_err(failed).err());
        NetError::collect(errors)
    }
}

fn names_in(dir: &Path) -> Result<Vec<String>, NetError> {
    let failed = |source| NetError::Io {
        attempt: "list",
        path: dir.to_owned(),
        source,
    };
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        out.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(out)
}

impl State {
    /// Whether a pin of this name belongs to something that was opened in this run.
    fn owns_pin(&self, name: &str) -> bool {
        let overlays = self.overlays.iter().filter(|(_, o)| o.space.is_some());
        self.sandboxes.contains_key(name)
            || overlays
                .into_iter()
                .any(|(id, _)| Space::pin_name(id) == name)
    }

    fn sweep_links(&mut self, instance: &str) -> Result<(), NetError> {
        let failed = || NetError::netlink("sweep interfaces");
        let wires = self.macvlans.values();
        let parents: Vec<String> = wires.map(|wire| wire.spec.parent_name()).collect();
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        wanted.extend(parents.iter().map(String::as_str));
        wanted.extend(self.bridges.values().map(|b| b.spec.bridge.as_str()));
        wanted.extend(
            self.endpoints
                .values()
                .map(|e| e.endpoint.peer_ifname.as_str()),
        );
        wanted.extend(self.ingress.as_ref().map(|i| i.interface.as_str()));
        let (mine, unmarked) = (alias(instance, ""), unmarked_name(instance));
        let mut errors = Vec::new();
        for link in self.route.links().map_err(failed())? {
            let is_ours = link.alias.starts_with(&mine) || link.name == unmarked;
            if is_ours && !wanted.contains(link.name.as_str()) {
                errors.extend(self.route.delete_link(&link.name).map_err(failed()).err());
            }
        }
        NetError::collect(errors)
    }

    fn sweep_ports(&mut self) -> Result<(), NetError> {
        let failed = || NetError::netlink("sweep published ports");
        let published = self.ports.published().filter(|p| p.is_translated());
        let mut wanted: BTreeSet<_> = published.map(|p| (p.host_ip.is_ipv4(), p.key())).collect();
        let open = self.open.values().flatten();
        wanted.extend(open.map(|p| (p.container_ip.is_ipv4(), (OPEN, p.key()))));
        let mut tx = Transaction::new();
        for v4 in [true, false] {
            let table = self.rules.table(v4).clone();
            for map in [PUBLISH, PUBLISH_ANY, OPEN] {
                let have = match self.nft.elements(&table, map) {
                    Err(e) if e.missing() => continue,
                    other => other.map_err(failed())?,
                };
                let stale = have
                    .into_iter()
                    .filter(|e| !wanted.contains(&(v4, (map, e.key.clone()))));
                let stale: Vec<Element> = stale.map(|e| Element::key(e.key)).collect();
                tx.delete_elements(&table, map, &stale);
            }
        }
        self.commit_host(tx, "sweep published ports")?;
        self.ports_are_known = true;
        Ok(())
    }
}
