//! The daemon takes as many open files as it may have; its containers get what it was started with.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use skep_testkit::{Lab, LabSpec};

use crate::{import, run};

/// Soft and hard limit of a process, as the kernel shows them.
fn limits(text: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let words = line.unwrap().split_whitespace();
    words.skip(3).take(2).map(str::to_owned).collect()
}

#[test]
fn containers_have_the_limit_that_the_daemon_was_started_with() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("limited");
    let script = format!(
        "#!/bin/sh\nulimit -Sn 700 && ulimit -Hn 5000 && exec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_skep")
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = Lab::new(&LabSpec::new(program, 1)).unwrap();
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    import(host);
    let daemon = format!("/proc/{}/limits", host.pid().unwrap());
    assert_eq!(
        limits(&fs::read_to_string(daemon).unwrap()),
        ["5000", "5000"]
    );
    run(host, "plain", json!({}));
    let nofile = json!({"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]});
    run(host, "limited", nofile);
    for (name, expect) in [("plain", ["700", "5000"]), ("limited", ["100", "200"])] {
        for process in ["1", "self"] {
            let file = format!("/proc/{process}/limits");
            let seen = host.docker(&["exec", name, "cat", &file]).ok();
            assert_eq!(limits(&seen), expect, "{name} {process}");
        }
    }
    for name in ["plain", "limited"] {
        host.docker(&["rm", "-f", name]).ok();
    }
    crate::assert_no_leaks(&mut lab);
}
