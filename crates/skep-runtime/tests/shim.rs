//! A container's life under its shim. Needs root and busybox-static.
#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use serde_json::json;
use skep_runtime::shim::protocol::{RefusalKind, Request};
use skep_runtime::shim::{self, Found, ShimError};
use support::{Bundle, wait_until};

#[test]
fn output_exit_code_and_log_are_kept() {
    let bundle = Bundle::shell("echo out; echo err >&2; exit 7");
    let outcome = bundle.run();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(outcome.exit.code, 7);
    assert_eq!(bundle.exit_record(), Some(outcome.exit));
    let mut logged = bundle.logged();
    logged.sort();
    assert_eq!(
        logged,
        [
            ("stderr".into(), "err\n".into()),
            ("stdout".into(), "out\n".to_owned())
        ]
    );
    bundle.wait_for_shim(&shim::ShimState::load(&bundle.dir).unwrap().unwrap());
    bundle.assert_clean();
}

#[test]
fn a_missing_program_is_refused_with_dockers_text_and_127() {
    let bundle = Bundle::new(&["foo"]);
    let Err(ShimError::Refused(refusal)) = bundle.create() else {
        panic!("created")
    };
    assert_eq!(refusal.kind, RefusalKind::ProgramNotFound);
    assert_eq!(refusal.kind.exit_code(), 127);
    assert_eq!(
        refusal.message,
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create \
         failed: unable to start container process: error during container init: exec: \"foo\": executable file not \
         found in $PATH: unknown"
    );
    wait_until("nothing stays", || bundle.processes().is_empty());
    bundle.assert_clean();
}

#[test]
fn an_exec_has_its_own_streams_and_code() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let state = bundle.create().unwrap();
    bundle.connect().call(&Request::Start).unwrap();
    let connection = bundle
        .exec(
            "one",
            &[
                "sh",
                "-c",
                "echo hi; pwd; id -u; cat /proc/1/cmdline | tr '\\0' ' '; exit 3",
            ],
        )
        .unwrap();
    let outcome = bundle.wait(connection);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.exit.code),
        ("hi\n/\n0\nsleep 1000 ", 3)
    );
    let Err(ShimError::Refused(refusal)) = bundle.exec("two", &["nope"]) else {
        panic!("ran")
    };
    assert_eq!(
        refusal.message,
        "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nope\": executable file \
         not found in $PATH: unknown"
    );
    let attached = bundle.attach();
    bundle
        .connect()
        .call(&Request::Signal {
            signal: 9,
            exec: None,
            all: false,
        })
        .unwrap();
    let outcome = bundle.wait(attached);
    assert_eq!((outcome.exit.code, outcome.exit.signal), (137, Some(9)));
    bundle.wait_for_shim(&state);
    bundle.assert_clean();
}

#[test]
fn a_container_waits_for_its_start_and_can_be_found_again() {
    let bundle = Bundle::shell("echo ran > /tmp/ran; sleep 1000");
    let state = bundle.create().unwrap();
    assert!(state.is_alive() && state.has_shim());
    assert!(!bundle.rootfs().join("tmp/ran").exists());
    bundle.connect().call(&Request::Start).unwrap();
    wait_until("the program ran", || {
        bundle.rootfs().join("tmp/ran").exists()
    });
    assert!(matches!(
        shim::find(&bundle.dir).unwrap(),
        Found::Running(_)
    ));
    let again = bundle
        .connect()
        .call(&Request::Start)
        .unwrap_err()
        .to_string();
    assert_eq!(again, "the container is already started");
}

#[test]
fn input_reaches_the_process_until_it_is_closed() {
    let bundle = Bundle::new(&["cat"]).open_stdin();
    bundle.create().unwrap();
    let mut connection = bundle.attach();
    connection.call(&Request::Start).unwrap();
    let mut frame = Vec::new();
    skep_runtime::shim::protocol::encode(
        skep_runtime::shim::protocol::Kind::Stdin,
        b"some text\n",
        &mut frame,
    );
    connection.send(&frame).unwrap();
    connection
        .call(&Request::CloseStdin { exec: None })
        .unwrap();
    let outcome = bundle.wait(connection);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.exit.code),
        ("some text\n", 0)
    );
}

#[test]
fn a_terminal_is_the_containers_own() {
    let bundle = Bundle::shell(
        "tty; stty size; ls -l /dev/console | cut -c1; test -t 0 && echo terminal; echo err >&2",
    )
    .terminal();
    let mut bundle = bundle;
    bundle.spec.console_size = Some((24, 80));
    let outcome = bundle.run();
    assert_eq!(
        outcome.stdout.replace("\r\n", "|"),
        "/dev/pts/0|24 80|c|terminal|err|"
    );
    assert_eq!(outcome.stderr, "");
    assert_eq!(
        bundle.logged()[0],
        ("stdout".into(), "/dev/pts/0\r\n".to_owned())
    );
}

#[test]
fn a_killed_shim_takes_its_container_along_and_is_recovered() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let state = bundle.create().unwrap();
    bundle.connect().call(&Request::Start).unwrap();
    rustix_kill(state.shim_pid);
    wait_until("the container ends", || !state.is_alive());
    assert!(matches!(shim::find(&bundle.dir).unwrap(), Found::Lost));
    let exit = shim::recover(&bundle.dir).unwrap();
    assert_eq!(exit.code, 137);
    assert_eq!(shim::recover(&bundle.dir).unwrap(), exit);
    bundle.assert_clean();
}

fn rustix_kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn an_overlay_is_mounted_out_of_the_hosts_sight() {
    let mut bundle = Bundle::shell("echo new > /made; cat /etc/group | head -n 1");
    let rootfs = bundle.rootfs();
    let merged = bundle.dir.join("merged");
    let (upper, work) = (bundle.dir.join("upper"), bundle.dir.join("work"));
    for dir in [&merged, &upper, &work] {
        std::fs::create_dir(dir).unwrap();
    }
    bundle.config["root"]["path"] = json!(merged);
    bundle.spec.overlay = Some(shim::OverlaySpec {
        lower: vec![rootfs.clone()],
        upper: Some(upper.clone()),
        work: Some(work),
    });
    let outcome = bundle.run();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("root:x:0:\n", "")
    );
    assert_eq!(
        std::fs::read_to_string(upper.join("made")).unwrap(),
        "new\n"
    );
    assert!(!rootfs.join("made").exists() && std::fs::read_dir(&merged).unwrap().next().is_none());
}

#[test]
fn the_hosts_program_is_out_of_reach() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let state = bundle.create().unwrap();
    // While the init waits for its start it still is the host's program, seen from the container too.
    for pid in [state.pid, state.shim_pid] {
        let exe = format!("/proc/{pid}/exe");
        // Busy as long as anybody executes it, read-only after that.
        assert!(std::fs::OpenOptions::new().write(true).open(&exe).is_err());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
        let refused = std::fs::set_permissions(&exe, mode).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn a_bundle_can_be_used_again() {
    let bundle = Bundle::shell("echo x >> /tmp/times; wc -l < /tmp/times");
    assert_eq!(bundle.run().stdout.trim(), "1");
    let state = shim::ShimState::load(&bundle.dir).unwrap().unwrap();
    bundle.wait_for_shim(&state);
    assert_eq!(bundle.run().stdout.trim(), "2");
}
