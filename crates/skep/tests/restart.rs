//! A daemon that dies and comes back: what runs on its host does not notice.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use skep_testkit::{Cluster, Host, Registry, eventually, get_in, images};

const PORT: u16 = 8080;

struct Site {
    cluster: Cluster,
    client: PathBuf,
    _registry: Registry,
}

/// A manager and a worker with a task each, which see each other on an overlay network.
fn site() -> Site {
    let cluster = Cluster::managers(1)
        .workers(1)
        .daemon_flag("--insecure-registry")
        .daemon_flag("198.18.0.0/24");
    let cluster = cluster.start(env!("CARGO_BIN_EXE_skep")).unwrap();
    let (client, address) = cluster.make_client().unwrap();
    let registry = Registry::start(&client, &address.to_string(), cluster.dir()).unwrap();
    let image = format!("{}/nginx:1", registry.name);
    let manager = &cluster.hosts[0];
    let import = ["import", "-c", "CMD [\"nginx\"]", "-", &image];
    manager
        .docker_with_input(&import, &images::nginx().unwrap())
        .ok();
    manager.docker(&["push", &image]).ok();
    manager
        .docker(&["network", "create", "-d", "overlay", "inner"])
        .ok();
    let publish = format!("{PORT}:80");
    let create = [
        "service",
        "create",
        "--name",
        "web",
        "--network",
        "inner",
        "--replicas",
        "2",
    ];
    manager
        .docker(
            &[
                &create[..],
                &["--replicas-max-per-node", "1", "-p", &publish, &image],
            ]
            .concat(),
        )
        .ok();
    Site {
        cluster,
        client,
        _registry: registry,
    }
}

/// Ids of the containers that run on a host.
fn running(host: &Host) -> Vec<String> {
    let mut ids: Vec<String> = host
        .docker(&["ps", "-q", "--no-trunc"])
        .ok()
        .lines()
        .map(str::to_owned)
        .collect();
    ids.sort_unstable();
    ids
}

