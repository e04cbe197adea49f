//! Entries in journald's own protocol: one datagram of fields each.
//!
//! ```text
//! NAME=value LF          or, for what may hold line feeds:    NAME LF length u64-le value LF
//! ```

use std::io;
use std::os::unix::net::UnixDatagram;

use super::{Driver, Record};
use crate::shim::log::Stream;
use crate::shim::spec::JournaldSink;

pub(super) struct Journald {
    sink: JournaldSink,
    /// The fields that every entry has, as they are sent.
    common: Vec<u8>,
    socket: Option<UnixDatagram>,
}

impl Journald {
    pub(super) fn new(sink: JournaldSink) -> Self {
        let mut common = Vec::new();
        for (name, value) in &sink.fields {
            field(&mut common, name, value.as_bytes());
        }
        Self {
            sink,
            common,
            socket: None,
        }
    }
}

fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        let length = u64::try_from(value.len()).unwrap_or(0);
        entry.extend_from_slice(&length.to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

impl Driver for Journald {
    fn connect(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            let connected = socket.connect(&self.sink.socket);
            connected.map_err(|_| io::Error::other("journald is not enabled on this host"))?;
            self.socket = Some(socket);
        }
        Ok(())
    }

    fn send(&mut self, record: &Record<'_>) -> io::Result<()> {
        let mut entry = self.common.clone();
        let priority = if record.stream == Stream::Stderr {
            "3"
        } else {
            "6"
        };
        field(&mut entry, "PRIORITY", priority.as_bytes());
        if record.is_part {
            field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut entry, "MESSAGE", record.text);
        let socket = self.socket.as_ref();
        let sent = socket
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
            .and_then(|socket| socket.send(&entry));
        if sent.is_err() {
            self.socket = None;
        }
        sent.map(drop)
    }
}
