//! The life of a container by the specification's commands, its hooks, and what they leave.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::runtime::{Runtime, silent};
use crate::support::{Bundle, wait_until};

#[test]
fn the_life_cycle_follows_the_specification() {
    let bundle =
        Bundle::shell("echo ran > /tmp/ran; sleep 1000").set("/annotations", json!({ "a.b": "c" }));
    bundle.write();
    let runtime = Runtime::ours(&bundle);
    let (id, dir) = (bundle.id.as_str(), bundle.dir.to_str().unwrap());
    let pid_file = bundle.dir.join("pid");
    assert_eq!(runtime.fails(&["state", id]), "container does not exist");
    silent(
        &runtime,
        &[
            "create",
            "--bundle",
            dir,
            "--pid-file",
            pid_file.to_str().unwrap(),
            id,
        ],
    );
    let state = runtime.status(id);
    assert_eq!(
        (&state["status"], &state["id"], &state["bundle"]),
        (&json!("created"), &json!(id), &json!(dir))
    );
    assert_eq!(state["annotations"]["a.b"], "c");
    assert_eq!(
        state["pid"].to_string(),
        fs::read_to_string(&pid_file).unwrap()
    );
    assert_eq!(
        runtime.fails(&["create", "--bundle", dir, id]),
        "container with given ID already exists"
    );
    assert!(!bundle.rootfs().join("tmp/ran").exists());
    runtime.ok(&["start", id]);
    wait_until("it ran", || bundle.rootfs().join("tmp/ran").exists());
    assert_eq!(runtime.status(id)["status"], "running");
    assert_eq!(
        runtime.fails(&["start", id]),
        "cannot start a container in the running state"
    );
    assert!(runtime.fails(&["delete", id]).contains("is not stopped"));
    assert_eq!(
        runtime.ok(&["exec", id, "sh", "-c", "echo in $0"]),
        "in sh\n"
    );
    assert_eq!(
        runtime
            .call(&["exec", id, "sh", "-c", "exit 9"])
            .status
            .code(),
        Some(9)
    );
    assert!(
        runtime
            .fails(&["exec", id, "nope"])
            .contains("exec: \"nope\": executable file not found in $PATH")
    );
    runtime.ok(&["pause", id]);
    assert_eq!(runtime.status(id)["status"], "paused");
    runtime.ok(&["resume", id]);
    runtime.ok(&["kill", id, "KILL"]);
    wait_until("it stopped", || runtime.status(id)["status"] == "stopped");
    assert_eq!(
        runtime.fails(&["kill", id, "TERM"]),
        "container not running"
    );
    runtime.ok(&["delete", id]);
    assert_eq!(runtime.fails(&["delete", id]), "container does not exist");
    runtime.ok(&["delete", "--force", id]);
    bundle.assert_clean();
    assert_eq!(fs::read_dir(&runtime.root).unwrap().count(), 0);
}

#[test]
fn hooks_run_where_the_specification_puts_them() {
    let mut bundle = Bundle::shell("echo program >> /hooks");
    let file = bundle.rootfs().join("hooks");
    fs::write(&file, "").unwrap();
    let hook = |name: &str, inside: bool| {
        let target = if inside { Path::new("/hooks") } else { &file };
        let script = format!(
            "grep -o 'status.:.[a-z]*' | head -n1 | tr -d '\":' | while read s; do echo {name} $s >> {}; done",
            target.display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
    };
    bundle.config["hooks"] = json!({
        "prestart": hook("prestart", false),
        "createRuntime": hook("createRuntime", false),
        "createContainer": hook("createContainer", false),
        "startContainer": hook("startContainer", true),
        "poststart": hook("poststart", false),
        "poststop": hook("poststop", false),
    });
    let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""));
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "prestart statuscreating",
            "createRuntime statuscreating",
            "createContainer statuscreating",
            "startContainer statuscreated"
        ]
    );
    assert!(lines.contains(&"program") && lines.contains(&"poststart statusrunning"));
    assert_eq!(lines.last(), Some(&"poststop statusstopped"));
}

#[test]
fn a_failing_hook_fails_the_creation_and_leaves_nothing() {
    let mut bundle = Bundle::shell("true");
    bundle.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"] }] });
    let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!(code, 1);
    assert!(
        err.contains("createRuntime hook #0") && err.contains("no"),
        "{err}"
    );
    bundle.assert_clean();
}

#[test]
fn a_container_on_another_runtime_by_its_command_line_is_found_by_both() {
    // The two keep their states apart, but the cgroups are the same: neither disturbs the other.
    let bundle = Bundle::shell("sleep 1000");
    bundle.write();
    let runtime = Runtime::ours(&bundle);
    silent(
        &runtime,
        &[
            "create",
            "--bundle",
            bundle.dir.to_str().unwrap(),
            &bundle.id,
        ],
    );
    assert!(
        Runtime::runc(&bundle)
            .fails(&["state", &bundle.id])
            .contains("does not exist")
    );
    runtime.ok(&["delete", "--force", &bundle.id]);
    bundle.assert_clean();
}

#[test]
fn force_deletes_what_runs_and_a_file_of_settings_is_read_anew_for_each_command() {
    let bundle = Bundle::shell("sleep 1000");
    bundle.write();
    let runtime = Runtime::ours(&bundle);
    let (id, dir) = (bundle.id.as_str(), bundle.dir.to_str().unwrap());
    silent(&runtime, &["create", "--bundle", dir, id]);
    // What is changed after the creation counts for nothing.
    fs::write(bundle.dir.join("config.json"), "nonsense").unwrap();
    runtime.ok(&["start", id]);
    let pid = runtime.status(id)["pid"].to_string();
    runtime.ok(&["delete", "--force", id]);
    // What nobody has waited for yet is dead, too.
    let state = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
    bundle.assert_clean();
    let log = bundle.dir.join("log");
    let path = log.to_str().unwrap();
    let output = runtime.call(&[
        "--log",
        path,
        "--log-format",
        "json",
        "create",
        "--bundle",
        dir,
        id,
    ]);
    assert!(!output.status.success());
    let line: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(
        line["msg"].as_str().unwrap().contains("config.json"),
        "{line}"
    );
}
