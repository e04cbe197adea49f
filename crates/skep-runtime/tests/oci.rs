//! `skep oci` against the specification, and beside Debian's runc. Needs root, busybox-static and runc.
#![allow(clippy::unwrap_used, reason = "a test panics")]

#[path = "oci/life.rs"]
mod life;
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::runtime::Runtime;
use support::{Bundle, harness, wait_until};

/// Runs the same bundle with both runtimes and compares output and exit code.
fn check(bundle: Bundle) {
    let ours = Runtime::ours(&bundle).run(&bundle);
    let theirs = Runtime::runc(&bundle).run(&bundle);
    assert_eq!(ours, theirs);
    assert_eq!(bundle.cgroups(), Vec::<PathBuf>::new());
}

fn check_script(script: &str) {
    check(Bundle::shell(script));
}

#[test]
fn exit_codes_and_streams_match_runc() {
    check_script("echo out; echo err >&2; exit 42");
    check_script("kill -9 $$");
    check_script("kill -TERM $$; exit 3");
}

#[test]
fn the_mounted_file_systems_match_runc() {
    check_script(
        "cat /proc/mounts | grep -v '^/dev/root\\|^/dev/[a-z]* / ' | grep -v /proc/ | while read a b c d e; do echo $b $c; done | sort",
    );
    check_script(
        "for i in acpi kcore keys timer_list scsi; do ls -ld /proc/$i | head -c 10; wc -c < /proc/$i; done 2>&1; ls /sys/firmware",
    );
    check_script(
        "echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger; mkdir /sys/x; mkdir /proc/irq/x",
    );
}

#[test]
fn devices_match_runc() {
    check_script(
        "ls -l /dev | while read m n u g rest; do echo $m $u $g; done; ls /dev; readlink /dev/ptmx; readlink /dev/fd",
    );
    check_script(
        "rm -f /tmp/disk /tmp/null; mknod /tmp/disk b 8 0 && cat /tmp/disk; mknod /tmp/null c 1 3 && echo x > /tmp/null && echo wrote",
    );
    check(Bundle::shell("ls -l /dev/fuse /dev/sub/x").set(
        "/linux/devices",
        json!([
            { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4 },
            { "path": "/dev/sub/x", "type": "c", "major": 1, "minor": 3 },
        ]),
    ));
}

#[test]
fn users_groups_and_capabilities_match_runc() {
    check_script("cat /proc/self/status | grep -E 'Cap|Uid|Gid|Groups|NoNew|Seccomp:'");
    let user = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5, 7], "umask": 0o27 });
    let script = "cat /proc/self/status | grep -E 'Cap|Uid|Gid|Groups|NoNew'; touch /tmp/f; id; echo x > /dev/stdout";
    let bundle = || Bundle::shell(script).set("/process/user", user.clone());
    fs::set_permissions(
        bundle().rootfs().join("tmp"),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    check(bundle());
    check(bundle().set("/process/noNewPrivileges", true.into()));
    let caps = json!(["CAP_NET_BIND_SERVICE", "CAP_CHOWN"]);
    check(bundle().set(
        "/process/capabilities",
        json!({ "bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps, "ambient": ["CAP_CHOWN"] }),
    ));
}

#[test]
fn a_seccomp_profile_matches_runc() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 },
            { "names": ["chroot"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11,
              "args": [{ "index": 1, "value": 15, "op": "SCMP_CMP_EQ" }] },
        ],
    });
    let script = "mkdir /x; chroot / true; kill -0 $$ && echo zero; kill -15 $$; grep Seccomp: /proc/self/status";
    check(Bundle::shell(script).set("/linux/seccomp", profile.clone()));
    check(
        Bundle::shell(script)
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", true.into()),
    );
    check(
        Bundle::shell(script)
            .set("/linux/seccomp", profile)
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 })),
    );
}

