//! The OCI runtime specification 1.2, row by row: what each property of `config.json` does as seen from
//! inside, what is refused, and what each operation may and must not do. What has a counterpart in
//! Debian's runc is compared with it in `oci.rs`. Needs root and busybox-static.
#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::Bundle;
use support::runtime::{Runtime, silent};

/// What a container must say, or the runtime.
enum Expect {
    /// The script's output, without the line feed at its end.
    Says(&'static str),
    /// The creation fails with this in its text, and leaves nothing.
    Refused(&'static str),
}
use Expect::{Refused, Says};

/// One property: where in `config.json`, with what value, and a script that looks.
type Row = (&'static str, Value, &'static str, Expect);

fn check((pointer, value, script, expect): Row) {
    let mut bundle = Bundle::shell(script);
    if !pointer.is_empty() {
        bundle = bundle.set(pointer, value.clone());
    }
    let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
    let row = format!("{pointer} = {value}, {script}: {code} {out} {err}");
    match expect {
        Says(text) => assert_eq!((code, out.trim_end()), (0, text), "{row}"),
        Refused(text) => {
            assert_ne!(code, 0, "{row}");
            assert!(err.contains(text), "{row}");
        }
    }
    bundle.assert_clean();
}

#[test]
fn properties_of_the_process() {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o27 });
    let kill = json!(["CAP_KILL"]);
    let capabilities = json!({
        "bounding": kill, "effective": kill, "permitted": kill, "inheritable": [], "ambient": [],
    });
    let status = "/proc/self/status";
    let rows: [Row; 17] = [
        (
            "/process/env",
            json!(["PATH=/bin", "A=b c"]),
            "echo $A",
            Says("b c"),
        ),
        ("/process/cwd", json!("/tmp"), "pwd", Says("/tmp")),
        (
            "/process/cwd",
            json!("tmp"),
            "pwd",
            Refused("Cwd must be an absolute path"),
        ),
        (
            "/process/args",
            json!([]),
            "true",
            Refused("args must not be empty"),
        ),
        (
            "/process/args",
            json!(["nope"]),
            "true",
            Refused("executable file not found in $PATH"),
        ),
        (
            "/process/user",
            user,
            "id -u; id -g; id -G; umask",
            Says("1000\n1001\n1001 5 7\n0027"),
        ),
        (
            "/process/rlimits",
            limits.clone(),
            "ulimit -Sn; ulimit -Hn",
            Says("100\n200"),
        ),
        (
            "/process/rlimits",
            json!([limits[0], limits[0]]),
            "true",
            Refused("RLIMIT_NOFILE"),
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_NOTHING", "soft": 1, "hard": 1 }]),
            "true",
            Refused("RLIMIT_NOTHING"),
        ),
        (
            "/process/noNewPrivileges",
            json!(true),
            "grep NoNewPrivs /proc/self/status | cut -f2",
            Says("1"),
        ),
        (
            "/process/capabilities",
            capabilities,
            "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2",
            Says(
                "0000000000000000\n0000000000000020\n0000000000000020\n0000000000000020\n0000000000000000",
            ),
        ),
        (
            "/process/oomScoreAdj",
            json!(77),
            "cat /proc/self/oom_score_adj",
            Says("77"),
        ),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 }),
            "ionice",
            Says("idle"),
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_BATCH", "nice": 5 }),
            "cut -d' ' -f19,41 /proc/self/stat",
            Says("5 3"),
        ),
        (
            "/process/execCPUAffinity",
            json!({ "initial": "0" }),
            "true",
            Refused("process.execCPUAffinity is not supported"),
        ),
        (
            "",
            Value::Null,
            "readlink /proc/self/fd/0",
            Says("/dev/null"),
        ),
        (
            "",
            Value::Null,
            "cat /proc/sys/kernel/hostname; echo $$",
            Says("box\n1"),
        ),
    ];
    assert!(Path::new(status).exists());
    rows.into_iter().for_each(check);
}

