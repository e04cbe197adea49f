//! Other people's programs against one small swarm: docker-py, Ansible, Prometheus, and the requests
//! of those that cannot be installed here (Traefik, Portainer, the visualizer).

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use skep_testkit::{Cluster, Host, Registry, Running, eventually, get_in};

struct Site {
    cluster: Cluster,
    client: PathBuf,
    image: String,
    _registry: Registry,
}

/// The Python that has docker-py and Ansible.
fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients/bin/python");
    assert!(
        python.exists(),
        "{}: `cargo xtask install` sets it up",
        python.display()
    );
    python
}

fn resource(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// Runs a program to its end; what it printed where it failed.
fn finish(mut command: Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

impl Site {
    fn start() -> Self {
        let site = Cluster::managers(1)
            .workers(1)
            .with_nginx(env!("CARGO_BIN_EXE_skep"))
            .unwrap();
        Self {
            cluster: site.cluster,
            client: site.client,
            image: site.image,
            _registry: site.registry,
        }
    }

    fn manager(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    fn docker_py(&self) -> Result<(), String> {
        let mut command = Command::new(python());
        command
            .arg(resource("swarm.py"))
            .arg(&self.image)
            .env("DOCKER_HOST", self.manager().docker_host());
        finish(command)
    }

    fn ansible(&self) -> Result<(), String> {
        let python = python();
        let bin = python.parent().unwrap();
        let home = self.cluster.dir().join("ansible");
        let variables = format!(
            "ansible_python_interpreter={} image={} address={}",
            python.display(),
            self.image,
            self.manager().address
        );
        let mut command = Command::new(bin.join("ansible-playbook"));
        command
            .args(["-i", "localhost,", "-c", "local", "-e", &variables])
            .arg(resource("playbook.yml"))
            .env("ANSIBLE_COLLECTIONS_PATH", bin.join("../collections"))
            .env("ANSIBLE_HOME", &home)
            .env("ANSIBLE_LOCAL_TEMP", home.join("tmp"))
            .env("ANSIBLE_REMOTE_TEMP", home.join("tmp"))
            .env("DOCKER_CONFIG", home.join("docker"))
            .env("DOCKER_HOST", self.manager().docker_host())
            .env("LC_ALL", "C.UTF-8");
        finish(command)
    }

    fn get(&self, path: &str) -> Value {
        // Clients escape what a URL may not hold.
        let escaped = ['"', '{', '}', '[', ']']
            .iter()
            .fold(path.to_owned(), |path, &c| {
                path.replace(c, &format!("%{:02X}", u32::from(c)))
            });
        let answer = self.manager().api("GET", &escaped, None).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

/// A service on a network, which the programs are to discover.
fn publish(site: &Site) {
    let docker = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        site.manager().docker(&words).ok()
    };
    docker("network create -d overlay front");
    docker(&format!(
        "service create --quiet --name web --network front --replicas 2 -p 8088:80 \
         --label traefik.enable=true --container-label job=web {}",
        site.image
    ));
    docker(&format!(
        "service create --quiet --name plain --network front --endpoint-mode dnsrr {}",
        site.image
    ));
}

fn labels<'a>(targets: &'a Value, job: &str) -> Vec<&'a Value> {
    let all = targets["data"]["activeTargets"].as_array();
    let labels = all
        .into_iter()
        .flatten()
        .map(|target| &target["discoveredLabels"]);
    labels.filter(|labels| labels["job"] == job).collect()
}

fn values(labels: &[&Value], name: &str) -> Vec<String> {
    let key = format!("__meta_dockerswarm_{name}");
    let mut values: Vec<String> = labels
        .iter()
        .filter_map(|labels| labels[&key].as_str().map(str::to_owned))
        .collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn prometheus(site: &Site) {
    let dir = site.cluster.dir().join("prometheus");
    fs::create_dir_all(&dir).unwrap();
    let text = fs::read_to_string(resource("prometheus.yml")).unwrap();
    let config = dir.join("prometheus.yml");
    fs::write(&config, text.replace("HOST", &site.manager().docker_host())).unwrap();
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", site.client.display()))
        .args(["--", "prometheus", "--web.listen-address=127.0.0.1:9090"])
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("log")).unwrap());
    let _running = Running(command.spawn().unwrap());
    let server: SocketAddr = "127.0.0.1:9090".parse().unwrap();
    let found = eventually(
        "Prometheus discovers the swarm (Debian: prometheus)",
        || {
            let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
            let answer = get_in(&site.client, server, "/api/v1/targets?state=active");
            let targets = answer
                .map_err(|error| format!("{error}; {}", log()))?
                .json();
            let all = ["nodes", "services", "tasks"].map(|job| labels(&targets, job).len());
            if all.iter().all(|count| *count > 0) {
                Ok(targets)
            } else {
                Err(format!("{all:?}; {}", log()))
            }
        },
    );
    let nodes = labels(&found, "nodes");
    assert_eq!(values(&nodes, "node_hostname"), ["host1", "host2"]);
    assert_eq!(values(&nodes, "node_role"), ["manager", "worker"]);
    assert_eq!(values(&nodes, "node_status"), ["ready"]);
    assert_eq!(values(&nodes, "node_platform_os"), ["linux"]);
    assert_eq!(values(&nodes, "node_manager_leader"), ["true"]);
    let services = labels(&found, "services");
    assert_eq!(values(&services, "service_name"), ["web"]);
    assert_eq!(values(&services, "service_mode"), ["replicated"]);
    assert_eq!(
        values(&services, "service_endpoint_port_publish_mode"),
        ["ingress"]
    );
    assert_eq!(values(&services, "network_name"), ["front", "ingress"]);
    let label = values(&services, "service_label_traefik_enable");
    assert_eq!(label, ["true"]);
    let tasks = labels(&found, "tasks");
    assert_eq!(values(&tasks, "task_state"), ["running"]);
    assert_eq!(values(&tasks, "task_slot"), ["1", "2"]);
    assert_eq!(values(&tasks, "container_label_job"), ["web"]);
    assert_eq!(values(&tasks, "network_name"), ["front", "ingress"]);
    let containers = values(&tasks, "task_container_id");
    assert!(containers.iter().all(|id| id.len() == 64), "{containers:?}");
}

/// What Traefik's Docker Swarm provider asks and reads.
fn traefik(site: &Site) {
    assert!(site.get("/version")["ApiVersion"].is_string());
    let networks = site.get(r#"/v1.24/networks?filters={"scope":{"swarm":true}}"#);
    let networks = networks.as_array().unwrap();
    let name_of = |id: &Value| {
        let found = networks.iter().find(|network| network["Id"] == *id);
        found.unwrap_or_else(|| panic!("{id}"))["Name"].clone()
    };
    let services = site.get("/v1.24/services");
    let find = |name: &str| {
        let all = services.as_array().unwrap().iter();
        all.clone().find(|s| s["Spec"]["Name"] == name).unwrap()
    };
    let web = find("web");
    assert_eq!(web["Spec"]["Labels"]["traefik.enable"], "true");
    assert_eq!(web["Spec"]["EndpointSpec"]["Mode"], "vip");
    let vips = web["Endpoint"]["VirtualIPs"].as_array().unwrap();
    let on: Vec<Value> = vips.iter().map(|vip| name_of(&vip["NetworkID"])).collect();
    assert_eq!(on, ["ingress", "front"]);
    assert!(
        vips.iter()
            .all(|vip| vip["Addr"].as_str().unwrap().contains('/'))
    );
    let plain = find("plain");
    assert_eq!(plain["Spec"]["EndpointSpec"]["Mode"], "dnsrr");
    let id = plain["ID"].as_str().unwrap();
    let tasks = site.get(&format!(
        r#"/v1.24/tasks?filters={{"desired-state":{{"running":true}},"service":{{"{id}":true}}}}"#
    ));
    for task in tasks.as_array().unwrap() {
        assert_eq!(task["ServiceID"], id);
        assert_eq!(task["Status"]["State"], "running");
        let attachment = &task["NetworksAttachments"][0];
        assert_eq!(attachment["Network"]["Spec"]["Name"], "front");
        assert!(attachment["Addresses"][0].as_str().unwrap().contains('/'));
    }
}

/// What the visualizer polls, and the fields it reads without looking whether they are there.
fn visualizer(site: &Site) {
    for node in site.get("/nodes").as_array().unwrap() {
        let description = &node["Description"];
        assert!(description["Hostname"].is_string());
        assert!(description["Platform"]["Architecture"].is_string());
        assert!(description["Resources"]["MemoryBytes"].as_u64().unwrap() > 0);
        assert!(node["Spec"]["Role"].is_string() && node["Spec"]["Labels"].is_object());
        assert_eq!(node["Status"]["State"], "ready");
        assert!(node["Status"]["Addr"].is_string());
    }
    for service in site.get("/services").as_array().unwrap() {
        assert!(service["ID"].is_string() && service["Spec"]["Name"].is_string());
    }
    for task in site.get("/tasks").as_array().unwrap() {
        assert!(task["NodeID"].is_string() && task["UpdatedAt"].is_string());
        assert_eq!(task["DesiredState"], "running");
        let container = &task["Status"]["ContainerStatus"];
        assert_eq!(container["ContainerID"].as_str().unwrap().len(), 64);
        assert!(task["Spec"]["ContainerSpec"]["Image"].is_string());
    }
}

/// What Portainer asks of an environment when it is opened, and on its pages.
fn portainer(site: &Site) {
    let ping = site.manager().api("GET", "/_ping", None).unwrap();
    assert!(ping.head.to_ascii_lowercase().contains("api-version"));
    let info = site.get("/info");
    let swarm = &info["Swarm"];
    assert_eq!(swarm["ControlAvailable"], true);
    assert_eq!(
        (&swarm["Nodes"], &swarm["Managers"]),
        (&2.into(), &1.into())
    );
    assert!(swarm["NodeID"].is_string() && swarm["Cluster"]["ID"].is_string());
    assert!(
        info["Plugins"]["Network"]
            .as_array()
            .unwrap()
            .contains(&"overlay".into())
    );
    for list in [
        "/v1.41/containers/json?all=1",
        "/v1.41/images/json",
        "/v1.41/networks",
        "/v1.41/services?status=true",
        "/v1.41/tasks",
        "/v1.41/nodes",
        "/v1.41/secrets",
        "/v1.41/configs",
        "/v1.41/plugins",
        r#"/v1.41/services?filters={"label":["com.docker.stack.namespace"]}"#,
    ] {
        assert!(site.get(list).is_array(), "{list}");
    }
    assert!(site.get("/v1.41/volumes")["Volumes"].is_array());
    assert!(site.get("/v1.41/system/df")["LayersSize"].is_number());
    assert!(site.get("/v1.41/swarm")["JoinTokens"]["Worker"].is_string());
    let now = site.get("/info")["SystemTime"].clone();
    assert!(now.is_string());
    let events = site
        .manager()
        .api("GET", "/v1.41/events?since=1&until=2", None);
    assert_eq!(events.unwrap().status, 200);
    let service = site.get(r#"/v1.41/services?filters={"name":["web"]}"#);
    let id = service[0]["ID"].as_str().unwrap();
    let logs = format!("/v1.41/services/{id}/logs?stdout=1&stderr=1&tail=5");
    assert_eq!(site.manager().api("GET", &logs, None).unwrap().status, 200);
    let before = service[0]["Version"]["Index"].as_u64().unwrap();
    let mut spec = service[0]["Spec"].clone();
    spec["Mode"]["Replicated"]["Replicas"] = 1.into();
    let update = format!("/v1.41/services/{id}/update?version={before}");
    let answer = site.manager().api("POST", &update, Some(&spec)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = site.manager().api("POST", &update, Some(&spec)).unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(
        answer.text().contains("update out of sequence"),
        "{}",
        answer.text()
    );
}

#[test]
fn other_peoples_programs_work_with_a_swarm() {
    let site = Site::start();
    let said = std::thread::scope(|scope| {
        let ansible = scope.spawn(|| site.ansible());
        let docker_py = site.docker_py();
        [docker_py, ansible.join().unwrap()]
    });
    let failed: Vec<String> = said.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    publish(&site);
    eventually("all tasks run", || {
        let tasks = site.get(r#"/tasks?filters={"desired-state":["running"]}"#);
        let states: Vec<&Value> = tasks
            .as_array()
            .unwrap()
            .iter()
            .map(|task| &task["Status"]["State"])
            .collect();
        if states.len() == 3 && states.iter().all(|state| *state == "running") {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    });
    prometheus(&site);
    traefik(&site);
    visualizer(&site);
    portainer(&site);
}
