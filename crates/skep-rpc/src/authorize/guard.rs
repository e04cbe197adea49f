//! Cuts what is being answered to a node that is removed meanwhile: a stream may be open for days.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::ClusterTrust;

/// An answer to a node, given as long as its certificate is not withdrawn.
pub(super) struct Guarded {
    inner: Body,
    trust: Arc<dyn ClusterTrust>,
    node_id: String,
    is_over: bool,
}

impl Guarded {
    pub(super) fn body(inner: Body, trust: Arc<dyn ClusterTrust>, node_id: String) -> Body {
        Body::new(Self {
            inner,
            trust,
            node_id,
            is_over: false,
        })
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.trust.is_blacklisted(&self.node_id) {
            self.is_over = true;
            let refused = Status::permission_denied("this node was removed from the swarm");
            let mut trailers = HeaderMap::new();
            refused.add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
