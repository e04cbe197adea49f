//! What ends an answer that a leader will not finish.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// Ready when the leader leads no more.
pub(super) type Deposed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whoever asked looks for the leader anew; what came of the call is unknown.
pub(super) fn unanswered() -> Status {
    Status::aborted("leadership was lost before the leader answered")
}

/// A leader's answer, for as long as it leads; then it ends as failed.
pub(super) struct Guarded {
    inner: Body,
    /// None once it has ended the answer.
    deposed: Option<Deposed>,
}

impl Guarded {
    pub(super) fn new(inner: Body, deposed: Deposed) -> Self {
        Guarded {
            inner,
            deposed: Some(deposed),
        }
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(deposed) = &mut this.deposed else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if deposed.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.deposed = None;
        let mut trailers = HeaderMap::new();
        match unanswered().add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.deposed.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
