//! Things that vanish or break below a daemon: shims, cgroups, mounts, records.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use skep_testkit::{Host, eventually};

use crate::{IMAGE, ask, one_host, run, state};

/// The process that parents a container.
pub fn shim(host: &Host, id: &str) -> Pid {
    let bundle = host.exec_root().join("containers").join(id);
    let needle = bundle.display().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&needle)
    });
    Pid::from_raw(found.expect("a shim"))
}

#[test]
fn killed_shims_and_vanished_cgroups_and_mounts_are_lived_through() {
    let mut lab = one_host();
    // A shim that is killed, by a daemon that sees it and by one that finds it so.
    let seen = run(&lab.hosts[0], "seen", json!({}));
    let found = run(&lab.hosts[0], "found", json!({}));
    kill(shim(&lab.hosts[0], &seen), Signal::SIGKILL).unwrap();
    eventually("the loss of the shim is seen", || {
        ended(&lab.hosts[0], &seen)
    });
    lab.hosts[0].kill();
    kill(shim(&lab.hosts[0], &found), Signal::SIGKILL).unwrap();
    lab.hosts[0].start().unwrap();
    ended(&lab.hosts[0], &found).unwrap();
    ask(&lab.hosts[0], "DELETE", "/containers/seen", None, 204);
    ask(&lab.hosts[0], "POST", "/containers/found/start", None, 204);

    // Its processes are moved out of the cgroups, and the cgroups removed.
    let strayed = run(&lab.hosts[0], "strayed", json!({}));
    let pid = state(&lab.hosts[0], &strayed)["Pid"].to_string();
    for cgroup in cgroups(lab.hosts[0].cgroup(), &strayed) {
        let root = hierarchy(&cgroup);
        for process in fs::read_to_string(cgroup.join("cgroup.procs"))
            .unwrap()
            .lines()
        {
            fs::write(root.join("cgroup.procs"), process).unwrap();
        }
        fs::remove_dir(&cgroup).unwrap();
    }
    assert!(Path::new("/proc").join(&pid).exists());
    ask(
        &lab.hosts[0],
        "DELETE",
        "/containers/strayed?force=1",
        None,
        204,
    );
    assert!(
        !Path::new("/proc").join(&pid).exists(),
        "it was ended all the same"
    );

    // The pin of its network namespace, and the mount of a volume that is in use.
    let driver = json!({"type": "tmpfs", "device": "tmpfs", "o": "size=1m"});
    let volume = json!({"Name": "memory", "DriverOpts": driver});
    ask(&lab.hosts[0], "POST", "/volumes/create", Some(volume), 201);
    run(&lab.hosts[0], "bare", json!({"Binds": ["memory:/data"]}));
    let mut gone = 0;
    for mount in mounts_below(&lab.hosts[0].dir) {
        umount2(&mount, MntFlags::MNT_DETACH).unwrap();
        gone += 1;
    }
    assert!(gone > 0, "a network namespace is pinned");
    ask(
        &lab.hosts[0],
        "POST",
        "/containers/bare/restart?t=0",
        None,
        204,
    );
    for mount in mounts_below(&lab.hosts[0].dir) {
        umount2(&mount, MntFlags::MNT_DETACH).unwrap();
    }
    ask(
        &lab.hosts[0],
        "DELETE",
        "/containers/bare?force=1",
        None,
        204,
    );
    ask(
        &lab.hosts[0],
        "DELETE",
        "/containers/found?force=1",
        None,
        204,
    );
    ask(&lab.hosts[0], "DELETE", "/volumes/memory", None, 204);
    crate::assert_no_leaks(&mut lab);
}

fn ended(host: &Host, id: &str) -> Result<(), String> {
    let state = state(host, id);
    let right = state["Status"] == "exited" && state["ExitCode"] == 137;
    if right {
        Ok(())
    } else {
        Err(state.to_string())
    }
}

/// The cgroups of a container, one a hierarchy.
fn cgroups(parent: &str, id: &str) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    let entries = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    roots.extend(entries.map(|entry| entry.path()));
    let path = |root: PathBuf| root.join(parent.trim_start_matches('/')).join(id);
    roots
        .into_iter()
        .map(path)
        .filter(|path| path.is_dir())
        .collect()
}

