//! `POST /swarm/backup` and `POST /swarm/restore`: skep's own. Files travel as they are; keys in the
//! header `X-Skep-Backup-Key`, so that they get into no log of requests.

use bytes::Bytes;
use futures::stream;
use http::HeaderValue;
use skep_objects::api::swarm::InitRequest;
use tokio::io::AsyncReadExt as _;

use crate::http::call::{self, Call, Response};
use crate::http::error::{ApiError, Result};

const KEY: &str = "x-skep-backup-key";
/// Larger than any store that fits into a manager's memory.
const MAX_BYTES: u64 = 4 << 30;
const PIECE: usize = 64 << 10;

pub async fn make(call: Call) -> Result<Response> {
    let (file, key) = call.api.swarm.backup(call.header(KEY)).await?;
    let file = Bytes::from(file);
    let length = file.len();
    let pieces = (0..length).step_by(PIECE).map(move |at| {
        let end = length.min(at + PIECE);
        Ok::<_, std::io::Error>(file.slice(at..end))
    });
    let mut response = call::stream("application/octet-stream", stream::iter(pieces));
    if let Some(key) = key.and_then(|key| HeaderValue::from_str(&key).ok()) {
        response.headers_mut().insert(KEY, key);
    }
    Ok(response)
}

pub async fn restore(call: Call) -> Result<Response> {
    let node = call.api.swarm.clone();
    let key = call.header(KEY).to_owned();
    let request = InitRequest {
        listen_addr: call.query.get("listenAddr").to_owned(),
        advertise_addr: call.query.get("advertiseAddr").to_owned(),
        data_path_addr: call.query.get("dataPathAddr").to_owned(),
        ..InitRequest::default()
    };
    let mut file = Vec::new();
    let mut body = call.into_reader().take(MAX_BYTES);
    let read = body.read_to_end(&mut file).await;
    read.map_err(|error| ApiError::invalid(format!("read request body: {error}")))?;
    call::ok(&node.restore(&file, &key, request).await?)
}