#[test]
fn mount_options_match_runc() {
    let bundle = |options: Value| {
        let bundle = Bundle::shell(
            "cat /proc/mounts | grep /mnt | while read a b c d e; do echo $b $d; done; touch /mnt/x; ls /mnt",
        );
        let source = bundle.dir.join("volume");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "").unwrap();
        bundle.add_mount(
            json!({ "destination": "/mnt", "type": "bind", "source": source, "options": options }),
        )
    };
    check(bundle(json!(["rbind", "ro"])));
    check(bundle(json!([
        "bind", "rw", "nosuid", "nodev", "noexec", "rprivate"
    ])));
    check(bundle(json!(["rbind", "rslave"])));
    let tmpfs = |options: Value| {
        Bundle::shell("cat /proc/mounts | grep /run/t").add_mount(
            json!({ "destination": "/run/t", "type": "tmpfs", "source": "tmpfs", "options": options }),
        )
    };
    check(tmpfs(json!(["noexec", "size=1m", "mode=1770"])));
    check(tmpfs(json!(["ro"])));
}

#[test]
fn a_read_only_root_and_hidden_paths_match_runc() {
    check(
        Bundle::shell("touch /x; touch /tmp/x; touch /dev/shm/x && ls /dev/shm")
            .set("/root/readonly", true.into()),
    );
}

#[test]
fn hostname_sysctl_rlimits_and_cwd_match_runc() {
    let bundle = Bundle::shell("hostname; sysctl net.ipv4.ip_forward kernel.shm_rmid_forced; ulimit -n; ulimit -c; pwd; ls -ld /new/dir | head -c 10")
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1" }))
        .set("/process/rlimits", json!([
            { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        ]))
        .set("/process/cwd", "/new/dir".into());
    check(bundle);
}

#[test]
fn limits_match_runc() {
    let files = "for f in memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us \
                 cpu/cpu.cfs_period_us cpuset/cpuset.cpus pids/pids.max devices/devices.list; do cat /sys/fs/cgroup/$f | sort; done; \
                 echo 1 > /sys/fs/cgroup/memory/memory.limit_in_bytes; cat /proc/self/cgroup | grep -v unified | wc -l";
    let mut bundle = Bundle::shell(files);
    let resources = bundle.config.pointer_mut("/linux/resources").unwrap();
    resources["memory"] = json!({ "limit": 67_108_864, "reservation": 33_554_432 });
    resources["cpu"] = json!({ "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" });
    resources["pids"] = json!({ "limit": 50 });
    check(bundle);
}

#[test]
fn namespaces_by_path_match_runc() {
    let holder = Command::new("unshare")
        .args(["-n", "-u", "-i", "sleep", "1000"])
        .spawn()
        .unwrap();
    struct Kill(std::process::Child);
    impl Drop for Kill {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let holder = Kill(holder);
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", holder.0.id());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    wait_until("the holder unshared", || {
        fs::read_link(path("ipc")).is_ok_and(|l| l != fs::read_link("/proc/self/ns/ipc").unwrap())
    });
    assert_ne!(fs::read_link(path("net")).unwrap(), own);
    let bundle = Bundle::shell(
        "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts",
    )
    .set(
        "/linux/namespaces",
        json!([
            { "type": "mount" }, { "type": "pid" }, { "type": "network", "path": path("net") },
            { "type": "ipc", "path": path("ipc") }, { "type": "uts", "path": path("uts") },
        ]),
    );
    let ours = Runtime::ours(&bundle).run(&bundle);
    assert_eq!(
        ours.1.lines().next(),
        fs::read_link(path("net")).unwrap().to_str()
    );
    check(bundle);
}

