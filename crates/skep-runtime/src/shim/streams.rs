//! The standard streams of one process, seen from outside.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::log::Stream;

/// Input waiting for a process that does not read: more is not taken from clients.
const MAX_PENDING_INPUT: usize = 256 * 1024;

/// Our ends.
#[derive(Debug, Default)]
pub(super) struct Streams {
    stdin: Option<OwnedFd>,
    input: VecDeque<u8>,
    closes_stdin: bool,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Takes the place of all three.
    terminal: Option<OwnedFd>,
}

/// The process's ends.
#[derive(Debug)]
pub(super) struct Ends([OwnedFd; 3]);

impl Ends {
    pub(super) fn borrow(&self) -> [BorrowedFd<'_>; 3] {
        self.0.each_ref().map(AsFd::as_fd)
    }
}

/// Which streams are pipes; the others are `/dev/null`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// One reading of a stream.
#[derive(Debug)]
pub(super) enum Reading {
    /// So many bytes of the buffer.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// Nothing ever again.
    End,
}

impl Streams {
    /// Pipes, with the ends for the process.
    pub(super) fn pipes(wanted: Wanted) -> io::Result<(Self, Ends)> {
        let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let mut streams = Self::default();
        let stdin = if wanted.stdin {
            let (read, write) = pipe()?;
            streams.stdin = Some(non_blocking(write)?);
            read
        } else {
            null()?
        };
        let output = |is_wanted: bool, slot: &mut Option<OwnedFd>| -> io::Result<OwnedFd> {
            if !is_wanted {
                return Ok(null()?);
            }
            let (read, write) = pipe()?;
            *slot = Some(non_blocking(read)?);
            Ok(write)
        };
        let stdout = output(wanted.stdout, &mut streams.stdout)?;
        let stderr = output(wanted.stderr, &mut streams.stderr)?;
        Ok((streams, Ends([stdin, stdout, stderr])))
    }

    pub(super) fn set_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        self.terminal = Some(non_blocking(master)?);
        Ok(())
    }

    pub(super) fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// What can be read from, with the name under which clients and the log know it. The loop looks at
    /// the last first: what a program writes first it most often writes to standard output.
    pub(super) fn sources(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let stdout = self.terminal.as_ref().or(self.stdout.as_ref());
        self.stderr
            .iter()
            .map(|fd| (Stream::Stderr, fd.as_fd()))
            .chain(stdout.map(|fd| (Stream::Stdout, fd.as_fd())))
    }

    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Reading {
        let slot = match stream {
            Stream::Stdout if self.terminal.is_some() => &mut self.terminal,
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(fd) = slot else { return Reading::End };
        match rustix::io::read(&*fd, buffer) {
            Ok(n) if n > 0 => Reading::Bytes(n),
            Err(Errno::AGAIN | Errno::INTR) => Reading::Empty,
            // A terminal whose last slave is closed answers EIO.
            Ok(_) | Err(_) => {
                *slot = None;
                Reading::End
            }
        }
    }

    /// No more room for input now.
    pub(super) fn is_input_full(&self) -> bool {
        self.input.len() > MAX_PENDING_INPUT
    }

    /// What input is written to, while some waits.
    pub(super) fn input_waits_for(&self) -> Option<BorrowedFd<'_>> {
        if self.input.is_empty() {
            return None;
        }
        self.terminal
            .as_ref()
            .or(self.stdin.as_ref())
            .map(AsFd::as_fd)
    }

    /// Takes input from a client. A process without standard input loses it, as with Docker.
    pub(super) fn add_input(&mut self, bytes: &[u8]) {
        if (self.stdin.is_some() || self.terminal.is_some()) && !self.closes_stdin {
            self.input.extend(bytes);
            self.write_input();
        }
    }

    /// Closes the standard input once what came before is written. A terminal stays open.
    pub(super) fn close_input(&mut self) {
        self.closes_stdin = self.terminal.is_none();
        self.write_input();
    }

    pub(super) fn write_input(&mut self) {
        while let Some(fd) = self.input_waits_for() {
            match rustix::io::write(fd, self.input.as_slices().0) {
                Ok(n) => drop(self.input.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads any more.
                Err(_) => {
                    self.input.clear();
                    if self.terminal.is_none() {
                        self.stdin = None;
                    }
                }
            }
        }
        self.input.shrink_to(4096);
        if self.closes_stdin {
            self.stdin = None;
        }
    }
}

fn non_blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}
