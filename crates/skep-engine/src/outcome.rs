//! Pipes whose readers learn how their writers fared: an archive that broke off must not look whole.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::engine::Reader;
use crate::error::{EngineError, Result};

/// A writer that ended without a word.
fn broken() -> io::Error {
    io::Error::other("the archive broke off")
}

/// The blocking reader of what another thread writes.
#[derive(Debug)]
pub(crate) struct Pipe {
    from: PipeReader,
    outcome: Option<mpsc::Receiver<io::Result<()>>>,
}

impl Pipe {
    /// Runs `write` on a thread of its own.
    pub(crate) fn fill(
        write: impl FnOnce(PipeWriter) -> io::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (from, to) = io::pipe().map_err(EngineError::io("open", "a pipe"))?;
        let (tell, outcome) = mpsc::channel();
        tokio::task::spawn_blocking(move || {
            // A reader that is gone needs no outcome.
            let _ = tell.send(write(to));
        });
        Ok(Self {
            from,
            outcome: Some(outcome),
        })
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if read == 0
            && !buffer.is_empty()
            && let Some(outcome) = self.outcome.take()
        {
            outcome.recv().unwrap_or_else(|_| Err(broken()))?;
        }
        Ok(read)
    }
}

/// The same for async readers.
struct AsyncPipe {
    from: pipe::Receiver,
    outcome: Option<oneshot::Receiver<Result<()>>>,
}

/// Runs `write`, which blocks, on a thread of its own; what it writes is read from what is returned.
pub(crate) fn fill(
    write: impl FnOnce(PipeWriter) -> Result<()> + Send + 'static,
) -> Result<Reader> {
    let fail = |error: io::Error| EngineError::io("open", "a pipe")(error);
    let (near, far) = io::pipe().map_err(fail)?;
    let from = pipe::Receiver::from_owned_fd(near.into()).map_err(fail)?;
    let (tell, outcome) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let written = write(far);
        if let Err(error) = &written {
            // A reader that went away is the usual reason.
            tracing::debug!(%error, "archive ended early");
        }
        let _ = tell.send(written);
    });
    Ok(Box::new(AsyncPipe {
        from,
        outcome: Some(outcome),
    }))
}

impl AsyncRead for AsyncPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.from).poll_read(context, buffer))?;
        if buffer.filled().len() > before || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Some(outcome) = self.outcome.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        let outcome = std::task::ready!(Pin::new(outcome).poll(context));
        self.outcome = None;
        Poll::Ready(match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(broken()),
        })
    }
}

/// What a client sends, until nobody wants it any more.
pub(crate) struct Until {
    pub from: Reader,
    pub over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Until {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.from).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_broke_off_does_not_read_as_whole() {
        let write = |mut to: PipeWriter| to.write_all(b"half").and(Err(io::Error::other("gone")));
        let mut pipe = Pipe::fill(write).unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            (pipe.read_to_end(&mut all).unwrap_err().to_string(), all)
        });
        assert_eq!(read.await.unwrap(), ("gone".to_owned(), b"half".to_vec()));

        let mut reader = fill(|mut to| {
            let _ = to.write_all(b"half");
            Err(EngineError::invalid("gone"))
        })
        .unwrap();
        let mut all = Vec::new();
        let error = reader.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), &all[..]),
            ("gone", &b"half"[..])
        );
    }
}
