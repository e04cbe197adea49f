//! Hijacked connections and multiplexed streams: attach, exec, logs.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::{Method, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio_util::io::ReaderStream;

use super::{Client, empty, full};
use crate::error::CliError;

/// Which of a container's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Standard output, or a terminal's only stream.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A part of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where it belongs.
    pub kind: StreamKind,
    /// What it says.
    pub bytes: Bytes,
}

/// Frames larger than this are no frames.
const MAX_FRAME_BYTES: usize = 64 << 20;

/// A connection that is ours after its request.
pub struct Hijacked {
    /// What the other side sends.
    pub reader: ReadHalf<TokioIo<hyper::upgrade::Upgraded>>,
    /// What we send; shutting it down ends the other side's input.
    pub writer: WriteHalf<TokioIo<hyper::upgrade::Upgraded>>,
}

impl std::fmt::Debug for Hijacked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hijacked").finish_non_exhaustive()
    }
}

impl Client {
    /// POSTs and takes the connection over.
    pub async fn hijack(&self, path: &str, body: Option<&Value>) -> Result<Hijacked, CliError> {
        let headers = [
            (header::CONNECTION.as_str(), "Upgrade"),
            (header::UPGRADE.as_str(), "tcp"),
            (header::CONTENT_TYPE.as_str(), "application/json"),
        ];
        let body = body.map_or_else(empty, |body| full(body.to_string()));
        let answer = self.send(Method::POST, path, &headers, body).await?;
        let upgraded = hyper::upgrade::on(answer)
            .await
            .map_err(|error| CliError::new(format!("unable to upgrade to tcp: {error}")))?;
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        Ok(Hijacked { reader, writer })
    }
}

impl Hijacked {
    /// The outputs: frames, or with a terminal one stream as it comes.
    pub fn outputs(
        self,
        tty: bool,
    ) -> (
        impl Stream<Item = Result<Output, CliError>> + Unpin,
        impl AsyncWrite + Send + Unpin,
    ) {
        (outputs(self.reader, tty), self.writer)
    }
}

fn outputs(
    reader: impl AsyncRead + Send + Unpin + 'static,
    tty: bool,
) -> impl Stream<Item = Result<Output, CliError>> + Unpin {
    frames(
        ReaderStream::new(reader).map(|part| part.map_err(CliError::from)),
        tty,
    )
}

/// Outputs out of bytes: 8-byte heads (stream, 0, 0, 0, length) unless it is a terminal's.
pub fn frames(
    bytes: impl Stream<Item = Result<Bytes, CliError>> + Unpin,
    tty: bool,
) -> impl Stream<Item = Result<Output, CliError>> + Unpin {
    Box::pin(futures::stream::unfold(
        (bytes, BytesMut::new()),
        move |(mut bytes, mut kept)| async move {
            loop {
                if tty && !kept.is_empty() {
                    let output = Output {
                        kind: StreamKind::Stdout,
                        bytes: kept.split().freeze(),
                    };
                    return Some((Ok(output), (bytes, kept)));
                }
                match frame(&mut kept) {
                    Ok(Some(output)) => return Some((Ok(output), (bytes, kept))),
                    Ok(None) => {}
                    Err(error) => {
                        kept.clear();
                        return Some((Err(error), (bytes, kept)));
                    }
                }
                match bytes.next().await? {
                    Ok(part) => kept.extend_from_slice(&part),
                    Err(error) => return Some((Err(error), (bytes, kept))),
                }
            }
        },
    ))
}

pub(crate) fn frame(kept: &mut BytesMut) -> Result<Option<Output>, CliError> {
    if kept.len() < 8 {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes([kept[4], kept[5], kept[6], kept[7]]))
        .unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        return Err(CliError::new(
            "Unrecognized input header: the frame is too large",
        ));
    }
    if kept.len() < 8 + length {
        return Ok(None);
    }
    let kind = kept[0];
    kept.advance(8);
    let bytes = kept.split_to(length).freeze();
    match kind {
        0 | 1 => Ok(Some(Output {
            kind: StreamKind::Stdout,
            bytes,
        })),
        2 => Ok(Some(Output {
            kind: StreamKind::Stderr,
            bytes,
        })),
        3 => Err(CliError::new(format!(
            "error from daemon in stream: {}",
            String::from_utf8_lossy(&bytes)
        ))),
        other => Err(CliError::new(format!("Unrecognized input header: {other}"))),
    }
}
