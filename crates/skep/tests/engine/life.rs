//! The life of a container: started, stopped, restarted, killed, removed, and who may know it.

use std::sync::Arc;
use std::time::Duration;

use skep_engine::{CreateContainer, Phase, RemoveOptions, WaitCondition};
use skep_objects::ErrorKind;
use skep_objects::api::container::{Config, HealthConfig, HostConfig, RestartPolicy};
use skep_objects::api::exec::{ExecCreate, ExecStart};

use crate::bench::{Bench, command, none, shell};

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
