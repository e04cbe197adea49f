//! Serves connections, whatever socket they came in by, until told to stop.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Api, legacy};

/// Answers the requests of one connection. Ends when the client has, or soon after `stop`.
pub async fn connection<I>(api: Arc<Api>, io: I, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = match legacy::Client::greet(io).await {
        Ok(Some(io)) => io,
        // The client hung up without a word.
        Ok(None) | Err(_) => return,
    };
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(super::serve(api, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Half close: standard input of a hijacked stream ends while output goes on.
    builder.http1().half_close(true).title_case_headers(true);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => log(done),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            log(connection.await);
        }
    }
}

/// Clients go away in the middle of things all the time: of interest to who debugs only.
fn log(done: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = done {
        tracing::debug!(%error, "connection ended");
    }
}
