//! What operators look at: metrics and their page, the doctor, a dump.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::SocketAddr;

use nix::sys::signal::Signal;
use skep_testkit::{Cluster, Host, eventually, get_in};

const PAGE: &str = include_str!("../../../docs/design/metrics.md");

#[test]
fn metrics_the_doctor_and_a_dump_tell_what_is() {
    let mut cluster = Cluster::managers(1)
        .workers(2)
        .daemon_flag("--metrics-addr")
        .daemon_flag("0.0.0.0:9323")
        .start(env!("CARGO_BIN_EXE_skep"))
        .unwrap();
    metrics(&cluster);
    doctor(&mut cluster);
    dump(&cluster);
}

fn metrics(cluster: &Cluster) {
    engine_acts(cluster);
    let ask = |host: usize| {
        let address = SocketAddr::from((cluster.hosts[host].address, 9323));
        get_in(&cluster.hosts[host].namespace, address, "/metrics")
            .unwrap()
            .text()
    };
    let said = ask(0);
    let served: BTreeSet<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, _)| name)
        .collect();
    let listed: BTreeSet<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(served, listed, "the page and what is served differ");
    for line in [
        "swarm_manager_leader 1",
        "swarm_manager_nodes{state=\"ready\"} 3",
        "swarm_node_manager 1",
        "skep_raft_has_leader 1",
        "skep_raft_members 1",
        "skep_raft_unreachable_members 0",
    ] {
        assert!(said.lines().any(|l| l == line), "{line}\n{said}");
    }
    for (name, atleast) in [
        (
            "engine_daemon_container_actions_seconds_count{action=\"create\"}",
            2.0,
        ),
        (
            "engine_daemon_container_actions_seconds_count{action=\"start\"}",
            2.0,
        ),
        (
            "engine_daemon_container_actions_seconds_count{action=\"delete\"}",
            1.0,
        ),
        (
            "engine_daemon_container_actions_seconds_count{action=\"changes\"}",
            1.0,
        ),
        (
            "engine_daemon_container_actions_seconds_count{action=\"commit\"}",
            1.0,
        ),
        (
            "engine_daemon_container_actions_seconds_bucket{action=\"start\",le=\"+Inf\"}",
            2.0,
        ),
        (
            "engine_daemon_network_actions_seconds_count{action=\"allocate\"}",
            2.0,
        ),
        (
            "engine_daemon_network_actions_seconds_count{action=\"connect\"}",
            2.0,
        ),
        (
            "engine_daemon_network_actions_seconds_count{action=\"release\"}",
            1.0,
        ),
        (
            "engine_daemon_image_actions_seconds_count{action=\"history\"}",
            1.0,
        ),
        (
            "engine_daemon_image_actions_seconds_count{action=\"delete\"}",
            1.0,
        ),
        (
            "engine_daemon_host_info_functions_seconds_count{function=\"system_info\"}",
            1.0,
        ),
        ("engine_daemon_health_checks_total", 1.0),
        ("engine_daemon_health_checks_failed_total", 1.0),
        (
            "engine_daemon_health_check_start_duration_seconds_count",
            1.0,
        ),
    ] {
        let line = said.lines().find_map(|l| l.strip_prefix(name));
        let value: f64 = line.unwrap_or("0").trim().parse().unwrap();
        assert!(value >= atleast, "{name} is {value}\n{said}");
    }
    let worker = ask(1);
    assert!(worker.contains("swarm_node_manager 0"), "{worker}");
    assert!(!worker.contains("swarm_manager_leader"), "{worker}");
}

/// Something of everything that the engine measures, on the first host.
fn engine_acts(cluster: &Cluster) {
    let host = &cluster.hosts[0];
    let docker = |line: &str| host.docker(&line.split(' ').collect::<Vec<_>>()).ok();
    let archive = skep_testkit::images::busybox().unwrap();
    host.docker_with_input(&["import", "-", "box:1"], &archive)
        .ok();
    docker("run --rm box:1 true");
    docker(
        "run -d --name ill --health-cmd false --health-interval 100ms --health-retries 1 box:1 sleep 1000",
    );
    docker("diff ill");
    docker("commit ill box:2");
    docker("history box:2");
    docker("rmi box:2");
    docker("info");
    eventually("a health check has failed", || {
        let status = docker("inspect --format {{.State.Health.Status}} ill");
        if status == "unhealthy" {
            Ok(())
        } else {
            Err(status)
        }
    });
    docker("rm -f ill");
}