#[test]
fn the_root_and_its_mounts() {
    let tmpfs = |at: &str, options: Value| {
        json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": at, "type": "tmpfs", "source": "tmpfs", "options": options },
        ])
    };
    let over = json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/mnt", "type": "tmpfs", "source": "below" },
        { "destination": "/mnt/in", "type": "tmpfs", "source": "within" },
        { "destination": "/mnt", "type": "tmpfs", "source": "above" },
    ]);
    let rows: [Row; 12] = [
        (
            "/root/readonly",
            json!(true),
            "touch /x 2>/dev/null || echo no",
            Says("no"),
        ),
        (
            "/root/path",
            json!("nowhere"),
            "true",
            Refused("no such file or directory"),
        ),
        ("/hostname", json!("hive"), "hostname", Says("hive")),
        (
            "/domainname",
            json!("example.org"),
            "cat /proc/sys/kernel/domainname",
            Says("example.org"),
        ),
        // Absolute since 1.1; older bundles count from the root.
        (
            "/mounts",
            tmpfs("mnt", json!(["size=64k"])),
            "grep -c ' /mnt tmpfs' /proc/mounts",
            Says("1"),
        ),
        (
            "/mounts",
            tmpfs(
                "/mnt",
                json!([
                    "ro", "nosuid", "nodev", "noexec", "noatime", "size=64k", "mode=700"
                ]),
            ),
            "grep ' /mnt ' /proc/mounts | cut -d' ' -f4 | tr , '\\n' | grep -E '^(ro|nosuid|nodev|noexec|noatime|size=64k|mode=700)$' | wc -l",
            Says("7"),
        ),
        (
            "/mounts",
            over,
            "grep /mnt /proc/mounts | cut -d' ' -f1,2",
            Says("below /mnt\nwithin /mnt/in\nabove /mnt"),
        ),
        (
            "/mounts",
            json!([{ "destination": "/mnt", "type": "nosuchfs", "source": "x" }]),
            "true",
            Refused("error mounting \"x\" to rootfs at \"/mnt\""),
        ),
        (
            "/linux/maskedPaths",
            json!(["/etc/passwd", "/home", "/not/there"]),
            "cat /etc/passwd; ls /home; echo end",
            Says("end"),
        ),
        (
            "/linux/readonlyPaths",
            json!(["/etc", "/not/there"]),
            "touch /etc/x 2>/dev/null || echo no; touch /tmp/x && echo yes",
            Says("no\nyes"),
        ),
        (
            "/linux/rootfsPropagation",
            json!("sideways"),
            "true",
            Refused("rootfsPropagation=sideways"),
        ),
        (
            "/linux/mountLabel",
            json!("system_u:object_r:x_t:s0"),
            "true",
            Refused("linux.mountLabel on a kernel without SELinux"),
        ),
    ];
    rows.into_iter().for_each(check);
    for (word, field) in [
        ("shared", "shared:"),
        ("private", "- "),
        ("unbindable", "unbindable"),
        ("rslave", "- "),
    ] {
        let script = "grep ' / / ' /proc/self/mountinfo || cat /proc/self/mountinfo";
        let bundle = Bundle::shell(script).set("/linux/rootfsPropagation", word.into());
        let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
        assert_eq!((code, err.as_str()), (0, ""), "{word}");
        let line = out.lines().find(|line| line.split(' ').nth(4) == Some("/"));
        let line = line.unwrap();
        assert!(line.contains(field), "{word}: {line}");
    }
}

