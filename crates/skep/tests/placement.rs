//! Where tasks go, and how many there are, as users see it: generic resources by name, what a task
//! waits for, images pinned for clients that leave it to the engine, a service that is scaled by its
//! load, and one that is evened out when a node joins. One host, and a second one in the end.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::collections::BTreeMap;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use skep_testkit::{Cluster, Host, Registry, eventually, get_in, images};

#[test]
fn resources_and_ports_are_given_out_once_and_images_are_pinned() {
    let mut builder = Cluster::managers(1).workers(1);
    for flag in [
        "--node-generic-resource=gpu=UUID1,gpu=UUID2",
        "--node-generic-resource=ssd=3",
        "--insecure-registry=198.18.0.0/24",
    ] {
        builder = builder.daemon_flag(flag);
    }
    let cluster = builder.start(env!("CARGO_BIN_EXE_skep")).unwrap();
    let (client, address) = cluster.make_client().unwrap();
    let registry = Registry::start(&client, &address.to_string(), cluster.dir()).unwrap();
    let image = format!("{}/busybox:1", registry.name);
    leave(&cluster);
    let host = &cluster.hosts[0];
    let busybox = images::busybox().unwrap();
    host.docker_with_input(&["import", "-", &image], &busybox)
        .ok();
    host.docker(&["push", "-q", &image]).ok();
    generic_resources(host, &image);
    a_host_port(host, &image);
    pinned(host, &image);
    let talks = talk(host, &image);
    scaled_by_load(host, &image);
    await_scale(host, "talks", 3);
    talks.into_iter().for_each(hang_up);
    host.docker(&["service", "rm", "talks"]).ok();
    evened_out(&cluster, &image);
}

/// The second host is no part of the swarm as yet.
fn leave(cluster: &Cluster) {
    cluster.hosts[1].docker(&["swarm", "leave"]).ok();
    let all = cluster.hosts[0].docker(&["node", "ls", "-q", "--filter", "role=worker"]);
    let id = all.ok().trim().to_owned();
    cluster.hosts[0]
        .docker(&["node", "rm", "--force", &id])
        .ok();
}

fn create(host: &Host, name: &str, flags: &[&str], image: &str) {
    let always = [
        "service",
        "create",
        "-d",
        "--no-resolve-image",
        "--name",
        name,
    ];
    let command = [image, "sleep", "10000"];
    host.docker(&[&always, flags, &command].concat()).ok();
}

/// The current task of a service: its state and error.
fn task(host: &Host, service: &str) -> Value {
    let filters = format!("{{\"service\":[\"{service}\"],\"desired-state\":[\"running\"]}}");
    let hex: String = filters.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let tasks = host.api("GET", &format!("/tasks?filters={hex}"), None);
    let mut tasks = tasks.unwrap().json().as_array().cloned().unwrap();
    tasks.sort_by_key(|task| task["CreatedAt"].as_str().map(str::to_owned));
    tasks.pop().unwrap_or_default()
}

fn await_state(host: &Host, service: &str, state: &str) -> Value {
    eventually(&format!("{service} is {state}"), || {
        let task = task(host, service);
        if task["Status"]["State"] == state {
            Ok(task)
        } else {
            Err(task["Status"].to_string())
        }
    })
}

/// Why the service's new task waits, as `docker service ps` shows it.
fn await_refusal(host: &Host, service: &str, refusal: &str) {
    let quoted = format!("\"{refusal}\"");
    eventually(&format!("{service} waits"), || {
        let format = ["--no-trunc", "--format", "{{.CurrentState}} {{.Error}}"];
        let shown = host.docker(&[&["service", "ps", service], &format[..]].concat());
        let found = |line: &str| line.starts_with("Pending ") && line.ends_with(&quoted);
        if shown.stdout.lines().any(found) {
            Ok(())
        } else {
            Err(shown.stdout)
        }
    });
}

