//! Networks of one host from end to end, as root. Each test runs in a network namespace of its own,
//! by starting itself again below `unshare --net`.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use skep_engine::image::ImportOptions;
use skep_engine::{
    CreateContainer, Engine, EngineConfig, InMemoryFile, LogOptions, ManagedContainer,
    OverlayAttachment, Phase, RemoveOptions, SwarmInfo,
};
use skep_objects::api::container::{Config, HostConfig, PortBinding};
use skep_objects::api::network::{NetworkConnect, NetworkCreate, NetworkDisconnect};
use skep_objects::{ErrorKind, swarmkit};

/// Whether this process is in a namespace of its own; if not, the test was run in one instead.
fn in_own_network(test: &str) -> bool {
    if std::env::var_os("SKEP_TEST_NETNS").is_some() {
        assert!(
            Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .unwrap()
                .success()
        );
        return true;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SKEP_TEST_NETNS", "1")
        .status()
        .unwrap();
    assert!(status.success());
    false
}

struct Bench {
    dir: tempfile::TempDir,
    engine: Engine,
}

fn config(dir: &std::path::Path) -> EngineConfig {
    EngineConfig {
        data_root: dir.join("data"),
        exec_root: dir.join("exec"),
        shim_program: env!("CARGO_BIN_EXE_skep").into(),
        cgroup_parent: format!(
            "skep-test-{}",
            dir.file_name()
                .unwrap()
                .to_string_lossy()
                .trim_start_matches('.')
        ),
        ..EngineConfig::default()
    }
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(config(dir.path())).await.unwrap();
        let images = engine.images().clone();
        tokio::task::spawn_blocking(move || {
            let name = "busybox:latest".parse().unwrap();
            images
                .import(&busybox()[..], Some(&name), &ImportOptions::default())
                .unwrap();
        })
        .await
        .unwrap();
        Self { dir, engine }
    }

    async fn start(&self, name: &str, script: &str, host_config: HostConfig) -> String {
        let config = Config {
            image: "busybox".to_owned(),
            cmd: Some(["sh", "-c", script].map(str::to_owned).into()),
            ..Config::default()
        };
        let request = CreateContainer {
            name: name.to_owned(),
            config,
            host_config,
            ..CreateContainer::default()
        };
        let id = self.engine.create_container(request).await.unwrap().id;
        self.engine.start(&id).await.unwrap();
        id
    }

    async fn output(&self, id: &str) -> String {
        let mut status = self.engine.watch_container(id).unwrap();
        let ended = status.wait_for(|status| status.phase == Phase::Exited);
        tokio::time::timeout(Duration::from_secs(20), ended)
            .await
            .expect("in time")
            .unwrap();
        let options = LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        };
        let records: Vec<_> = self
            .engine
            .logs(id, &options)
            .await
            .unwrap()
            .records
            .collect()
            .await;
        records
            .into_iter()
            .map(|record| String::from_utf8_lossy(&record.unwrap().bytes).into_owned())
            .collect()
    }

    async fn end(self) {
        let all = skep_engine::ListOptions {
            all: true,
            ..Default::default()
        };
        for container in self.engine.list(&all).await.unwrap() {
            let force = RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            };
            self.engine.remove(&container.id, force).await.unwrap();
        }
        self.engine.shutdown(false).await;
        let pinned =
            std::fs::read_dir(self.dir.path().join("exec/netns")).map_or(0, Iterator::count);
        assert_eq!(pinned, 0, "no namespace of a container is left");
    }
}

fn busybox() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, link: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        if link.is_empty() {
            tar.append_data(&mut header, path, bytes).unwrap();
        } else {
            tar.append_link(&mut header, path, link).unwrap();
        }
    };
    add("bin", tar::EntryType::Directory, "", b"");
    add("www", tar::EntryType::Directory, "", b"");
    add(
        "bin/busybox",
        tar::EntryType::Regular,
        "",
        &std::fs::read("/bin/busybox").unwrap(),
    );
    add("www/page", tar::EntryType::Regular, "", b"honey\n");
    for applet in [
        "sh", "echo", "sleep", "httpd", "wget", "nslookup", "ip", "cat", "hostname", "nc",
    ] {
        add(
            &format!("bin/{applet}"),
            tar::EntryType::Symlink,
            "busybox",
            b"",
        );
    }
    tar.into_inner().unwrap()
}

/// Serves a page on port 80.
const SERVER: &str = "exec httpd -f -p 80 -h /www";
/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

fn on(network: &str) -> HostConfig {
    HostConfig {
        network_mode: network.to_owned(),
        ..HostConfig::default()
    }
}

