//! Where output goes when somebody else keeps it, or nobody reads it: the container is not held up,
//! and what is kept stays within its bounds.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use skep_runtime::shim::protocol::{Kind, Request, encode};
use skep_runtime::shim::{
    Endpoint, FluentdSink, LogSpec, RemoteLog, Sink, SyslogFormat, SyslogSink,
};
use support::{Bundle, wait_until};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// The same container with its file as the cache of a driver.
fn with_driver(mut bundle: Bundle, sink: Sink, max_buffer_bytes: Option<u64>) -> Bundle {
    let LogSpec::JsonFile(cache) = bundle.spec.log.clone() else {
        panic!("a bundle begins with a file")
    };
    bundle.spec.log = LogSpec::Remote(RemoteLog {
        sink,
        cache: Some(cache),
        max_buffer_bytes,
    });
    bundle
}

fn fluentd(address: String) -> FluentdSink {
    FluentdSink {
        endpoint: Endpoint::Tcp(address),
        tag: "t".into(),
        record: Default::default(),
        is_async: false,
        sub_second: true,
        request_ack: false,
        retry_wait_ms: 10,
        max_retries: u64::MAX,
        write_timeout_ms: None,
    }
}

/// Reads one message and gives its receipt, which is the id at its end.
fn take(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(PATIENCE).unwrap();
    let mut message = vec![0; 1024];
    let length = stream.read(&mut message).unwrap();
    message.truncate(length);
    stream.write_all(&message[length - 24..]).unwrap();
    message
}

#[test]
fn syslog_gets_every_line_and_the_cache_too() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(PATIENCE).unwrap();
    let sink = Sink::Syslog(SyslogSink {
        endpoint: Some(Endpoint::Udp(daemon.local_addr().unwrap().to_string())),
        format: SyslogFormat::Rfc3164,
        facility: 3,
        tag: "web".into(),
    });
    let bundle = with_driver(Bundle::shell("echo out; echo err >&2"), sink, None);
    bundle.run();
    let mut entries = Vec::new();
    let mut buffer = [0; 1024];
    for _ in 0..2 {
        let length = daemon.recv(&mut buffer).unwrap();
        entries.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    entries.sort();
    assert!(
        entries[0].starts_with("<27>") && entries[0].ends_with("]: err\n"),
        "{entries:?}"
    );
    assert!(
        entries[1].starts_with("<30>") && entries[1].ends_with("]: out\n"),
        "{entries:?}"
    );
    assert_eq!(bundle.logged().len(), 2);
}

#[test]
fn a_driver_that_cannot_be_reached_keeps_the_container_from_starting() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let bundle = with_driver(
        Bundle::shell("true"),
        Sink::Fluentd(fluentd(free.to_string())),
        None,
    );
    let error = bundle.create().unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "failed to create task for container: failed to initialize logging driver: dial tcp {free}: connect: connection refused"
        )
    );
}

#[test]
fn a_driver_that_does_not_read_costs_lines_and_not_the_container_when_it_may_not_block() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Far more than the sockets, the pipe and the buffer hold together.
    let script = "i=0; while [ $i -lt 3000 ]; do printf '%08000d\\n' 1; i=$((i+1)); done; echo end";
    let bundle = with_driver(
        Bundle::shell(script),
        Sink::Fluentd(fluentd(address)),
        Some(64 << 10),
    );
    let outcome = bundle.run();
    assert_eq!(outcome.exit.code, 0);
    assert_eq!(bundle.logged().last().unwrap().1, "end\n");
    drop(listener);
}

#[test]
fn a_driver_that_comes_back_gets_what_was_kept_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = "echo first; read x; echo second";
    let sink = Sink::Fluentd(FluentdSink {
        request_ack: true,
        ..fluentd(address.to_string())
    });
    let bundle = with_driver(Bundle::shell(script).open_stdin(), sink, None);
    bundle.create().unwrap_or_else(|error| panic!("{error}"));
    let (mut stream, _) = listener.accept().unwrap();
    let mut connection = bundle.attach();
    connection.call(&Request::Start).unwrap();
    assert!(contains(&take(&mut stream), b"first"));
    // It goes away whole, and listens again where it was.
    drop((stream, listener));
    let mut frame = Vec::new();
    encode(Kind::Stdin, b"\n", &mut frame);
    connection.send(&frame).unwrap();
    let listener = TcpListener::bind(address).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert!(contains(&take(&mut stream), b"second"));
    bundle.wait(connection);
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[test]
fn a_flood_stays_within_the_bounds_of_its_files() {
    let mut bundle =
        Bundle::shell("i=0; while [ $i -lt 400 ]; do printf '%08000d\\n' 1; i=$((i+1)); done");
    let LogSpec::JsonFile(log) = &mut bundle.spec.log else {
        panic!("a bundle begins with a file")
    };
    (log.max_size_bytes, log.max_files) = (Some(100_000), 3);
    bundle.run();
    let files = std::fs::read_dir(&bundle.dir).unwrap().flatten();
    let sizes: Vec<u64> = files
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("container.log")
        })
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() <= 330_000, "{sizes:?}");
}

#[test]
fn a_client_that_stops_reading_is_left_behind() {
    // More than the socket and what the shim queues for a client.
    let script =
        "i=0; while [ $i -lt 2000 ]; do printf '%08000d\\n' 1; i=$((i+1)); done; echo done > /done";
    let bundle = Bundle::shell(script);
    bundle.create().unwrap_or_else(|error| panic!("{error}"));
    let mut stuck = bundle.attach();
    stuck.call(&Request::Start).unwrap();
    wait_until("the container has written all of it", || {
        bundle.rootfs().join("done").exists()
    });
    drop(stuck);
    wait_until("the container has ended", || {
        bundle.dir.join("exit.json").exists()
    });
}
