//! Output for a driver that may be slow or away: a bounded queue, and a process of its own that talks.
//!
//! The driver runs in a fork, so that nothing it waits for holds up the container. Between the two is
//! a pipe of records:
//!
//! ```text
//! stream u8 | part u8 | time i64 | length u32 | text         numbers in the machine's order
//! ```
//!
//! When the pipe is full, output queues here. When the queue is full too, the container waits (Docker's
//! `mode=blocking`) or lines are lost (`mode=non-blocking`).

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::{Stream, driver};
use crate::shim::spec::RemoteLog;
use crate::sys::clone::{self, Side};

/// What may wait in blocking mode before the container does.
const BLOCKING_BYTES: usize = 256 << 10;
/// Length of a record's head.
pub(super) const HEAD: usize = 14;

/// Records on their way to a driver's process.
#[derive(Debug)]
pub(super) struct Forward {
    /// None once the driver's process is gone.
    pipe: Option<OwnedFd>,
    queue: VecDeque<u8>,
    /// Most bytes in the queue.
    limit: usize,
    /// The container waits when the queue is full.
    is_blocking: bool,
}

impl Forward {
    /// Starts the driver; its refusal is the error.
    pub(super) fn open(spec: &RemoteLog) -> Result<Self, String> {
        let pipe = Self::start(spec).map_err(|error| error.to_string())??;
        let limit = spec
            .max_buffer_bytes
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(Self {
            pipe: Some(pipe),
            queue: VecDeque::new(),
            limit: limit.unwrap_or(BLOCKING_BYTES),
            is_blocking: limit.is_none(),
        })
    }

    fn start(spec: &RemoteLog) -> io::Result<Result<OwnedFd, String>> {
        let (records, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (said, say) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // SAFETY: the shim has one thread.
        match unsafe { clone::fork() }? {
            Side::Child => {
                drop((ours, said));
                // The shim's own standard output is what its spawner waits for the end of.
                if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
                    // SAFETY: descriptor 1 is standard output, which `std` does not close.
                    let _ = unsafe { clone::dup_onto(null.as_fd(), 1) };
                }
                driver::run(&spec.sink, records, say);
                clone::exit_now(0)
            }
            Side::Parent(_) => {}
        }
        drop((records, say));
        let mut refusal = String::new();
        std::fs::File::from(said).read_to_string(&mut refusal)?;
        if !refusal.is_empty() {
            return Ok(Err(refusal));
        }
        let flags = rustix::fs::fcntl_getfl(&ours)?;
        rustix::fs::fcntl_setfl(&ours, flags | OFlags::NONBLOCK)?;
        Ok(Ok(ours))
    }

    /// Adds a line, or a part of one.
    pub(super) fn push(&mut self, stream: Stream, text: &[u8], now_ns: i64, is_part: bool) {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let is_empty = self.queue.is_empty();
        if self.pipe.is_none()
            || (!self.is_blocking && !is_empty && self.queue.len() + text.len() > self.limit)
        {
            return;
        }
        self.queue.push_back(u8::from(stream == Stream::Stderr));
        self.queue.push_back(u8::from(is_part));
        self.queue.extend(now_ns.to_ne_bytes());
        let length = u32::try_from(text.len()).unwrap_or(0);
        self.queue.extend(length.to_ne_bytes());
        self.queue.extend(text);
    }

    /// Writes what the pipe takes now.
    pub(super) fn flush(&mut self) {
        while let Some(pipe) = self.pipe.as_ref().filter(|_| !self.queue.is_empty()) {
            match rustix::io::write(pipe, self.queue.as_slices().0) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    eprintln!("log driver: {error}; its entries are lost from here on");
                    self.pipe = None;
                    self.queue = VecDeque::new();
                }
            }
        }
        self.queue.shrink_to(4096);
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_blocking && self.queue.len() >= self.limit
    }

    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        let pipe = self.pipe.as_ref().filter(|_| !self.queue.is_empty());
        pipe.map(AsFd::as_fd)
    }
}
