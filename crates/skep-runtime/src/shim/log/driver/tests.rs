use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::shim::spec::{Endpoint, FluentdSink, JournaldSink, SyslogFormat, SyslogSink};

/// 2023-11-14T22:13:20.000120Z
const TIME: i64 = 1_700_000_000_000_120_000;

fn record(stream: Stream, text: &str) -> Record<'_> {
    Record {
        stream,
        is_part: false,
        time_ns: TIME,
        text: text.as_bytes(),
    }
}

fn send(driver: &mut dyn Driver, record: &Record<'_>) {
    driver.connect().unwrap();
    driver.send(record).unwrap();
}

fn syslog_entry(format: SyslogFormat, facility: u8) -> String {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(CONNECT)).unwrap();
    let mut driver = syslog::Syslog::new(SyslogSink {
        endpoint: Some(Endpoint::Udp(daemon.local_addr().unwrap().to_string())),
        format,
        facility,
        tag: "web".into(),
    });
    send(&mut driver, &record(Stream::Stderr, "it broke"));
    let mut buffer = [0; 1024];
    let length = daemon.recv(&mut buffer).unwrap();
    let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let pid = std::process::id();
    entry
        .replace(&format!(" {host} "), " HOST ")
        .replace(&pid.to_string(), "PID")
}

#[test]
fn syslog_entries_have_the_form_asked_for() {
    use SyslogFormat::{Rfc3164, Rfc5424, Rfc5424Micro, Unix};
    for (format, facility, expect) in [
        (Unix, 3, "<27>Nov 14 22:13:20 web[PID]: it broke\n"),
        (Rfc3164, 3, "<27>Nov 14 22:13:20 HOST web[PID]: it broke\n"),
        (
            Rfc5424,
            16,
            "<131>1 2023-11-14T22:13:20Z HOST web PID web - it broke\n",
        ),
        (
            Rfc5424Micro,
            16,
            "<131>1 2023-11-14T22:13:20.000120Z HOST web PID web - it broke\n",
        ),
    ] {
        assert_eq!(syslog_entry(format, facility), expect);
    }
}

#[test]
fn journald_gets_fields() {
    let dir = std::env::temp_dir().join(format!("skep-journal-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let socket = dir.join("socket");
    let journal = UnixDatagram::bind(&socket).unwrap();
    let fields = BTreeMap::from([("CONTAINER_NAME".to_owned(), "web".to_owned())]);
    let mut driver = journald::Journald::new(JournaldSink { socket, fields });
    send(&mut driver, &record(Stream::Stdout, "hello"));
    let mut buffer = [0; 1024];
    let length = journal.recv(&mut buffer).unwrap();
    let _ = std::fs::remove_dir_all(&dir);
    assert_eq!(
        String::from_utf8_lossy(&buffer[..length]),
        "CONTAINER_NAME=web\nPRIORITY=6\nMESSAGE=hello\n"
    );
}

#[test]
fn fluentd_gets_a_message_and_gives_a_receipt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut message = [0; 1024];
        let length = stream.read(&mut message).unwrap();
        // The chunk's id is the end of the message; any answer that holds it will do.
        stream.write_all(&message[length - 25..length]).unwrap();
        message[..length].to_vec()
    });
    let mut driver = fluentd::Fluentd::new(FluentdSink {
        endpoint,
        tag: "t".into(),
        record: BTreeMap::from([("container_id".to_owned(), "c1".to_owned())]),
        is_async: false,
        sub_second: false,
        request_ack: true,
        retry_wait_ms: 1,
        max_retries: 1,
        write_timeout_ms: None,
    });
    send(&mut driver, &record(Stream::Stdout, "hi"));
    let message = server.join().unwrap();
    let expect =
        b"\x94\xa1t\xce\x65\x53\xf1\x00\xde\x00\x03\xaccontainer_id\xa2c1\xa6source\xa6stdout\xa3log\xa2hi\x81\xa5chunk";
    assert!(message.starts_with(expect), "{message:?}");
}

#[test]
fn a_refused_connection_reads_as_docker_s() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = dial_tcp(&free.to_string()).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("dial tcp {free}: connect: connection refused")
    );
}
