//! Containers from end to end, as root: the engine of this crate, the shim of the program itself,
//! busybox as the image. Networks are `none` and `host`, so that tests do not meet in the kernel.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use skep_engine::image::ImportOptions;
use skep_engine::{
    ArchivePutOptions, AttachOptions, CommitOptions, CreateContainer, DefaultBridge, Engine,
    EngineConfig, ListOptions, LogOptions, Phase, RemoveOptions, StreamKind, WaitCondition,
};
use skep_objects::ErrorKind;
use skep_objects::api::container::{Config, HealthConfig, HostConfig, RestartPolicy, UpdateConfig};
use skep_objects::api::exec::{ExecCreate, ExecStart};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An engine on directories of its own, with busybox loaded.
struct Bench {
    dir: tempfile::TempDir,
    engine: Engine,
}

fn config(dir: &Path) -> EngineConfig {
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
        default_bridge: DefaultBridge {
            name: "none".to_owned(),
            ..DefaultBridge::default()
        },
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

    /// Another daemon on the same directories, after this one is gone without a word.
    async fn again(self) -> Self {
        let Self { dir, engine } = self;
        engine.shutdown(false).await;
        drop(engine);
        let engine = Engine::open(config(dir.path())).await.unwrap();
        Self { dir, engine }
    }

    async fn create(&self, config: Config, host_config: HostConfig) -> String {
        let request = CreateContainer {
            config,
            host_config,
            ..CreateContainer::default()
        };
        self.engine.create_container(request).await.unwrap().id
    }

    /// Creates, starts, waits; the exit code and the output.
    async fn run(&self, script: &str) -> (i64, String) {
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

    async fn output(&self, id: &str) -> String {
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

    async fn phase(&self, id: &str, phase: Phase) {
        let mut status = self.engine.watch_container(id).unwrap();
        let reached = status.wait_for(|status| status.phase == phase);
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .expect("in time")
            .unwrap();
    }

    /// Removes all containers; nothing of theirs may be left.
    async fn end(self) {
        let all = self
            .engine
            .list(&ListOptions {
                all: true,
                ..ListOptions::default()
            })
            .await
            .unwrap();
        for container in all {
            self.engine
                .remove(
                    &container.id,
                    RemoveOptions {
                        force: true,
                        ..RemoveOptions::default()
                    },
                )
                .await
                .unwrap();
        }
        self.engine.shutdown(false).await;
        let left = |path: &str| {
            std::fs::read_dir(self.dir.path().join(path))
                .unwrap()
                .count()
        };
        assert_eq!((left("data/containers"), left("exec/containers")), (0, 0));
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let own = self.dir.path().join("data").display().to_string();
        assert!(!mounts.contains(&own), "no mount of ours on the host");
    }
}

fn busybox() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut dir = |path: &str, mode: u32| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, &b""[..]).unwrap();
    };
    dir("bin", 0o755);
    dir("etc", 0o755);
    dir("data", 0o750);
    dir("tmp", 0o1777);
    let mut file = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, bytes).unwrap();
    };
    file(
        "bin/busybox",
        0o755,
        &std::fs::read("/bin/busybox").unwrap(),
    );
    file(
        "etc/passwd",
        0o644,
        b"root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n",
    );
    file("etc/group", 0o644, b"root:x:0:\nweb:x:44:\nmore:x:55:web\n");
    file("data/seed", 0o640, b"from the image\n");
    for applet in [
        "sh", "true", "false", "cat", "echo", "sleep", "id", "ls", "env", "kill", "hostname",
        "stat", "tty", "stty", "grep", "head", "touch", "mount", "seq", "printf", "test", "ps",
        "rm",
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    tar.into_inner().unwrap()
}

fn shell(script: &str) -> Config {
    command(&["sh", "-c", script])
}

fn command(words: &[&str]) -> Config {
    Config {
        image: "busybox".to_owned(),
        cmd: Some(words.iter().map(|word| (*word).to_owned()).collect()),
        ..Config::default()
    }
}

