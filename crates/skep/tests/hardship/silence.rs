//! Shims that say nothing, and clients that nobody hears of again.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::json;
use skep_testkit::{Host, eventually};

use crate::damage::shim;
use crate::{ask, assert_no_leaks, one_host, run, state};

#[test]
fn a_shim_that_is_stopped_keeps_nobody_waiting_for_ever() {
    let mut lab = one_host();
    for name in ["removed", "stopped", "kept"] {
        let id = run(&lab.hosts[0], name, json!({}));
        kill(shim(&lab.hosts[0], &id), Signal::SIGSTOP).unwrap();
    }
    std::thread::scope(|scope| {
        let host = &lab.hosts[0];
        let path = "/containers/removed?force=1";
        scope.spawn(move || ask(host, "DELETE", path, None, 204));
        // Long before the end of that patience its signal arrives all the same.
        let path = "/containers/stopped/stop?t=600";
        scope.spawn(move || ask(host, "POST", path, None, 204));
    });
    assert_eq!(state(&lab.hosts[0], "stopped")["ExitCode"], 0);
    lab.hosts[0].kill();
    lab.hosts[0].start().unwrap();
    let host = &lab.hosts[0];
    assert_eq!(state(host, "kept")["Running"], true);
    let said = host.docker(&["exec", "kept", "echo", "hello"]).ok();
    assert_eq!(said, "hello");
    for name in ["stopped", "kept"] {
        host.docker(&["rm", "-f", name]).ok();
    }
    assert_no_leaks(&mut lab);
}

/// Attaches to a container's output.
fn attach(host: &Host, name: &str) -> UnixStream {
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    let head = format!(
        "POST /containers/{name}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\n\
         Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    stream
}

#[test]
fn a_client_that_is_gone_is_noticed_though_the_container_is_silent() {
    let mut lab = one_host();
    let host = &lab.hosts[0];
    let id = run(host, "quiet", json!({}));
    let files = format!("/proc/{}/fd", shim(host, &id));
    let open = || fs::read_dir(&files).unwrap().count();
    let alone = open();
    let clients = |count: usize| {
        eventually("the shim has so many clients", || match open() {
            open if open == alone + count => Ok(()),
            open => Err(format!(
                "{open} files, {alone} and {count} clients expected"
            )),
        });
    };
    // The first sends nothing more, and reads on.
    let mut reads_on = attach(host, "quiet");
    reads_on.shutdown(Shutdown::Write).unwrap();
    let gone = attach(host, "quiet");
    clients(2);
    drop(gone);
    clients(1);
    let write = ["exec", "quiet", "sh", "-c", "echo word > /proc/1/fd/1"];
    host.docker(&write).ok();
    let mut frame = [0; 13];
    reads_on.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x01\0\0\0\0\0\0\x05word\n");
    drop(reads_on);
    clients(0);
    host.docker(&["rm", "-f", "quiet"]).ok();
    assert_no_leaks(&mut lab);
}