#[test]
fn a_user_namespace_matches_runc() {
    let bundle = Bundle::shell("id; cat /proc/self/uid_map | tr -s ' '; ls -ln /etc/passwd | tr -s ' ' | head -c 20; ls /dev")
        .set(
            "/linux/namespaces",
            json!([
                { "type": "mount" }, { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "user" },
            ]),
        )
        .set("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]))
        .set("/linux/gidMappings", json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&bundle.dir, mode).unwrap();
    check(bundle);
}

#[test]
fn bad_configurations_are_refused() {
    let refused = |bundle: Bundle, expect: &str| {
        let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
        assert_eq!(code, 1);
        assert!(err.contains(expect), "{err:?} lacks {expect:?}");
        bundle.assert_clean();
    };
    refused(Bundle::new(&[]), "args must not be empty");
    refused(
        Bundle::shell("true").set("/process/cwd", "relative".into()),
        "Cwd must be an absolute path",
    );
    refused(
        Bundle::shell("true").set("/ociVersion", "2.0.0".into()),
        "unsupported ociVersion",
    );
    refused(
        Bundle::shell("true").set("/linux/rootfsPropagation", "sideways".into()),
        "rootfsPropagation=sideways",
    );
    refused(
        Bundle::shell("true").set("/linux/cgroupsPath", "/a/../../b".into()),
        "leads upwards",
    );
    refused(
        Bundle::shell("true").add_mount(json!({ "destination": "/x", "type": "bind", "source": "/does/not/exist", "options": ["bind"] })),
        "error mounting \"/does/not/exist\" to rootfs at \"/x\": no such file or directory",
    );
    refused(
        Bundle::shell("true").add_mount(
            json!({ "destination": "/etc/passwd", "type": "bind", "source": "/tmp", "options": ["bind"] }),
        ),
        "error mounting \"/tmp\" to rootfs at \"/etc/passwd\": not a directory",
    );
    refused(Bundle::new(&["/etc"]), "exec: \"/etc\": is a directory");
    refused(
        Bundle::new(&["/etc/passwd"]),
        "exec: \"/etc/passwd\": permission denied",
    );
}

#[test]
fn a_host_with_cgroup_version_2_alone_serves_too() {
    let bundle = Bundle::shell(
        "grep cgroup /proc/mounts | while read a b c d; do echo $b $c $d; done; cat /proc/self/cgroup; \
         rm -f /tmp/d; mknod /tmp/d b 8 0; cat /tmp/d; echo x > /dev/null && echo null; mkdir /sys/fs/cgroup/x; sleep 1000",
    );
    bundle.write();
    let script = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99
        oci() { $HARNESS oci --root $DIR/root \"$@\"; }
        oci create --bundle $DIR $ID > $DIR/out 2>&1 < /dev/null || { cat $DIR/out; exit 98; }
        oci start $ID
        while ! grep -q Read-only $DIR/out; do :; done
        oci pause $ID; oci state $ID | grep -o paused
        oci resume $ID; oci state $ID | grep -o running
        oci exec $ID sh -c 'cat /proc/self/cgroup'
        oci delete --force $ID; ls -d /sys/fs/cgroup/$ID 2>&1 | grep -o 'No such'
        cat $DIR/out";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .env("HARNESS", harness())
        .env("DIR", &bundle.dir)
        .env("ID", &bundle.id)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["paused", "running"], "{text}");
    assert!(
        lines[2..]
            .iter()
            .any(|l| l.ends_with(&format!("0::/{}", bundle.id))),
        "{text}"
    );
    assert!(lines.contains(&"No such"), "{text}");
    assert!(text.contains("/sys/fs/cgroup cgroup2 ro,"), "{text}");
    assert!(
        text.contains("/tmp/d: Operation not permitted")
            || text.contains("'/tmp/d': Operation not permitted"),
        "{text}"
    );
    assert!(lines.contains(&"null"), "{text}");
}

#[test]
fn what_is_not_given_is_refused_by_name() {
    let refused = |bundle: Bundle, expect: &str| {
        let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
        assert_eq!(code, 1, "{expect}");
        assert!(err.contains(expect), "{err:?} lacks {expect:?}");
        bundle.assert_clean();
    };
    let set = |pointer: &str, value: Value| Bundle::shell("true").set(pointer, value);
    refused(
        set("/linux/intelRdt", json!({ "closID": "a" })),
        "linux.intelRdt is not supported",
    );
    refused(
        set(
            "/process/rlimits",
            json!([{ "type": "RLIMIT_NOTHING", "soft": 1, "hard": 1 }]),
        ),
        "RLIMIT_NOTHING",
    );
}

#[test]
fn the_rest_of_the_specifications_settings_match_runc() {
    let mut bundle = Bundle::shell(
        "cat /proc/sys/kernel/domainname; grep -E 'Max (open files|core)' /proc/self/limits; \
         cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l; umask",
    );
    bundle.config["domainname"] = json!("hive.example");
    bundle.config["process"]["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
    ]);
    bundle.config["process"]["oomScoreAdj"] = json!(123);
    bundle.config["process"]["user"]["umask"] = json!(63);
    let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "hive.example");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("100                  200"))
    );
    assert!(lines.contains(&"123") && lines.contains(&"0077"), "{out}");
    let (_, theirs, _) = Runtime::runc(&bundle).run(&bundle);
    // Debian's runc knows no domain name yet; all else is the same.
    assert_eq!(lines[1..], theirs.lines().skip(1).collect::<Vec<_>>()[..]);
}

