//! What a host lives through: crashes at random moments, things that vanish below it, a full disk, bad
//! input, flags. Every test has one or more daemons of its own in network namespaces.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

mod bad_input;
mod bridge_flags;
mod daemon_flags;
mod damage;
mod full_disk;
mod full_manager;
mod open_files;
mod random;
mod removal;
mod silence;
mod storm;

use serde_json::{Value, json};
use skep_testkit::{Host, Lab, LabSpec, images};

/// The image of every test here.
const IMAGE: &str = "small:1";

/// One host with a daemon and an image.
fn one_host() -> Lab {
    let mut lab = hosts(1);
    lab.hosts[0].start().unwrap();
    import(&lab.hosts[0]);
    lab
}

/// Hosts without daemons.
fn hosts(count: usize) -> Lab {
    Lab::new(&LabSpec::new(env!("CARGO_BIN_EXE_skep"), count)).unwrap()
}

fn import(host: &Host) {
    let path = "/images/create?fromSrc=-&repo=small&tag=1";
    let answer = host.upload(path, &images::busybox().unwrap()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Asks and expects this status.
#[track_caller]
fn ask(host: &Host, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
    let answer = host.api(method, path, body.as_ref()).unwrap();
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    answer.json()
}

/// Makes and starts a container that stays; returns its id.
#[track_caller]
fn run(host: &Host, name: &str, host_config: Value) -> String {
    let body = json!({
        "Image": IMAGE,
        "Cmd": ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
        "HostConfig": host_config,
    });
    let path = format!("/containers/create?name={name}");
    let made = ask(host, "POST", &path, Some(body), 201);
    let id = made["Id"].as_str().unwrap().to_owned();
    ask(host, "POST", &format!("/containers/{id}/start"), None, 204);
    id
}

#[track_caller]
fn state(host: &Host, id: &str) -> Value {
    ask(host, "GET", &format!("/containers/{id}/json"), None, 200)["State"].clone()
}

/// Ends the daemon, after which nothing of it may be left.
#[track_caller]
fn assert_no_leaks(lab: &mut Lab) {
    lab.hosts[0].stop();
    // Namespaces of the network are taken apart by the kernel, and not at once.
    skep_testkit::eventually("nothing is left", || {
        let leaks = lab.leaks();
        if leaks.is_empty() {
            Ok(())
        } else {
            Err(format!("{leaks:#?}"))
        }
    });
}

/// All that is in a host's directories, by path below them.
fn files(host: &Host) -> Vec<String> {
    let mut found = Vec::new();
    for root in [host.data_root(), host.exec_root()] {
        let mut dirs = vec![root];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(path.clone());
                }
                found.push(path.strip_prefix(&host.dir).unwrap().display().to_string());
            }
        }
    }
    found.sort_unstable();
    found
}

/// The lines of a host's nftables; the order of chains is that of their making.
fn rules(host: &Host) -> Vec<String> {
    let output = host.inside("nft").args(["list", "ruleset"]).output();
    let text = output.expect("nft (Debian: nftables)").stdout;
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}
