//! Entries in the forms that syslog daemons read, over a local socket, UDP or TCP.

use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{CONNECT, Driver, Record, dial_tcp};
use crate::shim::log::Stream;
use crate::shim::spec::{Endpoint, SyslogFormat, SyslogSink};

/// Where daemons of this host listen.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

pub(super) struct Syslog {
    sink: SyslogSink,
    hostname: String,
    connection: Option<Connection>,
}

enum Connection {
    Datagram(UnixDatagram),
    Unix(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Syslog {
    pub(super) fn new(sink: SyslogSink) -> Self {
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self {
            sink,
            hostname,
            connection: None,
        }
    }

    fn open(&self) -> io::Result<Connection> {
        match &self.sink.endpoint {
            None => {
                let local = LOCAL.iter().find_map(|path| unix(Path::new(path)).ok());
                local.ok_or_else(|| io::Error::other("Unix syslog delivery error"))
            }
            Some(Endpoint::Unix(path)) => unix(path),
            Some(Endpoint::Udp(address)) => {
                let failed = |error: io::Error| {
                    io::Error::new(error.kind(), format!("dial udp {address}: {error}"))
                };
                let any = if address.starts_with('[') {
                    "[::]:0"
                } else {
                    "0.0.0.0:0"
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address).map_err(failed)?;
                Ok(Connection::Udp(socket))
            }
            Some(Endpoint::Tcp(address)) => {
                let stream = dial_tcp(address)?;
                stream.set_write_timeout(Some(CONNECT))?;
                Ok(Connection::Tcp(stream))
            }
        }
    }
}

fn unix(path: &Path) -> io::Result<Connection> {
    let failed = |error: io::Error| {
        let path: PathBuf = path.into();
        io::Error::new(
            error.kind(),
            format!("dial unix {}: {error}", path.display()),
        )
    };
    let datagram = UnixDatagram::unbound()?;
    if datagram.connect(path).is_ok() {
        return Ok(Connection::Datagram(datagram));
    }
    UnixStream::connect(path)
        .map(Connection::Unix)
        .map_err(failed)
}

impl Driver for Syslog {
    fn connect(&mut self) -> io::Result<()> {
        if self.connection.is_none() {
            self.connection = Some(self.open()?);
        }
        Ok(())
    }

    fn send(&mut self, record: &Record<'_>) -> io::Result<()> {
        let mut entry = self.head(record).into_bytes();
        entry.extend_from_slice(record.text);
        entry.push(b'\n');
        let sent = match &mut self.connection {
            Some(Connection::Datagram(socket)) => socket.send(&entry).map(drop),
            Some(Connection::Udp(socket)) => socket.send(&entry).map(drop),
            Some(Connection::Unix(stream)) => stream.write_all(&entry),
            Some(Connection::Tcp(stream)) => stream.write_all(&entry),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }
}

impl Syslog {
    fn head(&self, record: &Record<'_>) -> String {
        let severity = if record.stream == Stream::Stderr {
            3
        } else {
            6
        };
        let priority = u32::from(self.sink.facility) * 8 + severity;
        let (tag, host, pid) = (&self.sink.tag, &self.hostname, std::process::id());
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(record.time_ns))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        match self.sink.format {
            SyslogFormat::Unix => format!("<{priority}>{} {tag}[{pid}]: ", stamp(time)),
            SyslogFormat::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: ", stamp(time)),
            SyslogFormat::Rfc5424 => {
                format!(
                    "<{priority}>1 {}Z {host} {tag} {pid} {tag} - ",
                    seconds(time)
                )
            }
            SyslogFormat::Rfc5424Micro => {
                let at = format!("{}.{:06}Z", seconds(time), time.microsecond());
                format!("<{priority}>1 {at} {host} {tag} {pid} {tag} - ")
            }
        }
    }
}

/// `Nov 23 07:00:00`, the day padded with a space.
fn stamp(time: OffsetDateTime) -> String {
    let month: String = time.month().to_string().chars().take(3).collect();
    let (hour, minute, second) = time.to_hms();
    format!("{month} {:2} {hour:02}:{minute:02}:{second:02}", time.day())
}

fn seconds(time: OffsetDateTime) -> String {
    let (hour, minute, second) = time.to_hms();
    let (year, month, day) = time.to_calendar_date();
    format!(
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}",
        u8::from(month)
    )
}
