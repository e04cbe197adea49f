//! `skep playground`: a swarm of several hosts on this machine, serving a web page.
//!
//! Hosts are network namespaces (see `skep-testkit`); the page's image is this program itself. Ctrl-C
//! removes every trace.

mod demo;
mod image;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use skep_testkit::{Cluster, Host, eventually};
use tokio::signal::unix::{SignalKind, signal};

pub use demo::main as demo_main;

const USAGE: &str = "\
Usage:  skep playground [OPTIONS]

Run a swarm of several hosts on this machine, serving a web page

Options:
      --managers N   Hosts that are managers (default 1)
      --workers N    Hosts that are workers (default 2)
      --replicas N   Tasks of the web service (default 3)
      --port PORT    Port that the web service is published on (default 8080)
      --once         End as soon as the page has answered on every host
";

/// Third byte of the hosts' addresses: one that the tests do not use.
const SUBNET: u8 = 77;

#[derive(Debug, PartialEq, Eq)]
struct Options {
    managers: usize,
    workers: usize,
    replicas: u64,
    port: u16,
    once: bool,
}

/// Runs the playground with the flags in `args`.
pub fn main(args: &[String]) -> ExitCode {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match options(args).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep playground: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options {
        managers: 1,
        workers: 2,
        replicas: 3,
        port: 8080,
        once: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        if name == "--once" {
            options.once = true;
            continue;
        }
        if !["--managers", "--workers", "--replicas", "--port"].contains(&name) {
            bail!("unknown flag: {name}\n\n{USAGE}");
        }
        let value = value
            .or_else(|| args.next().cloned())
            .with_context(|| format!("flag needs an argument: {name}"))?;
        let bad = || format!("invalid argument {value:?} for {name:?} flag");
        match name {
            "--managers" => options.managers = value.parse().with_context(bad)?,
            "--workers" => options.workers = value.parse().with_context(bad)?,
            "--replicas" => options.replicas = value.parse().with_context(bad)?,
            _ => options.port = value.parse().with_context(bad)?,
        }
    }
    if options.managers == 0 {
        bail!("a swarm needs at least one manager");
    }
    Ok(options)
}

fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Caught from the start: an interrupted start is tidied up too.
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let program = std::env::current_exe().context("find this program's file")?;
    println!("Starting {} hosts ...", options.managers + options.workers);
    let cluster = Cluster::managers(options.managers)
        .workers(options.workers)
        .reachable(SUBNET)
        .start(&program)?;
    println!("Loading the demo image ...");
    let archive = image::archive(&program)?;
    for host in &cluster.hosts {
        image::import(host, &archive)?;
    }
    let first = cluster.hosts.first().context("a cluster without hosts")?;
    create_service(first, options)?;
    await_page(&cluster, options)?;
    print_guide(&cluster, options, &program.display().to_string());
    if options.once {
        return Ok(());
    }
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    println!("\nRemoving everything ...");
    drop(cluster);
    Ok(())
}

fn create_service(host: &Host, options: &Options) -> Result<()> {
    let spec = json!({
        "Name": "web",
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image::NAME,
                "Env": ["TASK={{.Task.Name}}", "NODE={{.Node.Hostname}}"],
            },
            "RestartPolicy": {"Condition": "any", "Delay": 500_000_000},
        },
        "Mode": {"Replicated": {"Replicas": options.replicas}},
        "UpdateConfig": {"Parallelism": 1, "Order": "start-first"},
        "EndpointSpec": {"Ports": [{
            "Protocol": "tcp", "TargetPort": demo::PORT, "PublishedPort": options.port, "PublishMode": "ingress",
        }]},
    });
    let answer = host.api("POST", "/services/create", Some(&spec))?;
    if answer.status != 201 {
        bail!("create the web service: {}", answer.text());
    }
    Ok(())
}

/// Waits until all tasks run and the page answers on every host.
fn await_page(cluster: &Cluster, options: &Options) -> Result<()> {
    let first = cluster.hosts.first().context("a cluster without hosts")?;
    eventually("all tasks of the web service run", || {
        let answer = first
            .api("GET", "/services?status=true", None)
            .map_err(|error| error.to_string())?;
        let status = answer
            .json()
            .pointer("/0/ServiceStatus")
            .cloned()
            .unwrap_or(Value::Null);
        if status["RunningTasks"] == json!(options.replicas) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    for host in &cluster.hosts {
        let address = SocketAddr::from((host.address, options.port));
        let page = eventually("the page answers", || {
            skep_testkit::get(address, "/").map_err(|error| error.to_string())
        });
        print!(
            "http://{address}/  {}",
            page.text().lines().next().unwrap_or_default()
        );
        println!();
    }
    Ok(())
}

fn print_guide(cluster: &Cluster, options: &Options, program: &str) {
    let Some(first) = cluster.hosts.first() else {
        return;
    };
    println!("\nThe swarm is up. Every host answers for every task:\n");
    println!("    curl http://{}:{}/\n", first.address, options.port);
    println!("Talk to it with docker or with skep itself:\n");
    println!("    export DOCKER_HOST={}", first.docker_host());
    println!("    {program} node ls");
    println!("    {program} service ps web");
    println!("    {program} service scale web=6");
    if let Some(last) = cluster.hosts.last().filter(|last| last.name != first.name) {
        println!(
            "    {program} node update --availability drain {}",
            last.name
        );
        println!(
            "    {program} node update --availability active {}",
            last.name
        );
        if let Some(pid) = last.pid() {
            println!(
                "\nKill a daemon: its tasks go on. Cut its host off: they move within seconds.\n"
            );
            println!("    kill -9 {pid}");
            println!(
                "    ip -n {}-switch link set p{} down",
                cluster.name(),
                cluster.hosts.len()
            );
        }
    }
    println!("\nCtrl-C removes everything.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_defaults_and_refusals() {
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let given = options(&words("--managers 3 --workers=0 --port 80")).unwrap();
        assert_eq!(
            given,
            Options {
                managers: 3,
                workers: 0,
                replicas: 3,
                port: 80,
                once: false
            }
        );
        assert!(
            options(&words("--managers 0"))
                .unwrap_err()
                .to_string()
                .contains("at least one")
        );
        assert!(
            options(&words("--nope 1"))
                .unwrap_err()
                .to_string()
                .starts_with("unknown flag: --nope")
        );
        assert!(options(&words("--port x")).is_err());
    }
}
