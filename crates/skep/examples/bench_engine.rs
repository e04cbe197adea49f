//! Figures of one host's engine beside Debian's dockerd in the same run: two hosts of one lab, the
//! same requests over the API to both, the same registry. `SKEP_BENCH_QUICK=1` only shows that it runs.

mod measure;

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use skep_testkit::{Host, Lab, LabSpec, Registry, images};

use measure::{Figures, Unit, ask, cpu_ms, daemons, pss_mb, shims};

/// What the containers run: ends at once when told to.
const WAITS: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];
const LAYERS: usize = 4;

fn main() -> Result<()> {
    let sizes = Sizes::from_env();
    let mut spec = LabSpec::new(measure::program()?, 2);
    spec.daemon_flags = vec!["--insecure-registry".into(), "198.18.0.0/24".into()];
    let mut lab = Lab::new(&spec)?;
    let (client, address) = lab.make_client()?;
    let registry = Registry::start(&client, &address.to_string(), lab.dir())?;
    lab.hosts[0].start()?;
    let bench = Bench {
        small: format!("{}/small:1", registry.name),
        big: format!("{}/big:1", registry.name),
        sizes,
    };
    bench.publish(&lab.hosts[0])?;
    let ours = bench.run("skep", &lab.hosts[0])?;
    // Nothing of ours is to run beside the peer.
    lab.hosts[0].stop();
    let missing = measure::peer_is_missing();
    if let Some(reason) = missing {
        measure::print(&ours, Err(reason));
        return Ok(());
    }
    lab.hosts[1].start_dockerd(&["--bridge=", "--insecure-registry", "198.18.0.0/24"])?;
    let peer = bench.run("dockerd", &lab.hosts[1])?;
    measure::print(&ours, Ok(&peer));
    bench.skopeo(&lab.hosts[1])
}

/// How much of everything.
struct Sizes {
    rounds: usize,
    parallel: usize,
    listed: usize,
    files_per_layer: usize,
    log_lines: usize,
}

impl Sizes {
    fn from_env() -> Self {
        if std::env::var_os("SKEP_BENCH_QUICK").is_some() {
            Self {
                rounds: 3,
                parallel: 1,
                listed: 20,
                files_per_layer: 20,
                log_lines: 20_000,
            }
        } else {
            Self {
                rounds: 20,
                parallel: 5,
                listed: 500,
                files_per_layer: 500,
                log_lines: 500_000,
            }
        }
    }
}

struct Bench {
    small: String,
    big: String,
    sizes: Sizes,
}

impl Bench {
    /// Puts both images into the registry.
    fn publish(&self, host: &Host) -> Result<()> {
        let import = ["import", "-", self.small.as_str()];
        host.docker_with_input(&import, &images::busybox()?).ok();
        for layer in 0..LAYERS {
            let below = if layer == 0 { &self.small } else { &self.big };
            let container = create(host, below, &["true"], json!({}))?;
            let files = images::bulk(layer, self.sizes.files_per_layer)?;
            let copy = ["cp", "-", &format!("{container}:/")];
            host.docker_with_input(&copy, &files).ok();
            host.docker(&["commit", &container, &self.big]).ok();
            remove(host, &container)?;
        }
        for image in [&self.small, &self.big] {
            host.docker(&["push", "-q", image]).ok();
        }
        host.docker(&["rmi", &self.big, &self.small]).ok();
        Ok(())
    }

    fn run(&self, side: &'static str, host: &Host) -> Result<Figures> {
        let mut figures = Figures::of(side);
        figures.add("idle daemon (PSS)", pss_mb(&daemons(host)), Unit::Mb);
        self.pull(host, &mut figures)?;
        self.one_after_the_other(host, &mut figures)?;
        self.parallel(host, &mut figures)?;
        self.logs(host, &mut figures)?;
        self.memory(host, &mut figures)?;
        self.list(host, &mut figures)?;
        Ok(figures)
    }

