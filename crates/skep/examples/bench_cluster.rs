//! Figures of a three-host swarm on this machine: start of containers, services, loss of a host,
//! memory. Prints each beside the peer's figure of docs/figures.md (dockerd 28.2, measured on a
//! machine of this kind); with dockerd absent it cannot be measured in the same run.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use skep_testkit::{Cluster, Host, eventually, images};

const IMAGE: &str = "bench:latest";

fn main() -> Result<()> {
    let program = std::env::current_exe()?;
    let program = program
        .parent()
        .and_then(|dir| dir.parent())
        .context("no target directory")?
        .join("skep");
    let cluster = Cluster::managers(1).workers(2).start(program)?;
    let archive = images::busybox()?;
    for host in &cluster.hosts {
        host.upload("/images/create?fromSrc=-&repo=bench&tag=latest", &archive)?;
    }
    row(
        "idle daemon, manager (PSS)",
        mega(pss(&[pid(&cluster.hosts[0])])),
        "59 MB",
    );
    row(
        "idle daemon, worker (PSS)",
        mega(pss(&[pid(&cluster.hosts[1])])),
        "59 MB",
    );
    start_of_containers(&cluster.hosts[0])?;
    for replicas in [30_u64, 100] {
        service(&cluster, replicas)?;
    }
    loss_of_a_host(&cluster)?;
    Ok(())
}

fn row(what: &str, value: String, peer: &str) {
    println!("{what:<44} {value:>12}   peer {peer}");
}

fn start_of_containers(host: &Host) -> Result<()> {
    let rounds = 20;
    let (mut times, cpu) = (Vec::new(), cpu_ms());
    for number in 0..rounds {
        let body = json!({"Image": IMAGE, "Cmd": ["sleep", "1000"]});
        let begin = Instant::now();
        let answer = host.api(
            "POST",
            &format!("/containers/create?name=b{number}"),
            Some(&body),
        )?;
        let id = answer.json()["Id"].as_str().context("no id")?.to_owned();
        host.api("POST", &format!("/containers/{id}/start"), None)?;
        times.push(begin.elapsed());
    }
    let cpu = cpu_ms() - cpu;
    times.sort();
    row(
        "create+start of one container, median",
        format!("{:.1} ms", ms(times[rounds / 2])),
        "156 ms",
    );
    row("  least", format!("{:.1} ms", ms(times[0])), "");
    row(
        "  CPU of the whole machine, each",
        format!("{:.1} ms", cpu / rounds as f64),
        "",
    );
    let shims = shims(host);
    row(
        "memory for each container beyond its own (PSS)",
        mega(pss(&shims) / rounds as f64),
        "3.9 MB",
    );
    for number in 0..rounds {
        host.api("DELETE", &format!("/containers/b{number}?force=1"), None)?;
    }
    Ok(())
}

fn service(cluster: &Cluster, replicas: u64) -> Result<()> {
    let first = &cluster.hosts[0];
    let spec = json!({
        "Name": format!("s{replicas}"),
        "TaskTemplate": {"ContainerSpec": {"Image": IMAGE, "Command": ["sleep", "100000"], "StopGracePeriod": 0}},
        "Mode": {"Replicated": {"Replicas": replicas}},
    });
    let (begin, cpu) = (Instant::now(), cpu_ms());
    let answer = first.api("POST", "/services/create", Some(&spec))?;
    let id = answer.json()["ID"]
        .as_str()
        .with_context(|| answer.text())?
        .to_owned();
    await_running(first, &id, replicas);
    let peer = if replicas == 30 { "4.1 s" } else { "13.8 s" };
    row(
        &format!("{replicas} replicas on 3 hosts, POST to all running"),
        format!("{:.2} s", begin.elapsed().as_secs_f64()),
        peer,
    );
    let used = (cpu_ms() - cpu) / replicas as f64;
    row(
        "  CPU of the whole machine, each task",
        format!("{used:.1} ms"),
        "250 ms",
    );
    let begin = Instant::now();
    first.api("DELETE", &format!("/services/{id}"), None)?;
    eventually("containers are gone", || {
        let left: usize = cluster.hosts.iter().map(|host| shims(host).len()).sum();
        if left == 0 {
            Ok(())
        } else {
            Err(left.to_string())
        }
    });
    let peer = if replicas == 100 { "9.7 s" } else { "" };
    row(
        &format!("remove {replicas} running tasks"),
        format!("{:.2} s", begin.elapsed().as_secs_f64()),
        peer,
    );
    Ok(())
}

