//! What each operation may and must not do.

use std::path::Path;

use serde_json::json;

use crate::support::runtime::{Runtime, silent};
use crate::support::{self, Bundle};

#[test]
fn operations_are_for_the_states_that_they_are_for() {
    let bundle = Bundle::shell("sleep 1000");
    bundle.write();
    let runtime = Runtime::ours(&bundle);
    let (id, dir) = (bundle.id.clone(), bundle.dir.display().to_string());
    let (id, dir) = (id.as_str(), dir.as_str());
    let create = ["create", "--bundle", dir, id];
    for operation in [
        &["state"][..],
        &["start"],
        &["kill"],
        &["delete"],
        &["pause"],
        &["resume"],
    ] {
        let told = runtime.fails(&[operation, &[id]].concat());
        assert_eq!(told, "container does not exist", "{operation:?}");
    }
    for bad in ["", "..", "a/b", "a b"] {
        runtime.fails(&["create", "--bundle", dir, bad]);
    }
    runtime.fails(&["create", "--bundle", "/not/there", id]);
    silent(&runtime, &create);
    // created: no second one of the name, no deletion; a signal may be sent.
    assert!(runtime.fails(&create).contains("already exists"));
    assert!(runtime.fails(&["delete", id]).contains("is not stopped"));
    assert!(
        runtime
            .fails(&["kill", id, "NOPE"])
            .contains("unknown signal")
    );
    let pid = runtime.status(id)["pid"].as_i64().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    runtime.ok(&["kill", id, "CONT"]);
    runtime.ok(&["start", id]);
    // running: neither started again nor deleted.
    assert!(runtime.fails(&["start", id]).contains("running state"));
    assert!(runtime.fails(&["delete", id]).contains("is not stopped"));
    runtime.ok(&["kill", id, "9"]);
    support::wait_until("it stops", || runtime.status(id)["status"] == "stopped");
    // stopped: no signals, no start; deleted with all that its creation made.
    assert_eq!(runtime.fails(&["kill", id]), "container not running");
    assert!(runtime.fails(&["start", id]).contains("stopped state"));
    runtime.ok(&["delete", id]);
    bundle.assert_clean();
    // A creation that failed leaves a name that can be had.
    let bundle = bundle.set("/process/args", json!(["nope"]));
    bundle.write();
    runtime.fails(&["create", "--bundle", dir, &bundle.id]);
    assert_eq!(
        runtime.fails(&["state", &bundle.id]),
        "container does not exist"
    );
    for version in ["2.0.0", "0.9", "x"] {
        let bundle = Bundle::shell("true").set("/ociVersion", version.into());
        let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
        assert!(code != 0 && err.contains("unsupported ociVersion"), "{err}");
    }
}

/// The processors of a further process, before and after it is in the container's cgroup.
#[test]
fn a_further_process_runs_where_it_is_told_to() {
    let affinity = json!({ "initial": "0", "final": "0-1" });
    let bundle = Bundle::new(&["sleep", "1000"]).set("/process/execCPUAffinity", affinity);
    let ours = Runtime::ours(&bundle);
    bundle.write();
    silent(
        &ours,
        &[
            "create",
            "--bundle",
            bundle.dir.to_str().unwrap(),
            &bundle.id,
        ],
    );
    ours.ok(&["start", &bundle.id]);
    let look = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let (first, further) = (
        ours.ok(&["exec", &bundle.id, look[0], look[1], "/proc/1/status"]),
        ours.ok(&["exec", &bundle.id, look[0], look[1], look[2]]),
    );
    assert_ne!(
        first, "Cpus_allowed_list:\t0\n",
        "the first process is left alone"
    );
    assert_eq!(further, "Cpus_allowed_list:\t0-1\n");
    ours.ok(&["delete", "--force", &bundle.id]);
    bundle.assert_clean();
}
