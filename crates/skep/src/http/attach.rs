//! Hijacked connections: after the answer's head the connection carries a process's streams.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{StatusCode, header};
use hyper_util::rt::TokioIo;
use skep_engine::{Attached, BoxStream, EngineError, StreamKind};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::call::{self, Call, Response};
use super::frames::Framing;
use super::socket::ClientSocket;

/// How long the input of a client that is gone may take to reach the process.
const LAST_INPUT: Duration = Duration::from_secs(10);

/// Answers with the streams of `attached`: hijacked when the client asked for an upgrade.
///
/// The body must have been read before: hyper hands the connection over as it is.
pub fn respond(mut call: Call, attached: Attached) -> Response {
    let framing = Framing::of(attached.tty);
    let kind = framing.content_type(call.version);
    if !call.headers().contains_key(header::UPGRADE) {
        let output = attached.output;
        let frames = output.map_ok(move |(kind, bytes)| framing.frame(kind, bytes));
        return call::stream(kind, frames);
    }
    let upgrade = hyper::upgrade::on(&mut call.request);
    let socket = call.request.extensions().get::<ClientSocket>().cloned();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                let connection = TokioIo::new(connection);
                pump(connection, attached, framing, socket).await;
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

/// Carries bytes both ways until the process's output ends, or the client is gone or cannot take more.
///
/// The first output waits until the client has read the answer's head.
async fn pump<I: AsyncRead + AsyncWrite>(
    connection: I,
    attached: Attached,
    framing: Framing,
    socket: Option<ClientSocket>,
) {
    let (mut from_client, to_client) = tokio::io::split(connection);
    let Attached { input, output, .. } = attached;
    let input = async {
        if let Some(mut input) = input {
            // Either side may end first; the process's exit is told by its output.
            let _ = tokio::io::copy(&mut from_client, &mut input).await;
            let _ = input.shutdown().await;
        }
    };
    let output = send_output(to_client, output, framing, socket.as_ref());
    let hung_up = async {
        match &socket {
            Some(socket) => socket.hung_up().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(input, output, hung_up);
    let mut is_input_over = false;
    loop {
        tokio::select! {
            () = &mut output => return,
            () = &mut hung_up => break,
            () = &mut input, if !is_input_over => is_input_over = true,
        }
    }
    if !is_input_over {
        // What was sent before is for the process all the same.
        let _ = tokio::time::timeout(LAST_INPUT, input).await;
    }
}

/// Sends what the process writes, to its end. An output that breaks off is not ended as a whole one is:
/// the client is told, as Docker's stream has it.
async fn send_output(
    mut to_client: impl AsyncWrite + Unpin,
    mut output: BoxStream<Result<(StreamKind, Bytes), EngineError>>,
    framing: Framing,
    socket: Option<&ClientSocket>,
) {
    let mut is_first = true;
    while let Some(piece) = output.next().await {
        if let Some(socket) = socket.filter(|_| is_first) {
            socket.is_read().await;
        }
        is_first = false;
        let piece = match piece {
            Ok((kind, bytes)) => framing.frame(kind, bytes),
            Err(error) => framing.broken(&error.to_string()),
        };
        if to_client.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = to_client.shutdown().await;
}