fn loss_of_a_host(cluster: &Cluster) -> Result<()> {
    let first = &cluster.hosts[0];
    let spec = json!({
        "Name": "lost",
        "TaskTemplate": {"ContainerSpec": {"Image": IMAGE, "Command": ["sleep", "100000"]}},
        "Mode": {"Replicated": {"Replicas": 6}},
    });
    let answer = first.api("POST", "/services/create", Some(&spec))?;
    let id = answer.json()["ID"].as_str().context("no id")?.to_owned();
    await_running(first, &id, 6);
    let node = node_of(first, "host3")?;
    let begin = Instant::now();
    cluster.cut(2)?;
    eventually("all tasks run elsewhere", || {
        let tasks = running(first, &id);
        let moved = tasks
            .iter()
            .filter(|task| task["NodeID"] != node.as_str())
            .count();
        if moved == 6 {
            Ok(())
        } else {
            Err(format!("{moved} of 6"))
        }
    });
    row(
        "node cut off to all tasks running elsewhere",
        format!("{:.2} s", begin.elapsed().as_secs_f64()),
        "13.6 s",
    );
    cluster.mend(2)?;
    Ok(())
}

fn node_of(host: &Host, name: &str) -> Result<String> {
    let nodes = host.api("GET", "/nodes", None)?.json();
    let node = nodes
        .as_array()
        .into_iter()
        .flatten()
        .find(|node| node["Description"]["Hostname"] == name);
    Ok(node
        .and_then(|node| node["ID"].as_str())
        .context("no such node")?
        .to_owned())
}

fn running(host: &Host, service: &str) -> Vec<Value> {
    let path = format!(
        "/tasks?filters=%7B%22service%22%3A%7B%22{service}%22%3Atrue%7D%2C%22desired-state%22%3A%7B%22running%22%3Atrue%7D%7D"
    );
    let tasks = host
        .api("GET", &path, None)
        .map(|answer| answer.json())
        .unwrap_or_default();
    let tasks = tasks.as_array().cloned().unwrap_or_default();
    tasks
        .into_iter()
        .filter(|task| task["Status"]["State"] == "running")
        .collect()
}

fn await_running(host: &Host, service: &str, replicas: u64) {
    eventually("all replicas run", || {
        let count = running(host, service).len() as u64;
        if count == replicas {
            Ok(())
        } else {
            Err(format!("{count} of {replicas}"))
        }
    });
}

fn pid(host: &Host) -> u32 {
    host.pid().unwrap_or_default()
}

/// The shims of a host's containers, told by its directory on their command lines.
fn shims(host: &Host) -> Vec<u32> {
    let root = host.exec_root().to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("shim") && line.contains(&root)
        })
        .collect()
}

/// Proportional set size of processes, in kB.
fn pss(pids: &[u32]) -> f64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("Pss:"))?
                .to_owned();
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        })
        .sum()
}

/// CPU time of the whole machine since its start, idle time apart.
fn cpu_ms() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    let busy: f64 = fields.iter().take(3).sum::<f64>()
        + fields.get(5..8).unwrap_or_default().iter().sum::<f64>();
    busy * 10.0
}

fn mega(kilobytes: f64) -> String {
    format!("{:.2} MB", kilobytes / 1024.0)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
