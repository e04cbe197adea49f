//! Clients of old that hijack a connection without asking for an upgrade.
//!
//! They send `POST /containers/x/attach` and expect `HTTP/1.1 200 OK` with the raw stream after it.
//! HTTP has no such thing, so hyper refuses it: for them the first request gets the upgrade headers
//! that it lacks, and the `101` that answers it goes out as the `200` that they wait for. Such
//! clients open a connection for each hijack, so only the first request is looked at.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The longest request head that is looked at.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// What the client waits for.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";
/// The end of a head.
pub(super) const END: &[u8] = b"\r\n\r\n";

/// A connection whose first request was looked at.
#[derive(Debug)]
pub struct Client<I> {
    io: I,
    /// What was read of the first request, and may have been added to.
    greeting: Vec<u8>,
    given: usize,
    answer: Answer,
}

/// The way out.
#[derive(Debug)]
enum Answer {
    /// Nothing to change.
    Plain,
    /// The head of the first answer is still being collected.
    Head(Vec<u8>),
    /// This is to be sent before anything else.
    Rest(Vec<u8>, usize),
}

impl<I: AsyncRead + AsyncWrite + Unpin> Client<I> {
    /// Reads the head of the first request; none when the client hung up before it.
    pub async fn greet(mut io: I) -> Result<Option<Self>> {
        let mut greeting = Vec::with_capacity(1024);
        loop {
            if io.read_buf(&mut greeting).await? == 0 {
                if greeting.is_empty() {
                    return Ok(None);
                }
                break;
            }
            if greeting.len() > MAX_HEAD || find(&greeting, END).is_some() {
                break;
            }
        }
        let mut answer = Answer::Plain;
        if let Some(end) = find(&greeting, END)
            && hijacks_without_upgrade(&greeting[..end])
        {
            let headers = b"\r\nConnection: Upgrade\r\nUpgrade: tcp";
            greeting.splice(end..end, headers.iter().copied());
            answer = Answer::Head(Vec::new());
        }
        Ok(Some(Self {
            io,
            greeting,
            given: 0,
            answer,
        }))
    }
}

impl<I> Client<I> {
    /// Whether the first request is to take the connection over.
    pub fn hijacks(&self) -> bool {
        let end = find(&self.greeting, END).unwrap_or(self.greeting.len());
        let head = self.greeting[..end].to_ascii_lowercase();
        find(&head, b"\r\nupgrade:").is_some()
    }
}

impl<I: AsyncWrite + Unpin> Client<I> {
    /// Sends what is due before the stream's own bytes.
    fn send_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Answer::Rest(bytes, sent) = &mut self.answer {
            if *sent < bytes.len() {
                let written = ready!(Pin::new(&mut self.io).poll_write(cx, &bytes[*sent..]))?;
                if written == 0 {
                    return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                *sent += written;
            } else {
                self.answer = Answer::Plain;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Where `what` begins in `bytes`.
pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Whether a request head is a hijack that does not say so.
pub(super) fn hijacks_without_upgrade(head: &[u8]) -> bool {
    let Ok(head) = std::str::from_utf8(head) else {
        return false;
    };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    let hijack = path.ends_with("/attach") && path.contains("/containers/")
        || path.ends_with("/start") && path.contains("/exec/");
    let mut upgrade = lines.filter_map(|line| line.split_once(':'));
    method == "POST" && hijack && !upgrade.any(|(name, _)| name.eq_ignore_ascii_case("upgrade"))
}

impl<I: AsyncRead + Unpin> AsyncRead for Client<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        let left = &this.greeting[this.given..];
        if left.is_empty() {
            this.greeting = Vec::new();
            this.given = 0;
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let len = left.len().min(buf.remaining());
        buf.put_slice(&left[..len]);
        this.given += len;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Client<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let this = &mut *self;
        if let Answer::Head(head) = &mut this.answer {
            head.extend_from_slice(buf);
            if let Some(end) = find(head, END) {
                let mut rest = std::mem::take(head);
                // A refusal goes out as it is.
                if rest.starts_with(b"HTTP/1.1 101") {
                    rest.splice(..end + END.len(), ANSWER.iter().copied());
                }
                this.answer = Answer::Rest(rest, 0);
            }
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(this.send_rest(cx))?;
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.send_rest(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.send_rest(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hijack_without_upgrade_is_helped() {
        let check = |head: &str, expect: bool| {
            assert_eq!(hijacks_without_upgrade(head.as_bytes()), expect, "{head}");
        };
        check(
            "POST /v1.24/containers/x/attach?stdout=1 HTTP/1.1\r\nHost: d",
            true,
        );
        check("POST /exec/x/start HTTP/1.1\r\nHost: d", true);
        check("POST /containers/x/attach HTTP/1.1\r\nUPGRADE: tcp", false);
        check("POST /containers/x/start HTTP/1.1\r\nHost: d", false);
        check("GET /containers/x/attach HTTP/1.1\r\nHost: d", false);
    }

    #[tokio::test]
    async fn an_old_client_gets_the_answer_that_it_waits_for() {
        use tokio::io::AsyncWriteExt;
        let (mut client, server) = tokio::io::duplex(4096);
        client
            .write_all(b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\n\r\nkeys")
            .await
            .expect("sent");
        let mut server = Client::greet(server)
            .await
            .expect("a request")
            .expect("one");
        assert!(server.hijacks());
        let mut head = vec![0; 4096];
        let len = server.read(&mut head).await.expect("read");
        let head = String::from_utf8_lossy(&head[..len]).into_owned();
        assert!(
            head.contains("\r\nUpgrade: tcp\r\n") && head.ends_with("\r\n\r\nkeys"),
            "{head}"
        );
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n\r\n";
        server.write_all(answer.as_bytes()).await.expect("written");
        server.write_all(b"output").await.expect("written");
        server.shutdown().await.expect("shut");
        let mut got = String::new();
        client.read_to_string(&mut got).await.expect("read");
        assert_eq!(got.as_bytes(), [ANSWER, b"output"].concat());
    }
}
