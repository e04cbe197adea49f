//! What the kernel answers when it refuses.

use std::io;

/// A refused or broken netlink request.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused the request.
    #[error("{}", io::Error::from_raw_os_error(*errno))]
    Refused {
        /// The error number.
        errno: i32,
    },
    /// The socket did not work.
    #[error("netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The kernel's message is not what the protocol says.
    #[error("malformed netlink message")]
    Malformed,
    /// The request needs more room than a netlink attribute has.
    #[error("netlink attribute of {bytes} bytes is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl NetlinkError {
    /// Whether the kernel refused with this error number.
    pub fn is(&self, errno: i32) -> bool {
        matches!(self, NetlinkError::Refused { errno: e } if *e == errno)
    }

    /// The kernel had more to tell than there was room for.
    pub fn is_overrun(&self) -> bool {
        matches!(self, NetlinkError::Socket(e) if e.raw_os_error() == Some(libc::ENOBUFS))
    }

    /// The kernel does not know such objects.
    pub fn is_unknown_kind(&self) -> bool {
        self.is(libc::EOPNOTSUPP)
    }

    /// The object is there already.
    pub fn exists(&self) -> bool {
        self.is(libc::EEXIST)
    }

    /// The object is not there.
    pub fn missing(&self) -> bool {
        [libc::ENOENT, libc::ENODEV, libc::ESRCH, libc::EADDRNOTAVAIL]
            .iter()
            .any(|e| self.is(*e))
    }
}
