//! Addresses of nodes: as told at init and join, and on hosts that are moved.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use serde_json::Value;
use skep_testkit::{Host, Lab, LabSpec, eventually};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn info(host: &Host) -> Value {
    host.api("GET", "/info", None).unwrap().json()["Swarm"].clone()
}

fn ip(host: &Host, line: &str) {
    let output = host.inside("ip").args(words(line)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {said}");
}

#[test]
fn nodes_are_where_they_are_told_to_be_and_may_be_moved() {
    let mut lab = Lab::new(&LabSpec::new(env!("CARGO_BIN_EXE_skep"), 2)).unwrap();
    for host in &mut lab.hosts {
        host.start().unwrap();
    }
    told(&lab);
    moved(&mut lab);
    lost(&mut lab);
}

fn told(lab: &Lab) {
    let (first, second) = (&lab.hosts[0], &lab.hosts[1]);
    for (options, text) in [
        (
            "--advertise-addr nosuch0",
            "advertise address must be a non-zero IP address or network interface",
        ),
        (
            "--listen-addr nosuch0",
            "listen address must be an IP address or network interface (with optional port number)",
        ),
        (
            "--data-path-addr 0.0.0.0",
            "data path address must be a non-zero IP address or network interface (without a port number)",
        ),
        (
            "--data-path-port 80",
            "Datapath port number is not in valid range (1024-49151)",
        ),
        (
            "--default-addr-pool 10.77.0.0/16 --default-addr-pool-mask-length 30",
            "subnet size is out of range: 30",
        ),
        (
            "--default-addr-pool 10.77.0.0/28",
            "Subnet size is too small for pool: 24",
        ),
    ] {
        let said = first
            .docker(&words(&format!("swarm init {options}")))
            .refused();
        assert!(said.contains(text), "{options}: {said}");
        assert_eq!(info(first)["LocalNodeState"], "inactive");
    }
    first
        .docker(&words(
            "swarm init --advertise-addr eth0 --listen-addr eth0:2399 --data-path-addr eth0 \
             --data-path-port 5789 --default-addr-pool 10.77.0.0/16 --default-addr-pool-mask-length 26",
        ))
        .ok();
    let swarm = info(first);
    let address = first.address.to_string();
    assert_eq!(swarm["NodeAddr"], address.as_str());
    assert_eq!(
        swarm["RemoteManagers"][0]["Addr"],
        format!("{address}:2399")
    );
    assert_eq!(swarm["Cluster"]["DataPathPort"], 5789);
    assert_eq!(
        swarm["Cluster"]["DefaultAddrPool"],
        serde_json::json!(["10.77.0.0/16"])
    );
    assert_eq!(swarm["Cluster"]["SubnetSize"], 26);
    first.docker(&words("network create -d overlay mesh")).ok();
    let format = "{{(index .IPAM.Config 0).Subnet}}";
    let subnet = first
        .docker(&["network", "inspect", "mesh", "--format", format])
        .ok();
    assert!(
        subnet.starts_with("10.77.") && subnet.ends_with("/26"),
        "{subnet}"
    );

    // A data path of its own, on another interface.
    ip(second, "link add dp0 type veth peer name dp1");
    ip(second, "addr add 10.55.0.1/24 dev dp0");
    ip(second, "link set dp0 up");
    let token = first.docker(&words("swarm join-token -q manager")).ok();
    second
        .docker(&words(&format!(
            "swarm join --token {token} --advertise-addr eth0:2398 --listen-addr {}:2398 \
             --data-path-addr dp0 {address}:2399",
            second.address
        )))
        .ok();
    is_at(first, &format!("{}:2398", second.address));
}

/// Waits until the other managers know the second host's manager at this address, and reach it.
fn is_at(manager: &Host, addr: &str) {
    let line = "node inspect host2 --format \
                {{.Status.State}}|{{.ManagerStatus.Addr}}|{{.ManagerStatus.Reachability}}";
    eventually("the manager is reached at its address", || {
        let output = manager.docker(&words(line));
        if output.stdout.trim() == format!("ready|{addr}|reachable") {
            Ok(())
        } else {
            Err(format!("{} {}", output.stdout, output.stderr))
        }
    });
}

/// Its interface has another address when it comes back; it listened on the old one.
fn moved(lab: &mut Lab) {
    let before = lab.hosts[1].address;
    let [a, b, c, _] = before.octets();
    let now = std::net::Ipv4Addr::new(a, b, c, 77);
    lab.hosts[1].stop();
    ip(&lab.hosts[1], &format!("addr del {before}/24 dev eth0"));
    ip(&lab.hosts[1], &format!("addr add {now}/24 dev eth0"));
    ip(
        &lab.hosts[1],
        &format!("route replace default via {a}.{b}.{c}.1"),
    );
    lab.hosts[1].address = now;
    lab.hosts[1].start().unwrap();
    is_at(&lab.hosts[0], &format!("{now}:2398"));
}

/// The interface of its data path is gone: nothing tells what is meant instead.
fn lost(lab: &mut Lab) {
    lab.hosts[1].stop();
    ip(&lab.hosts[1], "link del dp0");
    lab.hosts[1].start().unwrap();
    let second = &lab.hosts[1];
    let swarm = info(second);
    assert_eq!(swarm["LocalNodeState"], "error");
    assert_eq!(
        swarm["Error"],
        "this host has lost the address 10.55.0.1, which it takes overlay traffic at, and there is no \
         telling the new one: give it back, or run `skep swarm move --data-path-addr ADDR`"
    );
    let nothing = second.skep(&words("swarm move")).refused();
    assert!(
        nothing.contains("at least one of --advertise-addr"),
        "{nothing}"
    );
    second.skep(&words("swarm move --data-path-addr eth0")).ok();
    assert_eq!(info(second)["LocalNodeState"], "active");
    is_at(&lab.hosts[0], &format!("{}:2398", second.address));
    let format = "{{json .Description.Engine.Labels}}";
    let labels = lab.hosts[0]
        .docker(&["node", "inspect", "host2", "--format", format])
        .ok();
    assert!(!labels.contains("10.55.0.1"), "{labels}");
}
