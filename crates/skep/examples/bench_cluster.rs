//! Figures of a three-host swarm on this machine beside three hosts of Debian's dockerd in the same
//! run: services, loss of a host, memory. The image comes from a registry that all hosts reach, and is
//! on every host before the clock runs. `SKEP_BENCH_QUICK=1` only shows that it runs.

mod measure;

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use skep_testkit::{Cluster, ClusterBuilder, Host, Registry, eventually, images};

use measure::{Figures, Unit, ask, cpu_ms, daemons, pss_mb, shims};

fn main() -> Result<()> {
    let ours = side("skep", hosts())?;
    let missing = measure::peer_is_missing();
    if let Some(reason) = missing {
        measure::print(&ours, Err(reason));
        return Ok(());
    }
    let peer = side("dockerd", hosts().dockerd())?;
    measure::print(&ours, Ok(&peer));
    Ok(())
}

fn hosts() -> ClusterBuilder {
    Cluster::managers(1)
        .workers(2)
        .daemon_flag("--insecure-registry")
        .daemon_flag("198.18.0.0/24")
}

/// One cluster of one kind from beginning to end; nothing of it runs beside the other.
fn side(name: &'static str, hosts: ClusterBuilder) -> Result<Figures> {
    let cluster = hosts.start(measure::program()?)?;
    let (client, address) = cluster.make_client()?;
    let registry = Registry::start(&client, &address.to_string(), cluster.dir())?;
    let mut figures = Figures::of(name);
    let idle = |host: &Host| pss_mb(&daemons(host));
    figures.add(
        "idle daemon, manager (PSS)",
        idle(&cluster.hosts[0]),
        Unit::Mb,
    );
    figures.add(
        "idle daemon, worker (PSS)",
        idle(&cluster.hosts[1]),
        Unit::Mb,
    );
    let image = publish(&cluster.hosts[0], &registry)?;
    let bench = Bench { cluster, image };
    bench.warm_up()?;
    let quick = std::env::var_os("SKEP_BENCH_QUICK").is_some();
    let sizes: &[u64] = if quick { &[3] } else { &[30, 100] };
    for replicas in sizes {
        bench.service(*replicas, &mut figures)?;
    }
    bench.update(&mut figures)?;
    bench.loss_of_a_host(&mut figures)?;
    measure::lists::lists(bench.manager(), quick, &mut figures)?;
    Ok(figures)
}

/// Pushes the image; returns its name by digest.
fn publish(host: &Host, registry: &Registry) -> Result<String> {
    let name = format!("{}/bench:1", registry.name);
    host.docker_with_input(&["import", "-", &name], &images::busybox()?)
        .ok();
    host.docker(&["push", "-q", &name]).ok();
    let image = ask(host, "GET", &format!("/images/{name}/json"), None)?;
    let digest = image["RepoDigests"][0].as_str();
    Ok(digest.context("the pushed image has no digest")?.to_owned())
}

struct Bench {
    cluster: Cluster,
    image: String,
}

impl Bench {
    fn manager(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    fn create(&self, name: &str, mode: Value) -> Result<String> {
        let spec = self.spec(name, mode, "100000");
        let made = ask(self.manager(), "POST", "/services/create", Some(&spec))?;
        Ok(made["ID"].as_str().context("no id")?.to_owned())
    }

    fn spec(&self, name: &str, mode: Value, seconds: &str) -> Value {
        json!({
            "Name": name,
            "TaskTemplate": {"ContainerSpec": {
                "Image": self.image, "Command": ["sleep", seconds], "StopGracePeriod": 0,
            }},
            "Mode": mode,
            "UpdateConfig": {"Parallelism": 5, "Order": "stop-first", "Monitor": 1_000_000},
        })
    }

    /// A task on every host, so that the image is there and every path was walked once.
    fn warm_up(&self) -> Result<()> {
        let id = self.create("warm", json!({"Global": {}}))?;
        await_running(self.manager(), &id, 3);
        self.remove(&id)
    }

    fn remove(&self, id: &str) -> Result<()> {
        ask(self.manager(), "DELETE", &format!("/services/{id}"), None)?;
        eventually("containers are gone", || {
            let left: usize = self
                .cluster
                .hosts
                .iter()
                .map(|host| shims(host).len())
                .sum();
            if left == 0 {
                Ok(())
            } else {
                Err(left.to_string())
            }
        });
        Ok(())
    }

    fn service(&self, replicas: u64, figures: &mut Figures) -> Result<()> {
        let (begin, cpu) = (Instant::now(), cpu_ms());
        let mode = json!({"Replicated": {"Replicas": replicas}});
        let id = self.create(&format!("s{replicas}"), mode)?;
        await_running(self.manager(), &id, replicas);
        let what = format!("{replicas} replicas on 3 hosts, POST to all running");
        figures.add(&what, begin.elapsed().as_secs_f64(), Unit::Seconds);
        let used = (cpu_ms() - cpu) / f64::from(u32::try_from(replicas)?);
        let what = format!("  CPU of the whole machine, each of {replicas}");
        figures.add(&what, used, Unit::Ms);
        let begin = Instant::now();
        self.remove(&id)?;
        let what = format!("remove {replicas} running tasks");
        figures.add(&what, begin.elapsed().as_secs_f64(), Unit::Seconds);
        Ok(())
    }

    /// Twenty replicas, five at a time, stop-first.
    fn update(&self, figures: &mut Figures) -> Result<()> {
        let replicas = 20;
        let mode = json!({"Replicated": {"Replicas": replicas}});
        let id = self.create("rolls", mode.clone())?;
        await_running(self.manager(), &id, replicas);
        let service = ask(self.manager(), "GET", &format!("/services/{id}"), None)?;
        let version = &service["Version"]["Index"];
        let begin = Instant::now();
        let path = format!("/services/{id}/update?version={version}");
        let spec = self.spec("rolls", mode, "200000");
        ask(self.manager(), "POST", &path, Some(&spec))?;
        eventually("the new tasks run", || {
            let tasks = running(self.manager(), &id);
            let is_new = |task: &&Value| task["Spec"]["ContainerSpec"]["Command"][1] == "200000";
            let new = tasks.iter().filter(is_new).count();
            if new == 20 {
                Ok(())
            } else {
                Err(format!("{new} of 20"))
            }
        });
        let wall = begin.elapsed().as_secs_f64();
        figures.add("rolling update of 20, 5 at a time", wall, Unit::Seconds);
        self.remove(&id)
    }

    fn loss_of_a_host(&self, figures: &mut Figures) -> Result<()> {
        let id = self.create("lost", json!({"Replicated": {"Replicas": 6}}))?;
        await_running(self.manager(), &id, 6);
        let node = node_of(self.manager(), "host3")?;
        let begin = Instant::now();
        self.cluster.cut(2)?;
        eventually("all tasks run elsewhere", || {
            let tasks = running(self.manager(), &id);
            let elsewhere = |task: &&Value| task["NodeID"] != node.as_str();
            let moved = tasks.iter().filter(elsewhere).count();
            if moved == 6 {
                Ok(())
            } else {
                Err(format!("{moved} of 6"))
            }
        });
        let wall = begin.elapsed().as_secs_f64();
        figures.add(
            "node cut off to all tasks running elsewhere",
            wall,
            Unit::Seconds,
        );
        self.cluster.mend(2)
    }
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
