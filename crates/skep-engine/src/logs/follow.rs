//! A log as a stream, which goes on while the container does.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use rustix::fs::inotify;
use skep_objects::ErrorKind;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::options::log_path;
use super::read::{Batch, LogReader};
use crate::core::Core;
use crate::engine::{ContainerStatus, LogOptions, LogRecord, Logs, Phase};
use crate::error::{EngineError, Result};

/// A look at the file without being told to, should the kernel have no watch to give.
const LOOK: Duration = Duration::from_millis(500);

impl Core {
    pub(crate) async fn logs(&self, reference: &str, options: &LogOptions) -> Result<Logs> {
        let container = self.containers.find(reference)?;
        container.refuse_going(reference, || {
            "can not get logs from container which is dead or marked for removal".to_owned()
        })?;
        if !options.stdout && !options.stderr {
            return Err(EngineError::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let (path, tty) = container.with(|record, _| {
            let config = &record.host_config.log_config;
            (
                log_path(config, &record.id, &container.dir),
                record.config.tty,
            )
        });
        let path = path.ok_or_else(|| {
            EngineError::refused(
                ErrorKind::NotImplemented,
                "configured logging driver does not support reading",
            )
        })?;
        let (wanted, at) = (options.clone(), path.clone());
        let reader = self
            .blocking(move || LogReader::open(at, wanted))
            .await?
            .map_err(|error| container.told(reference, error))?;
        let state = Following {
            reader: Some(reader),
            follow: options.follow,
            status: container.watch(),
            watch: options.follow.then(|| FileWatch::new(&path)),
            last_look: false,
            ready: Vec::new().into_iter(),
            over: false,
            until: options.until,
        };
        let records = futures::stream::unfold(state, |mut state| async move {
            state.next().await.map(|record| (record, state))
        });
        Ok(Logs {
            tty,
            records: records.boxed(),
        })
    }
}

struct Following {
    reader: Option<LogReader>,
    follow: bool,
    status: watch::Receiver<ContainerStatus>,
    watch: Option<FileWatch>,
    /// The container has ended: what is written by now is all.
    last_look: bool,
    ready: std::vec::IntoIter<LogRecord>,
    over: bool,
    until: Option<std::time::SystemTime>,
}

impl Following {
    async fn next(&mut self) -> Option<Result<LogRecord>> {
        loop {
            if let Some(record) = self.ready.next() {
                return Some(Ok(record));
            }
            if self.over {
                return None;
            }
            let ended = !runs(&self.status.borrow_and_update());
            match self.read().await {
                Ok(Batch {
                    records,
                    at_end,
                    done,
                }) => {
                    let got = !records.is_empty();
                    self.ready = records.into_iter();
                    self.over = done || (at_end && (!self.follow || (ended && self.last_look)));
                    self.last_look = ended;
                    if at_end && !got && !self.over && !ended {
                        self.rest().await;
                    }
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Reads off the async threads.
    async fn read(&mut self) -> Result<Batch> {
        let over = Batch {
            records: Vec::new(),
            at_end: true,
            done: true,
        };
        let Some(mut reader) = self.reader.take() else {
            return Ok(over);
        };
        let work = tokio::task::spawn_blocking(move || {
            let batch = reader.next_batch();
            (reader, batch)
        });
        match work.await {
            Ok((reader, batch)) => {
                self.reader = Some(reader);
                batch
            }
            Err(_) => Ok(over),
        }
    }

    /// Waits until something may have been written, or the container has ended.
    async fn rest(&mut self) {
        let until = self
            .until
            .and_then(|until| until.duration_since(std::time::SystemTime::now()).ok());
        let written = async {
            match &self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = written => {}
            _ = self.status.changed() => {}
            () = tokio::time::sleep(until.unwrap_or(LOOK).min(LOOK)) => {}
        }
        if self
            .until
            .is_some_and(|until| until <= std::time::SystemTime::now())
        {
            self.over = true;
        }
    }
}

fn runs(status: &ContainerStatus) -> bool {
    matches!(
        status.phase,
        Phase::Running | Phase::Paused | Phase::Restarting
    )
}

/// Tells of changes in the directory of a log, whichever file has its name; several followers have one each.
struct FileWatch(Option<pipe::Receiver>);

impl FileWatch {
    fn new(path: &Path) -> Self {
        Self(path.parent().and_then(|dir| Self::open(dir).ok()))
    }

    fn open(dir: &Path) -> std::io::Result<pipe::Receiver> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let changes = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MODIFY;
        inotify::add_watch(&fd, dir, changes)?;
        // Read and polled like a pipe.
        pipe::Receiver::from_file_unchecked(std::fs::File::from(fd))
    }

    async fn changed(&self) {
        let Some(fd) = &self.0 else {
            return std::future::pending().await;
        };
        if fd.readable().await.is_ok() {
            let mut buffer = [0; 4096];
            while fd.try_read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
    }
}
