//! Hijacked connections: after the answer's head the connection carries a process's streams.

use futures::StreamExt;
use http::{StatusCode, header};
use hyper_util::rt::TokioIo;
use skep_engine::Attached;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::call::{self, Call, Response};
use super::frames::Framing;
use super::server::LocalSocket;

/// Answers with the streams of `attached`: hijacked when the client asked for an upgrade.
///
/// The body must have been read before: hyper hands the connection over as it is.
pub fn respond(mut call: Call, attached: Attached) -> Response {
    let framing = Framing::of(attached.tty);
    let kind = framing.content_type(call.version);
    if !call.headers().contains_key(header::UPGRADE) {
        let output = attached.output;
        let frames = output.map(move |(kind, bytes)| {
            Ok::<_, std::convert::Infallible>(framing.frame(kind, bytes))
        });
        return call::stream(kind, frames);
    }
    let upgrade = hyper::upgrade::on(&mut call.request);
    let local = call.request.extensions().get::<LocalSocket>().cloned();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                let connection = TokioIo::new(connection);
                pump(connection, attached, framing, local).await;
            }
            Err(error) => tracing::debug!(%error, "hijack failed"),
        }
    });
    let mut response = call::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(
        header::CONNECTION,
        header::HeaderValue::from_static("Upgrade"),
    );
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
    response
}

/// Carries bytes both ways until the process's output ends or the client cannot take more.
///
/// The first output waits until the client has read the answer's head.
async fn pump<I: AsyncRead + AsyncWrite>(
    connection: I,
    attached: Attached,
    framing: Framing,
    mut local: Option<LocalSocket>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(connection);
    let Attached {
        input, mut output, ..
    } = attached;
    let input = async {
        if let Some(mut input) = input {
            // Either side may end first; the process's exit is told by its output.
            let _ = tokio::io::copy(&mut from_client, &mut input).await;
            let _ = input.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let output = async {
        while let Some((kind, bytes)) = output.next().await {
            if let Some(local) = local.take() {
                local.is_read().await;
            }
            if to_client
                .write_all(&framing.frame(kind, bytes))
                .await
                .is_err()
            {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = input => {}
        () = output => {}
    }
}
