//! What a swarm is left with when managers are lost: a diagnosis, a backup, a way back.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::time::Duration;

use serde_json::Value;
use skep_testkit::{Cluster, Host, Lab, LabSpec, eventually, eventually_within, images};

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_skep")
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Waits until the command's output is this, whatever it says meanwhile.
fn await_output(host: &Host, line: &str, wanted: &str) {
    eventually(line, || {
        let output = host.docker(&words(line));
        let said = output.stdout.trim_end().to_owned();
        if said == wanted {
            Ok(())
        } else {
            Err(format!("{said} {}", output.stderr))
        }
    });
}

#[test]
fn a_lost_quorum_is_told_with_who_is_missing_and_mended_by_one_command() {
    let mut cluster = Cluster::managers(3).start(program()).unwrap();
    let rootfs = images::busybox().unwrap();
    let first = &cluster.hosts[0];
    first
        .docker_with_input(&["import", "-", "bb:1"], &rootfs)
        .ok();
    first
        .docker(&words(
            "service create -d --name kept --constraint node.hostname==host1 bb:1 sleep 1000",
        ))
        .ok();
    let running =
        "service ps kept --filter desired-state=running --format {{.Node}}|{{.CurrentState}}";
    eventually("the service runs", || {
        let said = first.docker(&words(running)).stdout;
        if said.starts_with("host1|Running") {
            Ok(())
        } else {
            Err(said)
        }
    });
    let container = first.docker(&["ps", "-q"]).ok();
    assert!(!container.is_empty());

    cluster.hosts[1].kill();
    cluster.hosts[2].kill();
    let (first, addresses) = (
        &cluster.hosts[0],
        [cluster.hosts[1].address, cluster.hosts[2].address],
    );
    let refused = eventually("a write is refused", || {
        let output = first.docker(&words("service create -d --name late bb:1 sleep 1000"));
        if output.code == 0 {
            Err(output.stdout)
        } else {
            Ok(output.stderr)
        }
    });
    assert!(refused.contains("The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."), "{refused}");
    // Both are missed once raft has tried to reach both.
    let told = eventually("both are missed", || {
        let said = first.docker(&words("service ls")).stderr;
        if said.contains("cannot reach 2 of 3") {
            Ok(said)
        } else {
            Err(said)
        }
    });
    for (name, address) in ["host2", "host3"].iter().zip(addresses) {
        assert!(
            told.contains(&format!("{name} ({address}:2377) since 20")),
            "{told}"
        );
    }
    let command = format!(
        "swarm init --force-new-cluster --advertise-addr {}:2377",
        first.address
    );
    assert!(told.trim_end().ends_with(&command), "{told}");
    // Who the nodes are can still be read, and what runs goes on.
    let nodes = first.docker(&words("node ls --format {{.Hostname}}|{{.ManagerStatus}}"));
    assert_eq!(
        nodes.ok(),
        "host1|Reachable\nhost2|Unreachable\nhost3|Unreachable"
    );
    let info = first.api("GET", "/info", None).unwrap().json();
    assert_eq!(info["Swarm"]["Managers"], 3, "{info}");
    assert_eq!(first.docker(&["ps", "-q"]).ok(), container);

    first.docker(&words(&command)).ok();
    await_output(
        first,
        "node ls --filter role=manager --format {{.Hostname}}|{{.ManagerStatus}}",
        "host1|Leader\nhost2|\nhost3|",
    );
    assert_eq!(
        first.docker(&["ps", "-q"]).ok(),
        container,
        "no task was touched"
    );
    first
        .docker(&words(
            "service create -d --name late --constraint node.hostname==host1 bb:1 sleep 1000",
        ))
        .ok();
    await_output(
        first,
        "service ls --format {{.Name}}|{{.Replicas}}",
        "kept|1/1\nlate|1/1",
    );
}