/// The root of the hierarchy that a cgroup is in.
fn hierarchy(cgroup: &Path) -> PathBuf {
    let above: Vec<_> = cgroup.ancestors().skip(1).collect();
    let root = above
        .iter()
        .find(|dir| dir.parent() == Some(Path::new("/sys/fs/cgroup")));
    match root {
        Some(root) if !root.join("cgroup.type").exists() => root.to_path_buf(),
        _ => PathBuf::from("/sys/fs/cgroup"),
    }
}

fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let paths = table.lines().filter_map(|line| line.split(' ').nth(4));
    paths
        .map(PathBuf::from)
        .filter(|path| path.starts_with(dir))
        .collect()
}

#[test]
fn damaged_records_are_named_and_their_containers_can_be_removed() {
    let mut lab = one_host();
    let host = &lab.hosts[0];
    let ids: Vec<_> = ["torn", "empty", "stateless", "running", "fine"]
        .iter()
        .map(|name| run(host, name, json!({})))
        .collect();
    for id in &ids[..3] {
        ask(host, "POST", &format!("/containers/{id}/kill"), None, 204);
        eventually("it ends", || ended(host, id));
    }
    lab.hosts[0].kill();
    let containers = lab.hosts[0].data_root().join("containers");
    let record = |id: &str, name: &str| containers.join(id).join(name);
    let whole = fs::read(record(&ids[0], "container.json")).unwrap();
    fs::write(record(&ids[0], "container.json"), &whole[..whole.len() / 2]).unwrap();
    fs::write(record(&ids[1], "container.json"), "").unwrap();
    fs::write(record(&ids[2], "state.json"), "{\"running\":tr").unwrap();
    fs::write(record(&ids[3], "container.json"), "nonsense").unwrap();
    fs::write(record(&ids[4], "state.json"), "{\"running\":true,").unwrap();
    // What a crash leaves before the record is written.
    fs::create_dir(lab.hosts[0].data_root().join("containers/half")).unwrap();
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    let log = fs::read_to_string(host.dir.join("daemon.log")).unwrap();
    for damaged in [
        record(&ids[0], "container.json"),
        record(&ids[1], "container.json"),
        record(&ids[2], "state.json"),
    ] {
        assert!(
            log.contains(&damaged.display().to_string()),
            "{} is not named",
            damaged.display()
        );
    }
    assert!(!host.data_root().join("containers/half").exists());
    // What runs keeps its network, though the record of its state is gone.
    assert_eq!(state(host, "fine")["Status"], "running");
    let shown = ask(host, "GET", "/containers/fine/json", None, 200);
    let gateway = shown["NetworkSettings"]["Networks"]["bridge"]["Gateway"].clone();
    let gateway = gateway.as_str().unwrap().to_owned();
    let ping = host.docker(&["exec", "fine", "ping", "-c1", "-w5", &gateway]);
    assert!(ping.ok().contains("1 packets received"));
    assert_eq!(state(host, &ids[0])["Status"], "dead");
    assert_eq!(
        state(host, &ids[3])["Status"],
        "running",
        "what runs is seen to run"
    );
    ask(host, "POST", "/containers/stateless/start", None, 204);
    let answer = host
        .api("POST", &format!("/containers/{}/start", ids[1]), None)
        .unwrap();
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    for id in &ids {
        ask(
            host,
            "DELETE",
            &format!("/containers/{id}?force=1"),
            None,
            204,
        );
    }
    crate::assert_no_leaks(&mut lab);
}

