//! `swarm doctor`: looks at everything that a swarm needs, from this node and through all others,
//! and explains what it finds. See docs/design/doctor.md.

mod cluster;
mod finding;
mod host;
mod ping;
mod ways;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use skep_objects::skep_v1::{ExamineRequest, ExamineResponse};
use skep_objects::swarmkit::{GetServiceRequest, HealthCheckRequest, Node, NodeRole, Peer, Task};
use skep_rpc::NodeIdentity;
use skep_rpc::skep_v1::probes_client::ProbesClient;
use skep_rpc::swarmkit::health_client::HealthClient;
use tonic::{Code, Request};

pub use finding::{Finding, Level};
pub(super) use host::HostFacts;
pub(super) use ping::checksum;

use super::error::SwarmError;
use super::manager::RunningManager;
use super::{Standing, SwarmNode, info as membership};

/// How long a manager may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long the examination of all nodes may take: the leader ends it well before.
const EXAMINATION: Duration = Duration::from_secs(15);

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
        let mut found = Vec::new();
        let mut ways = Vec::new();
        let own = |found: &mut Vec<Finding>| {
            let state_dir = &self.inner.config.state_dir;
            found.extend(host::examine(&patient.name, state_dir, patient.addr));
        };
        if let Some(manager) = manager {
            let (broken, examined) =
                tokio::join!(quorum(&*manager, &patient.name), examination(&*manager));
            found.extend(broken);
            let snapshot = manager.capture().0;
            let nodes = membership::nodes(&*manager.control()).await;
            let nodes = nodes.unwrap_or(snapshot.nodes);
            match examined {
                Ok(examined) => {
                    found.extend(self::examined(&nodes, &snapshot.tasks, &examined));
                    ways.extend(unseen(&nodes, &examined).filter_map(way));
                }
                Err(finding) => {
                    found.push(finding);
                    found.extend(cluster::examine(&nodes, &snapshot.tasks, &BTreeSet::new()));
                    own(&mut found);
                    ways.extend(nodes.iter().filter_map(way));
                }
            }
        } else {
            own(&mut found);
            found.extend(patient.identity.as_ref().map(host::certificate));
            let host = |peer: &Peer| host_of(&peer.addr).map(|ip| (peer.addr.clone(), ip));
            ways.extend(patient.remotes.iter().filter_map(host));
        }
        if let Some(identity) = &patient.identity {
            found.extend(ports(&patient.remotes, identity).await);
        }
        ways.retain(|(_, ip)| *ip != patient.addr);
        found.extend(paths(ways).await);
        found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Ok(found)
    }
}

/// Has the leader examine all nodes; if it cannot, what that means.
async fn examination(manager: &dyn RunningManager) -> Result<ExamineResponse, Finding> {
    let call = async {
        let channel = skep_rpc::client::connect_local(&manager.local_dialer());
        let channel = channel.map_err(|error| error.to_string())?;
        let mut client = ProbesClient::new(channel).max_decoding_message_size(usize::MAX);
        let answer = client.examine(ExamineRequest {}).await;
        Ok(answer
            .map_err(|status| status.message().to_owned())?
            .into_inner())
    };
    let answer = tokio::time::timeout(EXAMINATION, call).await;
    let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    answer.map_err(|error: String| {
        Finding::warning(
            "path",
            "swarm",
            format!("the nodes could not be examined: {error}"),
            "the leader has them try the ways among themselves: without one, or with a dockerd as \
             the leader, what follows is seen from here only",
        )
    })
}

/// What the store tells, and the nodes themselves.
fn examined(nodes: &[Node], tasks: &[Task], examined: &ExamineResponse) -> Vec<Finding> {
    let reported = examined.nodes.iter().filter(|node| node.report.is_some());
    let reported: BTreeSet<&str> = reported.map(|node| node.node_id.as_str()).collect();
    let mut found = cluster::examine(nodes, tasks, &reported);
    let name = |id: &str| {
        let node = nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| id.to_owned(), cluster::name)
    };
    found.extend(ways::examine(examined, &name));
    found
}

/// Nodes that attend no examination: dockerds.
fn unseen<'a>(
    nodes: &'a [Node],
    examined: &ExamineResponse,
) -> impl Iterator<Item = &'a Node> + use<'a> {
    let attending = examined.nodes.iter().filter(|node| node.attends);
    let attending: BTreeSet<String> = attending.map(|node| node.node_id.clone()).collect();
    nodes
        .iter()
        .filter(move |node| !attending.contains(&node.id))
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
