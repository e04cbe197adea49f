//! Which addresses a node listens on, advertises, and sends overlay traffic from. Pure, given the
//! host's interfaces.

mod interfaces;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use skep_objects::ErrorKind;

pub use interfaces::{HostAddress, host_addresses};

/// Port of managers.
pub const DEFAULT_PORT: u16 = 2377;

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum AddressError {
    #[error("no such interface")]
    NoSuchInterface,
    #[error("interface {0} has no usable addresses")]
    NoAddresses(String),
    #[error("could not find the system's IP address")]
    NoAddress,
    #[error(
        "could not choose an IP address to advertise since this system has multiple addresses on \
         different interfaces ({0} on {1} and {2} on {3})"
    )]
    SeveralInterfaces(IpAddr, String, IpAddr, String),
    #[error(
        "could not choose an IP address to advertise since this system has multiple addresses on \
         interface {0} ({1} and {2})"
    )]
    SeveralAddresses(String, IpAddr, IpAddr),
    #[error("interface {0} has more than one {1} address ({2} and {3})")]
    InterfaceAmbiguous(String, &'static str, IpAddr, IpAddr),
    #[error(
        "listen address must be an IP address or network interface (with optional port number)"
    )]
    BadListen,
    #[error(
        "advertise address must be a non-zero IP address or network interface (with optional port \
         number)"
    )]
    BadAdvertise,
    #[error(
        "data path address must be a non-zero IP address or network interface (without a port \
         number)"
    )]
    BadDataPath,
    #[error(
        "default advertise address must be a non-zero IP address or network interface (without a \
         port number)"
    )]
    BadDefaultAdvertise,
    #[error(
        "must specify a listening address because the address to advertise is not recognized as a \
         system address, and a system's IP address to use could not be uniquely identified"
    )]
    MustSpecifyListen,
}

impl AddressError {
    /// The kind of this error, for status codes.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// The host's addresses, loopback and down interfaces included.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    all: Vec<HostAddress>,
}

impl Addresses {
    /// From what the kernel says.
    pub fn new(all: Vec<HostAddress>) -> Self {
        Self { all }
    }

    /// The interface of this host that has the address, if one has.
    pub fn interface_of(&self, ip: IpAddr) -> Option<String> {
        let owner = self.all.iter().find(|address| address.ip == ip)?;
        Some(owner.interface.clone())
    }

