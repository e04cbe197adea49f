//! What a client asks at init and join, checked before anything is done.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use skep_objects::api::swarm::{InitRequest, JoinRequest};
use skep_objects::ids::new_id;
use skep_objects::swarmkit::NodeRole;
use skep_objects::swarmkit::node_spec::Availability;
use skep_objects::timestamp;
use skep_rpc::identity::{
    Credentials, JoinToken, NODE_LIFE, NodeCertificate, NodeCertificateRequest, NodeKey,
    RootBundle, SigningRoot,
};
use time::{Duration, OffsetDateTime};

use super::SwarmConfig;
use super::address::{Addresses, host_addresses, with_default_port};
use super::error::SwarmError;
use super::manager::Founding;
use super::moving;
use super::state::{Joining, Settings};
use crate::http::convert::{node, swarm};

const DATA_PATH_PORTS: std::ops::RangeInclusive<u32> = 1024..=49151;
const MAX_SUBNET_SIZE: u32 = 29;
const DEFAULT_SUBNET_SIZE: u32 = 24;

fn invalid(text: impl Into<String>) -> SwarmError {
    SwarmError::Invalid(text.into())
}

/// The host's addresses now.
pub(super) fn addresses(config: &SwarmConfig) -> Result<Addresses, SwarmError> {
    let host = Arc::clone(&config.host);
    let all = host_addresses(|name| host.is_own_interface(name))
        .map_err(|e| invalid(format!("list network interfaces: {e}")))?;
    Ok(Addresses::new(all))
}

/// A swarm to be made.
pub(super) struct Init {
    pub(super) settings: Settings,
    pub(super) founding: Founding,
    pub(super) availability: Availability,
}

/// Checks an init request.
pub(super) fn init(config: &SwarmConfig, request: &InitRequest) -> Result<Init, SwarmError> {
    let availability = availability(&request.availability)?;
    let addresses = addresses(config)?;
    let listen = addresses.listen(&request.listen_addr)?;
    let default = config.default_advertise_addr.as_deref();
    let advertise = addresses.advertise(&request.advertise_addr, default, listen)?;
    let mut settings = Settings::new(listen, advertise);
    settings.data_path_addr = addresses.data_path(&request.data_path_addr)?;
    moving::note_interfaces(&mut settings, &addresses);
    if request.data_path_port != 0 && !DATA_PATH_PORTS.contains(&request.data_path_port) {
        return Err(invalid(
            "Datapath port number is not in valid range (1024-49151)",
        ));
    }
    let pools = request.default_addr_pool.clone().unwrap_or_default();
    check_pools(&pools, request.subnet_size)?;
    let mut asked = request.spec.clone();
    asked.encryption_config.auto_lock_managers |= request.auto_lock_managers;
    let spec = swarm::to_spec(asked, swarm::default_spec()).map_err(|e| invalid(e.to_string()))?;
    let ca = spec.ca_config.clone().unwrap_or_default();
    let founding = Founding {
        root_cert: ca.signing_ca_cert,
        root_key: ca.signing_ca_key,
        spec,
        default_addr_pool: pools,
        subnet_size: request.subnet_size,
        data_path_port: request.data_path_port,
        restore: None,
    };
    Ok(Init {
        settings,
        founding,
        availability,
    })
}

/// Makes the root, unless it was given, and this node's certificate.
pub(super) fn found(mut founding: Founding) -> Result<(Credentials, Founding), SwarmError> {
    let now = OffsetDateTime::now_utc();
    let refused = |e: &dyn std::fmt::Display| invalid(format!("invalid CA certificate: {e}"));
    let root = if founding.root_cert.is_empty() {
        SigningRoot::create(now).map_err(|e| refused(&e))?
    } else {
        SigningRoot::new(&founding.root_cert, &founding.root_key, b"").map_err(|e| refused(&e))?
    };
    let expiry = founding
        .spec
        .ca_config
        .as_ref()
        .and_then(|ca| ca.node_cert_expiry.as_ref());
    let life = expiry
        .map(timestamp::duration)
        .and_then(|d| Duration::try_from(d).ok())
        .unwrap_or(NODE_LIFE);
    let cluster_id = match &founding.restore {
        Some(restoration) => restoration.cluster_id().to_owned(),
        None => new_id(),
    };
    let made = || -> Result<Credentials, Box<dyn std::error::Error>> {
        let key = NodeKey::generate()?;
        let csr = key.csr()?;
        let request = NodeCertificateRequest {
            csr: &csr,
            node_id: &new_id(),
            role: NodeRole::Manager,
            cluster_id: &cluster_id,
            life,
        };
        let chain = NodeCertificate::from_pem(&root.sign(&request, now)?)?;
        Ok(Credentials::new(
            key,
            chain,
            RootBundle::from_pem(root.cert_pem())?,
        )?)
    };
    let credentials = made().map_err(|e| refused(&e))?;
    founding.root_cert = root.cert_pem().to_vec();
    founding.root_key = root.key_pem().into_bytes();
    Ok((credentials, founding))
}

