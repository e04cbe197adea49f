//! What runs in it: users, streams, execs, logs, limits.

use std::time::Duration;

use futures::StreamExt;
use skep_engine::{AttachOptions, LogOptions, Phase, StreamKind, WaitCondition};
use skep_objects::api::container::{Config, HostConfig, UpdateConfig};
use skep_objects::api::exec::{ExecCreate, ExecStart};
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, command, none, shell};

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
    while let Some(piece) = attached.output.next().await {
        let (kind, bytes) = piece.unwrap();
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
    let output: Vec<_> = attached.output.map(Result::unwrap).collect().await;
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
async fn an_output_that_breaks_off_does_not_end_as_a_whole_one_does() {
    let bench = Bench::new().await;
    let id = bench.start("", "sleep 1000", none()).await;
    let request = ExecCreate {
        cmd: Some(vec![
            "sh".to_owned(),
            "-c".to_owned(),
            "echo begun; sleep 1000".to_owned(),
        ]),
        attach_stdout: true,
        ..ExecCreate::default()
    };
    let exec = bench.engine.exec_create(&id, request).await.unwrap();
    let started = bench.engine.exec_start(&exec, &ExecStart::default()).await;
    let mut output = started.unwrap().unwrap().output;
    let first = output.next().await.unwrap().unwrap();
    assert_eq!(&first.1[..], b"begun\n");
    let bundle = bench.dir.path().join("exec/containers").join(&id);
    let shim = skep_runtime::shim::ShimState::load(&bundle)
        .unwrap()
        .unwrap();
    let shim = rustix::process::Pid::from_raw(shim.shim_pid).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    let error = output.next().await.unwrap().unwrap_err().to_string();
    assert!(error.starts_with("read the output of container"), "{error}");
    assert!(output.next().await.is_none());
    bench.phase(&id, Phase::Exited).await;
    bench.end().await;
}