fn fetch(ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let mut text = String::new();
    let mut stream = TcpStream::connect_timeout(&(ip, port).into(), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n")?;
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The page, from a server that has just been started.
fn fetch_soon(ip: Ipv4Addr, port: u16) -> String {
    let begun = std::time::Instant::now();
    loop {
        match fetch(ip, port) {
            Ok(text) => return text,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_answers_and_is_taken_once() {
    if !in_own_network("a_published_port_answers_and_is_taken_once") {
        return;
    }
    let bench = Bench::new().await;
    let publish = |port: &str| {
        let binding = PortBinding {
            host_ip: "127.0.0.1".to_owned(),
            host_port: port.to_owned(),
        };
        HostConfig {
            port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
            ..on("bridge")
        }
    };
    let id = bench.start("web", SERVER, publish("8111")).await;
    let inspect = bench.engine.inspect(&id, false).await.unwrap();
    assert_eq!(inspect.network_settings.ip_address, "172.17.0.2");
    let ports = inspect.network_settings.ports.unwrap();
    assert_eq!(ports["80/tcp"].as_ref().unwrap()[0].host_port, "8111");
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8111).ends_with("honey\n"));
    let config = Config {
        image: "busybox".into(),
        cmd: Some(vec!["sleep".into(), "9".into()]),
        ..Config::default()
    };
    let request = CreateContainer {
        config,
        host_config: publish("8111"),
        ..CreateContainer::default()
    };
    let second = bench.engine.create_container(request).await.unwrap().id;
    let error = bench.engine.start(&second).await.unwrap_err().to_string();
    assert!(
        error.contains("Bind for 127.0.0.1:8111 failed: port is already allocated"),
        "{error}"
    );
    bench
        .engine
        .remove(
            &id,
            RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    assert!(fetch(Ipv4Addr::LOCALHOST, 8111).is_err());
    bench.engine.start(&second).await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_network_find_each_other_by_name() {
    if !in_own_network("containers_of_a_network_find_each_other_by_name") {
        return;
    }
    let bench = Bench::new().await;
    let networks = bench.engine.networks();
    let made = networks
        .create(NetworkCreate {
            name: "hive".to_owned(),
            ..NetworkCreate::default()
        })
        .await
        .unwrap();
    let again = networks
        .create(NetworkCreate {
            name: "hive".to_owned(),
            ..NetworkCreate::default()
        })
        .await
        .unwrap_err();
    assert_eq!(again.to_string(), "network with name hive already exists");
    let web = bench.start("web", SERVER, on("hive")).await;
    let client = bench
        .start(
            "",
            "until wget -qO- http://web/page; do :; done; cat /etc/resolv.conf",
            on("hive"),
        )
        .await;
    let output = bench.output(&client).await;
    assert!(
        output.contains("honey\n") && output.contains("nameserver 127.0.0.11"),
        "{output}"
    );
    let shown = networks.inspect("hive", false).await.unwrap();
    assert_eq!(
        (
            shown.id.as_str(),
            shown.containers.unwrap()[&web].ipv4_address.as_str()
        ),
        (made.id.as_str(), "172.18.0.2/16")
    );
    let refused = networks.remove("hive").await.unwrap_err();
    assert!(
        refused.to_string().contains("has active endpoints"),
        "{refused}"
    );
    assert_eq!(
        networks.remove("bridge").await.unwrap_err().kind(),
        ErrorKind::NotAllowed
    );
    bench
        .engine
        .remove(
            "web",
            RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    networks.remove("hive").await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_joins_and_leaves_networks() {
    if !in_own_network("a_running_container_joins_and_leaves_networks") {
        return;
    }
    let bench = Bench::new().await;
    let networks = bench.engine.networks();
    networks
        .create(NetworkCreate {
            name: "hive".to_owned(),
            ..NetworkCreate::default()
        })
        .await
        .unwrap();
    let web = bench.start("web", SERVER, on("bridge")).await;
    let connect = || NetworkConnect {
        container: "web".to_owned(),
        endpoint_config: None,
    };
    networks.connect("hive", connect()).await.unwrap();
    let error = networks
        .connect("hive", connect())
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "endpoint with name web already exists in network hive"
    );
    let client = bench
        .start(
            "",
            "until wget -qO- http://web/page; do :; done",
            on("hive"),
        )
        .await;
    assert!(bench.output(&client).await.ends_with("honey\n"));
    let disconnect = NetworkDisconnect {
        container: web.clone(),
        force: false,
    };
    networks.disconnect("hive", disconnect).await.unwrap();
    let shown = bench
        .engine
        .inspect(&web, false)
        .await
        .unwrap()
        .network_settings
        .networks;
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["bridge"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_and_the_ports_move_with_the_networks() {
    if !in_own_network("the_way_out_and_the_ports_move_with_the_networks") {
        return;
    }
    let bench = Bench::new().await;
    let networks = bench.engine.networks();
    for name in ["after", "before"] {
        let request = NetworkCreate {
            name: name.to_owned(),
            ..NetworkCreate::default()
        };
        networks.create(request).await.unwrap();
    }
    let binding = PortBinding {
        host_ip: String::new(),
        host_port: "8223".to_owned(),
    };
    let host = HostConfig {
        port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
        ..on("after")
    };
    let id = bench.start("web", SERVER, host).await;
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8223).ends_with("honey\n"));
    let connect = NetworkConnect {
        container: id.clone(),
        endpoint_config: None,
    };
    networks.connect("before", connect).await.unwrap();
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8223).ends_with("honey\n"));
    // What the ports and the default route went by is gone; another network takes its place.
    let disconnect = NetworkDisconnect {
        container: id.clone(),
        force: false,
    };
    networks.disconnect("after", disconnect).await.unwrap();
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8223).ends_with("honey\n"));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_daemon_keeps_ports_and_addresses() {
    if !in_own_network("a_restart_of_the_daemon_keeps_ports_and_addresses") {
        return;
    }
    let bench = Bench::new().await;
    let binding = PortBinding {
        host_ip: String::new(),
        host_port: "8222".to_owned(),
    };
    let host = HostConfig {
        port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
        ..on("bridge")
    };
    let id = bench.start("web", SERVER, host).await;
    let before = bench
        .engine
        .inspect(&id, false)
        .await
        .unwrap()
        .network_settings
        .ip_address;
    let Bench { dir, engine } = bench;
    engine.shutdown(false).await;
    drop(engine);
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8222).ends_with("honey\n"));
    let engine = Engine::open(config(dir.path())).await.unwrap();
    let bench = Bench { dir, engine };
    assert!(
        fetch(Ipv4Addr::LOCALHOST, 8222)
            .unwrap()
            .ends_with("honey\n")
    );
    let after = bench
        .engine
        .inspect(&id, false)
        .await
        .unwrap()
        .network_settings
        .ip_address;
    assert_eq!(before, after);
    let other = bench.start("", "sleep 100", on("bridge")).await;
    let other = bench
        .engine
        .inspect(&other, false)
        .await
        .unwrap()
        .network_settings
        .ip_address;
    assert_ne!(before, other);
    bench.end().await;
}

fn overlay() -> swarmkit::Network {
    let options = [(
        "com.docker.network.driver.overlay.vxlanid_list".to_owned(),
        "4097".to_owned(),
    )];
    let subnet = swarmkit::IpamConfig {
        subnet: "10.0.1.0/24".to_owned(),
        gateway: "10.0.1.1".to_owned(),
        ..Default::default()
    };
    swarmkit::Network {
        id: "overlay1".to_owned(),
        spec: Some(swarmkit::NetworkSpec {
            annotations: Some(swarmkit::Annotations {
                name: "web".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        driver_state: Some(swarmkit::Driver {
            name: "overlay".to_owned(),
            options: options.into(),
        }),
        ipam: Some(swarmkit::IpamOptions {
            configs: vec![subnet],
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn join_swarm(engine: &Engine) {
    let swarm = SwarmInfo {
        node_id: "n1".to_owned(),
        data_path_addr: "127.0.0.1".to_owned(),
        data_path_port: 0,
    };
    engine.set_swarm(Some(swarm)).await.unwrap();
    engine
        .networks()
        .ensure_swarm_network(&overlay())
        .await
        .unwrap();
}

async fn create_task(
    engine: &Engine,
    name: &str,
    address: &str,
    script: &str,
    files: Vec<InMemoryFile>,
) -> String {
    let attachment = OverlayAttachment {
        network: overlay(),
        addresses: vec![address.to_owned()],
        ..OverlayAttachment::default()
    };
    let managed = ManagedContainer {
        task_id: name.to_owned(),
        networks: vec![attachment],
        files,
        ..ManagedContainer::default()
    };
    let config = Config {
        image: "busybox".to_owned(),
        cmd: Some(["sh", "-c", script].map(str::to_owned).into()),
        ..Config::default()
    };
    let request = CreateContainer {
        name: name.to_owned(),
        config,
        managed: Some(managed),
        ..CreateContainer::default()
    };
    let id = engine.create_container(request).await.unwrap().id;
    engine.start(&id).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_keeps_its_overlay_when_the_daemon_restarts() {
    if !in_own_network("a_task_keeps_its_overlay_when_the_daemon_restarts") {
        return;
    }
    let bench = Bench::new().await;
    join_swarm(&bench.engine).await;
    create_task(&bench.engine, "web.1", "10.0.1.7/24", SERVER, Vec::new()).await;
    let Bench { dir, engine } = bench;
    engine.shutdown(false).await;
    drop(engine);
    let engine = Engine::open(config(dir.path())).await.unwrap();
    let bench = Bench { dir, engine };
    join_swarm(&bench.engine).await;
    let script = "until wget -qO- http://10.0.1.7/page; do :; done";
    let client = create_task(&bench.engine, "web.2", "10.0.1.8/24", script, Vec::new()).await;
    assert!(bench.output(&client).await.ends_with("honey\n"));
    let shown = bench.engine.networks().inspect("web", false).await.unwrap();
    assert_eq!(
        shown.containers.unwrap().len(),
        1,
        "web.1 was taken up, web.2 has ended"
    );
    bench
        .engine
        .remove(
            "web.1",
            RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    bench.engine.set_swarm(None).await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_has_its_overlay_a_way_out_and_its_secret() {
    if !in_own_network("a_task_has_its_overlay_a_way_out_and_its_secret") {
        return;
    }
    let bench = Bench::new().await;
    join_swarm(&bench.engine).await;
    let secret = InMemoryFile {
        path: "/run/secrets/key".to_owned(),
        mode: 0o400,
        bytes: "sesame".into(),
        ..InMemoryFile::default()
    };
    let script = "ip -4 addr; ip route; cat /run/secrets/key";
    let id = create_task(&bench.engine, "web.1", "10.0.1.7/24", script, vec![secret]).await;
    let output = bench.output(&id).await;
    assert!(
        output.contains("inet 10.0.1.7/24") && output.contains("default via 172.18.0.1"),
        "{output}"
    );
    assert!(output.ends_with("sesame"), "{output}");
    let shown = bench
        .engine
        .inspect(&id, false)
        .await
        .unwrap()
        .network_settings
        .networks;
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["web"]);
    let files = bench.dir.path().join("exec/files");
    assert!(!files.exists(), "the secret does not outlive the run");
    bench
        .engine
        .remove(&id, RemoveOptions::default())
        .await
        .unwrap();
    bench.engine.set_swarm(None).await.unwrap();
    assert!(
        bench
            .engine
            .networks()
            .inspect("docker_gwbridge", false)
            .await
            .is_err()
    );
    bench.end().await;
}

/// Whether something is mounted there in this mount namespace.
fn is_mounted(path: &std::path::Path) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .any(|line| line.split(' ').nth(4).map(std::path::Path::new) == Some(path))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tasks_secret_is_on_no_disk_and_its_mount_goes_with_it() {
    if !in_own_network("a_tasks_secret_is_on_no_disk_and_its_mount_goes_with_it") {
        return;
    }
    let bench = Bench::new().await;
    join_swarm(&bench.engine).await;
    let secret = InMemoryFile {
        path: "/run/secrets/key".to_owned(),
        mode: 0o400,
        bytes: "sesame".into(),
        ..InMemoryFile::default()
    };
    let id = create_task(
        &bench.engine,
        "key.1",
        "10.0.1.7/24",
        "sleep 100",
        vec![secret],
    )
    .await;
    let Bench { dir, engine } = bench;
    let files = dir.path().join("exec/files");
    let file = files.join(&id).join("0");
    assert!(
        is_mounted(&files),
        "the exec root of this test is on a disk"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "sesame");
    let kind = nix::sys::statfs::statfs(&file).unwrap().filesystem_type();
    assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
    // What a daemon before this one forgot.
    std::fs::create_dir(files.join("nobody")).unwrap();
    engine.shutdown(false).await;
    drop(engine);
    let engine = Engine::open(config(dir.path())).await.unwrap();
    join_swarm(&engine).await;
    assert!(file.exists(), "the task runs on with its secret");
    assert!(!files.join("nobody").exists());
    let inside = engine.inspect(&id, false).await.unwrap().state.pid;
    let seen = format!("/proc/{inside}/root/run/secrets/key");
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "sesame");
    let force = RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    };
    engine.remove(&id, force).await.unwrap();
    assert!(!is_mounted(&files) && !files.exists());
    engine.set_swarm(None).await.unwrap();
    Bench { dir, engine }.end().await;
}
