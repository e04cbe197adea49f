//! A host that has other addresses than before: what is taken over by itself when the daemon starts,
//! and what its user says with `swarm move`.

use std::net::{IpAddr, SocketAddr};

use skep_objects::api::swarm::InitRequest;
use tracing::{info, warn};

use super::address::Addresses;
use super::error::SwarmError;
use super::state::Settings;
use super::{Standing, SwarmConfig, SwarmNode, info as membership, member, request, resume, take};

/// Remembers which interfaces have the addresses: when one has another address later, the host has
/// moved.
pub(super) fn note_interfaces(settings: &mut Settings, addresses: &Addresses) {
    settings.advertise_interface = addresses.interface_of(settings.advertise_addr.ip());
    let listen = settings.listen_addr.ip();
    settings.listen_interface = addresses.interface_of(listen);
    settings.data_path_interface = settings
        .data_path_addr
        .and_then(|ip| addresses.interface_of(ip));
}

/// The settings of a node that is started again: its host may have other addresses by now. Where
/// there is no telling which to advertise, it keeps the one it had, since somebody may translate it;
/// an address to listen on or to take packets at must be there.
pub(super) fn follow(config: &SwarmConfig, settings: &Settings) -> Result<Settings, SwarmError> {
    let addresses = match request::addresses(config) {
        Ok(addresses) => addresses,
        Err(error) => {
            warn!(%error, "this host's addresses cannot be read");
            return Ok(settings.clone());
        }
    };
    let now = moved(
        settings,
        &addresses,
        config.default_advertise_addr.as_deref(),
    )?;
    if now != *settings {
        info!(before = %settings.advertise_addr, now = %now.advertise_addr, "this host has moved");
    }
    Ok(now)
}

fn moved(
    settings: &Settings,
    addresses: &Addresses,
    default: Option<&str>,
) -> Result<Settings, SwarmError> {
    let mut now = settings.clone();
    let before = settings.advertise_addr;
    if let Some(interface) = settings.advertise_interface.as_deref() {
        match addresses.moved(before, interface, default) {
            Ok(addr) => now.advertise_addr = addr,
            Err(error) => {
                warn!(%before, %error, "this host has lost its address, and there is no telling the new one");
            }
        }
    }
    // An address that was the advertised one goes with it.
    let instead = |ip: IpAddr, interface: &str| {
        let goes_along = ip == before.ip() && addresses.interface_of(ip).is_none();
        let along = goes_along.then(|| now.advertise_addr.ip());
        along
            .filter(|new| *new != ip)
            .or_else(|| addresses.instead_of(ip, interface))
    };
    let listen = settings.listen_addr;
    if let Some(interface) = settings.listen_interface.as_deref() {
        let found = instead(listen.ip(), interface);
        let found = found.ok_or_else(|| lost(listen.ip(), "listens on", "--listen-addr"))?;
        now.listen_addr = SocketAddr::new(found, listen.port());
    }
    if let (Some(ip), Some(interface)) = (
        settings.data_path_addr,
        settings.data_path_interface.as_deref(),
    ) {
        let found = instead(ip, interface);
        let found =
            found.ok_or_else(|| lost(ip, "takes overlay traffic at", "--data-path-addr"))?;
        now.data_path_addr = Some(found);
    }
    Ok(now)
}

fn lost(addr: IpAddr, what: &'static str, flag: &'static str) -> SwarmError {
    SwarmError::AddressLost { addr, what, flag }
}

