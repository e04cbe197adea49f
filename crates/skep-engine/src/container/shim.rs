//! Asynchronous talk with a container's shim.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use skep_runtime::shim::protocol::{Decoder, Frame, Kind, Refusal, Reply, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// How long a shim may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// As long for the start of a program, where hooks or another runtime have their part.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// What goes wrong between the engine and a shim.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    /// The shim is gone, or nearly.
    #[error("the shim does not answer: {0}")]
    Gone(String),
    /// It is there and says nothing: stopped, or busy with something that does not end.
    #[error("the shim does not answer in time")]
    Silent,
    /// It says no.
    #[error(transparent)]
    Refused(Refusal),
}

impl TalkError {
    fn gone(error: impl std::fmt::Display) -> Self {
        Self::Gone(error.to_string())
    }
}

/// One connection to a shim.
#[derive(Debug)]
pub(crate) struct Talk {
    read: FrameReader,
    write: OwnedWriteHalf,
    pending: VecDeque<Frame>,
}

/// The receiving side of a connection.
#[derive(Debug)]
pub(crate) struct FrameReader {
    half: OwnedReadHalf,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Talk {
    /// Connects to the shim of the bundle directory `dir`.
    pub(crate) async fn open(dir: &Path) -> Result<Self, TalkError> {
        match skep_runtime::shim::connect_now(dir) {
            Err(error) if error.is_silent() => {}
            other => return Self::over(other.map_err(TalkError::gone)?),
        }
        // Others wait before us.
        let dir = dir.to_owned();
        let connect = move || skep_runtime::shim::connect(&dir);
        match tokio::task::spawn_blocking(connect).await {
            Ok(Ok(stream)) => Self::over(stream),
            Ok(Err(error)) if error.is_silent() => Err(TalkError::Silent),
            Ok(Err(error)) => Err(TalkError::gone(error)),
            Err(error) => Err(TalkError::gone(error)),
        }
    }

    /// Takes over a connection.
    pub(crate) fn over(stream: std::os::unix::net::UnixStream) -> Result<Self, TalkError> {
        stream.set_nonblocking(true).map_err(TalkError::gone)?;
        let (half, write) = UnixStream::from_std(stream)
            .map_err(TalkError::gone)?
            .into_split();
        let read = FrameReader {
            half,
            decoder: Decoder::default(),
            buffer: vec![0; 8 << 10],
        };
        Ok(Self {
            read,
            write,
            pending: VecDeque::new(),
        })
    }

    /// Sends a request and waits for its reply; what else comes is kept for [`Talk::split`]. A reply
    /// that was not waited for long enough may still come.
    pub(crate) async fn call(&mut self, request: &Request) -> Result<Reply, TalkError> {
        let patience = match request {
            Request::Start | Request::Exec(_) => START_PATIENCE,
            _ => PATIENCE,
        };
        let answer = tokio::time::timeout(patience, self.exchange(request));
        answer.await.unwrap_or(Err(TalkError::Silent))
    }

    async fn exchange(&mut self, request: &Request) -> Result<Reply, TalkError> {
        self.write
            .write_all(&request.to_bytes())
            .await
            .map_err(TalkError::gone)?;
        loop {
            let frame = self
                .read
                .next()
                .await?
                .ok_or_else(|| TalkError::gone("closed"))?;
            if frame.kind != Kind::Reply {
                self.pending.push_back(frame);
                continue;
            }
            return match frame.reply().map_err(TalkError::gone)? {
                Reply::Error(refusal) => Err(TalkError::Refused(refusal)),
                reply => Ok(reply),
            };
        }
    }

    /// The two directions, and what had come before.
    pub(crate) fn split(self) -> (FrameReader, OwnedWriteHalf, VecDeque<Frame>) {
        (self.read, self.write, self.pending)
    }
}

impl FrameReader {
    /// The next frame; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, TalkError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(TalkError::gone)? {
                return Ok(Some(frame));
            }
            match self
                .half
                .read(&mut self.buffer)
                .await
                .map_err(TalkError::gone)?
            {
                0 => return Ok(None),
                n => self.decoder.push(&self.buffer[..n]),
            }
        }
    }
}
