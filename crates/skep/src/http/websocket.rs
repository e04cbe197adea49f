//! `GET /containers/{id}/attach/ws`: an attach for browsers. Output comes in binary messages
//! without framing, input is whatever the messages of the client hold.

use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use skep_engine::Attached;
use tokio::io::AsyncWriteExt;

use super::call::{Call, Response};
use super::containers::attach_options;
use super::error::{ApiError, Result};

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

async fn pump(socket: WebSocket, attached: Attached) {
    let (mut to_client, mut from_client) = socket.split();
    let Attached {
        input, mut output, ..
    } = attached;
    let input = async {
        let Some(mut input) = input else {
            return std::future::pending().await;
        };
        while let Some(Ok(message)) = from_client.next().await {
            let sent = match message {
                Message::Text(text) => input.write_all(text.as_bytes()).await,
                Message::Binary(bytes) => input.write_all(&bytes).await,
                Message::Ping(_) | Message::Pong(_) => Ok(()),
                Message::Close(_) => break,
            };
            if sent.is_err() {
                break;
            }
        }
        // The client is done; the process's own end tells the rest.
        let _ = input.shutdown().await;
        std::future::pending::<()>().await;
    };
    let output = async {
        while let Some((_, bytes)) = output.next().await {
            if to_client.send(Message::Binary(bytes)).await.is_err() {
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
