//! Stacks on a host: one of the Compose Specification by skep's command line, one of version 3 by
//! Docker's; contents that change; what services have beyond Docker's API.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::path::PathBuf;

use serde_json::Value;
use skep_testkit::{Cluster, ClusterBuilder, Host, Output, Registry, eventually};

struct Site {
    cluster: Cluster,
    files: PathBuf,
    image: String,
    _registry: Registry,
}

impl Site {
    fn start() -> Self {
        Self::of(Cluster::managers(1))
    }

    fn of(builder: ClusterBuilder) -> Self {
        let site = builder.with_busybox(env!("CARGO_BIN_EXE_skep")).unwrap();
        let files = site.cluster.dir().join("files");
        std::fs::create_dir_all(files.join("part")).unwrap();
        Self {
            cluster: site.cluster,
            files,
            image: site.image,
            _registry: site.registry,
        }
    }

    fn host(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    fn write(&self, name: &str, text: &str) {
        let text = text.replace("IMAGE", &self.image);
        std::fs::write(self.files.join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.files.join(name).to_string_lossy().into_owned()
    }

    fn skep(&self, line: &str) -> Output {
        let line = line.replace("FILES", &self.files.to_string_lossy());
        self.host().skep(&line.split(' ').collect::<Vec<_>>())
    }

    fn docker(&self, line: &str) -> Output {
        let line = line.replace("FILES", &self.files.to_string_lossy());
        self.host().docker(&line.split(' ').collect::<Vec<_>>())
    }

    /// The container of a service's one running task.
    fn container(&self, service: &str) -> String {
        eventually(&format!("a task of {service} runs"), || {
            let filter = format!("label=com.docker.swarm.service.name={service}");
            let ids = self.host().docker(&["ps", "-q", "-f", &filter]).ok();
            match ids.lines().collect::<Vec<_>>()[..] {
                [id] => Ok(id.to_owned()),
                _ => Err(format!("{ids:?}")),
            }
        })
    }

    fn exec(&self, service: &str, command: &str) -> String {
        let id = self.container(service);
        let mut words = vec!["exec", &id];
        words.extend(command.split(' '));
        self.host().docker(&words).ok()
    }

    fn inspect(&self, service: &str) -> Value {
        let text = self
            .docker(&format!("inspect {}", self.container(service)))
            .ok();
        serde_json::from_str::<Value>(&text).unwrap()[0].take()
    }
}

const STACK: &str = r#"
include: [part/debug.yml]
x-quick: &quick
  healthcheck: {test: "test -e /tmp/well", interval: 100ms, timeout: 2s, retries: 50}
services:
  db:
    <<: *quick
    stop_signal: SIGKILL
    extends: {file: part/base.yml, service: base}
    command: sh -c "touch /tmp/well; exec sleep 100000"
  migrate:
    image: IMAGE
    command: sh -c "test $GREETING = hello"
    environment: {GREETING: "${GREETING:-${OTHER}}"}
    depends_on: {db: {condition: service_healthy}}
  web:
    image: IMAGE
    command: sh -c "exec sleep 100000"
    stop_signal: SIGKILL
    depends_on:
      migrate: {condition: service_completed_successfully}
      debug: {condition: service_started, required: false}
    configs: [{source: settings, target: /etc/settings}]
    secrets: [key]
    devices: ["/dev/null:/dev/nothing:r"]
    privileged: true
    shm_size: 8m
    tmpfs: ["/scratch:size=1m"]
    ulimits: {nofile: {soft: 100, hard: 200}}
    sysctls: {net.core.somaxconn: "64"}
    healthcheck: {test: "grep -q good /etc/settings", interval: 100ms, timeout: 2s, retries: 3}
    deploy:
      restart_policy: {delay: 100ms}
      update_config: {monitor: 300ms, failure_action: pause, order: start-first}
configs:
  settings: {content: "SETTINGS"}
secrets:
  key: {environment: SKEP_TEST_KEY}
"#;

fn stack_file(site: &Site, settings: &str) {
    site.write("stack.yml", &STACK.replace("SETTINGS", settings));
}

/// `skep` with a secret in its environment.
fn deploy(site: &Site, key: &str, more: &str) -> Output {
    let mut command = site.host().inside("env");
    let line = format!(
        "SKEP_TEST_KEY={key} DOCKER_HOST={} {} stack deploy -c {} {more} s",
        site.host().docker_host(),
        env!("CARGO_BIN_EXE_skep"),
        site.path("stack.yml")
    );
    let output = command.args(line.split_whitespace()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        code: output.status.code().unwrap_or(128),
    }
}

#[test]
fn a_stack_of_the_compose_specification() {
    let site = Site::start();
    site.write(
        "part/debug.yml",
        "services: {debug: {image: IMAGE, profiles: [dev], command: sleep 100000, stop_signal: SIGKILL}}",
    );
    site.write(
        "part/base.yml",
        "services: {base: {image: IMAGE, environment: {FROM_BASE: \"yes\"}, deploy: {restart_policy: {delay: 100ms}}}}",
    );
    site.write(".env", "GREETING=hello\n");
    stack_file(&site, "good one");
    plan_first(&site);
    in_order(&site);
    beyond_docker(&site);
    contents_change(&site);
    bad_contents_are_taken_back(&site);
    prune(&site);
}

fn plan_first(site: &Site) {
    let plan = deploy(site, "k1", "--dry-run").ok();
    let expected = [
        "create network s_default",
        "create secret  s_key",
        "create config  s_settings",
        "create service s_db",
        "create service s_migrate",
        "create service s_web",
    ];
    assert_eq!(plan.lines().collect::<Vec<_>>(), expected);
    assert_eq!(site.docker("service ls -q").ok(), "");
}

fn in_order(site: &Site) {
    let said = deploy(site, "k1", "--detach=false").ok();
    for line in [
        "Waiting for service s_db to be healthy",
        "Waiting for service s_migrate to complete",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let listed = site
        .skep("stack services s --format {{.Name}}={{.Mode}}")
        .ok();
    assert_eq!(
        listed,
        "s_db=replicated\ns_migrate=replicated job\ns_web=replicated"
    );
    assert!(site.exec("s_db", "env").contains("FROM_BASE=yes"));
}

fn beyond_docker(site: &Site) {
    assert_eq!(site.exec("s_web", "cat /etc/settings"), "good one");
    assert_eq!(site.exec("s_web", "cat /run/secrets/key"), "k1");
    let host = site.inspect("s_web")["HostConfig"].take();
    assert_eq!(host["Privileged"], true);
    assert_eq!(host["ShmSize"], 8 << 20);
    assert_eq!(host["Devices"][0]["PathInContainer"], "/dev/nothing");
    assert_eq!(host["Ulimits"][0]["Soft"], 100);
    assert_eq!(site.exec("s_web", "cat /proc/sys/net/core/somaxconn"), "64");
    let shm = site.exec("s_web", "grep /dev/shm /proc/mounts");
    assert!(shm.contains("size=8192k"), "{shm}");
    let scratch = site.exec("s_web", "grep /scratch /proc/mounts");
    assert!(
        scratch.starts_with("tmpfs") && scratch.contains("size=1024k"),
        "{scratch}"
    );
    let caps = site.exec("s_web", "grep CapEff /proc/self/status");
    assert!(!caps.contains("00000000a80425fb"), "all of them: {caps}");
    // The profile brings the service of the included file.
    deploy(site, "k1", "--profile dev --detach").ok();
    site.container("s_debug");
}

fn contents_change(site: &Site) {
    let before = site.container("s_web");
    stack_file(site, "good two");
    let plan = deploy(site, "k1", "--dry-run").ok();
    assert!(
        plan.contains("update config  s_settings (new version 2)"),
        "{plan}"
    );
    let said = deploy(site, "k2", "--detach=false").ok();
    assert!(
        said.contains("Updating config s_settings (version 2)"),
        "{said}"
    );
    assert!(said.contains("Updating secret s_key (version 2)"), "{said}");
    assert_ne!(site.container("s_web"), before);
    assert_eq!(site.exec("s_web", "cat /etc/settings"), "good two");
    assert_eq!(site.exec("s_web", "cat /run/secrets/key"), "k2");
    // Ours shows the name, Docker's every object: the old version is what a rollback needs.
    let names = |output: Output| output.ok();
    assert_eq!(
        names(site.skep("config ls --format {{.Name}}")),
        "s_settings"
    );
    assert_eq!(
        names(site.docker("config ls --format {{.Name}}")),
        "s_settings\ns_settings.v2"
    );
    site.docker("service rollback s_web").ok();
    assert_eq!(site.exec("s_web", "cat /etc/settings"), "good one");
    site.docker("service rollback s_web").ok();
    assert_eq!(site.exec("s_web", "cat /etc/settings"), "good two");
    // The same again is no change.
    let said = deploy(site, "k2", "--detach=false").ok();
    assert!(!said.contains("version"), "{said}");
}

fn bad_contents_are_taken_back(site: &Site) {
    site.write("bad.txt", "wrong");
    let refused = site
        .skep("config update s_settings FILES/bad.txt")
        .refused();
    assert!(refused.contains("service s_web: "), "{refused}");
    assert!(
        refused.contains("config s_settings stays as it was"),
        "{refused}"
    );
    eventually("the old content is back", || {
        let text = site.exec("s_web", "cat /etc/settings");
        if text == "good two" {
            Ok(())
        } else {
            Err(text)
        }
    });
    let listed = site.docker("config ls --format {{.Name}}").ok();
    assert!(!listed.contains("v3"), "{listed}");
    site.write("good.txt", "good three");
    let said = site.skep("config update s_settings FILES/good.txt").ok();
    assert!(said.contains("Updating service s_web"), "{said}");
    assert_eq!(site.exec("s_web", "cat /etc/settings"), "good three");
    assert!(
        site.skep("config inspect --pretty s_settings")
            .ok()
            .contains("good three")
    );
}

fn prune(site: &Site) {
    site.write("stack.yml", "services: {db: {image: IMAGE, command: sleep 1000, networks: [n], stop_signal: SIGKILL}}\nnetworks: {n: {}}");
    let plan = deploy(site, "-", "--dry-run --prune").ok();
    assert!(plan.contains("remove service s_web"), "{plan}");
    let said = deploy(site, "-", "--prune").ok();
    for gone in [
        "service s_web",
        "config s_settings.v3",
        "secret s_key",
        "network s_default",
    ] {
        assert!(said.contains(&format!("Removing {gone}")), "{gone}: {said}");
    }
    assert_eq!(site.docker("secret ls -q").ok(), "");
    site.skep("stack rm s").ok();
    eventually("nothing of the stack is left", || {
        let left = site.docker("ps -q").ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

const VERSION_3: &str = r#"
version: "3.8"
services:
  web:
    image: IMAGE
    command: sleep 100000
    stop_signal: SIGKILL
    labels:
      skep.device: /dev/null:/dev/nothing
      skep.shm-size: 8m
    configs: [{source: c, target: /c, mode: 0400}]
    deploy: {restart_policy: {delay: 100ms}}
configs:
  c: {file: ./c.txt}
"#;

#[test]
fn dockers_own_stacks_have_the_extras_by_labels() {
    let devices = tempfile::tempdir().unwrap();
    std::fs::write(devices.path().join("gpu.yaml"), CDI).unwrap();
    let other = CDI.replace("vendor.com/gpu", "vendor.com/net");
    let other = other
        .replace("\"0\"", "\"a\"")
        .replace("GPU=zero", "NET=a")
        .replace("gpu0", "net0");
    std::fs::write(devices.path().join("net.yaml"), other).unwrap();
    let builder = Cluster::managers(1)
        .daemon_flag("--cdi-spec-dir")
        .daemon_flag(&devices.path().to_string_lossy());
    let site = Site::of(builder);
    every_extra_by_every_way(&site);
    site.write("c.txt", "one");
    site.write("v3.yml", VERSION_3);
    site.docker("stack deploy -d=false -c FILES/v3.yml d").ok();
    let host = site.inspect("d_web")["HostConfig"].take();
    assert_eq!(host["Devices"][0]["PathInContainer"], "/dev/nothing");
    assert_eq!(host["ShmSize"], 8 << 20);
    assert!(site.exec("d_web", "ls -l /c").starts_with("-r--------"));
    // Docker cannot change a content; skep can, and Docker goes on with what it finds.
    site.write("c.txt", "two");
    let refused = site.docker("stack deploy -d -c FILES/v3.yml d").refused();
    assert!(
        refused.contains("only updates to Labels are allowed"),
        "{refused}"
    );
    site.skep("stack deploy -d=false -c FILES/v3.yml d").ok();
    assert_eq!(site.exec("d_web", "cat /c"), "two");
    // A mistake in a label is told at once.
    let refused = site
        .docker("service update --container-label-add skep.pid=mine d_web")
        .refused();
    assert!(
        refused.contains("invalid value \"mine\" of label skep.pid: must be host"),
        "{refused}"
    );
    forbidden(site);
}

const CDI: &str = r#"
cdiVersion: "0.6.0"
kind: "vendor.com/gpu"
devices:
  - name: "0"
    containerEdits:
      env: ["GPU=zero"]
      deviceNodes: [{path: /dev/gpu0, hostPath: /dev/null}]
"#;

const EXTRAS: &str = r#"
services:
  file:
    image: IMAGE
    command: sleep 100000
    stop_signal: SIGKILL
    devices: ["/dev/zero:/dev/other:r", "vendor.com/net=a"]
    gpus: all
    pid: host
    ipc: private
    shm_size: 8m
    privileged: true
    security_opt: ["no-new-privileges", "systempaths=unconfined"]
"#;

/// Flags of skep's, labels by Docker's command line, and a stack file: the same container comes of them.
fn every_extra_by_every_way(site: &Site) {
    let image = &site.image;
    let common = "--stop-signal SIGKILL --update-monitor 100ms -q";
    site.skep(&format!("service create {common} --name flags --device /dev/zero:/dev/other:r --device vendor.com/net=a --gpus all --pid host --ipc private --shm-size 8m --privileged --security-opt no-new-privileges --security-opt systempaths=unconfined {image} sleep 100000")).ok();
    let labels = [
        "device=/dev/zero:/dev/other:r,vendor.com/net=a",
        "gpus=all",
        "pid=host",
        "ipc=private",
        "shm-size=8m",
        "privileged=true",
        "security-opt=no-new-privileges,systempaths=unconfined",
    ];
    let labels = labels
        .map(|label| format!("--container-label skep.{label}"))
        .join(" ");
    site.docker(&format!(
        "service create {common} --name labels {labels} {image} sleep 100000"
    ))
    .ok();
    site.write("extras.yml", EXTRAS);
    site.skep("stack deploy -q -d=false -c FILES/extras.yml e")
        .ok();
    for service in ["flags", "labels", "e_file"] {
        let host = site.inspect(service)["HostConfig"].take();
        assert_eq!(
            host["Devices"][0]["PathInContainer"], "/dev/other",
            "{service}"
        );
        assert_eq!(host["Privileged"], true, "{service}");
        assert_eq!(host["PidMode"], "host", "{service}");
        assert_eq!(host["IpcMode"], "private", "{service}");
        assert_eq!(host["ShmSize"], 8 << 20, "{service}");
        site.exec(service, "ls /dev/gpu0 /dev/net0");
        let status = site.exec(service, "cat /proc/self/status");
        assert!(status.contains("NoNewPrivs:\t1"), "{service}: {status}");
        // The host's first process is not the container's.
        let first = site.exec(service, "cat /proc/1/comm");
        assert_ne!(first, "sleep", "{service}");
    }
    site.skep("service rm flags labels e_file").ok();
}

/// A node whose administrator forbids privileges rejects the task and says why.
fn forbidden(mut site: Site) {
    site.skep("stack rm -d=false d").ok();
    site.cluster.hosts[0].stop();
    site.cluster.hosts[0]
        .start_with(&["--service-extras", "device,shm-size"])
        .unwrap();
    let created = [
        "service",
        "create",
        "-d",
        "--restart-condition",
        "none",
        "--no-resolve-image",
        "--privileged",
        "--name",
        "root",
        &site.image,
        "sleep",
        "1000",
    ];
    eventually("the manager answers", || {
        let output = site.host().skep(&created);
        if output.code == 0 {
            Ok(())
        } else {
            Err(output.stderr)
        }
    });
    eventually("the task is rejected", || {
        let shown = site
            .skep("service ps root --no-trunc --format {{.CurrentState}}|{{.Error}}")
            .ok();
        let why = "this node does not let services have skep.privileged";
        if shown.starts_with("Rejected") && shown.contains(why) {
            Ok(())
        } else {
            Err(shown)
        }
    });
}
