//! Figures of the managers: service creates on one, three and five of them, the loss of a leader,
//! a manager that joins a large swarm, a thousand agents on one. Each is printed beside dockerd's in
//! the same run, where Debian's docker.io is installed, or the floor of the same run.
//!
//! `cargo xtask bench managers`, or the example with `creates`, `loss`, `joins` or `agents` for one
//! part. Root. `SKEP_BENCH_QUICK=1` only shows that it runs.
#![allow(clippy::disallowed_methods)] // It measures time.

mod agents;
mod client;
mod creates;
mod floor;
mod joins;
mod loss;
#[path = "../measure/mod.rs"]
mod measure;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use skep_testkit::{Host, Lab, LabSpec};

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|one| one == part);
    let program = measure::program()?;
    if is_wanted("creates") {
        creates::run(&program)?;
    }
    if is_wanted("loss") {
        loss::run(&program)?;
    }
    if is_wanted("joins") {
        joins::run(&program)?;
    }
    if is_wanted("agents") {
        agents::run(&program)?;
    }
    Ok(())
}

/// One of two: as much as a figure needs, or as little as shows that it runs.
pub fn sized<T>(full: T, quick: T) -> T {
    match std::env::var_os("SKEP_BENCH_QUICK") {
        Some(_) => quick,
        None => full,
    }
}

/// One line: what, how much, and what to hold it against.
pub fn row(what: &str, value: &str, beside: &str) {
    println!("{what:<52} {value:>20}   {beside}");
}

/// Whose managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// Ours.
    Skep,
    /// The peer.
    Dockerd,
}

impl Maker {
    /// Those that are here.
    pub fn all() -> Vec<Maker> {
        if Path::new("/usr/sbin/dockerd").exists() || Path::new("/usr/bin/dockerd").exists() {
            return vec![Maker::Dockerd, Maker::Skep];
        }
        println!("dockerd is not installed (Debian: docker.io): its figures are of an earlier run");
        vec![Maker::Skep]
    }
}

/// So many hosts with daemons, the first of which has founded a swarm.
pub fn founded(
    program: &PathBuf,
    hosts: usize,
    reachable: Option<u8>,
    maker: Maker,
) -> Result<Lab> {
    let mut spec = LabSpec::new(program, hosts);
    spec.reachable = reachable.is_some();
    spec.subnet = reachable.unwrap_or_default();
    let mut lab = Lab::new(&spec)?;
    for host in &mut lab.hosts {
        match maker {
            Maker::Skep => host.start()?,
            Maker::Dockerd => host.start_dockerd(&[])?,
        }
    }
    let address = lab.hosts[0].address.to_string();
    let body = json!({"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": address, "Spec": {}});
    expect(200, "init", &lab.hosts[0], "/swarm/init", &body)?;
    Ok(lab)
}

/// Another host becomes a manager.
pub fn join(lab: &Lab, number: usize) -> Result<()> {
    let first = &lab.hosts[0];
    let swarm = first.api("GET", "/swarm", None)?.json();
    let host = &lab.hosts[number];
    let body = json!({
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": host.address.to_string(),
        "RemoteAddrs": [format!("{}:2377", first.address)],
        "JoinToken": swarm["JoinTokens"]["Manager"],
    });
    expect(200, "join", host, "/swarm/join", &body)
}

fn expect(status: u16, what: &str, host: &Host, path: &str, body: &Value) -> Result<()> {
    let answer = host.api("POST", path, Some(body))?;
    if answer.status != status {
        bail!("{what}: {} {}", answer.status, answer.text());
    }
    Ok(())
}

/// A service without tasks.
pub fn service(name: &str) -> Value {
    json!({
        "Name": name,
        "TaskTemplate": {"ContainerSpec": {"Image": "registry.example/team/web:1.2.3@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},
        "Mode": {"Replicated": {"Replicas": 0}},
    })
}

/// CPU time that a process used so far, in milliseconds.
pub fn cpu_ms(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    let both = ticks(11)
        .zip(ticks(12))
        .context("no times in the kernel's line")?;
    Ok((both.0 + both.1) * 10.0)
}

/// Proportional memory of a process, in megabytes.
pub fn pss_mb(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.context("no Pss")? / 1024.0)
}
