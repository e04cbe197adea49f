//! Fetching a root file system that is to become an image: `docker import URL`.

use std::io::{self, Read};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use skep_objects::ErrorKind;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::error::ImageError;
use super::progress::Progress;
use super::web::Web;

/// A whole download; a server that says nothing is given up much earlier.
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes between two lines of progress.
const STEP: u64 = 512 << 10;
/// So much of an error's page is told.
const MAX_COMPLAINT_BYTES: usize = 4 << 10;

/// A file that a web server has begun to send.
#[derive(Debug)]
pub struct Download {
    url: String,
    answer: reqwest::Response,
}

impl super::Images {
    /// Asks for a file; without a scheme by http, as Docker does.
    pub async fn open_url(&self, source: &str) -> Result<Download, ImageError> {
        let url = match source.contains("://") {
            true => source.to_owned(),
            false => format!("http://{source}"),
        };
        let web = Web::new(&self.0.registry.config().proxies, false)?;
        let answer = web.open(&url, DEADLINE).await?;
        if answer.status().as_u16() < 400 {
            return Ok(Download { url, answer });
        }
        let kind = match answer.status() {
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::BAD_REQUEST => ErrorKind::InvalidArgument,
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
            StatusCode::FORBIDDEN => ErrorKind::NotAllowed,
            _ => ErrorKind::Internal,
        };
        let status = answer.status();
        let page = complaint(answer).await;
        let text = format!("failed to GET {url} with status {status}: {page}");
        Err(ImageError::Download { kind, text })
    }
}

impl Download {
    /// What comes, as it comes, for a thread that may block. Must be called within the runtime.
    pub fn read(self, progress: &Progress) -> impl Read + use<> {
        progress.status(format!("Downloading from {}", self.url));
        let total = self.answer.content_length().unwrap_or_default();
        let parts = stream::try_unfold(self.answer, |mut answer| async move {
            let part = answer.chunk().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(part.map(|part| (part, answer)))
        });
        let (progress, mut read, mut told) = (progress.clone(), 0, 0);
        let parts = parts.inspect_ok(move |part| {
            read += part.len() as u64;
            if read - told >= STEP || read == total {
                told = read;
                progress.bytes("", "Importing", read, total);
            }
        });
        SyncIoBridge::new(StreamReader::new(parts.boxed()))
    }
}

async fn complaint(mut answer: reqwest::Response) -> String {
    let mut page = Vec::new();
    while page.len() < MAX_COMPLAINT_BYTES
        && let Ok(Some(part)) = answer.chunk().await
    {
        page.extend_from_slice(&part);
    }
    page.truncate(MAX_COMPLAINT_BYTES);
    String::from_utf8_lossy(&page).into_owned()
}