#[test]
fn mounts_with_mapped_ids_show_other_owners() {
    let source = tempdir("idmap");
    fs::write(source.join("file"), "text").unwrap();
    for owned in [source.clone(), source.join("file")] {
        std::os::unix::fs::chown(owned, Some(1000), Some(1001)).unwrap();
    }
    let mount = |options: Value, more: Value| {
        let mut mount = json!({
            "destination": "/mnt", "type": "bind", "source": source, "options": options,
        });
        for (key, value) in more.as_object().unwrap() {
            mount[key] = value.clone();
        }
        mount
    };
    let map = |from: u32| json!([{ "containerID": from, "hostID": 0, "size": 1 }]);
    let maps = json!({ "uidMappings": map(1000), "gidMappings": map(1001) });
    let look = "stat -c '%u %g' /mnt/file; echo x > /mnt/new; stat -c '%u %g' /mnt/new";
    let says = |bundle: Bundle| {
        let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
        bundle.assert_clean();
        (code, out, err)
    };
    let mapped =
        says(Bundle::shell(look).add_mount(mount(json!(["rbind", "idmap"]), maps.clone())));
    assert_eq!(mapped, (0, "0 0\n0 0\n".to_owned(), String::new()));
    // What root made through the mapping belongs, outside, to who it stands for.
    let made = fs::metadata(source.join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 1000);
    let plain = says(Bundle::shell(look).add_mount(mount(json!(["bind"]), json!({}))));
    assert_eq!(
        plain.1, "1000 1001\n1000 1001\n",
        "without, they are as they are"
    );
    for (bundle, why) in [
        (
            Bundle::shell("true")
                .add_mount(mount(json!(["bind"]), json!({ "uidMappings": map(1) }))),
            "uidMappings and gidMappings must be given together",
        ),
        (
            Bundle::shell("true").add_mount(mount(json!(["bind", "idmap"]), json!({}))),
            "there are no mappings",
        ),
        (
            Bundle::shell("true").add_mount(json!({
                "destination": "/mnt", "type": "tmpfs", "source": "tmpfs",
                "uidMappings": map(1), "gidMappings": map(1),
            })),
            "only binds can have id mappings",
        ),
    ] {
        let (code, _, err) = says(bundle);
        assert!(code != 0 && err.contains(why), "{err}");
    }
    fs::remove_dir_all(source).unwrap();
}

fn tempdir(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("skep-conformance-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The namespaces that a container sees, those of the host left out.
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

#[test]
fn devices_kernel_settings_and_limits() {
    let fifo = json!([{ "path": "/dev/pipe", "type": "p", "fileMode": 0o600, "uid": 1, "gid": 2 }]);
    let errno = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
    });
    let rows: [Row; 13] = [
        (
            "/linux/devices",
            fifo,
            "stat -c '%F %a %u %g' /dev/pipe",
            Says("fifo 600 1 2"),
        ),
        (
            "",
            Value::Null,
            "for d in null zero full random urandom tty; do test -c /dev/$d || echo $d; done; readlink /dev/ptmx; readlink /dev/fd",
            Says("pts/ptmx\n/proc/self/fd"),
        ),
        (
            "/linux/sysctl",
            json!({ "net.ipv4.ip_default_ttl": "33" }),
            "cat /proc/sys/net/ipv4/ip_default_ttl",
            Says("33"),
        ),
        (
            "/linux/sysctl",
            json!({ "no.such.thing": "1" }),
            "true",
            Refused("/proc/sys/no/such/thing"),
        ),
        (
            "/linux/seccomp",
            errno,
            "mkdir /tmp/x 2>&1 | grep -o 'No space left'",
            Says("No space left"),
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_NOTIFY" }),
            "true",
            Refused("SCMP_ACT_NOTIFY"),
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }),
            "true",
            Refused("SCMP_ACT_NOTIFY"),
        ),
        (
            "/linux/personality",
            json!({ "domain": "LINUX32" }),
            "uname -m",
            Says("i686"),
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": "x" }),
            "true",
            Refused("linux.intelRdt is not supported"),
        ),
        (
            "/linux/resources",
            json!({ "pids": { "limit": 7 } }),
            "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true",
            Says("7"),
        ),
        (
            "/linux/cgroupsPath",
            json!("/a/../../b"),
            "true",
            Refused("leads upwards"),
        ),
        (
            "/linux/resources",
            json!({ "devices": [{ "allow": false, "access": "rwm" }] }),
            "mknod /tmp/f c 1 1; cat /tmp/f 2>&1 | grep -o 'not permitted'; head -c 3 /dev/zero | wc -c | tr -d ' '",
            Says("not permitted\n3"),
        ),
        (
            "/linux/timeOffsets",
            json!({ "boottime": { "secs": 1 } }),
            "true",
            Says(""),
        ),
    ];
    // Two rows are about this architecture, or one that this machine need not be.
    let is_x86 = cfg!(target_arch = "x86_64");
    rows.into_iter()
        .filter(|row| is_x86 || row.0 != "/linux/personality")
        .for_each(check);
}

/// A hook that fails; those after it on the list.
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
