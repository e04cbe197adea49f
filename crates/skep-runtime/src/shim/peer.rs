//! One connection to `shim.sock`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::protocol::{self, Attach, Decoder, Event, Frame, FrameError, Kind, Reply};

/// Output waiting for a client; above it the process's streams are no longer read.
const MAX_PENDING_OUTPUT: usize = 256 * 1024;

/// A client that takes nothing for so long is let go, so that the container can go on; but for those
/// that are waited for.
const STALL: Duration = Duration::from_secs(2);

/// A client, as the shim sees it.
#[derive(Debug)]
pub(super) struct Peer {
    stream: OwnedFd,
    decoder: Decoder,
    out: Vec<u8>,
    sent: usize,
    /// Since when it has taken nothing of what waits.
    stalled_since: Option<Instant>,
    pub wants_events: bool,
    pub attached: Option<Attach>,
    /// Input came from here.
    pub has_sent_input: bool,
    /// The client closed its side, or broke the protocol.
    pub is_gone: bool,
}

impl Peer {
    pub(super) fn new(stream: OwnedFd) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            out: Vec::new(),
            sent: 0,
            stalled_since: None,
            wants_events: false,
            attached: None,
            has_sent_input: false,
            is_gone: false,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn has_output(&self) -> bool {
        self.sent < self.out.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() - self.sent > MAX_PENDING_OUTPUT
    }

    /// Its process waits for it as for any reader of a pipe, however long it takes: an exec has no log
    /// to fall back on, and some clients want a container's output whole.
    pub(super) fn is_waited_for(&self) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|a| a.exec.is_some() || a.lossless)
    }

    /// When our patience with it ends.
    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        self.stalled_since
            .filter(|_| self.is_full() && !self.is_waited_for())
            .map(|since| since + STALL)
    }

    /// Reads what there is.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) {
        match rustix::net::recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.is_gone = true,
            Ok((n, _)) => self.decoder.push(&buffer[..n]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.is_gone = true,
        }
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.decoder.next_frame()
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        self.queue(&reply.to_bytes());
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.queue(&event.to_bytes());
    }

    pub(super) fn output(&mut self, kind: Kind, bytes: &[u8]) {
        let mut frame = Vec::new();
        protocol::encode(kind, bytes, &mut frame);
        self.queue(&frame);
    }

    fn queue(&mut self, bytes: &[u8]) {
        if self.is_gone {
            return;
        }
        if self.has_output() {
            self.out.extend_from_slice(bytes);
            return;
        }
        // Nothing waits: past the buffer, most often all of it.
        let n = self.send(bytes);
        if n < bytes.len() && !self.is_gone {
            self.out.extend_from_slice(&bytes[n..]);
            self.stalled_since = Some(Instant::now());
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match rustix::net::send(
                &self.stream,
                &bytes[sent..],
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(n) => sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.is_gone = true;
                    break;
                }
            }
        }
        sent
    }

    /// Sends what waits, as far as it goes.
    pub(super) fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.out);
        let n = self.send(&waiting[self.sent..]);
        if n > 0 {
            self.stalled_since = Some(Instant::now());
        }
        self.sent += n;
        if self.sent == waiting.len() {
            self.sent = 0;
            self.stalled_since = None;
        } else {
            self.out = waiting;
            if self.sent > MAX_PENDING_OUTPUT {
                self.out.drain(..self.sent);
                self.sent = 0;
            }
        }
    }
}

/// Accepts a waiting connection.
pub(super) fn accept(listener: &OwnedFd) -> io::Result<Option<Peer>> {
    match rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC) {
        Ok(stream) => Ok(Some(Peer::new(stream))),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
