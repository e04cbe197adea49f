//! Steady load through the routing mesh and a service's address while tasks and nodes come and go:
//! no request is lost but those in flight on a node that is.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skep_testkit::{Cluster, Host, Load, Registry, eventually, get_in, images};

const PORT: u16 = 8080;
/// Refusals come at once; a load-time hiccup of the machine is no timeout.
const AT_ONCE: Duration = Duration::from_secs(3);

struct Site {
    cluster: Cluster,
    client: PathBuf,
    image: String,
    _registry: Registry,
}

impl Site {
    /// A manager and two workers, an overlay network, and a container of a service that only asks.
    fn start() -> Self {
        let cluster = Cluster::managers(1)
            .workers(2)
            .daemon_flag("--insecure-registry")
            .daemon_flag("198.18.0.0/24");
        let cluster = cluster.start(env!("CARGO_BIN_EXE_skep")).unwrap();
        let (client, address) = cluster.make_client().unwrap();
        let registry = Registry::start(&client, &address.to_string(), cluster.dir()).unwrap();
        let image = format!("{}/nginx:1", registry.name);
        let changes = ["import", "-c", "CMD [\"nginx\"]", "-c", "EXPOSE 80"];
        let import = [&changes[..], &["-", &image]].concat();
        let manager = &cluster.hosts[0];
        manager
            .docker_with_input(&import, &images::nginx().unwrap())
            .ok();
        manager.docker(&["push", &image]).ok();
        let site = Self {
            cluster,
            client,
            image,
            _registry: registry,
        };
        site.docker("network create -d overlay inner");
        site.create("asker", "--constraint node.role==manager", "sleep 10000");
        site
    }

