//! What this host tells about itself.

use std::net::IpAddr;
use std::path::Path;

use skep_rpc::NodeIdentity;
use time::OffsetDateTime;

use super::finding::Finding;
use crate::swarm::address::host_addresses;

/// Managers stop taking writes when nothing is left.
const DISK_PROBLEM: u64 = 256 << 20;
const DISK_WARNING: u64 = 2 << 30;
/// What an overlay network's full packet needs: 1450 bytes and the header around it.
const MTU: u64 = 1500;

pub(super) fn name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

pub(super) fn examine(name: &str, state_dir: &Path, addr: IpAddr) -> Vec<Finding> {
    let mut found = vec![disk(name, state_dir)];
    found.extend(interface(name, addr));
    found
}

fn disk(name: &str, dir: &Path) -> Finding {
    let parent = dir.parent().unwrap_or(dir);
    let stat = match rustix::fs::statvfs(parent) {
        Ok(stat) => stat,
        Err(error) => {
            let text = format!("{}: {error}", parent.display());
            return Finding::problem("disk", name, text, "the data root cannot be used");
        }
    };
    let free = stat.f_bavail * stat.f_frsize;
    let text = format!("{} MiB free below {}", free >> 20, parent.display());
    let advice = "a manager whose disk is full answers reads only: docker system prune";
    match free {
        ..DISK_PROBLEM => Finding::problem("disk", name, text, advice),
        DISK_PROBLEM..DISK_WARNING => Finding::warning("disk", name, text, advice),
        _ => Finding::ok("disk", name, text),
    }
}

fn interface(name: &str, addr: IpAddr) -> Option<Finding> {
    let all = host_addresses(|_| false).ok()?;
    let Some(found) = all.iter().find(|one| one.ip == addr) else {
        return Some(Finding::problem(
            "ports",
            name,
            format!("no interface has this node's address {addr}"),
            "others cannot reach it: give the address back, or leave and join with \
             --advertise-addr",
        ));
    };
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{}/mtu", found.interface)).ok()?;
    let mtu: u64 = mtu.trim().parse().ok()?;
    let text = format!("{} has MTU {mtu}", found.interface);
    Some(if mtu < MTU {
        Finding::warning(
            "mtu",
            name,
            text,
            "overlay networks expect 1500: make them with --opt \
             com.docker.network.driver.mtu=VALUE, 50 less than this",
        )
    } else {
        Finding::ok("mtu", name, text)
    })
}

/// Of a worker, which does not know the others'.
pub(super) fn certificate(identity: &NodeIdentity) -> Finding {
    let credentials = identity.current();
    let until = credentials.certificate().not_after();
    let text = format!("certificate valid until {}", until.date());
    if until < OffsetDateTime::now_utc() {
        let advice = "docker swarm join with a token: it leaves and joins in one";
        Finding::problem("certificates", &name(), text, advice)
    } else {
        Finding::ok("certificates", &name(), text)
    }
}
