//! What a task of a swarm gets: its overlay, its secrets.

use skep_engine::{
    CreateContainer, Engine, InMemoryFile, ManagedContainer, OverlayAttachment, RemoveOptions,
    SwarmInfo,
};
use skep_objects::api::container::Config;
use skep_objects::swarmkit;

use crate::bench::Bench;
use crate::namespace::in_own_network;
use crate::network::SERVER;

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
    if !in_own_network("overlay::a_task_keeps_its_overlay_when_the_daemon_restarts") {
        return;
    }
    let bench = Bench::with_bridge().await;
    join_swarm(&bench.engine).await;
    create_task(&bench.engine, "web.1", "10.0.1.7/24", SERVER, Vec::new()).await;
    let bench = bench.again().await;
    join_swarm(&bench.engine).await;
    let script = "until wget -qO- http://10.0.1.7/page; do :; done";
    let client = create_task(&bench.engine, "web.2", "10.0.1.8/24", script, Vec::new()).await;
    assert!(bench.whole_output(&client).await.ends_with("honey\n"));
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
    if !in_own_network("overlay::a_task_has_its_overlay_a_way_out_and_its_secret") {
        return;
    }
    let bench = Bench::with_bridge().await;
    join_swarm(&bench.engine).await;
    let secret = InMemoryFile {
        path: "/run/secrets/key".to_owned(),
        mode: 0o400,
        bytes: "sesame".into(),
        ..InMemoryFile::default()
    };
    let script = "ip -4 addr; ip route; cat /run/secrets/key";
    let id = create_task(&bench.engine, "web.1", "10.0.1.7/24", script, vec![secret]).await;
    let output = bench.whole_output(&id).await;
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
    if !in_own_network("overlay::a_tasks_secret_is_on_no_disk_and_its_mount_goes_with_it") {
        return;
    }
    let bench = Bench::with_bridge().await;
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
    let files = bench.dir.path().join("exec/files");
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
    let bench = bench.again().await;
    let engine = &bench.engine;
    join_swarm(engine).await;
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
    bench.end().await;
}
