//! A thousand agents that only beat, on one manager: what that costs it, and whether it ever takes
//! one of them for dead.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use skep_objects::swarmkit::node_spec::Availability;
use skep_objects::swarmkit::{
    AssignmentsRequest, HeartbeatRequest, NodeDescription, SessionRequest,
};
use skep_rpc::bootstrap;
use skep_rpc::identity::{JoinToken, NodeIdentity, RootBundle};
use skep_rpc::swarmkit::dispatcher_client::DispatcherClient;
use skep_testkit::Host;
use tokio::sync::Semaphore;

use crate::{Maker, cpu_ms, founded, pss_mb, row, sized};

const AGENTS: u64 = 1_000;
const FEW_AGENTS: u64 = 20;
/// How long they beat while it is measured.
const SPAN: Duration = Duration::from_secs(30);
/// Third byte of the lab's addresses, which this process must reach.
const SUBNET: u8 = 71;

/// What all agents came to.
#[derive(Default)]
struct Counts {
    beats: AtomicU64,
    /// Heartbeats that were refused or not answered, and streams that broke.
    misses: AtomicU64,
    /// Longest wait for an answer to a heartbeat, in microseconds.
    slowest: AtomicU64,
}

pub fn run(program: &PathBuf) -> Result<()> {
    let lab = founded(program, 1, Some(SUBNET), Maker::Skep)?;
    let host = &lab.hosts[0];
    let pid = host.pid().context("no daemon")?;
    let agents = sized(AGENTS, FEW_AGENTS);
    for process in [pid, std::process::id()] {
        allow_files(process, 2 * agents + 500)?;
    }
    let idle = pss_mb(pid)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let counts = Arc::new(Counts::default());
    let begun = Instant::now();
    let before = cpu_ms(pid)?;
    runtime.block_on(connect_all(host, agents, &counts))?;
    row(
        &format!("{agents} agents join and connect"),
        &format!("{:.1} s", begun.elapsed().as_secs_f64()),
        &format!(
            "{:.2} ms of the manager's CPU each",
            (cpu_ms(pid)? - before) / agents as f64
        ),
    );
    let (begun, before) = (Instant::now(), cpu_ms(pid)?);
    counts.beats.store(0, Ordering::Relaxed);
    std::thread::sleep(sized(SPAN, SPAN / 5));
    let share = (cpu_ms(pid)? - before) / begun.elapsed().as_millis() as f64;
    let beats = counts.beats.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    row(
        &format!("{agents} agents beat: CPU of the manager"),
        &format!("{:.1} % of a core", share * 100.0),
        &format!("{beats:.0} heartbeats a second"),
    );
    let full = pss_mb(pid)?;
    row(
        &format!("{agents} agents: memory of the manager (PSS)"),
        &format!("{full:.0} MB"),
        &format!(
            "{:.0} kB each beyond the {idle:.0} MB without",
            (full - idle) * 1024.0 / agents as f64
        ),
    );
    let slowest = Duration::from_micros(counts.slowest.load(Ordering::Relaxed));
    row(
        "heartbeats missed, agents taken for dead",
        &format!("{}, {}", counts.misses.load(Ordering::Relaxed), dead(host)?),
        &format!("slowest answer {slowest:.0?}"),
    );
    runtime.shutdown_background();
    Ok(())
}

/// Each agent is two descriptors: one at either end.
fn allow_files(process: u32, wanted: u64) -> Result<()> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let allowed = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    if allowed.is_some_and(|allowed| allowed >= wanted) {
        return Ok(());
    }
    let raised = Command::new("prlimit")
        .args([&format!("--pid={process}"), "--nofile=65536:65536"])
        .status();
    if !raised.is_ok_and(|status| status.success()) {
        bail!("prlimit (Debian: util-linux) cannot raise the limit of open files to {wanted}");
    }
    Ok(())
}

/// Nodes that the manager does not take for ready.
fn dead(host: &Host) -> Result<usize> {
    let nodes = host.api("GET", "/nodes", None)?.json();
    let nodes = nodes.as_array().context("no list of nodes")?;
    let ready = nodes
        .iter()
        .filter(|node| node["Status"]["State"] == "ready");
    Ok(nodes.len() - ready.count())
}

async fn connect_all(host: &Host, agents: u64, counts: &Arc<Counts>) -> Result<()> {
    let swarm = host.api("GET", "/swarm", None)?.json();
    let token = swarm["JoinTokens"]["Worker"].as_str().context("no token")?;
    let token: JoinToken = JoinToken::parse(token)?;
    let addr = format!("{}:2377", host.address);
    let roots = bootstrap::fetch_root(&addr, &token).await?;
    let room = Arc::new(Semaphore::new(16));
    let mut joining = tokio::task::JoinSet::new();
    for number in 0..agents {
        let (addr, roots, token) = (addr.clone(), roots.clone(), token.clone());
        let (room, counts) = (room.clone(), counts.clone());
        joining.spawn(async move {
            let _turn = room.acquire_owned().await?;
            connect(number, &addr, &roots, &token, counts).await
        });
    }
    while let Some(joined) = joining.join_next().await {
        joined??;
    }
    Ok(())
}

/// One agent joins, opens its session and its assignments, and beats from then on.
async fn connect(
    number: u64,
    addr: &str,
    roots: &RootBundle,
    token: &JoinToken,
    counts: Arc<Counts>,
) -> Result<()> {
    let issued = bootstrap::join(addr, roots, token, Availability::Active).await?;
    let identity = NodeIdentity::new(issued.credentials);
    let channel = skep_rpc::connect(addr, &identity).await?;
    let mut client = DispatcherClient::new(channel);
    let description = Some(NodeDescription {
        hostname: format!("agent{number}"),
        ..NodeDescription::default()
    });
    let request = SessionRequest {
        description,
        session_id: String::new(),
    };
    let mut session = client.session(request).await?.into_inner();
    let first = session.message().await?.context("the session ended")?;
    let session_id = first.session_id;
    let request = AssignmentsRequest {
        session_id: session_id.clone(),
    };
    let mut assignments = client.assignments(request).await?.into_inner();
    let streams = counts.clone();
    tokio::spawn(async move {
        loop {
            let goes_on = tokio::select! {
                message = session.message() => matches!(message, Ok(Some(_))),
                message = assignments.message() => matches!(message, Ok(Some(_))),
            };
            if !goes_on {
                streams.misses.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    });
    tokio::spawn(beat(client, session_id, counts));
    Ok(())
}

async fn beat(
    mut client: DispatcherClient<tonic::transport::Channel>,
    session_id: String,
    counts: Arc<Counts>,
) {
    loop {
        let asked = Instant::now();
        let request = HeartbeatRequest {
            session_id: session_id.clone(),
        };
        let Ok(answer) = client.heartbeat(request).await else {
            counts.misses.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        counts.slowest.fetch_max(micros, Ordering::Relaxed);
        counts.beats.fetch_add(1, Ordering::Relaxed);
        let period = answer.into_inner().period.unwrap_or_default();
        let period = Duration::try_from(period).unwrap_or(Duration::from_secs(5));
        tokio::time::sleep(period).await;
    }
}