#[test]
fn damaged_images_networks_and_volumes_do_not_keep_the_daemon_down() {
    let mut lab = one_host();
    let host = &lab.hosts[0];
    run(host, "user", json!({}));
    run(host, "keeper", json!({"Binds": ["vol2:/data"]}));
    host.docker(&["exec", "keeper", "sh", "-c", "echo kept > /data/file"])
        .ok();
    ask(host, "DELETE", "/containers/keeper?force=1", None, 204);
    let saved = host
        .api("GET", &format!("/images/{IMAGE}/get"), None)
        .unwrap()
        .body;
    ask(
        host,
        "POST",
        "/networks/create",
        Some(json!({"Name": "net1"})),
        201,
    );
    ask(
        host,
        "POST",
        "/volumes/create",
        Some(json!({"Name": "vol1"})),
        201,
    );
    lab.hosts[0].kill();
    let root = lab.hosts[0].data_root();
    let find = |pattern: &str| {
        let output = Command::new("find")
            .arg(&root)
            .args(["-path", pattern])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(PathBuf::from).collect::<Vec<_>>()
    };
    let mut damaged = find("*/image/records/*.json");
    damaged.extend(find("*/image/names.json"));
    damaged.extend(find("*/volumes/vol?/volume.json"));
    for path in find("*/networks/*.json") {
        if fs::read_to_string(&path).unwrap().contains("\"net1\"") {
            damaged.push(path);
        }
    }
    assert_eq!(damaged.len(), 5, "{damaged:?}");
    for path in &damaged {
        fs::write(path, "{\"half\":").unwrap();
    }
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    let log = fs::read_to_string(host.dir.join("daemon.log")).unwrap();
    for path in &damaged {
        assert!(
            log.contains(&path.display().to_string()),
            "{} is not named",
            path.display()
        );
    }
    assert_eq!(state(host, "user")["Status"], "running");
    // The image comes back with the next load, with the layers that were kept.
    let loaded = host.upload("/images/load", &saved).unwrap();
    assert!(loaded.text().contains("Loaded image"), "{}", loaded.text());
    ask(host, "POST", "/containers/user/restart?t=0", None, 204);
    run(host, "again", json!({}));
    for name in ["user", "again"] {
        ask(
            host,
            "DELETE",
            &format!("/containers/{name}?force=1"),
            None,
            204,
        );
    }
    // A volume is what lies in its directory; a network can be made again.
    run(host, "reader", json!({"Binds": ["vol2:/data"]}));
    let read = host.docker(&["exec", "reader", "cat", "/data/file"]);
    assert_eq!(read.ok(), "kept");
    ask(host, "DELETE", "/containers/reader?force=1", None, 204);
    for volume in ["vol1", "vol2"] {
        ask(host, "DELETE", &format!("/volumes/{volume}"), None, 204);
    }
    let again = json!({"Name": "net1"});
    ask(host, "POST", "/networks/create", Some(again), 201);
    ask(host, "DELETE", "/networks/net1", None, 204);
    ask(host, "DELETE", &format!("/images/{IMAGE}"), None, 200);
}

/// The kernel has no clock of a namespace's own for the time of day, so what a jump leaves behind is
/// laid down by hand: times that lie in the future.
#[test]
fn times_that_lie_in_the_future_harm_nothing() {
    let mut lab = one_host();
    let id = run(
        &lab.hosts[0],
        "early",
        json!({"RestartPolicy": {"Name": "always"}}),
    );
    lab.hosts[0].kill();
    let path = lab.hosts[0]
        .data_root()
        .join("containers")
        .join(&id)
        .join("state.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let seconds = kept["started_at"]["secs_since_epoch"].as_u64().unwrap() + 86_400 * 365;
    kept["started_at"]["secs_since_epoch"] = json!(seconds);
    fs::write(&path, kept.to_string()).unwrap();
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    let listed = ask(host, "GET", "/containers/json", None, 200);
    assert!(
        listed[0]["Status"].as_str().unwrap().starts_with("Up"),
        "{listed}"
    );
    ask(
        host,
        "POST",
        &format!("/containers/{id}/restart?t=0"),
        None,
        204,
    );
    let logs = format!("/containers/{id}/logs?stdout=1&since=4000000000");
    ask(host, "GET", &logs, None, 200);
    // The end comes before the start by the clock; the policy starts it again all the same.
    let pid = state(host, &id)["Pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    eventually("it is started again", || {
        let state = state(host, &id);
        let again = state["Running"] == true && state["Restarting"] == false && state["Pid"] != pid;
        if again {
            Ok(())
        } else {
            Err(state.to_string())
        }
    });
    ask(
        host,
        "DELETE",
        &format!("/containers/{id}?force=1"),
        None,
        204,
    );
}
