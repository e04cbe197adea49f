//! A data root without room: refusals say so, what runs goes on, and all is well when room is back.

use std::fs;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use skep_testkit::{Host, eventually, images};

use crate::{IMAGE, ask, hosts, import, run, state};

const NO_ROOM: &str = "No space left on device";

#[test]
fn a_full_disk_refuses_clearly_and_is_recovered_from() {
    let mut lab = hosts(1);
    let root = lab.hosts[0].data_root();
    fs::create_dir_all(&root).unwrap();
    let options = Some("size=24m,mode=0700");
    mount(
        Some("small"),
        &root,
        Some("tmpfs"),
        MsFlags::empty(),
        options,
    )
    .unwrap();
    lab.hosts[0].start().unwrap();
    import(&lab.hosts[0]);
    let host = &lab.hosts[0];
    let talker =
        json!({"Image": IMAGE, "Cmd": ["sh", "-c", "while :; do echo word; sleep 0.1; done"]});
    ask(
        host,
        "POST",
        "/containers/create?name=talker",
        Some(talker),
        201,
    );
    ask(host, "POST", "/containers/talker/start", None, 204);
    run(host, "idle", json!({}));
    fill(host);

    let body = json!({"Image": IMAGE, "Cmd": ["true"]});
    let text = refusal(
        host.api("POST", "/containers/create?name=late", Some(&body))
            .unwrap(),
    );
    assert!(text.contains(NO_ROOM), "{text}");
    let body = json!({"Name": "late"});
    let text = refusal(host.api("POST", "/volumes/create", Some(&body)).unwrap());
    assert!(text.contains(NO_ROOM), "{text}");
    let text = refusal(host.api("POST", "/networks/create", Some(&body)).unwrap());
    assert!(text.contains(NO_ROOM), "{text}");
    let big = images::bulk(1, 40).unwrap();
    let said = host.docker_with_input(&["import", "-", "big:1"], &big);
    assert!(
        format!("{}{}", said.stdout, said.stderr).contains(NO_ROOM),
        "{said:?}"
    );
    let said = host.docker_with_input(&["cp", "-", "idle:/tmp"], &big);
    assert!(said.stderr.contains(NO_ROOM), "{said:?}");
    // What is refused before anything of it is read.
    let answer = host.upload("/images/create?fromSrc=-&repo=BIG", &big);
    assert_eq!(answer.unwrap().status, 400);
    assert_eq!(
        state(host, "talker")["Status"],
        "running",
        "it does not wait for its log"
    );
    assert_eq!(
        host.docker(&["exec", "idle", "echo", "works"]).ok(),
        "works"
    );
    // To stop is possible, to start is refused and leaves nothing running.
    ask(host, "POST", "/containers/idle/stop?t=0", None, 204);
    let text = refusal_of_start(host);
    assert!(text.contains(NO_ROOM), "{text}");
    assert_eq!(state(host, "idle")["Running"], false);
    // Half of what was refused is not there.
    ask(host, "GET", "/containers/late/json", None, 404);
    ask(host, "GET", "/volumes/late", None, 404);
    ask(host, "GET", "/networks/late", None, 404);
    ask(host, "GET", "/images/big:1/json", None, 404);

    // A crash on a full disk, and a removal that makes room.
    lab.hosts[0].kill();
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    assert_eq!(state(host, "talker")["Status"], "running");
    ask(host, "DELETE", "/containers/idle?force=1", None, 204);
    fs::remove_file(host.data_root().join("filler")).unwrap();
    let before = host.docker(&["logs", "talker"]).ok().lines().count();
    eventually("its log goes on", || {
        let now = host.docker(&["logs", "talker"]).ok().lines().count();
        if now > before {
            Ok(())
        } else {
            Err(format!("{now} lines"))
        }
    });
    run(host, "late", json!({}));
    let answer = host
        .upload("/images/create?fromSrc=-&repo=big&tag=1", &big)
        .unwrap();
    assert!(!answer.text().contains("error"), "{}", answer.text());
    for name in ["talker", "late"] {
        ask(
            host,
            "DELETE",
            &format!("/containers/{name}?force=1"),
            None,
            204,
        );
    }
    ask(host, "DELETE", "/images/big:1", None, 200);
    lab.hosts[0].stop();
    umount2(&root, MntFlags::empty()).unwrap();
}

/// Fills what room there is, to the last byte.
pub fn fill(host: &Host) {
    let path = host.data_root().join("filler");
    for size in [1 << 20, 4096, 1] {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
    }
}

fn refusal_of_start(host: &Host) -> String {
    let answer = host.api("POST", "/containers/idle/start", None).unwrap();
    assert!(answer.status >= 400, "{} {}", answer.status, answer.text());
    answer.text()
}

fn refusal(answer: skep_testkit::Answer) -> String {
    assert_eq!(answer.status, 500, "{}", answer.text());
    answer.json()["message"].as_str().unwrap().to_owned()
}
