//! A process in the foreground: signals go to it, its terminal is ours, its exit code becomes ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::termios::{OptionalActions, Termios};

use super::{OciError, system};
use crate::container::resize;
use crate::sys::clone;

/// What is waited for. Every signal must be blocked.
pub(super) struct Foreground {
    pub pid: i32,
    pub terminal: Option<OwnedFd>,
}

pub(super) fn foreground(it: Foreground) -> Result<ExitCode, OciError> {
    let mut all: Vec<i32> = (1..32)
        .filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(s))
        .collect();
    all.push(libc::SIGRTMIN());
    let signals = clone::signal_fd(&all).map_err(system("signalfd"))?;
    let [stdin, stdout, _] = super::create::own_streams();
    let _raw = it.terminal.as_ref().and_then(|_| RawMode::enter(stdin));
    let mut terminal = it.terminal;
    if let Some(master) = &terminal {
        copy_size(stdin, master);
    }
    let mut reads_stdin = terminal.is_some();
    loop {
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
        if let Some(master) = &terminal {
            fds.push(PollFd::new(master, PollFlags::IN));
            if reads_stdin {
                fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
        }
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(system("poll")(e.into())),
        }
        let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
        if ready.get(2) == Some(&true)
            && let Some(master) = &terminal
        {
            reads_stdin = copy(stdin, master.as_fd());
        }
        if ready.get(1) == Some(&true)
            && let Some(master) = &terminal
            && !copy(master.as_fd(), stdout)
        {
            terminal = None;
        }
        if ready[0]
            && let Some(code) = handle_signals(&signals, it.pid, terminal.as_ref())
        {
            // What the process wrote last.
            while let Some(master) = &terminal
                && copy(master.as_fd(), stdout)
            {}
            return Ok(code);
        }
    }
}

/// Passes signals on; the exit code once the process has ended.
fn handle_signals(signals: &OwnedFd, pid: i32, terminal: Option<&OwnedFd>) -> Option<ExitCode> {
    let mut info = [0; 128];
    while let Ok(128) = rustix::io::read(signals, &mut info) {
        let signal = i32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
        match (signal, terminal) {
            (libc::SIGCHLD, _) => {}
            (libc::SIGWINCH, Some(master)) => copy_size(super::create::own_streams()[0], master),
            _ => drop(clone::kill(pid, signal)),
        }
    }
    while let Some((ended, status)) = clone::reap_any() {
        if ended == pid {
            let code = if libc::WIFSIGNALED(status) {
                128 + libc::WTERMSIG(status)
            } else {
                libc::WEXITSTATUS(status)
            };
            return Some(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
        }
    }
    None
}

/// Copies one chunk; false at the end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 16 * 1024];
    match rustix::io::read(from, &mut buffer) {
        Ok(n) if n > 0 => {
            let mut rest = &buffer[..n];
            while !rest.is_empty() {
                match rustix::io::write(to, rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return false,
                }
            }
            true
        }
        Err(rustix::io::Errno::INTR) => true,
        Ok(_) | Err(_) => false,
    }
}

fn copy_size(from: BorrowedFd<'_>, to: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(from) {
        // A terminal of the wrong size still works.
        let _ = resize(to, size.ws_row, size.ws_col);
    }
}

/// The caller's terminal hands every key through, until this is dropped.
struct RawMode<'a>(BorrowedFd<'a>, Termios);

impl<'a> RawMode<'a> {
    fn enter(fd: BorrowedFd<'a>) -> Option<Self> {
        let before = rustix::termios::tcgetattr(fd).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(fd, OptionalActions::Now, &raw).ok()?;
        Some(Self(fd, before))
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.0, OptionalActions::Now, &self.1);
    }
}
