//! Another runtime under the same shim. Needs root, busybox-static and runc.
#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::json;
use skep_runtime::shim::protocol::{RefusalKind, Request};
use skep_runtime::shim::{ExternalRuntime, OverlaySpec, ShimError};
use support::Bundle;

fn on_runc(mut bundle: Bundle) -> Bundle {
    let program = ["/usr/sbin/runc", "/usr/bin/runc"]
        .into_iter()
        .map(PathBuf::from)
        .find(|p| p.exists());
    let root = bundle.dir.join("runc");
    bundle.spec.external = Some(ExternalRuntime {
        program: program.expect("install runc"),
        args: vec![],
        root,
    });
    // Docker's default filter, in the form that any runtime takes.
    let profile = skep_runtime::seccomp::oci_profile(None, ["CAP_CHOWN"]).unwrap();
    bundle.set("/linux/seccomp", serde_json::to_value(profile).unwrap())
}

#[test]
fn runc_runs_a_container_on_an_overlay() {
    let mut bundle = on_runc(Bundle::shell(
        "echo out; echo err >&2; echo x > /made; grep Seccomp: /proc/self/status; exit 4",
    ));
    let (lower, merged) = (bundle.rootfs(), bundle.dir.join("merged"));
    let (upper, work) = (bundle.dir.join("upper"), bundle.dir.join("work"));
    for dir in [&merged, &upper, &work] {
        std::fs::create_dir(dir).unwrap();
    }
    bundle.config["root"]["path"] = json!(merged);
    bundle.spec.overlay = Some(OverlaySpec {
        lower: vec![lower],
        upper: Some(upper.clone()),
        work: Some(work),
    });
    let outcome = bundle.run();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\nSeccomp:\t2\n", "err\n")
    );
    assert_eq!(outcome.exit.code, 4);
    assert!(upper.join("made").exists());
    bundle.wait_for_shim(
        &skep_runtime::shim::ShimState::load(&bundle.dir)
            .unwrap()
            .unwrap(),
    );
    bundle.assert_clean();
}

#[test]
fn runc_refuses_with_dockers_text() {
    let bundle = on_runc(Bundle::new(&["foo"]));
    let Err(ShimError::Refused(refusal)) = bundle.create() else {
        panic!("created")
    };
    assert_eq!(refusal.kind, RefusalKind::ProgramNotFound);
    assert!(refusal.message.starts_with("failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "));
    assert!(
        refusal
            .message
            .ends_with("exec: \"foo\": executable file not found in $PATH: unknown")
    );
}

#[test]
fn runc_execs_and_terminals_work() {
    let bundle = on_runc(Bundle::shell("tty; sleep 1000")).terminal();
    let state = bundle.create().unwrap();
    bundle.connect().call(&Request::Start).unwrap();
    let outcome = bundle.wait(
        bundle
            .exec("one", &["sh", "-c", "echo hi; exit 3"])
            .unwrap(),
    );
    assert_eq!((outcome.stdout.as_str(), outcome.exit.code), ("hi\n", 3));
    let outcome = bundle.wait(
        bundle
            .exec_process("two", json!({ "args": ["tty"], "terminal": true }))
            .unwrap(),
    );
    assert_eq!(outcome.stdout, "/dev/pts/1\r\n");
    let attached = bundle.attach();
    bundle
        .connect()
        .call(&Request::Signal {
            signal: 9,
            exec: None,
            all: false,
        })
        .unwrap();
    assert_eq!(bundle.wait(attached).exit.code, 137);
    bundle.wait_for_shim(&state);
    bundle.assert_clean();
    assert!(!Path::new(&bundle.dir.join("console.sock")).exists());
}
