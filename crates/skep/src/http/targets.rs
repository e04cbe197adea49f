//! Request targets with bytes that no URL has.
//!
//! Go's server takes what people type: `curl 'http://localhost/containers/json?filters={"a":["b"]}'`
//! sends the quotes as they are. hyper refuses the request before any route sees it. So the first
//! line of each request is looked at on its way in, and such bytes become `%22` and the like. Bodies
//! are counted, not looked at; after what has no counted end, a stream or chunks, nothing is changed.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::legacy::{END, MAX_HEAD, find, hijacks_without_upgrade};

/// How much of a head is read at a time.
const STEP: usize = 4096;

/// A connection whose request targets are made clean.
#[derive(Debug)]
pub struct Targets<I> {
    io: I,
    place: Place,
    /// Bytes of a head that is not whole yet.
    head: Vec<u8>,
    /// Bytes that are due to the reader, and how many it has.
    out: Vec<u8>,
    given: usize,
}

/// Where in the conversation the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// Nothing more is looked at.
    Through,
}

impl<I> Targets<I> {
    /// Looks at what comes in by `io`.
    pub fn new(io: I) -> Self {
        Self {
            io,
            place: Place::Head,
            head: Vec::new(),
            out: Vec::new(),
            given: 0,
        }
    }

    /// Takes what was read where a head is expected.
    fn take(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
        let Some(end) = find(&self.head, END) else {
            if self.head.len() > MAX_HEAD {
                self.pass_all();
            }
            return;
        };
        let after = self.head.split_off(end + END.len());
        self.place = body_of(&self.head[..end]);
        let whole = std::mem::take(&mut self.head);
        self.out = clean(whole);
        self.given = 0;
        self.follow(&after);
    }

    /// What came in one piece with a head: its body, and perhaps the next request.
    fn follow(&mut self, after: &[u8]) {
        match self.place {
            Place::Body(left) => {
                let own = usize::try_from(left).unwrap_or(usize::MAX).min(after.len());
                self.out.extend_from_slice(&after[..own]);
                self.passed(own);
                self.head.extend_from_slice(&after[own..]);
            }
            Place::Head => self.head.extend_from_slice(after),
            Place::Through => self.out.extend_from_slice(after),
        }
    }

    /// Counts bytes of a body.
    fn passed(&mut self, count: usize) {
        if let Place::Body(left) = self.place {
            let left = left.saturating_sub(count as u64);
            self.place = if left == 0 {
                Place::Head
            } else {
                Place::Body(left)
            };
        }
    }

    fn pass_all(&mut self) {
        self.place = Place::Through;
        self.out = std::mem::take(&mut self.head);
        self.given = 0;
    }
}

/// What follows a head.
fn body_of(head: &[u8]) -> Place {
    let Ok(text) = std::str::from_utf8(head) else {
        return Place::Through;
    };
    if hijacks_without_upgrade(head) || text.starts_with("PRI ") {
        return Place::Through;
    }
    let mut length = 0;
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            return Place::Through;
        };
        if name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("transfer-encoding") {
            return Place::Through;
        }
        if name.eq_ignore_ascii_case("content-length") {
            match value.trim().parse() {
                Ok(given) => length = given,
                Err(_) => return Place::Through,
            }
        }
    }
    if length == 0 {
        Place::Head
    } else {
        Place::Body(length)
    }
}

/// Whether a URL never has this byte as it is.
fn is_foreign(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|' | 0x7f..
    )
}

/// The head with a target that a URL can have.
fn clean(head: Vec<u8>) -> Vec<u8> {
    let line = find(&head, b"\r\n").unwrap_or(head.len());
    if !head[..line].iter().copied().any(is_foreign) {
        return head;
    }
    let mut cleaned = Vec::with_capacity(head.len() + 64);
    for byte in &head[..line] {
        if is_foreign(*byte) {
            cleaned.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            cleaned.push(*byte);
        }
    }
    cleaned.extend_from_slice(&head[line..]);
    cleaned
}

impl<I: AsyncRead + Unpin> AsyncRead for Targets<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.out.len() {
                let due = &this.out[this.given..];
                let count = due.len().min(buf.remaining());
                buf.put_slice(&due[..count]);
                this.given += count;
                if this.given == this.out.len() {
                    (this.out, this.given) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            match this.place {
                Place::Through => return Pin::new(&mut this.io).poll_read(cx, buf),
                Place::Body(left) => {
                    let before = buf.filled().len();
                    ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                    let count = buf.filled().len() - before;
                    let own = usize::try_from(left).unwrap_or(usize::MAX).min(count);
                    // The next request came along.
                    this.head.extend_from_slice(&buf.filled()[before + own..]);
                    buf.set_filled(before + own);
                    this.passed(own);
                    return Poll::Ready(Ok(()));
                }
                Place::Head => {
                    if find(&this.head, END).is_some() {
                        this.take(&[]);
                        continue;
                    }
                    let mut space = [0; STEP];
                    let mut step = ReadBuf::new(&mut space);
                    ready!(Pin::new(&mut this.io).poll_read(cx, &mut step))?;
                    if step.filled().is_empty() {
                        this.pass_all();
                        if this.out.is_empty() {
                            return Poll::Ready(Ok(()));
                        }
                    } else {
                        this.take(step.filled());
                    }
                }
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Targets<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What the server reads of what a client wrote in pieces of this size.
    async fn check(sent: &[u8], piece: usize, expect: &[u8]) {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let sent = sent.to_vec();
        let pieces = tokio::spawn(async move {
            for part in sent.chunks(piece) {
                client.write_all(part).await.expect("sent");
                tokio::task::yield_now().await;
            }
        });
        let mut got = Vec::new();
        let mut targets = Targets::new(server);
        targets.read_to_end(&mut got).await.expect("read");
        pieces.await.expect("sent");
        let shown = (
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(expect),
        );
        assert_eq!(shown.0, shown.1, "in pieces of {piece}");
    }

    #[tokio::test]
    async fn quotes_in_a_query_are_escaped_in_every_request_of_a_connection() {
        let sent = b"GET /a?f={\"b\":[\"c\"]} HTTP/1.1\r\nHost: \"d\"\r\n\r\n\
            POST /b HTTP/1.1\r\ncontent-length: 16\r\n\r\nGET /\"\r\n\r\nGET |\"\
            GET /c?d=\xc3\xa4 HTTP/1.1\r\n\r\n";
        let expect = b"GET /a?f={%22b%22:[%22c%22]} HTTP/1.1\r\nHost: \"d\"\r\n\r\n\
            POST /b HTTP/1.1\r\ncontent-length: 16\r\n\r\nGET /\"\r\n\r\nGET |\"\
            GET /c?d=%C3%A4 HTTP/1.1\r\n\r\n";
        for piece in [1, 7, 50, 4096] {
            check(sent, piece, expect).await;
        }
    }

    #[tokio::test]
    async fn streams_are_left_alone() {
        for head in [
            "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /x HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "POST /containers/x/attach HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ] {
            let sent = [head.as_bytes(), b"GET /\" HTTP/1.1\r\n\r\n"].concat();
            for piece in [3, 4096] {
                check(&sent, piece, &sent).await;
            }
        }
    }
}
