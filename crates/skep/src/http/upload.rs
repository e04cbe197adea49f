//! The body of a request. What the handler leaves of it is read all the same, within bounds: a
//! client that still sends when the connection is closed sees a broken pipe and never the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// The most that is read of a body that nobody wants.
const MOST_BYTES: usize = 512 << 20;
/// And for how long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request's body.
#[derive(Debug)]
pub struct Upload {
    incoming: Option<Incoming>,
    /// The client sends nothing before it is asked to, which the first read does.
    held_back: bool,
    /// Bodies are also dropped by threads outside of the runtime.
    runtime: Handle,
}

impl Upload {
    /// The body that came with these headers. Within a runtime only.
    pub fn new(incoming: Incoming, headers: &HeaderMap) -> Self {
        Self {
            incoming: Some(incoming),
            held_back: headers.contains_key(header::EXPECT),
            runtime: Handle::current(),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        this.held_back = false;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.incoming = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take()
            && !incoming.is_end_stream()
            && !self.held_back
        {
            self.runtime.spawn(discard(incoming));
        }
    }
}

async fn discard(mut rest: Incoming) {
    use http_body_util::BodyExt as _;
    let all = async {
        let mut read = 0;
        while read < MOST_BYTES
            && let Some(Ok(frame)) = rest.frame().await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all).await;
}
