//! Hooks: when, with what, and what their failure means.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::Bundle;
use crate::support::runtime::Runtime;

fn hooks(stage: &str, file: &Path, first: &str) -> Value {
    let hook = |script: String| {
        json!({
            "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"],
        })
    };
    json!({ stage: [hook(first.to_owned()), hook(format!("echo second >> {}", file.display()))] })
}

#[test]
fn a_hook_that_fails_fails_what_it_belongs_to() {
    // Stage, whether the command fails, whether the hooks after it run all the same.
    for (stage, fails, goes_on) in [
        ("prestart", true, false),
        ("createRuntime", true, false),
        ("createContainer", true, false),
        ("startContainer", true, false),
        ("poststart", false, true),
        ("poststop", false, true),
    ] {
        let mut bundle = Bundle::shell("true");
        // Seen both from the host and, for the hook that runs inside, from the container.
        let file = match stage {
            "startContainer" => Path::new("/hooks").to_owned(),
            _ => bundle.dir.join("rootfs/hooks"),
        };
        bundle.config["hooks"] = hooks(stage, &file, "echo reason >&2; exit 3");
        let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
        assert_eq!(code != 0, fails, "{stage}: {out} {err}");
        assert!(
            err.contains("reason") && err.contains(stage),
            "{stage}: {err}"
        );
        let second = bundle.dir.join("rootfs/hooks").exists();
        assert_eq!(second, goes_on, "{stage}");
        bundle.assert_clean();
        let root = bundle.dir.join("root");
        assert_eq!(fs::read_dir(root).unwrap().count(), 0, "{stage}");
    }
}

#[test]
fn hooks_get_the_state_their_words_and_no_more_time_than_they_have() {
    let mut bundle = Bundle::shell("true").set("/annotations", json!({ "a.b": "c" }));
    let file = bundle.dir.join("said");
    bundle.config["hooks"] = json!({ "createRuntime": [{
        "path": "/bin/sh",
        "args": ["name", "-c", format!("{{ cat; echo; echo $0 $1; env; }} > {}", file.display()), "zero", "one"],
        "env": ["ONLY=this"],
    }] });
    let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""));
    let said = fs::read_to_string(&file).unwrap();
    let mut lines = said.lines();
    let state: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(state["id"], bundle.id.as_str());
    assert_eq!(state["status"], "creating");
    assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
    assert_eq!(state["annotations"]["a.b"], "c");
    assert!(state["pid"].as_i64().unwrap() > 1 && state["ociVersion"] == "1.2.0");
    assert_eq!(lines.next(), Some("zero one"));
    let env: Vec<&str> = lines
        .filter(|line| {
            !line.starts_with("PWD=") && !line.starts_with("SHLVL=") && !line.starts_with("_=")
        })
        .collect();
    assert_eq!(env, ["ONLY=this"]);
    for (hook, why) in [
        (
            json!({ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 }),
            "hook ran past timeout of 1s",
        ),
        (
            json!({ "path": "bin/true" }),
            "path bin/true is not absolute",
        ),
        (json!({ "path": "/not/there" }), "/not/there"),
    ] {
        let mut bundle = Bundle::shell("true");
        bundle.config["hooks"] = json!({ "createRuntime": [hook] });
        let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
        assert!(code != 0 && err.contains(why), "{err}");
        bundle.assert_clean();
    }
    // A container without a pid namespace of its own is not process 1 to its hooks.
    let mut bundle = Bundle::shell("true").set(
        "/linux/namespaces",
        json!([{ "type": "mount" }, { "type": "uts" }, { "type": "network" }, { "type": "ipc" }]),
    );
    let file = bundle.dir.join("said");
    bundle.config["hooks"] = json!({ "createContainer": [{
        "path": "/bin/sh", "args": ["sh", "-c", format!("cat > {}", file.display())],
    }] });
    let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""));
    let state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(state["pid"].as_i64().unwrap() > 1, "{state}");
}
