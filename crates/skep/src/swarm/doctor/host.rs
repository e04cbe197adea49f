//! What a host tells about itself.

use std::net::IpAddr;
use std::path::Path;

use skep_net::netlink::route::RouteSocket;
use skep_rpc::NodeIdentity;

use super::finding::Finding;
use super::ways;

/// Disk and interface of this host.
#[derive(Debug, Default, Clone)]
pub(crate) struct HostFacts {
    /// None when the disk does not tell.
    pub(crate) disk_free_bytes: Option<u64>,
    /// Where that is.
    pub(crate) disk_path: String,
    /// The interface with the address asked for, if one has it.
    pub(crate) interface: Option<String>,
    /// Of that interface.
    pub(crate) mtu: u32,
}

impl HostFacts {
    /// Looks now.
    pub(crate) fn read(state_dir: &Path, addr: IpAddr) -> Self {
        let root = state_dir.parent().unwrap_or(state_dir);
        let stat = rustix::fs::statvfs(root);
        let (interface, mtu) = interface_with(addr).unzip();
        Self {
            disk_free_bytes: stat.ok().map(|stat| stat.f_bavail * stat.f_frsize),
            disk_path: root.display().to_string(),
            interface,
            mtu: mtu.unwrap_or_default(),
        }
    }
}

/// Name and MTU. Not from `/sys`, which may show another network namespace's.
fn interface_with(addr: IpAddr) -> Option<(String, u32)> {
    let mut route = RouteSocket::open().ok()?;
    let addresses = route.addresses().ok()?;
    let index = addresses.iter().find(|a| a.cidr.addr == addr)?.index;
    let links = route.links().ok()?;
    let link = links.into_iter().find(|link| link.index == index)?;
    Some((link.name, link.mtu))
}

pub(super) fn name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

pub(super) fn examine(name: &str, state_dir: &Path, addr: IpAddr) -> Vec<Finding> {
    let facts = HostFacts::read(state_dir, addr);
    let disk = match facts.disk_free_bytes {
        Some(free) => ways::disk(name, &facts.disk_path, free),
        None => Finding::problem(
            "disk",
            name,
            format!("{} cannot be looked at", facts.disk_path),
            "the data root cannot be used",
        ),
    };
    let mut found = vec![disk];
    found.push(match &facts.interface {
        None => ways::address_lost(name, &addr.to_string()),
        Some(interface) => Finding::ok("mtu", name, format!("{interface} has MTU {}", facts.mtu)),
    });
    found
}

/// Of a worker, which does not know the others'.
pub(super) fn certificate(identity: &NodeIdentity) -> Finding {
    let credentials = identity.current();
    let certificate = credentials.certificate();
    ways::certificate(&name(), certificate.not_before(), certificate.not_after())
}
