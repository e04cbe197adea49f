//! What the kernel's side of a container costs: `cargo run --profile lab -p skep-net --example bench_net`.
//! Runs as root in namespaces of its own. Arguments choose among `bridge`, `backends`, `services`.

#![allow(clippy::unwrap_used, reason = "a measuring program")]

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/support/swarm.rs"]
mod swarm;

use std::time::{Duration, Instant};

use skep_net::{BridgeSpec, BridgeSubnet, DnsSpec, EndpointSpec, Net, PortMapping, Protocol};
use support::{on_host, open};
use swarm::{Swarm, overlay};

const CONTAINERS: usize = 50;

/// Times each step of a sequence by name.
#[derive(Default)]
struct Steps(Vec<(&'static str, Vec<Duration>)>);

impl Steps {
    fn time<T>(&mut self, name: &'static str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let out = f();
        let took = start.elapsed();
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, times)) => times.push(took),
            None => self.0.push((name, vec![took])),
        }
        out
    }

    fn print(mut self, title: &str) {
        println!(
            "\n{title}\n{:<28} {:>9} {:>9} {:>9}",
            "step", "min ms", "p50 ms", "p95 ms"
        );
        for (name, times) in &mut self.0 {
            times.sort_unstable();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
            println!("{name:<28} {:>9.3} {:>9.3} {:>9.3}", at(0), at(50), at(95));
        }
    }
}

fn bridge_container(net: &Net, steps: &mut Steps, n: usize) {
    let id = format!("c{n}");
    let ip = format!("172.17.{}.{}", n / 200, n % 200 + 2);
    let whole = Instant::now();
    steps.time("namespace", || net.create_netns(&id).unwrap());
    let spec = EndpointSpec {
        addresses: vec![format!("{ip}/16").parse().unwrap()],
        default_gateways: vec!["172.17.0.1".parse().unwrap()],
        names: vec![id.clone()],
        ..EndpointSpec::new(format!("e{n}"), "n1", &id)
    };
    steps.time("attach to bridge", || net.attach(&spec).unwrap());
    steps.time("name server", || {
        net.serve_dns(&id, &DnsSpec::default()).unwrap()
    });
    let mapping = PortMapping {
        protocol: Protocol::Tcp,
        host_ip: None,
        host_port: 0,
        host_port_end: 0,
        container_ips: vec![ip.parse().unwrap()],
        container_port: 80,
        relay: true,
    };
    steps.time("publish a port", || net.publish(&id, &[mapping]).unwrap());
    let took = whole.elapsed();
    steps.time("whole container", || ());
    if let Some((_, times)) = steps.0.iter_mut().find(|(n, _)| *n == "whole container") {
        *times.last_mut().unwrap() = took;
    }
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    if is_chosen("bridge") {
        on_host(bridge_containers);
    }
    if is_chosen("backends") {
        for backends in [3, 10, 100, 1000] {
            on_host(|dir| vip_updates(dir, backends));
        }
    }
    if is_chosen("services") {
        for services in [1, 10, 100, 500] {
            on_host(|dir| many_services(dir, services));
        }
    }
}

fn bridge_containers(dir: &std::path::Path) {
    let net = open(dir, "bench");
    let subnets = vec![BridgeSubnet {
        gateway: "172.17.0.1/16".parse().unwrap(),
    }];
    let spec = BridgeSpec {
        subnets,
        ..BridgeSpec::new("n1", "docker0")
    };
    net.ensure_bridge(&spec).unwrap();
    let mut steps = Steps::default();
    (0..CONTAINERS).for_each(|n| bridge_container(&net, &mut steps, n));
    for n in 0..CONTAINERS {
        steps.time("remove", || net.remove_netns(&format!("c{n}")).unwrap());
    }
    steps.print("container on a bridge");
}

/// One endpoint of one service changes where there are many services, each published.
fn many_services(dir: &std::path::Path, services: usize) {
    let mut swarm = Swarm::new(dir, 1);
    swarm.ensure(&overlay("n1", "10.1.0.0/16", 4097));
    for n in 0..services {
        let (id, last) = (format!("s{n}"), format!("{}.{}", n / 200, n % 200 + 1));
        swarm.service("n1", &id, &[&format!("10.1.{last}")]);
        for task in 0..2 {
            let ip = format!("10.1.{}.{}", 100 + task * 50 + n / 200, n % 200 + 1);
            swarm.task("n1", &id, &format!("{id}-{task}"), 0, &[&ip]);
        }
    }
    for n in 0..CONTAINERS {
        let ip = format!("10.1.250.{}/16", n + 1);
        swarm.container(0, &format!("c{n}"), &[("n1", &[&ip])]);
    }
    swarm.apply();
    let mut steps = Steps::default();
    for round in 0..20 {
        swarm.set_rotation("n1", "s0-0", round % 2 == 1);
        steps.time("one endpoint changes", || swarm.tell_task("n1", "s0-0"));
    }
    steps.time("the whole table again", || swarm.apply());
    steps.print(&format!("{CONTAINERS} containers, {services} services"));
}

fn vip_updates(dir: &std::path::Path, backends: usize) {
    let mut swarm = Swarm::new(dir, 1);
    swarm.ensure(&overlay("n1", "10.1.0.0/16", 4097));
    swarm.service("n1", "web", &["10.1.255.2"]);
    for n in 0..backends {
        let ip = format!("10.1.{}.{}", n / 200, n % 200 + 1);
        swarm.task("n1", "web", &format!("t{n}"), 0, &[&ip]);
    }
    let mut steps = Steps::default();
    for n in 0..CONTAINERS {
        let ip = format!("10.1.200.{}/16", n + 1);
        let (net, id) = (&swarm.nodes[0].net, format!("c{n}"));
        net.create_netns(&id).unwrap();
        let addresses = vec![ip.parse().unwrap()];
        let spec = EndpointSpec {
            addresses,
            ..EndpointSpec::new(&id, "n1", &id)
        };
        steps.time("attach to overlay", || net.attach(&spec).unwrap());
    }
    swarm.apply();
    for round in 0..20 {
        swarm.set_rotation("n1", "t0", round % 2 == 1);

        steps.time("service update", || swarm.tell_task("n1", "t0"));
    }
    steps.print(&format!("{CONTAINERS} containers, a service of {backends}"));
}