    fn manager(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    /// A command line on the manager; `~` is a blank within a word.
    fn docker(&self, line: &str) -> String {
        let words = line.split_ascii_whitespace();
        let words: Vec<String> = words.map(|word| word.replace('~', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.manager().docker(&words).ok()
    }

    /// A service on the network, up when this returns.
    fn create(&self, name: &str, flags: &str, command: &str) {
        let image = &self.image;
        self.docker(&format!(
            "service create --quiet --name {name} --network inner {flags} {image} {command}"
        ));
    }

    /// The network namespace of the asking task.
    fn inside(&self) -> PathBuf {
        let id = eventually("the asking task runs", || {
            let id = self.docker("ps -q --filter label=com.docker.swarm.service.name=asker");
            if id.is_empty() {
                Err("no container".to_owned())
            } else {
                Ok(id)
            }
        });
        let pid = self.docker(&format!("inspect --format {{{{.State.Pid}}}} {id}"));
        PathBuf::from(format!("/proc/{pid}/ns/net"))
    }

    /// A service's address on the network, with nginx's port.
    fn vip(&self, service: &str) -> SocketAddr {
        let network = self.docker("network inspect --format {{.Id}} inner");
        let all = self.docker(&format!(
            "service inspect --format {{{{json~.Endpoint.VirtualIPs}}}} {service}"
        ));
        vip_of(&all, &network)
    }

    fn mesh(&self, host: usize) -> SocketAddr {
        SocketAddr::from((self.cluster.hosts[host].address, PORT))
    }

    /// The nodes of a service's running tasks, sorted.
    fn nodes(&self, service: &str) -> Vec<String> {
        let listed = self.docker(&format!(
            "service ps --filter desired-state=running --format {{{{.CurrentState}}}}/{{{{.Node}}}} {service}"
        ));
        let running = listed.lines().filter(|line| line.starts_with("Running"));
        let nodes = running.filter_map(|line| line.rsplit('/').next());
        let mut nodes: Vec<String> = nodes.map(str::to_owned).collect();
        nodes.sort_unstable();
        nodes
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&[String]) -> bool) {
        eventually(what, || {
            let nodes = self.nodes("web");
            if wanted(&nodes) {
                Ok(())
            } else {
                Err(format!("{nodes:?}"))
            }
        });
    }

    /// Waits until no container of the service is left beyond its tasks.
    fn settle(&self, hosts: &[usize], containers: usize) {
        eventually("the old tasks have stopped", || {
            let filter = "label=com.docker.swarm.service.name=web";
            let count = |host: &usize| {
                let host = &self.cluster.hosts[*host];
                let ids = host.docker(&["ps", "-q", "--filter", filter]).ok();
                ids.lines().count()
            };
            let left: usize = hosts.iter().map(count).sum();
            if left == containers {
                Ok(())
            } else {
                Err(format!("{left} containers"))
            }
        });
    }
}

/// The address on one network out of `service inspect`'s list.
fn vip_of(json: &str, network: &str) -> SocketAddr {
    let all: serde_json::Value = serde_json::from_str(json).unwrap();
    let vip = all
        .as_array()
        .unwrap()
        .iter()
        .find(|vip| vip["NetworkID"] == network)
        .unwrap();
    let (address, _) = vip["Addr"].as_str().unwrap().split_once('/').unwrap();
    SocketAddr::new(address.parse().unwrap(), 80)
}

/// Some more requests after the change, and none that failed.
#[track_caller]
fn nothing_lost(load: &Load, during: &str) {
    let goal = load.answered() + 100;
    eventually("the load goes on", || {
        if load.answered() >= goal {
            Ok(())
        } else {
            Err(format!(
                "{} of {goal}; {:?}",
                load.answered(),
                load.failures()
            ))
        }
    });
    let failures: Vec<String> = load.failures().into_iter().map(|f| f.text).collect();
    assert!(
        failures.is_empty(),
        "{during}: {} lost: {failures:#?}",
        failures.len()
    );
}

#[test]
fn no_request_is_lost_while_tasks_and_nodes_come_and_go() {
    let mut site = Site::start();
    let publish = format!("{PORT}:80");
    site.create(
        "web",
        &format!("--replicas 4 -p {publish} --update-parallelism 1 --update-delay 0s --update-monitor 100ms"),
        "",
    );
    let (inside, vip) = (site.inside(), site.vip("web"));
    let mut load = Load::new();
    load.add(&inside, &[vip]);
    load.add(&inside, &[vip]);
    load.add(&site.client, &[site.mesh(0), site.mesh(1)]);
    load.add(&site.client, &[site.mesh(0), site.mesh(1), site.mesh(2)]);
    nothing_lost(&load, "rest");

    for order in ["stop-first", "start-first"] {
        site.docker(&format!(
            "service update --quiet --force --update-order {order} web"
        ));
        site.settle(&[0, 1, 2], 4);
        nothing_lost(&load, order);
    }

    site.docker("service scale --detach web=1");
    site.wait_for("one task", |nodes| nodes.len() == 1);
    site.settle(&[0, 1, 2], 1);
    site.docker("service scale --detach web=5");
    site.wait_for("five tasks", |nodes| nodes.len() == 5);
    nothing_lost(&load, "scaling");

    site.docker("node update --availability drain host2");
    site.wait_for("nothing on the drained node", |nodes| {
        nodes.len() == 5 && !nodes.contains(&"host2".to_owned())
    });
    site.settle(&[0, 1, 2], 5);
    nothing_lost(&load, "drain of a node");
    site.docker("node update --availability active host2");
    site.docker("service update --quiet --force web");
    site.settle(&[0, 1, 2], 5);
    nothing_lost(&load, "return of a node");

    lose_a_node(&mut site, &mut load);
}

/// The third host's cable is pulled; then it is removed, and comes back as a new node.
fn lose_a_node(site: &mut Site, load: &mut Load) {
    site.wait_for("a task on each node", |nodes| {
        ["host1", "host2", "host3"]
            .iter()
            .all(|h| nodes.iter().any(|n| n == h))
    });
    load.stop();
    let failures = load.failures();
    assert!(failures.is_empty(), "late: {failures:#?}");
    // Whom the lost node itself was asked for is lost with it.
    let mut load = Load::new();
    let (inside, vip) = (site.inside(), site.vip("web"));
    load.add(&inside, &[vip]);
    load.add(&inside, &[vip]);
    load.add(&site.client, &[site.mesh(0), site.mesh(1)]);
    load.add(&site.client, &[site.mesh(0), site.mesh(1)]);
    nothing_lost(&load, "rest");
    site.cluster.cut(2).unwrap();
    let cut = Instant::now();
    site.wait_for("five tasks elsewhere", |nodes| {
        nodes.len() == 5 && !nodes.contains(&"host3".to_owned())
    });
    let goal = load.answered() + 100;
    eventually("the load goes on", || {
        if load.answered() >= goal {
            Ok(())
        } else {
            Err(load.answered().to_string())
        }
    });
    load.stop();
    let in_flight = |f: &skep_testkit::Failure| f.connected && f.began <= cut;
    let lost: Vec<_> = load
        .failures()
        .into_iter()
        .filter(|f| !in_flight(f))
        .collect();
    assert!(lost.is_empty(), "loss of a node: {lost:#?}");

    let mut load = Load::new();
    load.add(&inside, &[vip]);
    load.add(&site.client, &[site.mesh(0), site.mesh(1)]);
    site.cluster.mend(2).unwrap();
    eventually("the node is back", || {
        let state = site.docker("node ls --format {{.Status}} --filter name=host3");
        if state == "Ready" { Ok(()) } else { Err(state) }
    });
    site.docker("service update --quiet --force web");
    site.settle(&[0, 1, 2], 5);
    nothing_lost(&load, "return of a lost node");
    site.cluster.hosts[2].docker(&["swarm", "leave"]).ok();
    site.wait_for("five tasks on those that stayed", |nodes| {
        nodes.len() == 5 && !nodes.contains(&"host3".to_owned())
    });
    nothing_lost(&load, "a node that leaves");
}

/// How a connection ends that nobody serves, and how soon.
fn refusal(namespace: &Path, address: SocketAddr) -> Result<(), String> {
    let began = Instant::now();
    let said = match get_in(namespace, address, "/") {
        Ok(answer) => return Err(format!("answered: {}", answer.head)),
        Err(error) => format!("{error:#}"),
    };
    if said.contains("refused") && began.elapsed() < AT_ONCE {
        Ok(())
    } else {
        Err(format!("{said} after {:?}", began.elapsed()))
    }
}

#[test]
fn only_healthy_tasks_are_asked_and_without_any_the_connection_is_refused() {
    let site = Site::start();
    let publish = format!("{PORT}:80");
    let health = "--health-interval 200ms --health-retries 1 --health-start-period 300s";
    site.create(
        "web",
        &format!(
            "--detach --constraint node.role==manager -p {publish} {health} --health-cmd=ls~/ok"
        ),
        "",
    );
    let inside = site.inside();
    let vip = eventually("the service has an address", || {
        let running = site.docker("ps -q --filter label=com.docker.swarm.service.name=web");
        if running.is_empty() {
            Err("no container".to_owned())
        } else {
            Ok(site.vip("web"))
        }
    });
    let refused = || {
        refusal(&inside, vip)?;
        (0..3).try_for_each(|host| refusal(&site.client, site.mesh(host)))
    };
    eventually("nobody is asked before the task is healthy", refused);
    let id = site.docker("ps -q --filter label=com.docker.swarm.service.name=web");
    site.docker(&format!("exec {id} touch /ok"));
    let serves = || {
        let ask = |namespace: &Path, address| {
            let answer = get_in(namespace, address, "/").map_err(|e| format!("{e:#}"))?;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(answer.head)
            }
        };
        ask(&inside, vip)?;
        (0..3).try_for_each(|host| ask(&site.client, site.mesh(host)))
    };
    eventually("a healthy task is asked", serves);
    site.docker("service scale --detach web=0");
    eventually("a service without tasks refuses", refused);
    let resolved = site.docker("ps -q --filter label=com.docker.swarm.service.name=asker");
    let named = site
        .manager()
        .docker(&["exec", &resolved, "nslookup", "tasks.web"]);
    // What follows the name server's own address.
    let found = named.stdout.rsplit(":53").next().unwrap_or_default();
    assert!(!found.contains("Address"), "{}", named.stdout);
    unpublished_tasks_run_when_they_listen(&site);
}

/// Its image exposes a port: until it listens there it does not count as running.
fn unpublished_tasks_run_when_they_listen(site: &Site) {
    let here = "--detach --constraint node.role==manager";
    site.create("slow", here, "sh -c sleep~1;exec~nginx");
    eventually("the slow task runs", || {
        let listed = "service ps --format {{.CurrentState}} slow";
        let state = site.docker(listed);
        if state.starts_with("Running") {
            Ok(())
        } else {
            Err(state)
        }
    });
    let id = site.docker("ps -q --filter label=com.docker.swarm.service.name=slow");
    site.docker(&format!("exec {id} wget -q -O /dev/null http://127.0.0.1/"));
}
