//! The multiplexed stream: standard output and error over one connection.
//!
//! ```text
//! byte 0      stream: 0 stdin, 1 stdout, 2 stderr, 3 an error of the daemon's
//! bytes 1-3   zero
//! bytes 4-7   length of what follows, big-endian
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use skep_engine::StreamKind;

/// Stream number of an error that the daemon reports in the middle of a stream.
const SYSTEM_ERROR: u8 = 3;

/// How a stream's bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As they are: a tty has one stream.
    Raw,
    /// Each piece with its header.
    Multiplexed,
}

impl Framing {
    /// The framing of a process with or without a tty.
    pub fn of(tty: bool) -> Self {
        if tty { Self::Raw } else { Self::Multiplexed }
    }

    /// The content type, which clients below API 1.42 do not know.
    pub fn content_type(self, version: super::version::ApiVersion) -> &'static str {
        match self {
            Self::Multiplexed if version >= super::version::ApiVersion(1, 42) => {
                "application/vnd.docker.multiplexed-stream"
            }
            _ => "application/vnd.docker.raw-stream",
        }
    }

    /// One piece as it travels.
    pub fn frame(self, kind: StreamKind, bytes: Bytes) -> Bytes {
        let stream = match kind {
            StreamKind::Stdin => 0,
            StreamKind::Stdout => 1,
            StreamKind::Stderr => 2,
        };
        self.piece(stream, bytes)
    }

    /// An error in the middle of a stream.
    pub fn error(self, text: &str) -> Bytes {
        self.piece(
            SYSTEM_ERROR,
            Bytes::from(format!("Error grabbing logs: {text}\n")),
        )
    }

    /// The last piece of an output that breaks off. Where there are no frames a person is reading.
    pub fn broken(self, text: &str) -> Bytes {
        match self {
            Self::Raw => Bytes::from(format!("\r\n{text}\r\n")),
            Self::Multiplexed => self.piece(SYSTEM_ERROR, Bytes::from(format!("{text}\n"))),
        }
    }

    fn piece(self, stream: u8, bytes: Bytes) -> Bytes {
        if self == Self::Raw {
            return bytes;
        }
        let mut framed = BytesMut::with_capacity(8 + bytes.len());
        framed.put_u8(stream);
        framed.put_bytes(0, 3);
        framed.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        framed.extend_from_slice(&bytes);
        framed.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_stream_and_length() {
        let framed = Framing::Multiplexed.frame(StreamKind::Stderr, Bytes::from_static(b"hi"));
        assert_eq!(&framed[..], b"\x02\0\0\0\0\0\0\x02hi");
        let raw = Framing::Raw.frame(StreamKind::Stdout, Bytes::from_static(b"hi"));
        assert_eq!(&raw[..], b"hi");
    }
}
