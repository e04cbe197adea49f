//! What is asked of a container while it is being removed: refusals that say so, no inner texts.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use skep_testkit::request;

use crate::{ask, one_host, run};

/// What needs a container's lock, as method, path below the container, body.
fn operations() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("POST", "pause", None),
        ("POST", "unpause", None),
        ("POST", "start", None),
        ("POST", "restart?t=0", None),
        ("POST", "rename?name=other", None),
        ("POST", "update", Some(json!({"Memory": 64 << 20}))),
        ("DELETE", "", None),
    ]
}

/// Begins an upload of which the client sends no more than its beginning.
fn stalled_upload(socket: &Path, id: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let head = format!(
        "PUT /containers/{id}/archive?path=/ HTTP/1.1\r\nHost: d\r\n\
         Content-Type: application/x-tar\r\nContent-Length: 1048576\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Whoever asks for the content has the lock.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(go_on, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&[0; 100]).unwrap();
    stream
}

#[test]
fn whoever_waits_for_a_container_that_is_removed_is_told_so() {
    let lab = one_host();
    let host = &lab.hosts[0];
    let id = run(host, "web", json!({}));
    ask(
        host,
        "POST",
        "/networks/create",
        Some(json!({"Name": "n1"})),
        201,
    );
    let socket = host.socket();
    // A client that copies something in holds the container's lock for as long as it sends.
    let mut upload = stalled_upload(&socket, &id);

    let mut wanted: Vec<_> = operations()
        .into_iter()
        .map(|(method, what, body)| {
            let path = match what {
                "" => format!("/containers/{id}"),
                what => format!("/containers/{id}/{what}"),
            };
            (method, path, body)
        })
        .collect();
    for verb in ["connect", "disconnect"] {
        let body = json!({"Container": id});
        wanted.push(("POST", format!("/networks/n1/{verb}"), Some(body)));
    }
    std::thread::scope(|scope| {
        let waiting: Vec<_> = wanted
            .iter()
            .map(|(method, path, body)| {
                let socket = &socket;
                scope.spawn(move || request(socket, method, path, body.as_ref()).unwrap())
            })
            .collect();
        ask(
            host,
            "DELETE",
            &format!("/containers/{id}?force=1"),
            None,
            204,
        );
        for (answer, (method, path, _)) in waiting.into_iter().zip(&wanted) {
            let answer = answer.join().unwrap();
            let text = answer.text();
            assert!(
                matches!(answer.status, 404 | 409),
                "{method} {path}: {} {text}",
                answer.status
            );
            let says = [
                "No such container",
                "removal",
                "is not running",
                "is running",
            ];
            assert!(says.iter().any(|it| text.contains(it)), "{path}: {text}");
        }
    });
    let mut status = [0; 12];
    upload.read_exact(&mut status).unwrap();
    assert!(
        status == *b"HTTP/1.1 409" || status == *b"HTTP/1.1 404",
        "{}",
        status.escape_ascii()
    );
    ask(host, "GET", &format!("/containers/{id}/json"), None, 404);
}

/// A process that is gone before the daemon knows: what is asked of it is not answered with 500.
#[test]
fn a_container_that_ends_beneath_an_operation_is_not_running() {
    let lab = one_host();
    let host = &lab.hosts[0];
    let verbs: [(&str, &str, Option<Value>); 6] = [
        ("POST", "pause", None),
        ("GET", "top", None),
        ("POST", "exec", Some(json!({"Cmd": ["true"]}))),
        ("POST", "resize?h=10&w=10", None),
        ("POST", "update", Some(json!({"Memory": 64 << 20}))),
        ("HEAD", "archive?path=/bin", None),
    ];
    for (number, (method, what, body)) in verbs.iter().enumerate() {
        let id = run(host, &format!("c{number}"), json!({}));
        let shown = ask(host, "GET", &format!("/containers/{id}/json"), None, 200);
        let pid = i32::try_from(shown["State"]["Pid"].as_i64().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let path = format!("/containers/{id}/{what}");
        let answer = host.api(method, &path, body.as_ref()).unwrap();
        assert!(
            answer.status < 500,
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        ask(
            host,
            "DELETE",
            &format!("/containers/{id}?force=1"),
            None,
            204,
        );
    }
}
