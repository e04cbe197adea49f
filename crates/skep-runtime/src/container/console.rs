//! A terminal from the container's own devpts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::paths::is_device;

/// Master and slave.
#[derive(Debug)]
pub(crate) struct Console {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens a new terminal on `/dev/ptmx` of this process's root.
pub(crate) fn open(size: Option<(u16, u16)>) -> io::Result<Console> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty())?;
    if !is_device(&master, 5, 2)? {
        return Err(io::Error::other("it is not the terminal multiplexer"));
    }
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    if let Some((rows, columns)) = size.filter(|(r, c)| *r != 0 && *c != 0) {
        resize(&master, rows, columns)?;
    }
    Ok(Console { master, slave })
}

pub(crate) fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}