fn none() -> HostConfig {
    HostConfig {
        network_mode: "none".to_owned(),
        ..HostConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_leaves_its_output_and_exit_code() {
    let bench = Bench::new().await;
    let (code, output) = bench.run("echo out; echo err >&2; exit 3").await;
    assert_eq!(code, 3);
    assert!(
        output.contains("out\n") && output.contains("err\n"),
        "{output:?}"
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_kill_restart_and_remove_do_as_docker_does() {
    let bench = Bench::new().await;
    let engine = &bench.engine;
    let id = bench
        .create(
            Config {
                stop_timeout: Some(1),
                ..shell("trap 'exit 7' TERM; while :; do sleep 0.1; done")
            },
            none(),
        )
        .await;
    assert_eq!(
        engine.kill(&id, "").await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    engine.start(&id).await.unwrap();
    assert_eq!(
        engine.start(&id).await.unwrap_err().kind(),
        ErrorKind::NotModified
    );
    let refused = engine
        .remove(&id, RemoveOptions::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("container is running"), "{refused}");
    engine.restart(&id, None, None).await.unwrap();
    engine.stop(&id, None, None).await.unwrap();
    let state = engine.inspect(&id, false).await.unwrap().state;
    assert!(
        !state.running && matches!(state.exit_code, 7 | 137),
        "{state:?}"
    );
    assert_eq!(
        engine.stop(&id, None, None).await.unwrap_err().kind(),
        ErrorKind::NotModified
    );
    engine.start(&id).await.unwrap();
    engine
        .remove(
            &id,
            RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(
        engine.inspect(&id, false).await.unwrap_err().to_string(),
        format!("No such container: {id}")
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_127_and_the_container_stays_created() {
    let bench = Bench::new().await;
    let id = bench.create(command(&["nothing"]), none()).await;
    let error = bench.engine.start(&id).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("executable file not found in $PATH"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let state = bench.engine.inspect(&id, false).await.unwrap().state;
    assert_eq!((state.exit_code, state.running), (127, false));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_environment_and_files_are_as_asked() {
    let bench = Bench::new().await;
    let config = Config {
        user: "web".to_owned(),
        env: Some(vec!["A=1".to_owned()]),
        hostname: "hive".to_owned(),
        working_dir: "/tmp".to_owned(),
        ..shell("id; echo $A $HOME $PWD; hostname; cat /etc/hostname; grep hive /etc/hosts || true")
    };
    let id = bench.create(config, none()).await;
    let exit = bench
        .engine
        .wait(&id, WaitCondition::NextExit)
        .await
        .unwrap();
    bench.engine.start(&id).await.unwrap();
    assert_eq!(exit.await.status_code, 0);
    let output = bench.output(&id).await;
    assert!(
        output.contains("uid=33(web) gid=44(web) groups=44(web),55(more)"),
        "{output}"
    );
    assert!(output.contains("1 /srv /tmp\nhive\nhive\n"), "{output}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_before_the_start_misses_nothing() {
    let bench = Bench::new().await;
    let config = Config {
        open_stdin: true,
        stdin_once: true,
        ..command(&["cat"])
    };
    let id = bench.create(config, none()).await;
    let options = AttachOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        ..AttachOptions::default()
    };
    let mut attached = bench.engine.attach(&id, &options).await.unwrap();
    bench.engine.start(&id).await.unwrap();
    let mut input = attached.input.take().unwrap();
    input.write_all(b"hello\n").await.unwrap();
    input.shutdown().await.unwrap();
    drop(input);
    let mut output = Vec::new();
    while let Some((kind, bytes)) = attached.output.next().await {
        assert_eq!(kind, StreamKind::Stdout);
        output.extend_from_slice(&bytes);
    }
    assert_eq!(output, b"hello\n");
    bench.phase(&id, Phase::Exited).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_has_streams_and_an_exit_code() {
    let bench = Bench::new().await;
    let id = bench.create(command(&["sleep", "100"]), none()).await;
    bench.engine.start(&id).await.unwrap();
    let request = ExecCreate {
        cmd: Some(
            ["sh", "-c", "echo out; echo err >&2; exit 5"]
                .map(str::to_owned)
                .into(),
        ),
        attach_stdout: true,
        attach_stderr: true,
        ..ExecCreate::default()
    };
    let exec = bench.engine.exec_create(&id, request).await.unwrap();
    let attached = bench
        .engine
        .exec_start(&exec, &ExecStart::default())
        .await
        .unwrap()
        .unwrap();
    let output: Vec<_> = attached.output.collect().await;
    let text = |wanted: StreamKind| -> Vec<u8> {
        output
            .iter()
            .filter(|(kind, _)| *kind == wanted)
            .flat_map(|(_, bytes)| bytes.to_vec())
            .collect()
    };
    assert_eq!(
        (text(StreamKind::Stdout), text(StreamKind::Stderr)),
        (b"out\n".to_vec(), b"err\n".to_vec())
    );
    let inspect = bench.engine.exec_inspect(&exec).await.unwrap();
    assert_eq!((inspect.running, inspect.exit_code), (false, Some(5)));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_filled_from_the_image_and_outlive_containers() {
    let bench = Bench::new().await;
    let host = HostConfig {
        binds: Some(vec!["vol1:/data".to_owned()]),
        ..none()
    };
    let id = bench
        .create(
            shell("cat /data/seed; echo more > /data/more"),
            host.clone(),
        )
        .await;
    let refused = bench
        .engine
        .volumes()
        .remove("vol1", false)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(refused, format!("remove vol1: volume is in use - [{id}]"));
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    assert_eq!(bench.output(&id).await, "from the image\n");
    bench
        .engine
        .remove(
            &id,
            RemoveOptions {
                volumes: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    let id = bench.create(shell("cat /data/more"), host).await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    assert_eq!(bench.output(&id).await, "more\n");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_outlives_the_daemon_and_its_end_is_caught() {
    let bench = Bench::new().await;
    let lives = bench
        .create(
            shell("echo before; while ! test -f /tmp/end; do sleep 0.05; done; echo after; exit 4"),
            none(),
        )
        .await;
    let ends = bench.create(shell("sleep 0.3; exit 9"), none()).await;
    bench.engine.start(&lives).await.unwrap();
    bench.engine.start(&ends).await.unwrap();
    let pid = bench.engine.inspect(&lives, false).await.unwrap().state.pid;
    let end_file = bench
        .dir
        .path()
        .join("data/containers")
        .join(&lives)
        .join("upper/tmp/end");
    let bench = bench.again().await;
    let state = bench.engine.inspect(&lives, false).await.unwrap().state;
    assert_eq!((state.status.as_str(), state.pid), ("running", pid));
    bench.phase(&ends, Phase::Exited).await;
    assert_eq!(
        bench
            .engine
            .inspect(&ends, false)
            .await
            .unwrap()
            .state
            .exit_code,
        9
    );
    std::fs::create_dir_all(end_file.parent().unwrap()).unwrap();
    let touch = ExecCreate {
        cmd: Some(["touch", "/tmp/end"].map(str::to_owned).into()),
        ..ExecCreate::default()
    };
    let exec = bench.engine.exec_create(&lives, touch).await.unwrap();
    bench
        .engine
        .exec_start(
            &exec,
            &ExecStart {
                detach: true,
                ..ExecStart::default()
            },
        )
        .await
        .unwrap();
    bench.phase(&lives, Phase::Exited).await;
    assert_eq!(
        bench
            .engine
            .inspect(&lives, false)
            .await
            .unwrap()
            .state
            .exit_code,
        4
    );
    assert_eq!(bench.output(&lives).await, "before\nafter\n");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_restart_policy_counts_and_rm_removes() {
    let bench = Bench::new().await;
    let policy = RestartPolicy {
        name: "on-failure".to_owned(),
        maximum_retry_count: 2,
    };
    let id = bench
        .create(
            command(&["false"]),
            HostConfig {
                restart_policy: policy,
                ..none()
            },
        )
        .await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    let inspect = bench.engine.inspect(&id, false).await.unwrap();
    assert_eq!((inspect.restart_count, inspect.state.exit_code), (2, 1));
    let id = bench
        .create(
            shell("exit 6"),
            HostConfig {
                auto_remove: true,
                ..none()
            },
        )
        .await;
    let removed = bench
        .engine
        .wait(&id, WaitCondition::Removed)
        .await
        .unwrap();
    bench.engine.start(&id).await.unwrap();
    assert_eq!(removed.await.status_code, 6);
    assert!(bench.engine.inspect(&id, false).await.is_err());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_reports_both_ways() {
    let bench = Bench::new().await;
    let health = HealthConfig {
        test: Some(vec!["CMD-SHELL".to_owned(), "test -f /tmp/ok".to_owned()]),
        interval: 50_000_000,
        timeout: 2_000_000_000,
        retries: 1,
        ..HealthConfig::default()
    };
    let config = Config {
        healthcheck: Some(health),
        ..shell("touch /tmp/ok; sleep 100")
    };
    let id = bench.create(config, none()).await;
    bench.engine.start(&id).await.unwrap();
    let mut status = bench.engine.watch_container(&id).unwrap();
    let healthy = status.wait_for(|status| status.health == skep_engine::HealthState::Healthy);
    tokio::time::timeout(Duration::from_secs(20), healthy)
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(
        bench
            .engine
            .inspect(&id, false)
            .await
            .unwrap()
            .state
            .health
            .unwrap()
            .status,
        "healthy"
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_ends_with_its_container() {
    let bench = Bench::new().await;
    let id = bench
        .create(shell("for i in 1 2 3; do echo $i; sleep 0.1; done"), none())
        .await;
    bench.engine.start(&id).await.unwrap();
    let options = LogOptions {
        stdout: true,
        follow: true,
        ..LogOptions::default()
    };
    let logs = bench.engine.logs(&id, &options).await.unwrap();
    let lines = tokio::time::timeout(Duration::from_secs(20), logs.records.collect::<Vec<_>>())
        .await
        .expect("it ends");
    assert_eq!(lines.len(), 3);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_out_whether_it_runs_or_not() {
    let bench = Bench::new().await;
    let id = bench
        .create(shell("echo new > /tmp/new; sleep 100"), none())
        .await;
    for running in [false, true] {
        if running {
            bench.engine.start(&id).await.unwrap();
        }
        let stat = bench.engine.archive_stat(&id, "/data/seed").await.unwrap();
        assert_eq!((stat.name.as_str(), stat.size), ("seed", 15));
        let (_, mut reader) = bench.engine.archive_get(&id, "/data").await.unwrap();
        let mut tar = Vec::new();
        reader.read_to_end(&mut tar).await.unwrap();
        let names: Vec<String> = tar::Archive::new(&tar[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(names.contains(&"data/seed".to_owned()), "{names:?}");
        let body = Box::new(std::io::Cursor::new(tar));
        let options = ArchivePutOptions::default();
        bench
            .engine
            .archive_put(&id, "/tmp", options, body)
            .await
            .unwrap();
        assert!(
            bench
                .engine
                .archive_stat(&id, "/tmp/data/seed")
                .await
                .is_ok()
        );
    }
    let missing = bench
        .engine
        .archive_stat(&id, "/nowhere")
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_exported_and_committed() {
    let bench = Bench::new().await;
    let id = bench
        .create(shell("echo new > /tmp/new; rm /data/seed"), none())
        .await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    let changes = bench.engine.changes(&id).await.unwrap();
    let text: Vec<String> = changes
        .iter()
        .map(|change| format!("{}{}", change.kind, change.path))
        .collect();
    assert_eq!(text, ["0/data", "2/data/seed", "0/tmp", "1/tmp/new"]);
    let mut tar = Vec::new();
    bench
        .engine
        .export(&id)
        .await
        .unwrap()
        .read_to_end(&mut tar)
        .await
        .unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert!(
        names.contains(&"tmp/new".to_owned()) && !names.contains(&"data/seed".to_owned()),
        "{names:?}"
    );
    let options = CommitOptions {
        repo: "mine".to_owned(),
        changes: vec!["CMD [\"cat\", \"/tmp/new\"]".to_owned()],
        ..CommitOptions::default()
    };
    let image = bench.engine.commit(&id, options).await.unwrap();
    let config = Config {
        image,
        ..Config::default()
    };
    let id = bench.create(config, none()).await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    assert_eq!(bench.output(&id).await, "new\n");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_changed_and_measured() {
    let bench = Bench::new().await;
    let host = HostConfig {
        memory: 64 << 20,
        pids_limit: Some(50),
        ..none()
    };
    let id = bench.create(command(&["sleep", "100"]), host).await;
    bench.engine.start(&id).await.unwrap();
    let one = |stream: bool| bench.engine.stats(&id, stream, true);
    let stats = one(false).await.unwrap().next().await.unwrap();
    assert_eq!(
        (stats.memory_stats.limit, stats.pids_stats.limit),
        (64 << 20, 50)
    );
    assert!(stats.cpu_stats.cpu_usage.total_usage > 0 && stats.pids_stats.current > 0);
    let request = UpdateConfig {
        memory: 80 << 20,
        memory_swap: 160 << 20,
        ..UpdateConfig::default()
    };
    bench.engine.update(&id, &request).await.unwrap();
    let stats = one(false).await.unwrap().next().await.unwrap();
    assert_eq!(stats.memory_stats.limit, 80 << 20);
    let top = bench.engine.top(&id, "").await.unwrap();
    assert_eq!(top.processes[0].last().unwrap(), "sleep 100");
    bench.engine.pause(&id).await.unwrap();
    assert_eq!(
        bench.engine.inspect(&id, false).await.unwrap().state.status,
        "paused"
    );
    bench.engine.unpause(&id).await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_is_killed_takes_its_container_along_and_leaves_nothing() {
    let bench = Bench::new().await;
    let id = bench.create(command(&["sleep", "100"]), none()).await;
    bench.engine.start(&id).await.unwrap();
    let bundle = bench.dir.path().join("exec/containers").join(&id);
    let shim = skep_runtime::shim::ShimState::load(&bundle)
        .unwrap()
        .unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-9", &shim.shim_pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    bench.phase(&id, Phase::Exited).await;
    assert!(!shim.is_alive());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_once() {
    let bench = Bench::new().await;
    let request = || CreateContainer {
        name: "web".to_owned(),
        config: command(&["true"]),
        host_config: none(),
        ..CreateContainer::default()
    };
    let engine = Arc::new(bench.engine.clone());
    let id = engine.create_container(request()).await.unwrap().id;
    let error = engine.create_container(request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().starts_with(&format!(
        "Conflict. The container name \"/web\" is already in use by container \"{id}\""
    )));
    engine.rename("web", "site").await.unwrap();
    engine.create_container(request()).await.unwrap();
    bench.end().await;
}