/// The addresses in the network namespace of a process.
fn interfaces(pid: &str) -> String {
    let output = Command::new("nsenter")
        .args(["-t", pid, "-n", "ip", "-br", "address"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Site {
    /// Asks the published port of a host, several times: the mesh takes turns.
    fn pages(&self, host: usize) -> Result<(), String> {
        let address = SocketAddr::from((self.cluster.hosts[host].address, PORT));
        for turn in 0..4 {
            let answer = get_in(&self.client, address, "/")
                .map_err(|error| format!("turn {turn}: {error}"))?;
            if answer.status != 200 || !answer.text().contains("Welcome to nginx!") {
                return Err(format!("turn {turn}: {}", answer.head));
            }
        }
        Ok(())
    }

    /// The published port on both hosts, the service's address and name from within a task.
    fn works(&self, on: usize, container: &str) -> Result<(), String> {
        self.pages(0)?;
        self.pages(1)?;
        let page = |name: &str| {
            let said =
                self.cluster.hosts[on].docker(&["exec", container, "wget", "-q", "-O-", name]);
            if said.code == 0 {
                Ok(())
            } else {
                Err(format!(
                    "{name}: {} {}{}",
                    said.code, said.stdout, said.stderr
                ))
            }
        };
        page("http://web/")?;
        page("http://tasks.web/")?;
        let listed = self.cluster.hosts[on].docker(&[
            "network",
            "inspect",
            "inner",
            "--format",
            "{{json .Containers}}",
        ]);
        if listed.stdout.contains(container) {
            Ok(())
        } else {
            Err(listed.stdout + &listed.stderr)
        }
    }
}

/// A daemon ends, is missed by nobody, and comes back.
fn no_task_notices(on: usize, end: fn(&mut Host)) {
    let mut site = site();
    let host = &site.cluster.hosts[on];
    let before = eventually("a task runs on the host", || {
        let ids = running(host);
        if ids.len() == 1 {
            Ok(ids)
        } else {
            Err(format!("{ids:?}"))
        }
    });
    eventually("the service works", || site.works(on, &before[0]));
    let pid = host
        .docker(&["inspect", "--format", "{{.State.Pid}}", &before[0]])
        .ok();
    let joined = interfaces(&pid);
    end(&mut site.cluster.hosts[on]);
    assert_eq!(interfaces(&pid), joined, "without a daemon");
    site.pages(0)
        .and(site.pages(1))
        .expect("pages without a daemon");
    site.cluster.hosts[on].start().unwrap();
    site.pages(0)
        .and(site.pages(1))
        .expect("pages once the daemon answers");
    eventually("the service works as before", || site.works(on, &before[0]));
    assert_eq!(interfaces(&pid), joined, "with the next daemon");
    assert_eq!(
        running(&site.cluster.hosts[on]),
        before,
        "the task is the same"
    );
    eventually("the managers count both tasks", || {
        let listed = site.cluster.hosts[0].docker(&["service", "ls", "--format", "{{.Replicas}}"]);
        if listed.stdout.starts_with("2/2") {
            Ok(())
        } else {
            Err(listed.stdout + &listed.stderr)
        }
    });
    assert_eq!(
        running(&site.cluster.hosts[on]),
        before,
        "the task is still the same"
    );
}

#[test]
fn no_task_notices_that_its_worker_crashes() {
    no_task_notices(1, Host::kill);
}

#[test]
fn no_task_notices_that_its_manager_restarts() {
    no_task_notices(0, Host::stop);
}

#[test]
fn the_mesh_reaches_nodes_whose_last_task_is_gone() {
    let site = site();
    let manager = &site.cluster.hosts[0];
    eventually("both hosts answer", || site.pages(0).and(site.pages(1)));
    let image = manager
        .docker(&[
            "service",
            "inspect",
            "web",
            "--format",
            "{{.Spec.TaskTemplate.ContainerSpec.Image}}",
        ])
        .ok();
    manager.docker(&["service", "rm", "web"]).ok();
    eventually("the tasks are gone", || {
        let left: Vec<String> = site.cluster.hosts.iter().flat_map(running).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    let publish = format!("{PORT}:80");
    manager
        .docker(&[
            "service",
            "create",
            "--name",
            "again",
            "--constraint",
            "node.role==manager",
            "-p",
            &publish,
            &image,
        ])
        .ok();
    eventually("both hosts answer for the one task", || {
        site.pages(0).and(site.pages(1))
    });
}

/// Names and pages on a host.
fn named_and_served(site: &Site, on: usize, container: &str) -> Result<(), String> {
    for name in ["http://web/", "http://tasks.web/"] {
        let host = &site.cluster.hosts[on];
        let said = host.docker(&["exec", container, "wget", "-q", "-O-", name]);
        if said.code != 0 {
            return Err(format!("{name}: {}{}", said.stdout, said.stderr));
        }
    }
    site.pages(on)
}

#[test]
fn a_worker_that_crashes_knows_names_and_ports_without_any_manager() {
    let mut site = site();
    let host = &site.cluster.hosts[1];
    let before = eventually("a task runs on the worker", || {
        let ids = running(host);
        if ids.len() == 1 {
            Ok(ids)
        } else {
            Err(format!("{ids:?}"))
        }
    });
    eventually("the service works", || site.works(1, &before[0]));
    site.cluster.hosts[0].kill();
    site.cluster.hosts[1].kill();
    site.cluster.hosts[1].start().unwrap();
    eventually("the service works without a manager", || {
        named_and_served(&site, 1, &before[0])
    });
    assert_eq!(running(&site.cluster.hosts[1]), before);
    site.cluster.hosts[0].start().unwrap();
    eventually("the service works as before", || site.works(1, &before[0]));
    assert_eq!(running(&site.cluster.hosts[1]), before);
}
