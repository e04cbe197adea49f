//! Sends an examination's packets, and hears those of others. Blocks for its window.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use skep_objects::skep_v1::ProbeHeard;
use socket2::{Domain, Protocol, Socket, Type};

use super::packet::{Said, filter};

/// When packets are sent: others may have heard of the examination a little later, and one lost
/// packet says nothing.
const ROUNDS: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(1500),
];
/// `IPPROTO_RAW`: what is sent has its IP header already.
const RAW: i32 = 255;
const RECEIVE_BUFFER: usize = 1 << 20;

/// One examination, from this node.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: Vec<u8>,
    pub(super) node_id: String,
    pub(super) from: IpAddr,
    pub(super) targets: Vec<IpAddr>,
    pub(super) ports: Vec<u16>,
    pub(super) packet_bytes: usize,
    pub(super) window: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) heard: Vec<ProbeHeard>,
    pub(super) failures: Vec<String>,
}

impl Exchange {
    pub(super) fn run(self) -> io::Result<Outcome> {
        let domain = if self.from.is_ipv4() {
            Domain::IPV4
        } else {
            Domain::IPV6
        };
        let receiver = Socket::new(domain, Type::RAW, Some(Protocol::UDP))?;
        receiver.attach_filter(&filter(self.from.is_ipv4()))?;
        // More than the kernel allows is cut to that.
        let _ = receiver.set_recv_buffer_size(RECEIVE_BUFFER);
        let sender = Socket::new(domain, Type::RAW, Some(Protocol::from(RAW)))?;
        let start = Instant::now();
        let mut outcome = Outcome::default();
        let mut heard = BTreeMap::new();
        let mut rounds = ROUNDS.into_iter().peekable();
        loop {
            let passed = start.elapsed();
            if passed >= self.window {
                break;
            }
            if rounds.next_if(|due| *due <= passed).is_some() {
                outcome.failures = self.send(&sender);
            }
            let until = rounds.peek().copied().unwrap_or(self.window);
            let wait = until.min(self.window).saturating_sub(passed);
            receiver.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
            self.receive(&receiver, &mut heard)?;
        }
        outcome.heard = heard.into_values().collect();
        Ok(outcome)
    }

    /// Sends everybody a small packet and a full one on each port; answers what the kernel refused.
    fn send(&self, socket: &Socket) -> Vec<String> {
        let mut failures = Vec::new();
        for to in &self.targets {
            for (port, is_full) in self.ports.iter().flat_map(|p| [(*p, false), (*p, true)]) {
                let said = Said {
                    id: self.id.clone(),
                    node_id: self.node_id.clone(),
                    is_full,
                };
                let bytes = if is_full { self.packet_bytes } else { 0 };
                let packet = said.packet(self.from, *to, port, bytes);
                // Raw sockets of IPv6 take no port.
                if let Err(error) = socket.send_to(&packet, &SocketAddr::new(*to, 0).into()) {
                    let size = packet.len();
                    failures.push(format!("send {size} bytes to {to}: {error}"));
                }
            }
        }
        failures
    }

    /// Takes one packet, if one comes in time.
    fn receive(
        &self,
        mut socket: &Socket,
        heard: &mut BTreeMap<(String, u16), ProbeHeard>,
    ) -> io::Result<()> {
        let mut bytes = vec![0; super::LARGEST as usize];
        let length = match socket.read(&mut bytes) {
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some((port, said)) = Said::received(&bytes[..length], self.from.is_ipv4()) else {
            return Ok(());
        };
        let is_ours = said.id == self.id && self.ports.contains(&port);
        if is_ours
            && (heard.len() < super::MOST || heard.contains_key(&(said.node_id.clone(), port)))
        {
            let entry = heard
                .entry((said.node_id.clone(), port))
                .or_insert_with(|| ProbeHeard {
                    node_id: said.node_id,
                    port: port.into(),
                    ..ProbeHeard::default()
                });
            entry.full |= said.is_full;
            entry.small |= !said.is_full;
        }
        Ok(())
    }
}