/// Checks a join request.
pub(super) fn join(config: &SwarmConfig, request: &JoinRequest) -> Result<Settings, SwarmError> {
    let availability = availability(&request.availability)?;
    let mut remotes = Vec::new();
    for remote in request.remote_addrs.iter().flatten() {
        let bad = || invalid(format!("invalid remote address {remote:?}"));
        remotes.push(with_default_port(remote).ok_or_else(bad)?);
    }
    if remotes.is_empty() {
        return Err(invalid("at least 1 RemoteAddr is required to join"));
    }
    JoinToken::parse(&request.join_token).map_err(|e| invalid(e.to_string()))?;
    let addresses = addresses(config)?;
    let listen = addresses.listen(&request.listen_addr)?;
    let told = request.advertise_addr.as_str();
    let default = config.default_advertise_addr.as_deref();
    // Without a word about it, the address that packets to the manager leave from.
    let is_told = !told.is_empty() || default.is_some_and(|d| !d.is_empty());
    let routed = remotes.first().and_then(|remote| source_address(remote));
    let advertise = match routed {
        Some(ip) if !is_told && listen.ip().is_unspecified() => SocketAddr::new(ip, listen.port()),
        _ => addresses.advertise(told, default, listen)?,
    };
    let mut settings = Settings::new(listen, advertise);
    settings.data_path_addr = addresses.data_path(&request.data_path_addr)?;
    moving::note_interfaces(&mut settings, &addresses);
    settings.joining = Some(Joining {
        remotes,
        token: request.join_token.clone(),
        availability: availability.into(),
    });
    Ok(settings)
}

/// The address that packets to `remote` leave from; nothing is sent.
fn source_address(remote: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let is_connected = socket.connect(remote).is_ok();
    let socket = if is_connected {
        socket
    } else {
        let socket = UdpSocket::bind("[::]:0").ok()?;
        socket.connect(remote).ok()?;
        socket
    };
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

fn availability(text: &str) -> Result<Availability, SwarmError> {
    if text.is_empty() {
        return Ok(Availability::Active);
    }
    node::to_availability(text).map_err(|e| invalid(e.to_string()))
}

fn check_pools(pools: &[String], subnet_size: u32) -> Result<(), SwarmError> {
    if pools.is_empty() {
        return Ok(());
    }
    let size = if subnet_size == 0 {
        DEFAULT_SUBNET_SIZE
    } else {
        subnet_size
    };
    if size > MAX_SUBNET_SIZE {
        return Err(invalid(format!("subnet size is out of range: {size}")));
    }
    let mut seen: Vec<(u32, u32)> = Vec::new();
    for pool in pools {
        let (base, prefix) =
            parse_pool(pool).ok_or_else(|| invalid(format!("invalid base pool {pool}")))?;
        if prefix > size {
            return Err(invalid(format!(
                "invalid CIDR: {pool:?}. Subnet size is too small for pool: {size}"
            )));
        }
        let overlaps = |(other, length): &(u32, u32)| {
            let mask = mask(prefix.min(*length));
            (base & mask) == (other & mask)
        };
        if seen.iter().any(overlaps) {
            return Err(invalid(format!(
                "invalid default address pools: {pool} overlaps another"
            )));
        }
        seen.push((base, prefix));
    }
    Ok(())
}

fn mask(prefix: u32) -> u32 {
    u32::MAX.checked_shl(32 - prefix).unwrap_or(0)
}

fn parse_pool(text: &str) -> Option<(u32, u32)> {
    let (base, prefix) = text.split_once('/')?;
    let base: std::net::Ipv4Addr = base.parse().ok()?;
    let prefix: u32 = prefix.parse().ok()?;
    (prefix <= 32).then(|| (u32::from(base), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pools: &[&str], size: u32, expect: Option<&str>) {
        let pools: Vec<String> = pools.iter().map(|p| (*p).to_owned()).collect();
        let got = check_pools(&pools, size).err().map(|e| e.to_string());
        assert_eq!(got.as_deref(), expect);
    }

    #[test]
    fn pools_are_checked() {
        check(&[], 0, None);
        check(&["10.10.0.0/16", "10.20.0.0/16"], 24, None);
        check(&["10.0.0.0/8"], 30, Some("subnet size is out of range: 30"));
        check(
            &["10.0.0.0/25"],
            0,
            Some("invalid CIDR: \"10.0.0.0/25\". Subnet size is too small for pool: 24"),
        );
        check(
            &["10.0.0.0/8", "10.1.0.0/16"],
            0,
            Some("invalid default address pools: 10.1.0.0/16 overlaps another"),
        );
        check(&["nonsense"], 0, Some("invalid base pool nonsense"));
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        assert!(source_address("127.0.0.1:2377").unwrap().is_loopback());
        assert_eq!(source_address("nonsense"), None);
    }
}
