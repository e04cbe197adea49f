//! Why an operation on the network did not work.

use std::net::IpAddr;
use std::path::PathBuf;

use skep_objects::ErrorKind;

use crate::netlink::NetlinkError;
use crate::publish::Protocol;

/// An operation on the network that did not work.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A kernel request.
    #[error("{attempt}: {source}")]
    Netlink {
        /// What was attempted, on what.
        attempt: String,
        /// The kernel's answer.
        #[source]
        source: NetlinkError,
    },
    /// A file or system call.
    #[error("{attempt} {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// A socket operation.
    #[error("{attempt}: {source}")]
    Socket {
        /// What was attempted, on what.
        attempt: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The network is not known here.
    #[error("network {0} not found")]
    UnknownNetwork(String),
    /// The namespace is not known here.
    #[error("network namespace {0} not found")]
    UnknownNetns(String),
    /// A name that cannot be a file or an interface.
    #[error("invalid {what}: {value}")]
    Invalid {
        /// What it was to be.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The interface that a network is to be on. Docker's text.
    #[error("-o parent interface does not exist on the host: {name}")]
    NoParent {
        /// The interface.
        name: String,
    },
    /// A parent that would have to be a VLAN interface, which its name is none of. Docker's text.
    #[error(
        "required interface name format is: name.vlan_tag, ex. eth0.10 for vlan 10, instead received {0}"
    )]
    NotAVlan(String),
    /// A tag that is none. Docker's text.
    #[error("vlan id must be between 1-4094, received: {0}")]
    VlanId(String),
    /// The loopback carries nobody's frames. Docker's text.
    #[error("loopback interface is not a valid {driver} parent link")]
    LoopbackParent {
        /// The network's driver.
        driver: &'static str,
    },
    /// One network has, or wants, the parent for itself. Docker's text.
    #[error("cannot use mode passthru, macvlan network {other} is using parent interface {parent}")]
    ParentShared {
        /// The other network.
        other: String,
        /// The interface.
        parent: String,
    },
    /// A part of the kernel that is not in this one.
    #[error("{attempt}: this kernel has no {part}")]
    NotInKernel {
        /// What was attempted.
        attempt: String,
        /// The part.
        part: &'static str,
    },
    /// An interface of this name belongs to somebody else.
    #[error("interface {name} already exists and is not managed by this daemon")]
    ForeignInterface {
        /// The interface.
        name: String,
    },
    /// What was to be taken over as a bridge is none. Docker's text.
    #[error("existing interface {name} is not a bridge")]
    NotABridge {
        /// The interface.
        name: String,
    },
    /// Two networks are to be on one bridge. Docker's text.
    #[error(
        "cannot create network {network_id} ({bridge}): conflicts with network {other} ({bridge}): networks have same bridge name"
    )]
    SameBridge {
        /// The network that is to be made.
        network_id: String,
        /// The network that has the bridge.
        other: String,
        /// The bridge.
        bridge: String,
    },
    /// Another container of this daemon has the port. Docker's text.
    #[error("Bind for {ip}:{port} failed: port is already allocated", ip = bracketed(.host_ip))]
    PortAllocated {
        /// Host address.
        host_ip: IpAddr,
        /// Host port.
        port: u16,
    },
    /// Another process of the host has the port. Docker's text.
    #[error("failed to bind host port {ip}:{port}/{protocol}: address already in use", ip = bracketed(.host_ip))]
    PortInUse {
        /// Host address.
        host_ip: IpAddr,
        /// Host port.
        port: u16,
        /// Transport protocol.
        protocol: Protocol,
    },
    /// Every port of the range is taken. Docker's text.
    #[error("all ports are allocated")]
    NoPortFree,
    /// The host has no such address. Docker's text.
    #[error("failed to bind host port {ip}:{port}/{protocol}: cannot assign requested address", ip = bracketed(.host_ip))]
    AddressNotLocal {
        /// Host address.
        host_ip: IpAddr,
        /// Host port.
        port: u16,
        /// Transport protocol.
        protocol: Protocol,
    },
    /// The daemon is not part of a swarm.
    #[error("no swarm data path is set")]
    NoSwarm,
    /// Several steps of a tear-down failed.
    #[error("{}", join(.0))]
    Several(Vec<NetError>),
}

fn bracketed(ip: &IpAddr) -> String {
    match ip {
        IpAddr::V4(a) => a.to_string(),
        IpAddr::V6(a) => format!("[{a}]"),
    }
}

fn join(errors: &[NetError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl NetError {
    /// Says what was attempted when the kernel refused.
    pub(crate) fn netlink(attempt: impl Into<String>) -> impl FnOnce(NetlinkError) -> NetError {
        let attempt = attempt.into();
        move |source| NetError::Netlink { attempt, source }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            NetError::Netlink { .. } | NetError::Io { .. } | NetError::Socket { .. } => {
                ErrorKind::Internal
            }
            NetError::UnknownNetwork(_) | NetError::UnknownNetns(_) => ErrorKind::NotFound,
            NetError::Invalid { .. }
            | NetError::NoParent { .. }
            | NetError::NotAVlan(_)
            | NetError::VlanId(_)
            | NetError::LoopbackParent { .. } => ErrorKind::InvalidArgument,
            NetError::NotInKernel { .. } => ErrorKind::NotImplemented,
            NetError::ForeignInterface { .. } => ErrorKind::Conflict,
            NetError::SameBridge { .. } | NetError::ParentShared { .. } => ErrorKind::NotAllowed,
            NetError::NotABridge { .. } => ErrorKind::Internal,
            // Docker answers 500 for port conflicts at start.
            NetError::PortAllocated { .. }
            | NetError::PortInUse { .. }
            | NetError::NoPortFree
            | NetError::AddressNotLocal { .. } => ErrorKind::Internal,
            NetError::NoSwarm => ErrorKind::Unavailable,
            NetError::Several(errors) => errors.first().map_or(ErrorKind::Internal, NetError::kind),
        }
    }

    /// `Ok` if no step failed, the error alone if one did.
    pub(crate) fn collect(mut errors: Vec<NetError>) -> Result<(), NetError> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(NetError::Several(errors)),
        }
    }
}
