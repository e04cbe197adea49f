//! The only manager of a swarm, on a disk without room: it answers what is asked and says why it
//! writes nothing, also after a restart, and goes on by itself when there is room.

use std::fs;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use skep_testkit::{Host, Output, eventually};

use crate::full_disk::fill;
use crate::{IMAGE, ask, hosts, import};

const READ_ONLY: &str = "the disk of this manager is full, it is read-only until there is room";

#[test]
fn the_only_manager_reads_on_a_full_disk_and_writes_when_there_is_room() {
    let mut lab = hosts(1);
    let root = lab.hosts[0].data_root();
    fs::create_dir_all(&root).unwrap();
    let options = Some("size=24m,mode=0700");
    let none = MsFlags::empty();
    mount(Some("small"), &root, Some("tmpfs"), none, options).unwrap();
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    import(host);
    let address = host.address.to_string();
    host.docker(&["swarm", "init", "--advertise-addr", &address])
        .ok();
    create(host, "rests").ok();
    eventually("the task runs", || running(host, 1));
    fill(host);

    assert!(write_until_refused(host).contains(READ_ONLY));
    readable_and_not_writable(host);
    running(host, 1).unwrap();
    let error = ask(host, "GET", "/info", None, 200)["Swarm"]["Error"].clone();
    assert!(error.as_str().unwrap().contains(READ_ONLY), "{error}");
    lab.hosts[0].kill();
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    eventually("the manager is there again", || {
        let nodes = host.docker(&["node", "ls"]);
        match nodes.code {
            0 => Ok(()),
            _ => Err(nodes.stderr),
        }
    });
    // What a crash leaves behind the log's end is cut, which makes some room.
    fill(host);
    assert!(write_until_refused(host).contains(READ_ONLY));
    readable_and_not_writable(host);

    fs::remove_file(host.data_root().join("filler")).unwrap();
    eventually("services are made again", || {
        let made = create(host, "late");
        match made.code {
            0 => Ok(()),
            _ => Err(made.stderr),
        }
    });
    eventually("both tasks run", || running(host, 2));
    let error = ask(host, "GET", "/info", None, 200)["Swarm"]["Error"].clone();
    assert_eq!(error, "");
    host.docker(&["service", "rm", "rests", "late"]).ok();
    host.docker(&["swarm", "leave", "--force"]).ok();
    lab.hosts[0].stop();
    umount2(&root, MntFlags::empty()).unwrap();
}

fn create(host: &Host, name: &str) -> Output {
    let command = ["service", "create", "--no-resolve-image", "-d"];
    let grace = ["--stop-grace-period", "0s", "--name"];
    let task = [name, IMAGE, "sleep", "100000"];
    host.docker(&[&command[..], &grace, &task].concat())
}

/// What was written ahead takes some; then a write is refused, and its text is the answer.
fn write_until_refused(host: &Host) -> String {
    let data = "eHh4".repeat(150_000);
    for number in 0..16 {
        let body = json!({"Name": format!("c{number}"), "Data": data});
        let answer = host.api("POST", "/configs/create", Some(&body)).unwrap();
        if !matches!(answer.status, 201 | 409) {
            assert_eq!(answer.status, 503, "{}", answer.text());
            return answer.text();
        }
    }
    panic!("so many configs fit on a full disk")
}

fn readable_and_not_writable(host: &Host) {
    let nodes = host.docker(&["node", "ls"]).ok();
    assert!(nodes.contains("Leader"), "{nodes}");
    let services = host.docker(&["service", "ls"]).ok();
    assert!(services.contains("rests"), "{services}");
    host.docker(&["service", "inspect", "rests"]).ok();
    let refused = create(host, "none").refused();
    assert!(refused.contains(READ_ONLY), "{refused}");
}

fn running(host: &Host, wanted: usize) -> Result<(), String> {
    let names = host.docker(&["ps", "-q"]).ok();
    let count = names.lines().count();
    if count == wanted {
        Ok(())
    } else {
        Err(format!("{count} containers"))
    }
}
