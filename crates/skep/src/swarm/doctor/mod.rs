//! `swarm doctor`: looks at everything that a swarm needs, from this node, and explains what it
//! finds. See docs/design/doctor.md.

mod cluster;
mod finding;
mod host;
mod ping;

use std::net::IpAddr;
use std::time::Duration;

use skep_objects::swarmkit::{GetServiceRequest, HealthCheckRequest, Node, NodeRole, Peer};
use skep_rpc::NodeIdentity;
use skep_rpc::swarmkit::health_client::HealthClient;
use time::OffsetDateTime;
use tonic::{Code, Request};

pub use finding::{Finding, Level};

use super::error::SwarmError;
use super::manager::RunningManager;
use super::{Standing, SwarmNode, info as membership};

/// How long a manager may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// What is known of this node before anything is asked.
struct Patient {
    name: String,
    identity: Option<NodeIdentity>,
    addr: IpAddr,
    remotes: Vec<Peer>,
}

impl SwarmNode {
    /// Everything that was found, the worst first.
    pub async fn doctor(&self) -> Result<Vec<Finding>, SwarmError> {
        let patient = match &*self.standing() {
            Standing::Inactive => return Err(SwarmError::NotMember),
            Standing::Locked => return Err(SwarmError::Locked),
            Standing::Broken(_, error) => {
                let text = error.to_string();
                return Ok(vec![Finding::problem(
                    "certificates",
                    &host::name(),
                    text,
                    "see above",
                )]);
            }
            Standing::Member(member) => {
                let status = member.status.borrow();
                let settings = &member.settings;
                Patient {
                    name: host::name(),
                    identity: status.identity.clone(),
                    addr: settings
                        .data_path_addr
                        .unwrap_or(settings.advertise_addr.ip()),
                    remotes: status.remotes.clone(),
                }
            }
        };
        let manager = membership::manager(&self.standing()).ok();
        let mut found = host::examine(&patient.name, &self.inner.config.state_dir, patient.addr);
        let mut ways = Vec::new();
        if let Some(manager) = manager {
            found.extend(quorum(&*manager, &patient.name).await);
            let snapshot = manager.capture().0;
            let nodes = membership::nodes(&*manager.control()).await;
            let nodes = nodes.unwrap_or(snapshot.nodes);
            let now = OffsetDateTime::now_utc();
            found.extend(cluster::examine(&nodes, &snapshot.tasks, now));
            ways.extend(nodes.iter().filter_map(way));
        } else {
            found.extend(patient.identity.as_ref().map(host::certificate));
        }
        if let Some(identity) = &patient.identity {
            found.extend(ports(&patient.remotes, identity).await);
        }
        if ways.is_empty() {
            let host = |peer: &Peer| host_of(&peer.addr).map(|ip| (peer.addr.clone(), ip));
            ways = patient.remotes.iter().filter_map(host).collect();
        }
        ways.retain(|(_, ip)| *ip != patient.addr);
        found.extend(paths(ways).await);
        found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Ok(found)
    }
}

/// A node that should answer, and where its data path is.
fn way(node: &Node) -> Option<(String, IpAddr)> {
    use skep_objects::swarmkit::node_status::State;
    let status = node.status.as_ref().filter(|s| s.state() == State::Ready)?;
    let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
    let told = engine.and_then(|e| e.labels.get(skep_objects::DATA_PATH_LABEL));
    let ip = told.unwrap_or(&status.addr).parse().ok()?;
    Some((cluster::name(node), ip))
}

/// `ip:port` without the port.
fn host_of(addr: &str) -> Option<IpAddr> {
    let (host, _) = addr.rsplit_once(':')?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// Whether writes are possible; if not, the managers say why.
async fn quorum(manager: &dyn RunningManager, name: &str) -> Vec<Finding> {
    let request = GetServiceRequest {
        service_id: "doctor".to_owned(),
        ..Default::default()
    };
    match manager.control().get_service(Request::new(request)).await {
        Err(status) if status.code() == Code::Unavailable => vec![Finding::problem(
            "quorum",
            name,
            status.message(),
            "nothing can be changed until there is a leader; running tasks go on",
        )],
        _ => Vec::new(),
    }
}

/// Whether each manager answers on its port, with a certificate that is trusted.
async fn ports(managers: &[Peer], identity: &NodeIdentity) -> Vec<Finding> {
    let mut asked = Vec::new();
    for peer in managers {
        asked.push(port(&peer.addr, identity));
    }
    futures::future::join_all(asked).await
}

async fn port(addr: &str, identity: &NodeIdentity) -> Finding {
    let answer = tokio::time::timeout(DEADLINE, ask(addr, identity)).await;
    match answer.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
        Ok(()) => Finding::ok("ports", addr, "manager answers on its port"),
        Err(error) => Finding::problem(
            "ports",
            addr,
            format!("manager does not answer: {error}"),
            "its daemon does not run, or a firewall drops its port (2377/tcp unless another was \
             given with --listen-addr)",
        ),
    }
}

async fn ask(addr: &str, identity: &NodeIdentity) -> Result<(), String> {
    let channel = skep_rpc::connect(addr, identity).await;
    let channel = channel.map_err(|error| error.to_string())?;
    if identity.role() != NodeRole::Manager {
        return Ok(()); // Only managers may ask for more than a handshake.
    }
    let request = HealthCheckRequest {
        service: "Raft".to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await;
    answer.map(|_| ()).map_err(|s| s.message().to_owned())
}

/// Whether packets get to the other nodes, and back, also full ones.
async fn paths(ways: Vec<(String, IpAddr)>) -> Vec<Finding> {
    let mut tried = Vec::new();
    for (name, ip) in ways {
        tried.push(tokio::task::spawn_blocking(move || match ping::ping(ip) {
            Ok(answers) => path(&name, ip, answers),
            Err(error) => vec![Finding::warning(
                "path",
                &name,
                format!("way to {ip} could not be tried: {error}"),
                "the daemon needs the right to open raw sockets for that",
            )],
        }));
    }
    let found = futures::future::join_all(tried).await;
    found.into_iter().flatten().flatten().collect()
}

fn path(name: &str, ip: IpAddr, answers: ping::Answers) -> Vec<Finding> {
    let Some(small) = answers.small else {
        return vec![Finding::warning(
            "path",
            name,
            format!("{ip} does not answer an echo"),
            "the host or the way to it is down, or a firewall drops ICMP; overlay networks need \
             4789/udp (the swarm's data path port) both ways between all nodes",
        )];
    };
    let text = format!("{ip} answers in {:.1} ms", small.as_secs_f64() * 1e3);
    let path = Finding::ok("path", name, text);
    let mtu = match answers.full {
        Some(_) => Finding::ok("mtu", name, format!("frames of 1500 bytes get to {ip}")),
        None => Finding::problem(
            "mtu",
            name,
            format!("frames of 1500 bytes do not get to {ip}"),
            "full packets of overlay networks are lost on that way. Raise the MTU of the hosts' \
             network, or make networks with --opt com.docker.network.driver.mtu=1400 or less",
        ),
    };
    vec![path, mtu]
}