#[test]
fn a_backup_makes_the_swarm_again_and_its_workers_come_back() {
    let mut spec = LabSpec::new(program(), 3);
    spec.daemon_flags = vec!["--log-level".into(), "info".into()];
    let mut lab = Lab::new(&spec).unwrap();
    for host in &mut lab.hosts {
        host.start().unwrap();
    }
    let manager = &lab.hosts[0];
    let address = manager.address;
    manager
        .docker(&words(&format!("swarm init --advertise-addr {address}")))
        .ok();
    let token = manager.docker(&words("swarm join-token -q worker")).ok();
    let worker = &lab.hosts[1];
    worker
        .docker(&words(&format!(
            "swarm join --token {token} {address}:2377"
        )))
        .ok();
    let rootfs = images::busybox().unwrap();
    worker
        .docker_with_input(&["import", "-", "bb:1"], &rootfs)
        .ok();
    manager
        .docker_with_input(&["secret", "create", "word", "-"], b"hush")
        .ok();
    manager.docker(&words("network create -d overlay net")).ok();
    manager
        .docker(&words("service create -d --name web --secret word --network net --constraint node.hostname==host2 bb:1 sleep 1000"))
        .ok();
    await_output(
        manager,
        "service ls --format {{.Name}}|{{.Replicas}}",
        "web|1/1",
    );
    let container = worker.docker(&["ps", "-q"]).ok();
    let before = objects(manager);

    let file = lab.dir().join("swarm.backup");
    let path = file.to_str().unwrap();
    let key = manager.skep(&["swarm", "backup", "--quiet", path]).ok();
    assert!(key.starts_with("SWMKEY-1-"), "{key}");
    let again = manager.skep(&["swarm", "backup", path]).refused();
    assert!(again.contains("file exists"), "{again}");
    let bytes = std::fs::read(&file).unwrap();
    assert!(
        !bytes.windows(4).any(|window| window == b"hush"),
        "it is sealed"
    );
    // With a key of one's own nothing has to be written down.
    let second = lab.dir().join("second.backup");
    let told = manager
        .skep(&["swarm", "backup", "--key", &key, second.to_str().unwrap()])
        .ok();
    assert!(!told.contains("SWMKEY"), "{told}");

    // The manager's host burns down; another takes its address.
    lab.hosts[0].kill();
    std::fs::remove_dir_all(lab.hosts[0].data_root()).unwrap();
    let _ = std::fs::remove_dir_all(lab.hosts[0].exec_root());
    lab.hosts[0].start().unwrap();
    let fresh = &lab.hosts[0];
    let wrong = "SWMKEY-1-BXVZnRD9B9Jc4PZuwG8rGmO6Ar+HR4B5hca/Q9KiB9E";
    let refused = fresh
        .skep(&["swarm", "restore", "--key", wrong, path])
        .refused();
    assert!(refused.contains("invalid key provided"), "{refused}");
    let damaged = lab.dir().join("damaged.backup");
    let mut cut = bytes.clone();
    cut.truncate(bytes.len() - 1);
    std::fs::write(&damaged, cut).unwrap();
    let refused = fresh
        .skep(&["swarm", "restore", "--key", &key, damaged.to_str().unwrap()])
        .refused();
    assert!(refused.contains("damaged"), "{refused}");
    let advertise = address.to_string();
    let restore = [
        "swarm",
        "restore",
        "--key",
        &key,
        "--advertise-addr",
        &advertise,
        path,
    ];
    let said = fresh.skep(&restore).ok();
    assert!(said.starts_with("Swarm restored: current node ("), "{said}");
    assert_eq!(objects(fresh), before);
    // The worker is told of nothing: it finds its swarm, and its task is the one it was.
    await_output(
        fresh,
        "node ls --format {{.Hostname}}|{{.Status}}|{{.ManagerStatus}}",
        "host1|Ready|Leader\nhost2|Ready|",
    );
    await_output(
        fresh,
        "service ls --format {{.Name}}|{{.Replicas}}",
        "web|1/1",
    );
    assert_eq!(lab.hosts[1].docker(&["ps", "-q"]).ok(), container);
    // Tokens are the same: a node joins with the old one.
    let join = format!("swarm join --token {token} {address}:2377");
    lab.hosts[2].docker(&words(&join)).ok();
    let again = fresh.skep(&restore).refused();
    assert!(
        again.contains("This node is already part of a swarm"),
        "{again}"
    );
    let worker = &lab.hosts[1];
    let refused = worker.skep(&["swarm", "backup", "/dev/shm/none"]).refused();
    assert!(refused.contains("Worker nodes can't be used"), "{refused}");
}

/// What must be the same after a restore: ids, names and times of everything users made.
fn objects(manager: &Host) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/services", "/secrets", "/networks", "/swarm"] {
        let answer = manager.api("GET", path, None).unwrap().json();
        let list = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
        for object in list {
            // Networks of this host are others after it burned down.
            if object["Scope"] == "local" {
                continue;
            }
            let name = object["Spec"]["Name"].as_str().or(object["Name"].as_str());
            all.push(serde_json::json!([
                path,
                object["ID"].as_str().or(object["Id"].as_str()),
                name,
                object["CreatedAt"].as_str().or(object["Created"].as_str()),
                object["JoinTokens"],
                object["TLSInfo"]["TrustRoot"],
                object["Endpoint"]["VirtualIPs"],
                object["IPAM"]["Config"],
            ]));
        }
    }
    all
}

/// A worker whose task goes on while its manager restarts with the same data, under load.
#[test]
fn a_loaded_machine_costs_no_task() {
    let cluster = Cluster::managers(1).workers(2).start(program()).unwrap();
    let rootfs = images::busybox().unwrap();
    for host in &cluster.hosts {
        host.docker_with_input(&["import", "-", "bb:1"], &rootfs)
            .ok();
    }
    let manager = &cluster.hosts[0];
    manager
        .docker(&words(
            "service create -d --name web --replicas 6 bb:1 sleep 1000",
        ))
        .ok();
    await_output(
        manager,
        "service ls --format {{.Name}}|{{.Replicas}}",
        "web|6/6",
    );
    let ids = || {
        let said = manager.docker(&words("service ps -q --no-trunc web")).ok();
        let mut ids: Vec<String> = said.lines().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    };
    let before = ids();
    assert_eq!(before.len(), 6);
    // Fifty that want all of the processor, for as long as three heartbeats would take to be missed.
    let mut busy: Vec<_> = (0..50)
        .map(|_| {
            std::process::Command::new("timeout")
                .args(["8", "sh", "-c", "while :; do :; done"])
                .spawn()
                .unwrap()
        })
        .collect();
    for child in &mut busy {
        child.wait().unwrap();
    }
    assert_eq!(ids(), before, "tasks were lost on a loaded machine");
    eventually_within(Duration::from_secs(10), "every node is there", || {
        let said = manager
            .docker(&words("node ls --format {{.Status}}"))
            .stdout;
        if said == "Ready\nReady\nReady\n" {
            Ok(())
        } else {
            Err(said)
        }
    });
}
