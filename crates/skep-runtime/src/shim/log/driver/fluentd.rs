//! Entries in fluentd's forward protocol: MessagePack, one message an entry.
//!
//! ```text
//! [tag, time, {record}]      or, where a receipt is wanted:      [tag, time, {record}, {"chunk": id}]
//! ```

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{CONNECT, Driver, Record, dial_tcp};
use crate::shim::log::Stream;
use crate::shim::spec::{Endpoint, FluentdSink};

pub(super) struct Fluentd {
    sink: FluentdSink,
    connection: Option<Connection>,
    /// Numbers the entries whose receipt is awaited.
    chunk: u64,
}

enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn exchange(&mut self, message: &[u8], receipt: Option<&[u8]>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => exchange(stream, message, receipt),
            Self::Unix(stream) => exchange(stream, message, receipt),
        }
    }
}

/// Writes a message, and reads until the receipt is there.
fn exchange(
    stream: &mut (impl Read + Write),
    message: &[u8],
    receipt: Option<&[u8]>,
) -> io::Result<()> {
    stream.write_all(message)?;
    let Some(receipt) = receipt else {
        return Ok(());
    };
    let mut got = Vec::new();
    let mut part = [0; 256];
    while got.len() < 4096 {
        match stream.read(&mut part)? {
            0 => break,
            read => got.extend_from_slice(&part[..read]),
        }
        if got.windows(receipt.len()).any(|window| window == receipt) {
            return Ok(());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

impl Fluentd {
    pub(super) fn new(sink: FluentdSink) -> Self {
        Self {
            sink,
            connection: None,
            chunk: 0,
        }
    }

    fn message(&self, record: &Record<'_>, chunk: Option<&str>) -> Vec<u8> {
        let mut out = vec![if chunk.is_some() { 0x94 } else { 0x93 }];
        text(&mut out, self.sink.tag.as_bytes());
        let (second, nano) = (
            record.time_ns.div_euclid(1_000_000_000),
            record.time_ns.rem_euclid(1_000_000_000),
        );
        let second = u32::try_from(second).unwrap_or(0);
        if self.sink.sub_second {
            // The extension type 0, EventTime.
            out.extend_from_slice(&[0xd7, 0x00]);
            out.extend_from_slice(&second.to_be_bytes());
            out.extend_from_slice(&u32::try_from(nano).unwrap_or(0).to_be_bytes());
        } else {
            out.push(0xce);
            out.extend_from_slice(&second.to_be_bytes());
        }
        let entries = self.sink.record.len() + 2 + usize::from(record.is_part);
        out.push(0xde);
        out.extend_from_slice(&u16::try_from(entries).unwrap_or(u16::MAX).to_be_bytes());
        let mut pair = |key: &str, value: &[u8]| {
            text(&mut out, key.as_bytes());
            text(&mut out, value);
        };
        for (key, value) in &self.sink.record {
            pair(key, value.as_bytes());
        }
        let source: &[u8] = if record.stream == Stream::Stderr {
            b"stderr"
        } else {
            b"stdout"
        };
        pair("source", source);
        pair("log", record.text);
        if record.is_part {
            pair("partial_message", b"true");
        }
        if let Some(chunk) = chunk {
            out.push(0x81);
            text(&mut out, b"chunk");
            text(&mut out, chunk.as_bytes());
        }
        out
    }
}

/// A string of MessagePack.
fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    match u16::try_from(bytes.len()) {
        Ok(length @ ..=31) => out.push(0xa0 | u8::try_from(length).unwrap_or(0)),
        Ok(length) => {
            out.push(0xda);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(0xdb);
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

impl Driver for Fluentd {
    fn connect(&mut self) -> io::Result<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        let wait = self.sink.write_timeout_ms.map(Duration::from_millis);
        let connection = match &self.sink.endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(|error| {
                    io::Error::new(
                        error.kind(),
                        format!("dial unix {}: {error}", path.display()),
                    )
                })?;
                stream.set_write_timeout(wait)?;
                stream.set_read_timeout(Some(CONNECT))?;
                Connection::Unix(stream)
            }
            Endpoint::Tcp(address) | Endpoint::Udp(address) => {
                let stream = dial_tcp(address)?;
                stream.set_write_timeout(wait)?;
                stream.set_read_timeout(Some(CONNECT))?;
                Connection::Tcp(stream)
            }
        };
        self.connection = Some(connection);
        Ok(())
    }

    fn send(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.chunk += 1;
        let chunk = format!("{:08x}{:016x}", std::process::id(), self.chunk);
        let chunk = self.sink.request_ack.then_some(chunk.as_str());
        let message = self.message(record, chunk);
        let sent = match &mut self.connection {
            Some(connection) => connection.exchange(&message, chunk.map(str::as_bytes)),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    fn may_wait(&self) -> bool {
        self.sink.is_async
    }

    fn patience(&self) -> (Duration, u64) {
        (
            Duration::from_millis(self.sink.retry_wait_ms),
            self.sink.max_retries.max(1),
        )
    }
}