    /// What to advertise after `before`, which `interface` had: itself while any interface has it,
    /// then the default, the interface's address, or the system's only one.
    pub fn moved(
        &self,
        before: SocketAddr,
        interface: &str,
        default: Option<&str>,
    ) -> Result<SocketAddr, AddressError> {
        if self.interface_of(before.ip()).is_some() {
            return Ok(before);
        }
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, before.port()));
        if default.is_some_and(|default| !default.is_empty()) {
            return self.advertise("", default, any);
        }
        match self.of_interface(interface) {
            Ok(ip) => Ok(SocketAddr::new(ip, before.port())),
            Err(_) => self.advertise("", None, any),
        }
    }

    /// The address in place of `before`, which `interface` had: itself while any interface has it, or
    /// that of the interface. None where there is no telling.
    pub fn instead_of(&self, before: IpAddr, interface: &str) -> Option<IpAddr> {
        if self.interface_of(before).is_some() {
            return Some(before);
        }
        let found = self.of_interface(interface).ok()?;
        (found.is_ipv4() == before.is_ipv4()).then_some(found)
    }

    /// Where a manager listens: `0.0.0.0:2377`, an address or an interface.
    pub fn listen(&self, text: &str) -> Result<SocketAddr, AddressError> {
        if text.is_empty() {
            return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)));
        }
        let (host, port) = split_port(text).ok_or(AddressError::BadListen)?;
        let port = port.unwrap_or(DEFAULT_PORT);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        match self.of_interface(host) {
            Ok(ip) => Ok(SocketAddr::new(ip, port)),
            Err(AddressError::NoSuchInterface) => Err(AddressError::BadListen),
            Err(other) => Err(other),
        }
    }

    /// What other nodes reach this one at: as told, or the default, or the system's only address.
    pub fn advertise(
        &self,
        told: &str,
        default: Option<&str>,
        listen: SocketAddr,
    ) -> Result<SocketAddr, AddressError> {
        if !told.is_empty() {
            let (host, port) = split_port(told).ok_or(AddressError::BadAdvertise)?;
            let ip = self.named(host, AddressError::BadAdvertise)?;
            return Ok(SocketAddr::new(ip, port.unwrap_or(listen.port())));
        }
        if let Some(default) = default.filter(|d| !d.is_empty()) {
            let ip = self.named(default, AddressError::BadDefaultAdvertise)?;
            return Ok(SocketAddr::new(ip, listen.port()));
        }
        if !listen.ip().is_unspecified() {
            return Ok(listen);
        }
        Ok(SocketAddr::new(self.only()?, listen.port()))
    }

    /// Where overlay traffic goes; none means the advertised address.
    pub fn data_path(&self, told: &str) -> Result<Option<IpAddr>, AddressError> {
        if told.is_empty() {
            return Ok(None);
        }
        self.named(told, AddressError::BadDataPath).map(Some)
    }

    /// An address or the address of an interface.
    fn named(&self, text: &str, bad: AddressError) -> Result<IpAddr, AddressError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return if ip.is_unspecified() {
                Err(bad)
            } else {
                Ok(ip)
            };
        }
        match self.of_interface(text) {
            Err(AddressError::NoSuchInterface) => Err(bad),
            other => other,
        }
    }

    /// The one IPv4 address of an interface, else its one IPv6 address.
    fn of_interface(&self, name: &str) -> Result<IpAddr, AddressError> {
        let own: Vec<IpAddr> = self
            .all
            .iter()
            .filter(|a| a.interface == name)
            .map(|a| a.ip)
            .collect();
        if own.is_empty() {
            return Err(AddressError::NoSuchInterface);
        }
        for (is_family, family) in [
            (IpAddr::is_ipv4 as fn(&IpAddr) -> bool, "IPv4"),
            (IpAddr::is_ipv6 as fn(&IpAddr) -> bool, "IPv6"),
        ] {
            let usable: Vec<&IpAddr> = own
                .iter()
                .filter(|ip| is_family(ip) && !is_link_local(ip))
                .collect();
            match usable[..] {
                [] => {}
                [one] => return Ok(*one),
                [first, second, ..] => {
                    let name = name.to_owned();
                    return Err(AddressError::InterfaceAmbiguous(
                        name, family, *first, *second,
                    ));
                }
            }
        }
        Err(AddressError::NoAddresses(name.to_owned()))
    }

    /// The system's only address that other hosts may know: IPv4 first, then IPv6.
    fn only(&self) -> Result<IpAddr, AddressError> {
        let usable = |is_v4: bool| {
            let candidates = self.all.iter().filter(|a| a.is_candidate());
            candidates
                .filter(move |a| a.ip.is_ipv4() == is_v4)
                .collect::<Vec<_>>()
        };
        for found in [usable(true), usable(false)] {
            match found[..] {
                [] => {}
                [one] => return Ok(one.ip),
                [a, b, ..] if a.interface == b.interface => {
                    return Err(AddressError::SeveralAddresses(
                        a.interface.clone(),
                        a.ip,
                        b.ip,
                    ));
                }
                [a, b, ..] => {
                    return Err(AddressError::SeveralInterfaces(
                        a.ip,
                        a.interface.clone(),
                        b.ip,
                        b.interface.clone(),
                    ));
                }
            }
        }
        Err(AddressError::NoAddress)
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        return match tail.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => tail.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
    }
}

/// Adds the default port to the address of a manager, where it has none.
pub fn with_default_port(remote: &str) -> Option<String> {
    let (host, port) = split_port(remote)?;
    if host.is_empty() {
        return None;
    }
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    Some(format!("{host}:{}", port.unwrap_or(DEFAULT_PORT)))
}

#[cfg(test)]
mod tests;
