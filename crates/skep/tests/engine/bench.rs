//! An engine for one test, and what the tests ask of it.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use skep_engine::image::ImportOptions;
use skep_engine::{
    CreateContainer, DefaultBridge, Engine, EngineConfig, ListOptions, LogOptions, Phase,
    RemoveOptions, WaitCondition,
};
use skep_objects::api::container::{Config, HostConfig};

use crate::busybox::busybox;

/// An engine on directories of its own, with busybox loaded.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub engine: Engine,
    bridge: DefaultBridge,
}

/// What is left of a [`Bench`] whose daemon has ended.
pub struct Gone {
    dir: tempfile::TempDir,
    bridge: DefaultBridge,
}

impl Gone {
    /// The next daemon.
    pub async fn back(self) -> Bench {
        let Self { dir, bridge } = self;
        let config = config(dir.path(), bridge.clone());
        let engine = Engine::open(config).await.unwrap();
        Bench {
            dir,
            engine,
            bridge,
        }
    }
}

fn config(dir: &Path, default_bridge: DefaultBridge) -> EngineConfig {
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
        default_bridge,
        ..EngineConfig::default()
    }
}

impl Bench {
    /// Without a bridge: such tests share the kernel's network with others.
    pub async fn new() -> Self {
        let bridge = DefaultBridge {
            name: "none".to_owned(),
            ..DefaultBridge::default()
        };
        Self::open(bridge).await
    }

    /// With docker0, in a network namespace of the test's own.
    pub async fn with_bridge() -> Self {
        Self::open(DefaultBridge::default()).await
    }

    async fn open(bridge: DefaultBridge) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(config(dir.path(), bridge.clone()))
            .await
            .unwrap();
        let images = engine.images().clone();
        tokio::task::spawn_blocking(move || {
            let name = "busybox:latest".parse().unwrap();
            images
                .import(&busybox()[..], Some(&name), &ImportOptions::default())
                .unwrap();
        })
        .await
        .unwrap();
        Self {
            dir,
            engine,
            bridge,
        }
    }

    /// Another daemon on the same directories, after this one is gone without a word.
    pub async fn again(self) -> Self {
        self.gone().await.back().await
    }

    /// Ends the daemon and leaves its containers.
    pub async fn gone(self) -> Gone {
        let Self {
            dir,
            engine,
            bridge,
        } = self;
        engine.shutdown(false).await;
        Gone { dir, bridge }
    }

    pub async fn create(&self, config: Config, host_config: HostConfig) -> String {
        let request = CreateContainer {
            config,
            host_config,
            ..CreateContainer::default()
        };
        self.engine.create_container(request).await.unwrap().id
    }

    /// A container of that name that runs a script.
    pub async fn start(&self, name: &str, script: &str, host_config: HostConfig) -> String {
        let request = CreateContainer {
            name: name.to_owned(),
            config: shell(script),
            host_config,
            ..CreateContainer::default()
        };
        let id = self.engine.create_container(request).await.unwrap().id;
        self.engine.start(&id).await.unwrap();
        id
    }

    /// Creates, starts, waits; the exit code and the output.
    pub async fn run(&self, script: &str) -> (i64, String) {
        let id = self.create(shell(script), none()).await;
        let exit = self
            .engine
            .wait(&id, WaitCondition::NextExit)
            .await
            .unwrap();
        self.engine.start(&id).await.unwrap();
        let code = exit.await.status_code;
        let output = self.output(&id).await;
        self.engine
            .remove(&id, RemoveOptions::default())
            .await
            .unwrap();
        (code, output)
    }

    /// What it has written so far.
    pub async fn output(&self, id: &str) -> String {
        let options = LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        };
        let logs = self.engine.logs(id, &options).await.unwrap();
        let records: Vec<_> = logs.records.collect().await;
        records
            .into_iter()
            .map(|record| String::from_utf8_lossy(&record.unwrap().bytes).into_owned())
            .collect()
    }

    /// What it wrote until its end.
    pub async fn whole_output(&self, id: &str) -> String {
        self.phase(id, Phase::Exited).await;
        self.output(id).await
    }

    pub async fn phase(&self, id: &str, phase: Phase) {
        let mut status = self.engine.watch_container(id).unwrap();
        let reached = status.wait_for(|status| status.phase == phase);
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .expect("in time")
            .unwrap();
    }

    /// Removes all containers; nothing of theirs may be left.
    pub async fn end(self) {
        let all = ListOptions {
            all: true,
            ..ListOptions::default()
        };
        for container in self.engine.list(&all).await.unwrap() {
            let force = RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            };
            self.engine.remove(&container.id, force).await.unwrap();
        }
        self.engine.shutdown(false).await;
        let left =
            |path: &str| std::fs::read_dir(self.dir.path().join(path)).map_or(0, Iterator::count);
        let paths = ["data/containers", "exec/containers", "exec/netns"];
        assert_eq!(paths.map(left), [0, 0, 0], "left in {paths:?}");
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let own = self.dir.path().join("data").display().to_string();
        assert!(!mounts.contains(&own), "no mount of ours on the host");
    }
}

/// Busybox running a script.
pub fn shell(script: &str) -> Config {
    command(&["sh", "-c", script])
}

/// Busybox running this.
pub fn command(words: &[&str]) -> Config {
    Config {
        image: "busybox".to_owned(),
        cmd: Some(words.iter().map(|word| (*word).to_owned()).collect()),
        ..Config::default()
    }
}

/// With no network but loopback.
pub fn none() -> HostConfig {
    on("none")
}

/// On that network.
pub fn on(network: &str) -> HostConfig {
    HostConfig {
        network_mode: network.to_owned(),
        ..HostConfig::default()
    }
}
