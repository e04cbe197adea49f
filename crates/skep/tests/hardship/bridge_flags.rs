//! The default bridge follows the daemon's flags from run to run; ways of publishing beside NAT.

use serde_json::json;
use skep_testkit::Host;

use crate::{ask, hosts, import, run};

/// What a command in a container says.
#[track_caller]
fn says(host: &Host, name: &str, command: &str) -> String {
    host.docker(&["exec", name, "sh", "-c", command]).ok()
}

#[test]
fn the_default_bridge_follows_the_flags() {
    let mut lab = hosts(1);
    lab.hosts[0].start_with(&["--bip", "10.77.0.1/24"]).unwrap();
    import(&lab.hosts[0]);
    let host = &lab.hosts[0];
    let id = ask(host, "GET", "/networks/bridge", None, 200)["Id"].clone();
    run(host, "first", json!({}));
    assert!(says(host, "first", "ip addr show eth0").contains("10.77.0.2/24"));
    ask(host, "DELETE", "/containers/first?force=1", None, 204);
    lab.hosts[0].stop();
    // The same flags again change nothing, others do.
    lab.hosts[0].start_with(&["--bip", "10.77.0.1/24"]).unwrap();
    let same = ask(&lab.hosts[0], "GET", "/networks/bridge", None, 200);
    assert_eq!(same["IPAM"]["Config"][0]["Subnet"], "10.77.0.0/24");
    // Who runs elsewhere keeps nothing as it is, nor does what the kernel has not taken away yet.
    let elsewhere = json!({"Name": "elsewhere", "IPAM": {"Config": [{"Subnet": "10.79.0.0/24"}]}});
    let path = "/networks/create";
    ask(&lab.hosts[0], "POST", path, Some(elsewhere), 201);
    let on_it = json!({"NetworkMode": "elsewhere"});
    run(&lab.hosts[0], "other", on_it);
    lab.hosts[0].stop();
    let instance = std::fs::read_to_string(lab.hosts[0].data_root().join("instance")).unwrap();
    let left = format!(
        "ip link add left0 type veth peer name left1 && \
         ip link set left0 master docker0 alias skep:{}:0123abcd",
        instance.trim()
    );
    sh(&lab.hosts[0], &left);
    let flags = "--bip 10.78.0.1/24 --fixed-cidr 10.78.0.128/25 --mtu 1400 --default-gateway 10.78.0.9 \
                 --ipv6 --fixed-cidr-v6 fd00:78::/64 --icc=false --ip-masq=false --ip 127.0.0.1 \
                 --host-gateway-ip 192.0.2.7 \
                 --default-network-opt bridge=com.docker.network.driver.mtu=1300";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    lab.hosts[0].start_with(&flags).unwrap();
    let host = &lab.hosts[0];
    let bridge = ask(host, "GET", "/networks/bridge", None, 200);
    assert_eq!(bridge["Id"], id);
    let configs = &bridge["IPAM"]["Config"];
    assert_eq!(
        (
            &configs[0]["Subnet"],
            &configs[0]["IPRange"],
            &configs[0]["Gateway"]
        ),
        (
            &json!("10.78.0.0/24"),
            &json!("10.78.0.128/25"),
            &json!("10.78.0.1")
        )
    );
    assert_eq!(configs[1]["Subnet"], "fd00:78::/64");
    assert_eq!(bridge["EnableIPv6"], true);
    let option = |name: &str| bridge["Options"][format!("com.docker.network.{name}")].clone();
    assert_eq!(option("bridge.enable_icc"), "false");
    assert_eq!(option("bridge.enable_ip_masquerade"), "false");
    assert_eq!(option("bridge.host_binding_ipv4"), "127.0.0.1");
    run(host, "second", json!({"ExtraHosts": ["up:host-gateway"]}));
    let shown = says(
        host,
        "second",
        "ip addr show eth0; ip route; cat /etc/hosts",
    );
    for part in [
        "mtu 1400",
        "10.78.0.128/24",
        "fd00:78::",
        "default via 10.78.0.9",
        "192.0.2.7\tup",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let network = json!({"Name": "own"});
    ask(host, "POST", "/networks/create", Some(network), 201);
    let own = ask(host, "GET", "/networks/own", None, 200);
    assert_eq!(own["Options"]["com.docker.network.driver.mtu"], "1300");
    ask(host, "DELETE", "/networks/own", None, 204);
    for name in ["second", "other"] {
        let path = format!("/containers/{name}?force=1");
        ask(host, "DELETE", &path, None, 204);
    }
    ask(host, "DELETE", "/networks/elsewhere", None, 204);
    lab.hosts[0].stop();
    // What the flags do not say any more is as it is by default; the subnet stays.
    lab.hosts[0].start().unwrap();
    let bridge = ask(&lab.hosts[0], "GET", "/networks/bridge", None, 200);
    assert_eq!(
        bridge["IPAM"]["Config"],
        json!([{"Subnet": "10.78.0.0/24", "Gateway": "10.78.0.1"}])
    );
    assert_eq!(
        bridge["Options"]["com.docker.network.bridge.enable_icc"],
        "true"
    );
    lab.hosts[0].stop();
    lab.hosts[0].start_with(&["--bridge", "none"]).unwrap();
    ask(&lab.hosts[0], "GET", "/networks/bridge", None, 404);
    crate::assert_no_leaks(&mut lab);
}

/// What a port says to who asks from a host.
fn asked(host: &Host, target: &str, port: &str) -> String {
    let output = host
        .inside("busybox")
        .args(["nc", "-w", "3", target, port])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A host behind one with containers: their subnet is reached by way of it.
#[test]
fn routed_networks_show_containers_as_they_are_and_let_in_what_is_published() {
    let mut lab = hosts(2);
    lab.hosts[0].start().unwrap();
    import(&lab.hosts[0]);
    let host = &lab.hosts[0];
    let network = json!({
        "Name": "routed",
        "IPAM": {"Config": [{"Subnet": "10.66.0.0/24"}]},
        "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "routed"},
    });
    ask(host, "POST", "/networks/create", Some(network), 201);
    let body = json!({
        "Image": crate::IMAGE,
        "Cmd": ["sh", "-c", "for p in 80 81; do (while :; do echo port $p | nc -l -p $p; done) & done; wait"],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"NetworkMode": "routed", "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
    });
    ask(host, "POST", "/containers/create?name=web", Some(body), 201);
    ask(host, "POST", "/containers/web/start", None, 204);
    let route = lab.hosts[1]
        .inside("ip")
        .args(["route", "add", "10.66.0.0/24", "via"])
        .arg(lab.hosts[0].address.to_string())
        .status();
    assert!(route.unwrap().success());
    skep_testkit::eventually("the published port is reached", || {
        match asked(&lab.hosts[1], "10.66.0.2", "80").as_str() {
            "port 80" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    assert_eq!(
        asked(&lab.hosts[1], "10.66.0.2", "81"),
        "",
        "it is not published"
    );
    let address = lab.hosts[0].address.to_string();
    assert_eq!(
        asked(&lab.hosts[1], &address, "8080"),
        "",
        "nothing is translated"
    );
    let ping = lab.hosts[1]
        .inside("busybox")
        .args(["ping", "-c1", "-w5", "10.66.0.2"])
        .output();
    assert!(ping.unwrap().status.success());
    // A restart of the daemon changes nothing of it.
    lab.hosts[0].kill();
    lab.hosts[0].start().unwrap();
    skep_testkit::eventually("the port is reached as before", || {
        match asked(&lab.hosts[1], "10.66.0.2", "80").as_str() {
            "port 80" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    assert_eq!(asked(&lab.hosts[1], "10.66.0.2", "81"), "");
    let host = &lab.hosts[0];
    ask(host, "DELETE", "/containers/web?force=1", None, 204);
    assert!(
        !crate::rules(host)
            .iter()
            .any(|line| line.contains("10.66.0.2"))
    );
    ask(host, "DELETE", "/networks/routed", None, 204);
    crate::assert_no_leaks(&mut lab);
}

/// Runs a program on a host.
#[track_caller]
fn sh(host: &Host, line: &str) -> String {
    let output = host.inside("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bridges_that_are_there_are_taken_over_and_left_behind() {
    let mut lab = hosts(1);
    sh(
        &lab.hosts[0],
        "ip link add lan0 type bridge && ip addr add 10.55.0.7/24 dev lan0 && ip link set lan0 up \
         && ip link add lan1 type bridge && ip link add dummy9 type veth peer name dummy8",
    );
    lab.hosts[0].start_with(&["--bridge", "lan0"]).unwrap();
    import(&lab.hosts[0]);
    let host = &lab.hosts[0];
    let body = json!({
        "Image": crate::IMAGE,
        "Cmd": ["sh", "-c", "while :; do echo it is me | nc -l -p 80; done"],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
    });
    ask(host, "POST", "/containers/create?name=web", Some(body), 201);
    ask(host, "POST", "/containers/web/start", None, 204);
    let shown = ask(host, "GET", "/containers/web/json", None, 200);
    let settings = &shown["NetworkSettings"];
    assert_eq!(settings["Gateway"], "10.55.0.7");
    let bound =
        json!([{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]);
    assert_eq!(settings["Ports"]["80/tcp"], bound);
    let answers = |host: &Host, target: &str| {
        skep_testkit::eventually("the port answers", || {
            match asked(host, target, "8080").as_str() {
                "it is me" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
    };
    answers(host, "127.0.0.1");
    answers(host, "::1");
    // A network on another bridge; one that is taken, and what is none.
    let network = |name: &str, bridge: &str| {
        json!({"Name": name, "IPAM": {"Config": [{"Subnet": "10.56.0.0/24"}]},
               "Options": {"com.docker.network.bridge.name": bridge}})
    };
    let path = "/networks/create";
    ask(host, "POST", path, Some(network("own", "lan1")), 201);
    assert!(sh(host, "ip addr show lan1").contains("10.56.0.1/24"));
    let mut twice = network("twice", "lan1");
    twice["IPAM"]["Config"][0]["Subnet"] = json!("10.57.0.0/24");
    let refused = ask(host, "POST", path, Some(twice.clone()), 403);
    let text = refused["message"].as_str().unwrap();
    assert!(text.contains("networks have same bridge name"), "{text}");
    twice["Options"]["com.docker.network.bridge.name"] = json!("dummy9");
    let refused = ask(host, "POST", path, Some(twice), 500);
    let text = refused["message"].as_str().unwrap();
    assert!(
        text.ends_with("existing interface dummy9 is not a bridge"),
        "{text}"
    );
    ask(host, "DELETE", "/networks/own", None, 204);
    sh(host, "ip link show lan1");
    // While a container runs, other flags wait.
    lab.hosts[0].kill();
    lab.hosts[0].start_with(&["--bip", "10.58.0.1/24"]).unwrap();
    let host = &lab.hosts[0];
    let bridge = ask(host, "GET", "/networks/bridge", None, 200);
    assert_eq!(bridge["IPAM"]["Config"][0]["Subnet"], "10.55.0.0/24");
    answers(host, "127.0.0.1");
    answers(host, "::1");
    ask(host, "DELETE", "/containers/web?force=1", None, 204);
    assert_eq!(asked(host, "::1", "8080"), "");
    lab.hosts[0].stop();
    lab.hosts[0].start_with(&["--bip", "10.58.0.1/24"]).unwrap();
    let host = &lab.hosts[0];
    let bridge = ask(host, "GET", "/networks/bridge", None, 200);
    assert_eq!(bridge["IPAM"]["Config"][0]["Subnet"], "10.58.0.0/24");
    assert!(sh(host, "ip addr show lan0").contains("10.55.0.7/24"));
    sh(
        host,
        "ip link del lan0; ip link del lan1; ip link del dummy9",
    );
    crate::assert_no_leaks(&mut lab);
}
