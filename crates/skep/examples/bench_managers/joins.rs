//! A manager that joins a swarm of a hundred thousand tasks: how long until it votes, and what a writer
//! at the leader feels of it, beside the same writer before.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use skep_testkit::{Host, eventually};

use crate::client::Client;
use crate::{Maker, cpu_ms, founded, join, pss_mb, row, service, sized};

const TASKS: u64 = 100_000;
const FEW_TASKS: u64 = 2_000;
/// Replicas of one service.
const REPLICAS: u64 = 10_000;

pub fn run(program: &PathBuf) -> Result<()> {
    let lab = founded(program, 2, None, Maker::Skep)?;
    let (first, second) = (&lab.hosts[0], &lab.hosts[1]);
    let tasks = sized(TASKS, FEW_TASKS);
    let begun = Instant::now();
    fill(first, tasks)?;
    row(
        &format!("{tasks} tasks made by the orchestrator"),
        &format!("{:.1} s", begun.elapsed().as_secs_f64()),
        "none can be placed",
    );
    let socket = first.socket();
    let span = sized(Duration::from_secs(3), Duration::from_millis(300));
    let before = writing(&socket, "before", || {
        std::thread::sleep(span);
        Ok(())
    })?;
    let pid = first.pid().context("no daemon")?;
    let (begun, used) = (Instant::now(), cpu_ms(pid)?);
    let beside = writing(&socket, "beside", || join(&lab, 1))?;
    let took = begun.elapsed();
    eventually("the newcomer has it all", || {
        let listed = second
            .api("GET", "/services", None)
            .map_err(|error| error.to_string())?;
        let count = listed.json().as_array().map_or(0, Vec::len);
        if count > 0 {
            Ok(())
        } else {
            Err("no services".to_owned())
        }
    });
    row(
        &format!("join of a manager to {tasks} tasks, until it votes"),
        &format!("{:.2} s", took.as_secs_f64()),
        &format!(
            "{:.0} ms of the leader's CPU, writers' too; newcomer {:.0} MB (PSS)",
            cpu_ms(pid)? - used,
            pss_mb(second.pid().context("no daemon")?)?
        ),
    );
    for (when, waits) in [("before", before), ("beside the join", beside)] {
        let at = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1000.0;
        row(
            &format!("one writer's wait, {when}"),
            &format!("{:.1}/{:.1}/{:.1} ms", at(50), at(99), at(100)),
            &format!("median/99 %/most of {} writes", waits.len()),
        );
    }
    Ok(())
}

/// Services whose tasks no node may run.
fn fill(host: &Host, tasks: u64) -> Result<()> {
    let replicas = REPLICAS.min(tasks);
    for number in 0..tasks / replicas {
        let mut spec = service(&format!("full{number}"));
        spec["Mode"] = json!({"Replicated": {"Replicas": replicas}});
        spec["TaskTemplate"]["Placement"] = json!({"Constraints": ["node.labels.none==1"]});
        let made = host.api("POST", "/services/create", Some(&spec))?;
        if made.status != 201 {
            bail!("create: {} {}", made.status, made.text());
        }
    }
    for number in 0..tasks / replicas {
        eventually("all tasks are made", || made(host, number, replicas));
    }
    Ok(())
}

fn made(host: &Host, number: u64, replicas: u64) -> Result<(), String> {
    let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22full{number}%22%5D%7D");
    let listed = host
        .api("GET", &path, None)
        .map_err(|error| error.to_string())?;
    let count = listed.json().as_array().map_or(0, Vec::len) as u64;
    if count >= replicas {
        Ok(())
    } else {
        Err(format!("{count} of {replicas}"))
    }
}

/// Creates services one after the other for as long as something else takes; how long each took.
fn writing(
    socket: &Path,
    label: &str,
    beside: impl FnOnce() -> Result<()>,
) -> Result<Vec<Duration>> {
    let is_over = AtomicBool::new(false);
    let waits = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<Vec<Duration>> {
            let mut client = Client::connect(socket, Duration::from_secs(30))?;
            let mut waits = Vec::new();
            while waits.is_empty() || !is_over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let name = format!("{label}-{}", waits.len());
                let status = client.post("/services/create", &service(&name))?;
                if status != 201 {
                    bail!("create: {status}");
                }
                waits.push(asked.elapsed());
            }
            Ok(waits)
        });
        let done = beside();
        is_over.store(true, Ordering::Relaxed);
        let waits = writer
            .join()
            .unwrap_or_else(|_| bail!("the writer panicked"));
        done.and(waits)
    });
    let mut waits = waits?;
    waits.sort_unstable();
    Ok(waits)
}
