//! Listens to one container's shim until the container has ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use skep_runtime::shim::protocol::{Event, Frame, Kind, Request};
use skep_runtime::shim::{ExitRecord, Found};

use super::Container;
use super::shim::{FrameReader, Talk, TalkError};
use crate::core::Core;

impl Core {
    /// Listens in the background. `talk` is subscribed.
    pub(super) fn watch_shim(self: &Arc<Self>, container: Arc<Container>, talk: Talk) {
        let core = self.clone();
        self.tasks.spawn(async move {
            // The other direction stays open: a shim may take its closing for our going away.
            let (frames, _write, pending) = talk.split();
            let listen = core.listen(&container, frames, pending);
            let exit = tokio::select! {
                exit = listen => exit,
                // The container goes on; the next daemon finds it.
                () = core.stopping.cancelled() => return,
            };
            core.ended(&container, &exit).await;
        });
    }

    async fn listen(
        self: &Arc<Self>,
        container: &Arc<Container>,
        mut frames: FrameReader,
        mut pending: VecDeque<Frame>,
    ) -> ExitRecord {
        loop {
            let next = match pending.pop_front() {
                Some(frame) => Ok(Some(frame)),
                None => frames.next().await,
            };
            match next {
                Ok(Some(frame)) if frame.kind == Kind::Event => match frame.event() {
                    Ok(Event::Exited { exec: None, exit }) => return exit,
                    Ok(Event::Exited {
                        exec: Some(id),
                        exit,
                    }) => self.exec_ended(&id, &exit),
                    Ok(Event::OutOfMemory) => self.publish(container, "oom", BTreeMap::new()),
                    Err(error) => {
                        tracing::debug!(container.id = %container.id, %error, "event of a shim not understood")
                    }
                },
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => match self.look_again(container).await {
                    Again::Ended(exit) => return exit,
                    Again::Listen(talk) => {
                        let (again, _write, more) = talk.split();
                        frames = again;
                        pending.extend(more);
                        // Dropping the write half would be a half-closed connection; the shim bears it.
                    }
                },
            }
        }
    }

    /// The connection broke: has the container ended, or only the shim?
    async fn look_again(&self, container: &Arc<Container>) -> Again {
        let bundle = container.bundle.clone();
        let found = self
            .blocking(move || skep_runtime::shim::find(&bundle))
            .await;
        match found {
            Ok(Ok(Found::Ended(exit))) => Again::Ended(exit),
            Ok(Ok(Found::Running(stream))) => match self.subscribe(container, stream).await {
                Some(talk) => Again::Listen(talk),
                None => Again::Ended(self.recover(container).await),
            },
            Ok(Ok(Found::Lost)) | Ok(Err(_)) | Err(_) => {
                Again::Ended(self.recover(container).await)
            }
        }
    }

    /// Subscribes on a new connection; none when the shim is gone.
    ///
    /// One that says nothing has its container still: it is let go on, should it be stopped, and listened
    /// to. Its answer, when it comes, is one of the frames that mean nothing to who listens.
    pub(super) async fn subscribe(
        &self,
        container: &Container,
        stream: std::os::unix::net::UnixStream,
    ) -> Option<Talk> {
        let mut talk = Talk::over(stream).ok()?;
        match talk.call(&Request::Subscribe).await {
            Ok(_) => {}
            Err(TalkError::Silent) => {
                tracing::warn!(container.id = %container.id, "the shim of a container does not answer");
                let bundle = container.bundle.clone();
                let _ = self
                    .blocking(move || skep_runtime::shim::wake(&bundle))
                    .await;
            }
            Err(TalkError::Gone(_) | TalkError::Refused(_)) => return None,
        }
        Some(talk)
    }

    /// Puts in order what a killed shim left; the container is ended in any case.
    pub(super) async fn recover(&self, container: &Arc<Container>) -> ExitRecord {
        let bundle = container.bundle.clone();
        match self
            .blocking(move || skep_runtime::shim::recover(&bundle))
            .await
        {
            Ok(Ok(exit)) => exit,
            Ok(Err(error)) => lost(&error),
            Err(error) => lost(&error),
        }
    }
}

enum Again {
    Ended(ExitRecord),
    Listen(Talk),
}

/// The end of a container of which nobody can tell.
pub(super) fn lost(error: &dyn std::fmt::Display) -> ExitRecord {
    let now = crate::timestamp::since_epoch(std::time::SystemTime::now());
    ExitRecord {
        code: 255,
        error: Some(error.to_string()),
        finished_at: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        ..ExitRecord::default()
    }
}