#[test]
fn a_time_namespace_shifts_the_clocks_since_boot() {
    let mut bundle = Bundle::shell("cut -d. -f1 /proc/uptime");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({ "type": "time" }));
    let day = json!({ "secs": 864_000, "nanosecs": 0 });
    bundle.config["linux"]["timeOffsets"] = json!({ "boottime": day, "monotonic": day });
    // Before: both are cut to whole seconds.
    let here = fs::read_to_string("/proc/uptime").unwrap();
    let here: u64 = here.split('.').next().unwrap().parse().unwrap();
    let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
    assert_eq!((code, err.as_str()), (0, ""));
    let inside: u64 = out.trim().parse().unwrap();
    assert!(
        (864_000..865_000).contains(&(inside - here)),
        "{here} {inside}"
    );
}

#[test]
fn descriptors_that_are_to_be_kept_are_and_others_are_not() {
    let bundle = Bundle::shell("cat <&3; cat <&4");
    bundle.write();
    let runtime = Runtime::ours(&bundle);
    let file = bundle.dir.join("passed");
    fs::write(&file, "kept").unwrap();
    let run = |keep: &str| {
        let script = format!(
            "exec 3<{0} 4<{0}; exec {1} oci --root {2} run --preserve-fds {keep} --bundle {3} {4}",
            file.display(),
            runtime.program.display(),
            runtime.root.display(),
            bundle.dir.display(),
            bundle.id
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run("2").0, "keptkept");
    let (out, err) = run("1");
    assert!(
        out == "kept" && err.to_lowercase().contains("bad file descriptor"),
        "{out} {err}"
    );
    assert!(
        run("many")
            .1
            .contains("--preserve-fds \"many\" is not a number")
    );
}

#[test]
fn features_are_told_in_the_specifications_form() {
    let bundle = Bundle::shell("true");
    let runtime = Runtime::ours(&bundle);
    let told: Value = serde_json::from_str(&runtime.ok(&["features"])).unwrap();
    assert_eq!(
        (&told["ociVersionMin"], &told["ociVersionMax"]),
        (&json!("1.0.0"), &json!("1.2.0"))
    );
    assert_eq!(told["hooks"].as_array().unwrap().len(), 6);
    assert_eq!(told["linux"]["cgroup"]["v1"], true);
    assert!(
        told["mountOptions"]
            .as_array()
            .unwrap()
            .contains(&json!("rslave"))
    );
    let capabilities = told["linux"]["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&json!("CAP_KILL")));
}
