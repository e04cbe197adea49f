//! Serves connections, whatever socket they came in by, until told to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::call::{self, Response};
use super::error::ApiError;
use super::socket::ClientSocket;
use super::targets::Targets;
use super::upload::Upload;
use super::{Api, legacy};

/// How long an answer under way may take once the daemon ends. Streams have no end of their own.
const GRACE: Duration = Duration::from_millis(500);

/// Answers the requests of one connection. Ends when the client has, or soon after `stop`.
pub async fn connection<I>(
    api: Arc<Api>,
    io: I,
    socket: Option<ClientSocket>,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = match legacy::Client::greet(Targets::new(io)).await {
        Ok(Some(io)) => io,
        // The client hung up without a word.
        Ok(None) | Err(_) => return,
    };
    let half_close = io.hijacks();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let api = api.clone();
        if let Some(socket) = &socket {
            request.extensions_mut().insert(socket.clone());
        }
        let (head, body) = request.into_parts();
        let body = Upload::new(body, &head.headers);
        let request = Request::from_parts(head, body);
        async move { Ok::<_, Infallible>(whole(api, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Half close: standard input of a hijacked stream may end before the answer is there. On other
    // connections the client's end of sending means that it is gone, and that nobody reads the
    // events, logs and stats that would go on for ever.
    builder
        .http1()
        .half_close(half_close)
        .title_case_headers(true);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => log(done),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, connection).await {
                Ok(done) => log(done),
                Err(_) => tracing::debug!("a connection is cut"),
            }
        }
    }
}

/// Answers a request to the end, even when the client goes away meanwhile: what was begun to be
/// created or stopped must not be left half done.
async fn whole(api: Arc<Api>, request: Request<Upload>) -> Response {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return super::serve(api, request).await;
    }
    match tokio::spawn(super::serve(api, request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a handler broke");
            call::refusal(&ApiError::internal("the request could not be handled"))
        }
    }
}

/// Clients go away in the middle of things all the time: of interest to who debugs only.
fn log(done: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = done {
        tracing::debug!(%error, "connection ended");
    }
}