impl SwarmNode {
    /// Changes this node's addresses; empty ones stay. Tasks go on, and the other managers are told.
    pub async fn move_to(&self, asked: InitRequest) -> Result<(), SwarmError> {
        let _one = self.inner.change.lock().await;
        let Some(mut settings) = self.inner.dir.settings()? else {
            return Err(SwarmError::NotMember);
        };
        let kek = match &*self.standing() {
            Standing::Locked => return Err(SwarmError::Locked),
            standing => membership::manager(standing)
                .ok()
                .and_then(|manager| manager.unlock_key().borrow().kek.clone()),
        };
        let config = &self.inner.config;
        let addresses = request::addresses(config)?;
        let told = [
            &asked.listen_addr,
            &asked.advertise_addr,
            &asked.data_path_addr,
        ];
        if told.iter().all(|addr| addr.is_empty()) {
            let text =
                "at least one of --advertise-addr, --listen-addr and --data-path-addr is needed";
            return Err(SwarmError::Invalid(text.to_owned()));
        }
        if !asked.listen_addr.is_empty() {
            settings.listen_addr = addresses.listen(&asked.listen_addr)?;
        }
        if !asked.advertise_addr.is_empty() {
            let listen = settings.listen_addr;
            settings.advertise_addr = addresses.advertise(&asked.advertise_addr, None, listen)?;
        }
        if !asked.data_path_addr.is_empty() {
            settings.data_path_addr = addresses.data_path(&asked.data_path_addr)?;
        }
        let told = note_told(&settings, &addresses);
        // What stays must be there too, before anything is changed.
        let told = moved(&told, &addresses, None)?;
        self.replace(Standing::Inactive).await;
        self.inner.dir.save_settings(&told)?;
        self.replace(resume(config, &self.inner.dir, kek, false))
            .await;
        let status = match &*self.standing() {
            Standing::Member(member) => member.status.clone(),
            Standing::Broken(_, error) => return Err(SwarmError::Shared(error.clone())),
            Standing::Inactive | Standing::Locked => return Ok(()),
        };
        let ready = member::ready(status);
        match tokio::time::timeout(config.connect_timeout, ready).await {
            Ok(ready) => ready.map_err(take),
            // It goes on trying; `info` tells why.
            Err(_) => Err(SwarmError::Ended(
                "the addresses are changed, and no manager was reached in time: see docker info"
                    .to_owned(),
            )),
        }
    }
}

/// Interfaces anew where they have the addresses; those that have lost theirs are kept, to tell.
fn note_told(settings: &Settings, addresses: &Addresses) -> Settings {
    let mut noted = settings.clone();
    note_interfaces(&mut noted, addresses);
    noted.listen_interface = noted
        .listen_interface
        .or_else(|| settings.listen_interface.clone());
    noted.data_path_interface = noted
        .data_path_interface
        .or_else(|| settings.data_path_interface.clone());
    noted
}

#[cfg(test)]
mod tests {
    use super::super::address::HostAddress;
    use super::*;

    fn host(all: &[(&str, &str)]) -> Addresses {
        let all = all.iter().map(|(interface, ip)| HostAddress {
            interface: (*interface).to_owned(),
            ip: ip.parse().unwrap(),
            is_up: true,
            is_ours: false,
        });
        Addresses::new(all.collect())
    }

    fn settings(listen: &str, data_path: Option<&str>) -> Settings {
        let advertise = "10.0.0.1:2377".parse().unwrap();
        let mut settings = Settings::new(listen.parse().unwrap(), advertise);
        settings.data_path_addr = data_path.map(|ip| ip.parse().unwrap());
        let before = host(&[("eth0", "10.0.0.1"), ("eth1", "10.1.0.1")]);
        note_interfaces(&mut settings, &before);
        settings
    }

    #[track_caller]
    fn check(before: &Settings, now: &[(&str, &str)], expect: &str) {
        let said = match moved(before, &host(now), None) {
            Ok(now) => format!(
                "{} {} {:?}",
                now.listen_addr, now.advertise_addr, now.data_path_addr
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn addresses_follow_their_interfaces() {
        let same = [("eth0", "10.0.0.1"), ("eth1", "10.1.0.1")];
        let moved = [("eth0", "10.0.0.9"), ("eth1", "10.1.0.9")];
        let any = settings("0.0.0.0:2377", None);
        check(&any, &same, "0.0.0.0:2377 10.0.0.1:2377 None");
        check(&any, &moved, "0.0.0.0:2377 10.0.0.9:2377 None");
        let fixed = settings("10.0.0.1:2377", Some("10.1.0.1"));
        check(&fixed, &same, "10.0.0.1:2377 10.0.0.1:2377 Some(10.1.0.1)");
        check(&fixed, &moved, "10.0.0.9:2377 10.0.0.9:2377 Some(10.1.0.9)");
        // Only the data path's interface.
        check(
            &fixed,
            &[("eth0", "10.0.0.1"), ("eth1", "10.1.0.9")],
            "10.0.0.1:2377 10.0.0.1:2377 Some(10.1.0.9)",
        );
    }

    #[test]
    fn an_address_that_is_lost_is_told_with_what_mends_it() {
        check(
            &settings("10.0.0.1:2377", Some("10.1.0.1")),
            &[("eth0", "10.0.0.1"), ("eth2", "10.2.0.1")],
            "this host has lost the address 10.1.0.1, which it takes overlay traffic at, and there is no \
             telling the new one: give it back, or run `skep swarm move --data-path-addr ADDR`",
        );
        check(
            &settings("10.1.0.1:2377", None),
            &[("eth0", "10.0.0.1")],
            "this host has lost the address 10.1.0.1, which it listens on, and there is no telling the \
             new one: give it back, or run `skep swarm move --listen-addr ADDR`",
        );
    }
}