fn doctor(cluster: &mut Cluster) {
    let said = eventually("nothing is wrong", || {
        let output = cluster.hosts[0].skep(&["swarm", "doctor", "--all"]);
        if output.code == 0 {
            Ok(output.stdout)
        } else {
            Err(output.stdout)
        }
    });
    for part in [
        "quorum",
        "nodes",
        "ports",
        "path",
        "mtu",
        "versions",
        "certificates",
        "disk",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    for host in &cluster.hosts {
        let part = format!(
            "{} 4789/udp passes to and from 2 nodes, full packets too",
            host.name
        );
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&said).contains(&part), "{part}\n{said}");
    }
    assert!(
        said.contains("reaches the ports of all 1 managers"),
        "{said}"
    );
    assert!(said.contains("eth0 has MTU 1500"), "{said}");
    broken_ways(cluster);
    cluster.hosts[1].kill();
    eventually("the lost node is found", || {
        let output = cluster.hosts[0].skep(&["swarm", "doctor"]);
        let is_told = output.code == 1 && output.stdout.contains("its daemon does not run");
        if is_told { Ok(()) } else { Err(output.stdout) }
    });
    cluster.hosts[1].start().unwrap();
    let outsider = cluster.hosts[1].skep(&["swarm", "doctor", "--all"]).ok();
    assert!(
        outsider.contains("manager answers on its port"),
        "{outsider}"
    );
}

/// What is wrong, by `check node: text`.
fn wrong(host: &Host) -> Vec<String> {
    let output = host.skep(&["swarm", "doctor", "--format", "json"]);
    let found: Vec<serde_json::Value> = serde_json::from_str(&output.stdout).unwrap();
    let bad = found.iter().filter(|f| f["Level"] == "problem");
    bad.map(|f| format!("{} {}: {}", f["Check"], f["Node"], f["Text"]).replace('"', ""))
        .collect()
}

/// Ways between workers, which the manager that is asked has no part in.
fn broken_ways(cluster: &mut Cluster) {
    let host = &cluster.hosts[2];
    let nft = |rules: &str| {
        let output = host.inside("nft").arg(rules).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nft (Debian: nftables): {said}");
    };
    nft("add table inet firewall");
    nft("add chain inet firewall input { type filter hook input priority 0 ; }");
    nft("add rule inet firewall input udp dport 4789 drop");
    let blocked = format!(
        "path {}: nothing of the other nodes gets here on 4789/udp",
        host.name
    );
    assert_eq!(wrong(&cluster.hosts[0]), [blocked]);
    nft("flush chain inet firewall input");
    let from = cluster.hosts[1].address;
    nft(&format!(
        "add rule inet firewall input ip saddr {from} udp dport 4789 drop"
    ));
    let one_way = format!(
        "path {}: nothing gets to {} on 4789/udp",
        cluster.hosts[1].name, host.name
    );
    assert_eq!(wrong(&cluster.hosts[0]), [one_way]);
    nft("delete table inet firewall");

    cluster.set_port_mtu(2, 1400).unwrap();
    let said = wrong(&cluster.hosts[0]);
    assert!(
        said[0].starts_with(&format!("mtu {}: nothing of the other", host.name)),
        "{said:?}"
    );
    assert!(
        said[0].ends_with("in full packets, small ones pass"),
        "{said:?}"
    );
    cluster.set_port_mtu(2, 1500).unwrap();

    // Its kernel takes connections still; nobody answers on them.
    host.signal(Signal::SIGSTOP);
    let said = wrong(&cluster.hosts[0]);
    host.signal(Signal::SIGCONT);
    let silent = [
        format!("path {}: its agent does not answer", host.name),
        format!("nodes {}: down", host.name),
    ];
    assert!(
        said.iter().any(|f| silent.iter().any(|s| f.starts_with(s))),
        "{said:?}"
    );
    eventually(
        "all is well again",
        || match &wrong(&cluster.hosts[0])[..] {
            [] => Ok(()),
            bad => Err(format!("{bad:?}")),
        },
    );
}

fn dump(cluster: &Cluster) {
    let host = &cluster.hosts[0];
    host.docker_with_input(&["secret", "create", "word", "-"], b"hush-hush")
        .ok();
    let path = cluster.dir().join("dump.tar");
    host.skep(&["debug", "dump", path.to_str().unwrap()]).ok();
    let token = host.docker(&["swarm", "join-token", "-q", "worker"]).ok();
    let mut names = BTreeSet::new();
    let file = std::fs::File::open(&path).unwrap();
    for entry in tar::Archive::new(file).entries().unwrap() {
        let mut entry = entry.unwrap();
        names.insert(
            entry
                .path()
                .unwrap()
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned(),
        );
        let mut text = Vec::new();
        entry.read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text);
        for secret in [
            &token,
            "hush-hush",
            "aHVzaC1odXNo",
            "BEGIN PRIVATE KEY",
            "BEGIN EC PRIVATE",
        ] {
            assert!(!text.contains(secret), "{secret} in {names:?}");
        }
    }
    for name in [
        "info.json",
        "metrics.txt",
        "daemon.log",
        "threads.txt",
        "doctor.json",
        "swarm.json",
    ] {
        assert!(names.contains(name), "{name} of {names:?}");
    }
}
