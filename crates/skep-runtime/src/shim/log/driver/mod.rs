//! The process that hands entries to syslog, journald or fluentd. It may block: nobody waits for it.
//!
//! It lives as long as the shim holds the other end of the pipe, and then as long as it takes to pass on
//! what is left, within [`FAREWELL`].

mod fluentd;
mod journald;
mod syslog;

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::Stream;
use super::forward::HEAD;
use crate::shim::spec::Sink;

/// How long an unreachable sink is tried once the container has ended.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(60);
/// No record is longer: lines are cut below it.
const MOST: usize = 64 << 10;

/// One line of output.
#[derive(Debug)]
struct Record<'a> {
    stream: Stream,
    /// More of the same line follows.
    is_part: bool,
    time_ns: i64,
    text: &'a [u8],
}

/// Who takes lines.
trait Driver {
    /// Gets a connection, if it needs one and has none.
    fn connect(&mut self) -> io::Result<()>;
    /// Passes one line on. After an error the connection is made anew.
    fn send(&mut self, record: &Record<'_>) -> io::Result<()>;
    /// Whether the container is to start although [`Driver::connect`] fails.
    fn may_wait(&self) -> bool {
        false
    }
    /// The first pause before another try, and the number of tries.
    fn patience(&self) -> (Duration, u64) {
        (Duration::from_millis(100), 2)
    }
}

/// Serves records until their end. What keeps it from beginning is written to `say`.
pub(super) fn run(sink: &Sink, records: OwnedFd, say: OwnedFd) {
    let mut driver: Box<dyn Driver> = match sink {
        Sink::Syslog(sink) => Box::new(syslog::Syslog::new(sink.clone())),
        Sink::Journald(sink) => Box::new(journald::Journald::new(sink.clone())),
        Sink::Fluentd(sink) => Box::new(fluentd::Fluentd::new(sink.clone())),
    };
    if let Err(error) = driver.connect()
        && !driver.may_wait()
    {
        // Nobody to hear it is nobody to start for.
        let _ = File::from(say).write_all(error.to_string().as_bytes());
        return;
    }
    drop(say);
    let mut delivery = Delivery {
        pipe: BufReader::new(File::from(records)),
        ended: None,
    };
    if let Err(error) = delivery.all(driver.as_mut()) {
        eprintln!("log driver: {error}; its entries are lost");
    }
}

struct Delivery {
    pipe: BufReader<File>,
    /// When the shim's end was seen to be closed.
    ended: Option<Instant>,
}

impl Delivery {
    fn all(&mut self, driver: &mut dyn Driver) -> io::Result<()> {
        let mut text = Vec::new();
        let mut head = [0; HEAD];
        loop {
            match self.pipe.read_exact(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            let [stream, is_part, rest @ ..] = head;
            let (time, length) = rest.split_at(8);
            let length = u32::from_ne_bytes(length.try_into().unwrap_or_default());
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > MOST {
                return Err(io::Error::other("a record that cannot be"));
            }
            text.resize(length, 0);
            self.pipe.read_exact(&mut text)?;
            let record = Record {
                stream: if stream == 0 {
                    Stream::Stdout
                } else {
                    Stream::Stderr
                },
                is_part: is_part != 0,
                time_ns: i64::from_ne_bytes(time.try_into().unwrap_or_default()),
                text: &text,
            };
            if !self.one(driver, &record) {
                return Ok(());
            }
        }
    }

    /// Tries until it is passed on or given up; false when there is no more time at all.
    fn one(&mut self, driver: &mut dyn Driver, record: &Record<'_>) -> bool {
        let (mut pause, tries) = driver.patience();
        for attempt in 1.. {
            let sent = driver.connect().and_then(|()| driver.send(record));
            if sent.is_ok() || attempt >= tries {
                return true;
            }
            if !self.rest(pause) {
                return false;
            }
            pause = (pause * 3 / 2).min(LONGEST);
        }
        true
    }

    /// Pauses; false when the container has ended too long ago.
    fn rest(&mut self, pause: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < pause {
            let left = Timespec::try_from(pause.saturating_sub(begun.elapsed())).ok();
            if self.ended.is_none() {
                let mut fds = [PollFd::from_borrowed_fd(
                    self.pipe.get_ref().as_fd(),
                    PollFlags::empty(),
                )];
                let polled = rustix::event::poll(&mut fds, left.as_ref());
                if polled.is_ok_and(|n| n > 0) {
                    self.ended = Some(Instant::now());
                }
            } else {
                let short = Timespec::try_from(Duration::from_millis(100)).ok();
                let _ = rustix::event::poll(&mut [], short.as_ref());
                if self.ended.is_some_and(|at| at.elapsed() > FAREWELL) {
                    return false;
                }
            }
        }
        true
    }
}

/// Connects to `host:port`, each address in turn. Errors read as Go's.
fn dial_tcp(address: &str) -> io::Result<TcpStream> {
    let failed = |error: io::Error| {
        let text = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("dial tcp {address}: {text}"))
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for resolved in address.to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&resolved, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

#[cfg(test)]
mod tests;
