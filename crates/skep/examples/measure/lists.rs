//! Lists and inspections over the API, of a swarm with many services and tasks. The tasks wait for a
//! node that is not there: what is measured is what a manager knows, not what runs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use skep_testkit::{Host, eventually_within};

use super::{Figures, Unit, ask};

const MANY: Duration = Duration::from_secs(600);
const TIMES: usize = 11;

/// Makes services in two steps, and asks after each.
pub fn lists(host: &Host, quick: bool, figures: &mut Figures) -> Result<()> {
    let (few, all, replicas) = if quick { (3, 5, 2) } else { (200, 500, 20) };
    let mut ids = Vec::new();
    for number in 0..few {
        ids.push(create(host, number, replicas)?);
    }
    await_tasks(host, few * replicas);
    time(host, &format!("list {few} services"), "/services", figures)?;
    for number in few..all {
        ids.push(create(host, number, replicas)?);
    }
    await_tasks(host, all * replicas);
    let tasks = all * replicas;
    time(host, &format!("list {all} services"), "/services", figures)?;
    let path = "/services?status=true";
    time(host, "  with how many tasks of each run", path, figures)?;
    time(host, &format!("list {tasks} tasks"), "/tasks", figures)?;
    let of_one = format!(
        "/tasks?filters=%7B%22service%22%3A%5B%22{}%22%5D%7D",
        ids[0]
    );
    let what = format!("list the {replicas} tasks of one service");
    time(host, &what, &of_one, figures)?;
    let one = format!("/services/{}", ids[0]);
    time(
        host,
        &format!("inspect one of {all} services"),
        &one,
        figures,
    )?;
    let task = task_of(host, &of_one)?;
    let what = format!("inspect one of {tasks} tasks");
    time(host, &what, &format!("/tasks/{task}"), figures)?;
    for id in ids {
        ask(host, "DELETE", &format!("/services/{id}"), None)?;
    }
    Ok(())
}

fn create(host: &Host, number: usize, replicas: usize) -> Result<String> {
    let spec = json!({
        "Name": format!("listed-{number}"),
        "Labels": {"com.docker.stack.namespace": "bench", "team": "web"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "registry.example.com/team/web:1.27.3",
                "Env": ["LOG_LEVEL=info", "DATABASE=db.internal:5432"],
            },
            "Placement": {"Constraints": ["node.labels.nowhere==1"]},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
    });
    let made = ask(host, "POST", "/services/create", Some(&spec))?;
    Ok(made["ID"].as_str().context("no id")?.to_owned())
}

/// The tasks of these services are there, and have been told that they wait.
fn await_tasks(host: &Host, count: usize) {
    eventually_within(MANY, "the tasks wait", || {
        let answer = host.api("GET", "/tasks", None).map(|answer| answer.json());
        let tasks = answer.unwrap_or_default();
        let waits = |task: &&Value| task["Status"]["State"] == "pending";
        let waiting = tasks.as_array().into_iter().flatten().filter(waits).count();
        if waiting == count {
            Ok(())
        } else {
            Err(format!("{waiting} of {count}"))
        }
    });
}

fn task_of(host: &Host, path: &str) -> Result<String> {
    let tasks = ask(host, "GET", path, None)?;
    let id = tasks[0]["ID"].as_str().context("no task")?;
    Ok(id.to_owned())
}

/// The median of some requests, from the first byte sent to the last received.
fn time(host: &Host, what: &str, path: &str, figures: &mut Figures) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begin = Instant::now();
        let answer = host.api("GET", path, None)?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        if answer.status != 200 {
            bail!("{path}: {}", answer.status);
        }
    }
    times.sort_by(f64::total_cmp);
    figures.add(what, times[TIMES / 2], Unit::Ms);
    Ok(())
}