fn generic_resources(host: &Host, image: &str) {
    let shown = host.docker(&[
        "node",
        "inspect",
        "self",
        "-f",
        "{{json .Description.Resources.GenericResources}}",
    ]);
    let shown: Value = serde_json::from_str(&shown.ok()).unwrap();
    let named = |value: &str| json!({"NamedResourceSpec": {"Kind": "gpu", "Value": value}});
    let expected = json!([
        named("UUID1"),
        named("UUID2"),
        {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
    ]);
    assert_eq!(shown, expected);
    let by_name = [
        "service",
        "create",
        "--generic-resource",
        "gpu=UUID1",
        image,
    ];
    let refused = host.docker(&by_name);
    assert_eq!(
        refused.stderr.trim_end(),
        "invalid generic-resource request `gpu=UUID1`, Named Generic Resources is not supported for service create or update"
    );
    create(
        host,
        "both",
        &["--generic-resource", "gpu=2", "--generic-resource", "ssd=1"],
        image,
    );
    let both = await_state(host, "both", "running");
    let container = both["Status"]["ContainerStatus"]["ContainerID"]
        .as_str()
        .unwrap();
    let env = host.docker(&["exec", container, "env"]).ok();
    for line in ["DOCKER_RESOURCE_GPU=UUID1,UUID2", "DOCKER_RESOURCE_SSD=1"] {
        assert!(env.lines().any(|l| l == line), "{line}: {env}");
    }
    create(host, "one", &["--generic-resource", "gpu=1"], image);
    let text = "no suitable node (insufficient resources on 1 node)";
    await_refusal(host, "one", text);
    host.docker(&["service", "rm", "both"]).ok();
    let one = await_state(host, "one", "running");
    assert_eq!(one["GenericResources"], json!([named("UUID1")]));
    host.docker(&["service", "rm", "one"]).ok();
}

/// A start-first update waits for the port that the old task has: Docker does so too.
fn a_host_port(host: &Host, image: &str) {
    let flags = [
        "-p",
        "mode=host,published=8080,target=80",
        "--update-order",
        "start-first",
    ];
    create(host, "web", &flags, image);
    let old = await_state(host, "web", "running");
    host.docker(&["service", "update", "-d", "--env-add", "NEW=1", "web"])
        .ok();
    let text = "no suitable node (host-mode port already in use on 1 node)";
    await_refusal(host, "web", text);
    let shown = host.api("GET", "/services/web", None).unwrap().json();
    assert_eq!(shown["UpdateStatus"]["State"], "updating");
    let path = format!("/tasks/{}", old["ID"].as_str().unwrap());
    let old = host.api("GET", &path, None).unwrap().json();
    assert_eq!(old["Status"]["State"], "running");
    host.docker(&[
        "service",
        "update",
        "-d",
        "--update-order",
        "stop-first",
        "web",
    ])
    .ok();
    let new = await_state(host, "web", "running");
    assert_eq!(new["Spec"]["ContainerSpec"]["Env"], json!(["NEW=1"]));
    host.docker(&["service", "rm", "web"]).ok();
}

/// Clients from before API 1.30 leave it to the engine to pin an image.
fn pinned(host: &Host, image: &str) {
    let spec = |name: &str, image: &str| {
        json!({
            "Name": name,
            "TaskTemplate": {"ContainerSpec": {"Image": image, "Command": ["sleep", "10000"]}},
            "Mode": {"Replicated": {"Replicas": 0}},
        })
    };
    let made = |version: &str, name: &str, image: &str| {
        let path = format!("/{version}/services/create");
        let answer = host.api("POST", &path, Some(&spec(name, image))).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let shown = host
            .api("GET", &format!("/services/{name}"), None)
            .unwrap()
            .json();
        let container = &shown["Spec"]["TaskTemplate"]["ContainerSpec"];
        (
            answer.json()["Warnings"].clone(),
            container["Image"].clone(),
        )
    };
    let digest = host.docker(&["image", "inspect", "-f", "{{index .RepoDigests 0}}", image]);
    let digest = digest.ok();
    let digest = digest.trim().split_once('@').unwrap().1.to_owned();
    let (warnings, name) = made("v1.29", "old", image);
    assert_eq!(
        (warnings, name),
        (Value::Null, json!(format!("{image}@{digest}")))
    );
    let (warnings, name) = made("v1.30", "new", image);
    assert_eq!((warnings, name), (Value::Null, json!(image)));
    let none = format!("{image}-missing");
    let (warnings, name) = made("v1.29", "none", &none);
    assert_eq!(name, json!(none));
    let warning = warnings[0].as_str().unwrap();
    let first = format!("image {none} could not be accessed on a registry to record\nits digest.");
    assert!(warning.starts_with(&first), "{warning}");
}

/// How many tasks of a service run, by node.
fn running(host: &Host, service: &str) -> BTreeMap<String, usize> {
    let tasks = host.api("GET", "/tasks", None).unwrap().json();
    let id = &host
        .api("GET", &format!("/services/{service}"), None)
        .unwrap()
        .json()["ID"];
    let mut nodes = BTreeMap::new();
    for task in tasks.as_array().unwrap() {
        let wanted = task["DesiredState"] == "running" && task["Status"]["State"] == "running";
        if wanted && task["ServiceID"] == *id {
            let node = task["NodeID"].as_str().unwrap().to_owned();
            *nodes.entry(node).or_default() += 1;
        }
    }
    nodes
}

/// A task that uses all of its CPU is more than half too much for one.
fn scaled_by_load(host: &Host, image: &str) {
    let mut create = vec![
        "service",
        "create",
        "-d",
        "--no-resolve-image",
        "--name",
        "busy",
    ];
    create.extend([
        "--limit-cpu",
        "0.1",
        image,
        "sh",
        "-c",
        "while :; do :; done",
    ]);
    host.docker(&create).ok();
    let wrong = [
        "service",
        "update",
        "--label-add",
        "skep.autoscale.min=0",
        "busy",
    ];
    let refused = host.docker(&wrong).refused();
    assert!(refused.contains("label skep.autoscale.min"), "{refused}");
    let mut update = vec!["service", "update", "-d"];
    let labels = [
        "skep.autoscale.min=1",
        "skep.autoscale.max=2",
        "skep.autoscale.cpu=50",
    ];
    update.extend(labels.iter().flat_map(|label| ["--label-add", label]));
    update.push("busy");
    host.docker(&update).ok();
    await_scale(host, "busy", 2);
    host.docker(&["service", "rm", "busy"]).ok();
}

/// A service that is scaled by its connections, with three that stay open.
fn talk(host: &Host, image: &str) -> Vec<Child> {
    let mut create = vec!["service", "create", "-d", "--no-resolve-image"];
    create.extend(["--name", "talks", "--publish", "8088:80"]);
    let labels = [
        "skep.autoscale.min=1",
        "skep.autoscale.max=4",
        "skep.autoscale.connections=1",
    ];
    create.extend(labels.iter().flat_map(|label| ["--label", label]));
    create.extend([image, "busybox", "httpd", "-f", "-p", "80"]);
    host.docker(&create).ok();
    eventually("the listener answers", || {
        let address = (host.address, 8088).into();
        let answer = get_in(&host.namespace, address, "/");
        answer.map_err(|error| format!("{error:#}"))
    });
    let address = host.address.to_string();
    let dial = |_| {
        let mut caller = host.inside("busybox");
        caller.args(["nc", &address, "8088"]).stdin(Stdio::piped());
        caller.spawn().unwrap()
    };
    (0..3).map(dial).collect()
}

fn hang_up(mut caller: Child) {
    caller.kill().unwrap();
    caller.wait().unwrap();
}

fn await_scale(host: &Host, service: &str, wanted: usize) {
    eventually("the service is scaled by its load", || {
        let path = format!("/services/{service}");
        let found = host.api("GET", &path, None).unwrap().json();
        let replicas = &found["Spec"]["Mode"]["Replicated"]["Replicas"];
        let count: usize = running(host, service).values().sum();
        if *replicas == wanted && count == wanted {
            Ok(())
        } else {
            Err(format!("{count} of {replicas} run"))
        }
    });
}

/// A node that joins gets its share of a service that is asked to be evened out.
fn evened_out(cluster: &Cluster, image: &str) {
    let (host, other) = (&cluster.hosts[0], &cluster.hosts[1]);
    create(host, "even", &["--replicas", "4"], image);
    let spread = |expected: &[usize]| {
        eventually(&format!("tasks are {expected:?}"), || {
            let found: Vec<usize> = running(host, "even").into_values().collect();
            if found == expected {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
    };
    spread(&[4]);
    let token = host.docker(&["swarm", "join-token", "-q", "worker"]).ok();
    let address = host
        .docker(&["info", "-f", "{{.Swarm.NodeAddr}}:2377"])
        .ok();
    other
        .docker(&["swarm", "join", "--token", token.trim(), address.trim()])
        .ok();
    spread(&[4]);
    let asked = host.api("POST", "/services/even/rebalance", None).unwrap();
    assert_eq!(asked.status, 200, "{}", asked.text());
    spread(&[2, 2]);
    host.docker(&["service", "rm", "even"]).ok();
}