    fn pull(&self, host: &Host, figures: &mut Figures) -> Result<()> {
        let pull = |image: &str| {
            let (name, tag) = image.rsplit_once(':').context("no tag")?;
            let answer = host.api(
                "POST",
                &format!("/images/create?fromImage={name}&tag={tag}"),
                None,
            )?;
            anyhow::ensure!(
                answer.status == 200 && !answer.text().contains("errorDetail"),
                "{}",
                answer.text()
            );
            Ok(())
        };
        pull(&self.small)?;
        let (begin, cpu) = (Instant::now(), cpu_ms());
        pull(&self.big)?;
        let wall = begin.elapsed().as_secs_f64();
        figures.add("pull and unpack 200 MB in 4 layers", wall, Unit::Seconds);
        figures.add("  CPU of the whole machine", cpu_ms() - cpu, Unit::Ms);
        ask(host, "DELETE", &format!("/images/{}", self.big), None).map(drop)
    }

    fn one_after_the_other(&self, host: &Host, figures: &mut Figures) -> Result<()> {
        self.run_and_remove(host)?;
        let mut runs = Times::default();
        for _ in 0..self.sizes.rounds {
            runs.time(|| self.run_and_remove(host))?;
        }
        figures.add("run --rm true, over the API", runs.median(), Unit::Ms);
        let mut typed = Times::default();
        for _ in 0..self.sizes.rounds {
            typed.time(|| {
                host.docker(&["run", "--rm", &self.small, "true"]).ok();
                Ok(())
            })?;
        }
        figures.add(
            "docker run --rm true, with the CLI",
            typed.median(),
            Unit::Ms,
        );
        let [mut start, mut exec, mut stop, mut rm] = [(); 4].map(|()| Times::default());
        let mut cpu = 0.0;
        for _ in 0..self.sizes.rounds {
            let before = cpu_ms();
            let id = start.time(|| self.create_and_start(host))?;
            cpu += cpu_ms() - before;
            exec.time(|| execute(host, &id))?;
            stop.time(|| ask(host, "POST", &format!("/containers/{id}/stop"), None))?;
            rm.time(|| ask(host, "DELETE", &format!("/containers/{id}"), None))?;
        }
        figures.add("create+start", start.median(), Unit::Ms);
        let each = cpu / rounded(self.sizes.rounds);
        figures.add("  CPU of the whole machine, each", each, Unit::Ms);
        figures.add("exec true", exec.median(), Unit::Ms);
        figures.add("stop", stop.median(), Unit::Ms);
        figures.add("rm", rm.median(), Unit::Ms);
        Ok(())
    }

    fn run_and_remove(&self, host: &Host) -> Result<()> {
        let id = create(host, &self.small, &["true"], json!({"AutoRemove": true}))?;
        std::thread::scope(|scope| {
            let wait = format!("/containers/{id}/wait?condition=removed");
            let removed = scope.spawn(move || ask(host, "POST", &wait, None));
            ask(host, "POST", &format!("/containers/{id}/start"), None)?;
            let joined = removed.join().ok().context("the waiting thread panicked")?;
            joined.map(drop)
        })
    }

    fn create_and_start(&self, host: &Host) -> Result<String> {
        let id = create(host, &self.small, &WAITS, json!({}))?;
        ask(host, "POST", &format!("/containers/{id}/start"), None)?;
        Ok(id)
    }

    /// Eight clients at once.
    fn parallel(&self, host: &Host, figures: &mut Figures) -> Result<()> {
        const CLIENTS: usize = 8;
        let begin = Instant::now();
        let ids = std::thread::scope(|scope| {
            let client = || {
                let starts = (0..self.sizes.parallel).map(|_| self.create_and_start(host));
                starts.collect::<Result<Vec<_>>>()
            };
            let clients = [(); CLIENTS].map(|()| scope.spawn(client));
            let mut ids = Vec::new();
            for client in clients {
                ids.extend(client.join().ok().context("a client panicked")??);
            }
            anyhow::Ok(ids)
        })?;
        let rate = rounded(ids.len()) / begin.elapsed().as_secs_f64();
        figures.add("starts, 8 clients", rate, Unit::PerSecond);
        ids.iter().try_for_each(|id| remove(host, id))
    }

