//! What this node tries and tells when the managers examine all nodes (`swarm doctor`).

mod exchange;
mod packet;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use skep_agent::Prober;
use skep_objects::skep_v1::{ProbeManager, ProbeReport, ProbeRequest};
use skep_rpc::NodeIdentity;
use time::OffsetDateTime;
use tokio::net::TcpStream;

use super::doctor::HostFacts;
use exchange::{Exchange, Outcome};

/// Nodes and managers of one request that are tried, at most, and nodes that are heard.
const MOST: usize = 64;
/// How long connecting to a manager may take.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest that a request may have this node listen.
const WINDOW: Duration = Duration::from_secs(10);
const ETHERNET: u32 = 1500;
/// What raw sockets are read with holds no more.
const LARGEST: u32 = 9216;

/// Tries ways from this node.
#[derive(Debug)]
pub(super) struct NodeProber {
    pub(super) identity: NodeIdentity,
    pub(super) data_path_addr: IpAddr,
    pub(super) state_dir: PathBuf,
}

#[async_trait]
impl Prober for NodeProber {
    async fn probe(&self, request: ProbeRequest) -> ProbeReport {
        let clock = OffsetDateTime::now_utc().unix_timestamp_nanos();
        let facts = HostFacts::read(&self.state_dir, self.data_path_addr);
        let exchange = self.exchange(&request, &facts);
        let packets = tokio::task::spawn_blocking(move || exchange.run());
        let managers = request.managers.into_iter().take(MOST).map(connect);
        let (packets, managers) = tokio::join!(packets, join_all(managers));
        let outcome = match packets {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => refused(&error.to_string()),
            Err(error) => refused(&error.to_string()),
        };
        let credentials = self.identity.current();
        let certificate = credentials.certificate();
        ProbeReport {
            id: request.id,
            clock_nanos: i64::try_from(clock).unwrap_or_default(),
            heard: outcome.heard,
            managers,
            disk_free_bytes: facts.disk_free_bytes.unwrap_or_default(),
            disk_path: facts.disk_path,
            interface: facts.interface.unwrap_or_default(),
            mtu: facts.mtu,
            addr: self.data_path_addr.to_string(),
            certificate_from: certificate.not_before().unix_timestamp(),
            certificate_until: certificate.not_after().unix_timestamp(),
            failures: outcome.failures,
        }
    }
}

impl NodeProber {
    fn exchange(&self, request: &ProbeRequest, facts: &HostFacts) -> Exchange {
        let targets = request.targets.iter().take(MOST);
        let targets = targets.filter_map(|target| target.addr.parse::<IpAddr>().ok());
        let bytes = match request.packet_bytes {
            0 if facts.mtu == 0 => ETHERNET,
            0 => facts.mtu.min(ETHERNET),
            bytes => bytes.min(LARGEST),
        };
        Exchange {
            id: request.id.clone(),
            node_id: self.identity.node_id().to_owned(),
            from: self.data_path_addr,
            targets: targets
                .filter(|to| to.is_ipv4() == self.data_path_addr.is_ipv4())
                .collect(),
            ports: request
                .ports
                .iter()
                .take(4)
                .filter_map(|port| u16::try_from(*port).ok())
                .collect(),
            packet_bytes: bytes as usize,
            window: Duration::from_millis(request.window_millis.into()).min(WINDOW),
        }
    }
}

fn refused(error: &str) -> Outcome {
    Outcome {
        failures: vec![format!("raw sockets: {error}")],
        ..Outcome::default()
    }
}

async fn connect(addr: String) -> ProbeManager {
    let error = match tokio::time::timeout(CONNECT, TcpStream::connect(&addr)).await {
        Ok(Ok(_)) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    ProbeManager { addr, error }
}
