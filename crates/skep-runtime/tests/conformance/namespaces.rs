//! Which namespaces a container has of its own, and which it shares.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Expect::Refused;
use crate::Row;
use crate::support::runtime::Runtime;
use crate::support::{Bundle, wait_until};

fn own_namespaces(bundle: Bundle) -> Vec<String> {
    let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""));
    bundle.assert_clean();
    let host = |name: &str| fs::read_link(Path::new("/proc/self/ns").join(name)).unwrap();
    let lines = out.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(name, link)| host(name) != Path::new(link))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn namespaces_are_those_listed_and_no_others() {
    const LOOK: &str = "for n in cgroup ipc mnt net pid time user uts; do echo $n $(readlink /proc/self/ns/$n); done";
    let check = |kinds: &[&str], expect: &[&str]| {
        let list: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let mut bundle = Bundle::shell(LOOK).set("/linux/namespaces", json!(list));
        bundle.config.as_object_mut().unwrap().remove("hostname");
        bundle.config["mounts"] = json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
        ]);
        bundle.config["linux"]["maskedPaths"] = json!([]);
        bundle.config["linux"]["readonlyPaths"] = json!([]);
        assert_eq!(own_namespaces(bundle), expect, "{kinds:?}");
    };
    check(&["mount"], &["mnt"]);
    check(&["mount", "pid"], &["mnt", "pid"]);
    check(
        &["mount", "network", "ipc", "uts"],
        &["ipc", "mnt", "net", "uts"],
    );
    check(&["mount", "cgroup", "time"], &["cgroup", "mnt", "time"]);
    let rows: [Row; 3] = [
        (
            "/linux/namespaces",
            json!([{ "type": "mount" }, { "type": "pid" }, { "type": "pid" }]),
            "true",
            Refused("duplicate ns"),
        ),
        (
            "/linux/namespaces",
            json!([{ "type": "pid" }]),
            "true",
            Refused("mount namespace"),
        ),
        (
            "/linux/namespaces",
            json!([{ "type": "mount" }, { "type": "network", "path": "/not/there" }]),
            "true",
            Refused("join net namespace /not/there"),
        ),
    ];
    rows.into_iter().for_each(check_row_without_hostname);
}

/// A host name is for who has a namespace of its own for it.
fn check_row_without_hostname((pointer, value, script, expect): Row) {
    let mut bundle = Bundle::shell(script).set(pointer, value);
    bundle.config.as_object_mut().unwrap().remove("hostname");
    let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
    if let Refused(text) = expect {
        assert!(code != 0 && err.contains(text), "{err}");
    }
    bundle.assert_clean();
}

#[test]
fn a_user_namespace_has_its_mappings_and_groups() {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mut bundle = Bundle::shell("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; id -G");
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "user" }));
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    bundle.config["process"]["user"]["additionalGids"] = json!([5, 7]);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
    let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, " 0 100000 65536\n 0 100000 65536\n0 5 7\n");
    bundle.assert_clean();
}

/// Ends a process with the test.
struct Held(std::process::Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is mounted there alone is there for binds; the container's root becomes that of the namespace.
#[test]
fn a_mount_namespace_is_joined_by_its_path() {
    let bundle = Bundle::shell("readlink /proc/self/ns/mnt; cat /seen; ls -d /bin");
    let only = bundle.dir.join("only");
    fs::create_dir(&only).unwrap();
    let script = "mount -t tmpfs none $0 && echo there > $0/file && exec sleep 1000";
    let mut holder = Command::new("unshare");
    holder.args(["-m", "sh", "-c", script]).arg(&only);
    let holder = Held(holder.spawn().unwrap());
    let of_holder = |what: &str| format!("/proc/{}/{what}", holder.0.id());
    wait_until("the holder is there", || {
        let only = only.display();
        Path::new(&of_holder(&format!("root{only}/file"))).exists()
            && fs::read_to_string(of_holder("comm")).is_ok_and(|name| name == "sleep\n")
    });
    assert!(!only.join("file").exists());
    let path = of_holder("ns/mnt");
    let link = fs::read_link(&path).unwrap();
    let mut bundle = bundle
        .set(
            "/linux/namespaces",
            json!([{ "type": "mount", "path": path }, { "type": "pid" }]),
        )
        .add_mount(json!({
            "destination": "/seen", "type": "bind", "source": only.join("file"), "options": ["bind"],
        }));
    bundle.config.as_object_mut().unwrap().remove("hostname");
    let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out, format!("{}\nthere\n/bin\n", link.display()));
    drop(holder);
    bundle.assert_clean();
}
