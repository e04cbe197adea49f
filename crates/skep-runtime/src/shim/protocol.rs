//! What the daemon and a shim say to each other over `shim.sock`.
//!
//! A connection carries frames both ways:
//!
//! ```text
//!  0        4      5                 5 + length
//!  +--------+------+-----------------+
//!  | length | kind | payload         |   length: u32, little endian, of the payload alone
//!  +--------+------+-----------------+
//! ```
//!
//! Kinds 0, 1, 2 hold JSON ([`Request`], [`Reply`], [`Event`]), the others raw bytes of a stream.
//! Every request gets exactly one reply, in the order of the requests; events and output come in
//! between. A frame longer than [`MAX_PAYLOAD`] ends the connection before it is read.

use oci_spec::runtime::Process;
use serde::{Deserialize, Serialize};

use super::state::{ExitRecord, ShimState};

/// The longest payload that is accepted: above the kernel's own limit on argv and environment.
pub const MAX_PAYLOAD: usize = 4 << 20;

const HEADER: usize = 5;

/// The version which [`Reply::Hello`] tells. Raised when an older peer would misunderstand.
pub const VERSION: u32 = 1;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Who are you, and how is the container? Answered by [`Reply::Hello`].
    Hello,
    /// Let the created container run its program. [`Reply::Started`], or an error.
    Start,
    /// From now on send [`Event`]s on this connection.
    Subscribe,
    /// Send a signal to the container's init, to an exec, or to every process.
    Signal {
        /// Signal number.
        signal: i32,
        /// The exec's id; `None` means the container's init.
        #[serde(default)]
        exec: Option<String>,
        /// Every process of the container.
        #[serde(default)]
        all: bool,
    },
    /// Tie this connection to the streams of the container, or of an exec that runs.
    Attach(Attach),
    /// Close the standard input: the process reads end of file.
    CloseStdin {
        /// The exec's id; `None` means the container.
        #[serde(default)]
        exec: Option<String>,
    },
    /// New size of a terminal.
    Resize {
        /// The exec's id; `None` means the container.
        #[serde(default)]
        exec: Option<String>,
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Run a further process inside the container. [`Reply::Started`] or an error; its end comes as
    /// [`Event::Exited`] with its id on this connection and on every subscribed one.
    Exec(Box<Exec>),
}

/// Which streams a connection gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The exec's id; `None` means the container.
    #[serde(default)]
    pub exec: Option<String>,
    /// This connection's [`Kind::Stdin`] frames reach the process.
    #[serde(default)]
    pub stdin: bool,
    /// Send the output stream.
    #[serde(default)]
    pub stdout: bool,
    /// Send the error stream (a terminal has none).
    #[serde(default)]
    pub stderr: bool,
    /// The container waits for this connection when it lags, as for a reader of a pipe; otherwise a
    /// connection that takes nothing for long is closed. An exec always waits.
    #[serde(default)]
    pub lossless: bool,
}

/// A further process inside a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Unique in this container.
    pub id: String,
    /// The process; `terminal` and `consoleSize` count, users and capabilities are literal.
    pub process: Process,
    /// Streams of this connection, tied before the process starts. `stdin: false` gives `/dev/null`.
    pub attach: Attach,
    /// Compiled filter as in `ShimSpec::seccomp_filter`.
    #[serde(default)]
    pub seccomp_filter: Option<std::path::PathBuf>,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// Answers [`Request::Hello`].
    Hello {
        /// [`VERSION`] of the shim.
        version: u32,
        /// As in `state.json`.
        state: ShimState,
        /// Execs that run now.
        execs: Vec<String>,
    },
    /// The program runs.
    Started {
        /// Its pid in the shim's pid namespace.
        pid: i32,
    },
    /// Done.
    Ok,
    /// Refused or failed.
    Error(Refusal),
}

/// Why something did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For matching.
    pub kind: RefusalKind,
    /// The text, whole, as dockerd shows it where Docker has one.
    pub message: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The program does not exist: exit code 127.
    ProgramNotFound,
    /// The program exists but cannot be executed: exit code 126.
    ProgramNotExecutable,
    /// Some other step of creating failed: exit code 128.
    Create,
    /// No such exec, or the process has ended.
    NotFound,
    /// Not in this state (not started, already started, paused).
    Conflict,
    /// The message made no sense.
    Invalid,
}

impl RefusalKind {
    /// The exit code which Docker records for a container that could not start so.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::ProgramNotFound => 127,
            Self::ProgramNotExecutable => 126,
            Self::Create | Self::NotFound | Self::Conflict | Self::Invalid => 128,
        }
    }
}