    fn logs(&self, host: &Host, figures: &mut Figures) -> Result<()> {
        let line = "x".repeat(99);
        let script = format!(
            "busybox yes {line} | busybox head -n {}",
            self.sizes.log_lines
        );
        let id = create(host, &self.small, &["sh", "-c", &script], json!({}))?;
        let megabytes = rounded(self.sizes.log_lines * 100) / 1e6;
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let wait = format!("/containers/{id}/wait?condition=next-exit");
            let ended = scope.spawn(move || ask(host, "POST", &wait, None));
            ask(host, "POST", &format!("/containers/{id}/start"), None)?;
            ended.join().ok().context("the waiting thread panicked")?
        })?;
        let rate = megabytes / begin.elapsed().as_secs_f64();
        figures.add("logs written (json-file)", rate, Unit::MbPerSecond);
        let begin = Instant::now();
        let read = host.api("GET", &format!("/containers/{id}/logs?stdout=1"), None)?;
        anyhow::ensure!(
            read.body.len() > self.sizes.log_lines * 100,
            "lines are lost"
        );
        let rate = megabytes / begin.elapsed().as_secs_f64();
        figures.add("logs read", rate, Unit::MbPerSecond);
        remove(host, &id)
    }

    /// What the daemons grow by, and what parents the containers.
    fn memory(&self, host: &Host, figures: &mut Figures) -> Result<()> {
        let before = pss_mb(&daemons(host));
        let ids: Result<Vec<_>> = (0..self.sizes.rounds)
            .map(|_| self.create_and_start(host))
            .collect();
        let ids = ids?;
        let grown = pss_mb(&daemons(host)) - before;
        let each = (pss_mb(&shims(host)) + grown.max(0.0)) / rounded(ids.len());
        figures.add("memory for each container beyond its own", each, Unit::Mb);
        ids.iter().try_for_each(|id| remove(host, id))
    }

    fn list(&self, host: &Host, figures: &mut Figures) -> Result<()> {
        let ids: Result<Vec<_>> = (0..self.sizes.listed)
            .map(|_| create(host, &self.small, &WAITS, json!({})))
            .collect();
        let ids = ids?;
        let mut times = Times::default();
        for _ in 0..self.sizes.rounds {
            let listed = times.time(|| ask(host, "GET", "/containers/json?all=1", None))?;
            anyhow::ensure!(
                listed
                    .as_array()
                    .is_some_and(|list| list.len() == ids.len())
            );
        }
        figures.add("ps -a with 500 containers", times.median(), Unit::Ms);
        let mut typed = Times::default();
        for _ in 0..self.sizes.rounds.min(5) {
            typed.time(|| Ok(host.docker(&["ps", "-a"]).ok()))?;
        }
        figures.add(
            "docker ps -a with 500, with the CLI",
            typed.median(),
            Unit::Ms,
        );
        ids.iter().try_for_each(|id| remove(host, id))
    }

    /// Downloads only: skopeo does not unpack.
    fn skopeo(&self, host: &Host) -> Result<()> {
        let target = host.dir.join("skopeo");
        let mut command = host.inside("skopeo");
        command.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
        ]);
        command.arg(format!("docker://{}", self.big));
        command.arg(format!("dir:{}", target.display()));
        let begin = Instant::now();
        let status = command.status().context("start skopeo (Debian: skopeo)")?;
        anyhow::ensure!(status.success(), "skopeo ended with {status}");
        println!(
            "skopeo copies the 200 MB image in {:.2} s, without unpacking it",
            begin.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

fn create(host: &Host, image: &str, command: &[&str], host_config: Value) -> Result<String> {
    let body = json!({"Image": image, "Cmd": command, "HostConfig": host_config});
    let made = ask(host, "POST", "/containers/create", Some(&body))?;
    Ok(made["Id"].as_str().context("no id")?.to_owned())
}

fn remove(host: &Host, id: &str) -> Result<()> {
    ask(host, "DELETE", &format!("/containers/{id}?force=1"), None).map(drop)
}

/// The output is read to its end, which is the program's.
fn execute(host: &Host, container: &str) -> Result<()> {
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["true"]});
    let made = ask(
        host,
        "POST",
        &format!("/containers/{container}/exec"),
        Some(&body),
    )?;
    let id = made["Id"].as_str().context("no id")?;
    let body = json!({"Detach": false, "Tty": false});
    ask(host, "POST", &format!("/exec/{id}/start"), Some(&body)).map(drop)
}

/// Durations of one thing done many times.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn time<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let done = work()?;
        self.0.push(begin.elapsed().as_secs_f64() * 1000.0);
        Ok(done)
    }

    fn median(&mut self) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

fn rounded(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
