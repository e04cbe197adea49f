//! Images on their way in and out: pull, push, import, load, save. Progress streams as it happens.

use std::convert::Infallible;
use std::io::Read;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value};
use skep_engine::image::{ImageError, ImportOptions, Progress, ProgressMessage, PullOptions};
use skep_objects::reference::Reference;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::io::SyncIoBridge;
use tokio_util::task::AbortOnDropHandle;

use super::{auth, platform, reference};
use crate::http::call::{self, Call, Response};
use crate::http::error::{ApiError, Result};

/// The last line of a stream that failed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    error_detail: Detail,
    error: String,
}

#[derive(Serialize)]
struct Detail {
    message: String,
}

fn line<T: Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    line.into()
}

fn failure(error: String) -> Bytes {
    line(&Failure {
        error_detail: Detail {
            message: error.clone(),
        },
        error,
    })
}

/// An operation under way and what it says.
struct Work {
    messages: UnboundedReceiver<ProgressMessage>,
    /// It ends with the client, as Docker's does; what a pull has brought by then is kept for the next.
    task: AbortOnDropHandle<Result<(), ImageError>>,
}

impl Work {
    /// Starts an operation that reports to the progress it is given.
    fn spawn<F>(work: impl FnOnce(Progress) -> F) -> Self
    where
        F: Future<Output = Result<(), ImageError>> + Send + 'static,
    {
        let (sender, messages) = unbounded_channel();
        Self {
            messages,
            task: AbortOnDropHandle::new(tokio::spawn(work(Progress::to(sender)))),
        }
    }

    /// A refusal before the first line has a status of its own; a later one is the last line.
    async fn respond(mut self) -> Result<Response> {
        let first = self.messages.recv().await;
        let Some(first) = first else {
            finish(self.task.await)?;
            return Ok(call::stream(
                "application/json",
                stream::empty::<Result<Bytes, Infallible>>(),
            ));
        };
        let lines = stream::iter([line(&first)]).chain(self.rest());
        Ok(call::stream(
            "application/json",
            lines.map(Ok::<_, Infallible>),
        ))
    }

    /// The same where every refusal is a line, as of an archive that turns out to be none.
    fn stream(self) -> Response {
        call::stream("application/json", self.rest().map(Ok::<_, Infallible>))
    }

    fn rest(self) -> impl Stream<Item = Bytes> {
        stream::unfold(Some(self), |work| async move {
            let mut work = work?;
            match work.messages.recv().await {
                Some(message) => Some((line(&message), Some(work))),
                None => match finish(work.task.await) {
                    Ok(()) => None,
                    Err(error) => Some((failure(error.message), None)),
                },
            }
        })
    }
}

fn finish(done: Result<Result<(), ImageError>, tokio::task::JoinError>) -> Result<()> {
    match done {
        Ok(result) => Ok(result?),
        Err(error) => Err(ApiError::internal(format!("a worker broke: {error}"))),
    }
}

/// `POST /images/create`: a pull, or an import of the body.
pub async fn create(call: Call) -> Result<Response> {
    if call.query.given("fromSrc").is_some() {
        return import(call).await;
    }
    let (name, tag) = (call.query.get("fromImage"), call.query.get("tag"));
    let named = Reference::parse(name)?;
    let is_whole = tag.is_empty() && named.tag().is_none() && named.digest().is_none();
    let reference = reference(name, tag)?;
    let options = PullOptions {
        platform: platform(&call, "platform")?,
        auth: auth(&call),
    };
    let images = call.api.images().clone();
    let work = |progress| async move {
        match is_whole {
            true => images.pull_all(&named, &options, &progress).await,
            false => images.pull(&reference, &options, &progress).await.map(drop),
        }
    };
    Work::spawn(work).respond().await
}

/// `POST /images/{name}/push`. Without a tag every tag of the repository goes.
pub async fn push(call: &Call, name: &str) -> Result<Response> {
    let images = call.api.images().clone();
    let auth = auth(call);
    let tag = call.query.get("tag");
    let parsed = Reference::parse(name)?;
    if let Some(wanted) = platform(call, "platform")? {
        let local = reference(name, tag)?.familiar();
        images.resolve_for(&local, &wanted)?;
    }
    let references = if tag.is_empty() && parsed.tag().is_none() {
        let all = images.list();
        let tags = all.iter().flat_map(|image| &image.tags);
        let ours = tags.filter(|tag| tag.canonical_name() == parsed.canonical_name());
        let ours: Vec<Reference> = ours.cloned().collect();
        if ours.is_empty() {
            vec![parsed.or_latest()]
        } else {
            ours
        }
    } else {
        vec![reference(name, tag)?]
    };
    let work = |progress| async move {
        for reference in references {
            images.push(&reference, &auth, &progress).await?;
        }
        Ok(())
    };
    Work::spawn(work).respond().await
}

/// `POST /images/load`.
pub async fn load(call: Call) -> Result<Response> {
    let images = call.api.images().clone();
    let platform = platform(&call, "platform")?;
    let quiet = call.query.flag("quiet");
    let reader = SyncIoBridge::new(call.into_reader());
    let work = |progress: Progress| async move {
        let load = move || {
            let _ = quiet; // Nothing but what was loaded is said anyway.
            images
                .load(reader, platform.as_deref(), &progress)
                .map(drop)
        };
        tokio::task::spawn_blocking(load)
            .await
            .unwrap_or(Err(ImageError::Interrupted))
    };
    Ok(Work::spawn(work).stream())
}

/// An import: the body, or what a web server has, is a root file system.
async fn import(call: Call) -> Result<Response> {
    let query = &call.query;
    let source = query.get("fromSrc").to_owned();
    let tag = match query.given("repo") {
        Some(repo) => Some(reference(repo, query.get("tag"))?),
        None => None,
    };
    let changes: Vec<String> = query.all("changes").map(str::to_owned).collect();
    let message = query.given("message").map(str::to_owned);
    let options = ImportOptions {
        config: changed(&changes)?,
        message: message.unwrap_or_else(|| format!("Imported from {source}")),
        platform: platform(&call, "platform")?,
        ..ImportOptions::default()
    };
    let images = call.api.images().clone();
    let body = call.into_reader();
    let work = |progress: Progress| async move {
        let reader: Box<dyn Read + Send> = match source.as_str() {
            "-" => Box::new(SyncIoBridge::new(body)),
            url => Box::new(images.open_url(url).await?.read(&progress)),
        };
        let import = move || {
            let image = images.import(reader, tag.as_ref(), &options)?;
            progress.status(image.id());
            Ok(())
        };
        tokio::task::spawn_blocking(import)
            .await
            .unwrap_or(Err(ImageError::Interrupted))
    };
    Work::spawn(work).respond().await
}

/// The image configuration that Dockerfile instructions make.
fn changed(changes: &[String]) -> Result<Map<String, Value>> {
    let mut config = Map::new();
    for change in changes {
        skep_engine::image::apply_change(&mut config, change)?;
    }
    Ok(config)
}

/// `GET /images/get`: images as one archive.
pub async fn save(call: &Call, names: Vec<String>) -> Result<Response> {
    let images = call.api.images().clone();
    let platform = platform(call, "platform")?;
    for name in &names {
        images.check_saved(name, platform.as_deref())?;
    }
    let reader = images.save_stream(names)?;
    Ok(call::reader("application/x-tar", reader))
}