/// What happens without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The container (`exec: None`) or an exec ended; its output was sent before.
    Exited {
        /// The exec's id.
        #[serde(default)]
        exec: Option<String>,
        /// How.
        exit: ExitRecord,
    },
    /// The kernel killed a process of this container for want of memory.
    OutOfMemory,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Request`] as JSON.
    Request = 0,
    /// [`Reply`] as JSON.
    Reply = 1,
    /// [`Event`] as JSON.
    Event = 2,
    /// Bytes for the standard input of what this connection is attached to.
    Stdin = 3,
    /// Output.
    Stdout = 4,
    /// Error output.
    Stderr = 5,
}

/// One frame, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A frame that cannot be understood; the connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_PAYLOAD`].
    #[error("frame of {0} bytes is longer than {MAX_PAYLOAD}")]
    TooLong(usize),
    /// Not a [`Kind`].
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// Wrong kind at this place.
    #[error("expected a frame of kind {expected:?}, got {got:?}")]
    Unexpected {
        /// What this side can take.
        expected: Kind,
        /// What came.
        got: Kind,
    },
    /// The JSON does not fit.
    #[error("decode {kind:?} frame: {source}")]
    Decode {
        /// The frame's kind.
        kind: Kind,
        /// The cause.
        source: serde_json::Error,
    },
}

impl Kind {
    fn from_byte(byte: u8) -> Result<Self, FrameError> {
        Ok(match byte {
            0 => Self::Request,
            1 => Self::Reply,
            2 => Self::Event,
            3 => Self::Stdin,
            4 => Self::Stdout,
            5 => Self::Stderr,
            other => return Err(FrameError::UnknownKind(other)),
        })
    }
}

/// Appends a frame to `out`.
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("payloads are bounded by MAX_PAYLOAD");
    out.reserve(HEADER + payload.len());
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(payload);
}

fn encode_json<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let payload = serde_json::to_vec(value).expect("protocol types always serialise");
    let mut out = Vec::new();
    encode(kind, &payload, &mut out);
    out
}

impl Request {
    /// The request as one frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode_json(Kind::Request, self)
    }
}

impl Reply {
    /// The reply as one frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode_json(Kind::Reply, self)
    }
}

impl Event {
    /// The event as one frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode_json(Kind::Event, self)
    }
}

impl Frame {
    fn json<T: serde::de::DeserializeOwned>(&self, expected: Kind) -> Result<T, FrameError> {
        if self.kind != expected {
            return Err(FrameError::Unexpected {
                expected,
                got: self.kind,
            });
        }
        serde_json::from_slice(&self.payload).map_err(|source| FrameError::Decode {
            kind: self.kind,
            source,
        })
    }

    /// Reads a [`Request`].
    pub fn request(&self) -> Result<Request, FrameError> {
        self.json(Kind::Request)
    }

    /// Reads a [`Reply`].
    pub fn reply(&self) -> Result<Reply, FrameError> {
        self.json(Kind::Reply)
    }

    /// Reads an [`Event`].
    pub fn event(&self) -> Result<Event, FrameError> {
        self.json(Kind::Event)
    }
}

/// Cuts a byte stream into frames. Holds at most one unfinished frame.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Takes bytes as they came from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.buffer[self.start..];
        let Some(header) = rest.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        let kind = Kind::from_byte(header[4])?;
        let Some(payload) = rest.get(HEADER..HEADER + length) else {
            return Ok(None);
        };
        let frame = Frame {
            kind,
            payload: payload.to_vec(),
        };
        self.start += HEADER + length;
        if self.start == self.buffer.len() {
            // Also gives back what a long frame took.
            self.buffer = Vec::new();
            self.start = 0;
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut_of_the_stream() {
        let mut bytes = Request::Start.to_bytes();
        encode(Kind::Stdin, b"hello", &mut bytes);
        bytes.extend(Request::Hello.to_bytes());
        for step in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for part in bytes.chunks(step) {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.len(), 3);
            assert_eq!(frames[0].request().unwrap(), Request::Start);
            assert_eq!(
                frames[1],
                Frame {
                    kind: Kind::Stdin,
                    payload: b"hello".to_vec()
                }
            );
            assert_eq!(frames[2].request().unwrap(), Request::Hello);
        }
    }

    #[test]
    fn any_bytes_are_frames_or_an_error() {
        let mut seed = 1u64;
        for _ in 0..20_000 {
            let mut random = || {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                u8::try_from(seed >> 33 & 0xff).unwrap()
            };
            let mut decoder = Decoder::default();
            let mut bytes: Vec<u8> = (0..random() % 40).map(|_| random()).collect();
            if bytes.len() > 4 && random() % 4 != 0 {
                // Mostly plausible headers.
                bytes[..5].copy_from_slice(&[random() % 32, 0, 0, 0, random() % 7]);
            }
            decoder.push(&bytes);
            while let Ok(Some(frame)) = decoder.next_frame() {
                let _ = (frame.request(), frame.reply(), frame.event());
            }
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff, 0xff, 0xff, 0x7f, 0]);
        assert!(matches!(decoder.next_frame(), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 0, 77]);
        assert!(matches!(
            decoder.next_frame(),
            Err(FrameError::UnknownKind(77))
        ));
    }

    #[test]
    fn a_wrong_kind_names_expected_and_got() {
        let frame = Frame {
            kind: Kind::Stdout,
            payload: vec![],
        };
        assert_eq!(
            frame.reply().unwrap_err().to_string(),
            "expected a frame of kind Reply, got Stdout"
        );
    }
}
