//! `GET /containers/{id}/attach/ws`: an attach for browsers. Output comes in binary messages
//! without framing, input is whatever the messages of the client hold.

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use skep_engine::Attached;
use tokio::io::AsyncWriteExt;

use super::call::{Call, Response};
use super::containers::attach_options;
use super::error::{ApiError, Result};

/// What a client reads whose output breaks off; a reason is short.
const BROKEN: &str = "the output of the container breaks off";

/// Upgrades the connection and carries the container's streams.
pub async fn attach(call: Call, id: &str) -> Result<Response> {
    let options = attach_options(&call);
    let engine = call.api.engine.clone();
    let (mut parts, _) = call.request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|refusal| ApiError::invalid(refusal.to_string()))?;
    let attached = engine.attach(id, &options).await?;
    let response = upgrade.on_upgrade(move |socket| pump(socket, attached));
    Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
}

/// Carries messages both ways until the output ends or the client closes. There is no half of a
/// closing here, so a client without input is listened to as well.
async fn pump(socket: WebSocket, attached: Attached) {
    let (mut to_client, mut from_client) = socket.split();
    let Attached {
        mut input,
        mut output,
        ..
    } = attached;
    let input = async {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes = match message {
                Message::Text(text) => Bytes::from(text),
                Message::Binary(bytes) => bytes,
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => break,
            };
            let Some(to) = &mut input else { continue };
            if to.write_all(&bytes).await.is_err() {
                // The process takes no more; its output goes on.
                input = None;
            }
        }
        if let Some(mut input) = input {
            let _ = input.shutdown().await;
        }
    };
    let output = async {
        while let Some(piece) = output.next().await {
            let message = match piece {
                Ok((_, bytes)) => Message::Binary(bytes),
                Err(_) => Message::Close(Some(CloseFrame {
                    code: close_code::ERROR,
                    reason: BROKEN.into(),
                })),
            };
            if to_client.send(message).await.is_err() {
                return;
            }
        }
        let _ = to_client.close().await;
    };
    tokio::select! {
        () = input => {}
        () = output => {}
    }
}
