//! Attaching to a container's streams, before its start or while it runs.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt;
use skep_runtime::shim::ExitRecord;
use skep_runtime::shim::protocol::{self, Event, Frame, Kind, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::Container;
use super::detach_keys::DetachKeys;
use super::shim::{FrameReader, Talk};
use crate::core::Core;
use crate::engine::{AttachOptions, Attached, BoxStream, LogOptions, StreamKind, Writer};
use crate::error::{EngineError, Result};

/// How many pieces of output wait for a slow reader. Beyond that the connection waits, and the shim
/// drops what this client does not take, never the container.
const BACKLOG: usize = 64;
/// As much of the input at once.
const INPUT: usize = 32 << 10;

/// Somebody who attached to a container that is not started yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    streams: protocol::Attach,
    reply: oneshot::Sender<Talk>,
}

impl Core {
    pub(crate) async fn attach(
        &self,
        reference: &str,
        options: &AttachOptions,
    ) -> Result<Attached> {
        let container = self.containers.find(reference)?;
        let state = container.state();
        if state.paused {
            return Err(EngineError::conflict(format!(
                "container {reference} is paused, unpause the container before attach"
            )));
        }
        if state.restarting {
            return Err(EngineError::conflict(format!(
                "container {reference} is restarting, wait until the container is running"
            )));
        }
        let keys = DetachKeys::parse(&options.detach_keys)?;
        let (tty, stdin_once) =
            container.with(|record, _| (record.config.tty, record.config.stdin_once));
        let past = if options.logs {
            self.past_output(reference, options).await?
        } else {
            futures::stream::empty().boxed()
        };
        self.publish(&container, "attach", std::collections::BTreeMap::new());
        if !options.stream {
            return Ok(Attached {
                tty,
                input: None,
                output: past,
            });
        }
        let open_stdin = container.with(|record, _| record.config.open_stdin);
        let streams = protocol::Attach {
            exec: None,
            stdin: options.stdin && open_stdin,
            stdout: options.stdout,
            stderr: options.stderr && !tty,
        };
        let source = if state.running {
            match open(&container, &streams).await {
                Err(error) => return Err(self.told_running(&container, reference, error).await),
                Ok(talk) => Source::Now(talk),
            }
        } else {
            let (reply, talk) = oneshot::channel();
            container.live().waiting.push(Waiting {
                streams: streams.clone(),
                reply,
            });
            Source::Later(talk)
        };
        let (input, output) = pump(
            source,
            Pump {
                stdin: streams.stdin,
                keys: tty.then_some(keys),
                stdin_once,
                exec: None,
                on_exit: None,
            },
        );
        Ok(Attached {
            tty,
            input,
            output: past.chain(output).boxed(),
        })
    }

    /// What the container wrote before, for `logs=1`.
    async fn past_output(
        &self,
        reference: &str,
        options: &AttachOptions,
    ) -> Result<BoxStream<(StreamKind, Bytes)>> {
        let wanted = LogOptions {
            stdout: options.stdout,
            stderr: options.stderr,
            ..LogOptions::default()
        };
        let logs = self.logs(reference, &wanted).await?;
        let lines = logs.records.filter_map(|record| async move {
            record.ok().map(|record| (record.stream, record.bytes))
        });
        Ok(lines.boxed())
    }

    pub(crate) async fn resize(&self, reference: &str, height: u16, width: u16) -> Result<()> {
        let container = self.containers.find(reference)?;
        if !container.state().running {
            return Err(container.not_running());
        }
        // Docker accepts a size where there is no terminal.
        if container.with(|record, _| record.config.tty) {
            let request = Request::Resize {
                exec: None,
                rows: height,
                columns: width,
            };
            if let Err(error) = resize(&container, &request).await {
                return Err(self.told_running(&container, reference, error).await);
            }
        }
        let attributes = [
            ("height".to_owned(), height.to_string()),
            ("width".to_owned(), width.to_string()),
        ];
        self.publish(&container, "resize", attributes.into_iter().collect());
        Ok(())
    }
}

/// Sends a new size to a container's shim.
pub(super) async fn resize(container: &Container, request: &Request) -> Result<()> {
    let gone = |error: super::shim::TalkError| EngineError::Shim {
        doing: "resize",
        id: container.id.clone(),
        reason: error.to_string(),
    };
    let mut talk = Talk::open(&container.bundle).map_err(gone)?;
    talk.call(request).await.map(|_| ()).map_err(gone)
}

async fn open(container: &Container, streams: &protocol::Attach) -> Result<Talk> {
    let gone = |error: super::shim::TalkError| EngineError::Shim {
        doing: "attach to",
        id: container.id.clone(),
        reason: error.to_string(),
    };
    let mut talk = Talk::open(&container.bundle).map_err(gone)?;
    talk.call(&Request::Attach(streams.clone()))
        .await
        .map_err(gone)?;
    Ok(talk)
}

/// Connects who waited, between the creation of the container and the start of its program.
pub(super) async fn connect_waiting(container: &Container) {
    let waiting = std::mem::take(&mut container.live().waiting);
    for Waiting { streams, reply } in waiting
        .into_iter()
        .filter(|waiting| !waiting.reply.is_closed())
    {
        match open(container, &streams).await {
            Ok(talk) => drop(reply.send(talk)),
            Err(error) => {
                tracing::debug!(container.id = %container.id, %error, "not attached at the start")
            }
        }
    }
}

/// Nothing will come: the start failed.
pub(super) fn refuse_waiting(container: &Container) {
    container.live().waiting.clear();
}

/// A connection that is there, or will be once the container starts.
pub(super) enum Source {
    Now(Talk),
    Later(oneshot::Receiver<Talk>),
}

/// Told how a process ended.
pub(super) type OnExit = Box<dyn FnOnce(&ExitRecord) + Send>;

/// How the streams are moved.
pub(super) struct Pump {
    pub stdin: bool,
    pub keys: Option<DetachKeys>,
    /// The end of the input is the process's end of file.
    pub stdin_once: bool,
    pub exec: Option<String>,
    /// Told of the end before the output ends.
    pub on_exit: Option<OnExit>,
}

/// Moves bytes between a shim and a client in the background, until either is done.
pub(super) fn pump(source: Source, how: Pump) -> (Option<Writer>, BoxStream<(StreamKind, Bytes)>) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let (near, far) = tokio::io::duplex(INPUT);
    let stdin = how.stdin;
    let mut how = how;
    let on_exit = how.on_exit.take();
    tokio::spawn(async move {
        let talk = match source {
            Source::Now(talk) => talk,
            Source::Later(talk) => match talk.await {
                Ok(talk) => talk,
                Err(_) => return,
            },
        };
        let (frames, write, pending) = talk.split();
        if stdin {
            let output = move_output(frames, pending, sender, how.exec.clone(), on_exit);
            let input = move_input(far, write, how);
            tokio::pin!(output);
            tokio::select! {
                () = &mut output => {}
                detached = input => match detached {
                    Detached::ByKeys => {}
                    // The output goes on after the end of the input; the connection must too.
                    Detached::ByEnd(_write) => output.await,
                },
            }
        } else {
            let _write = write;
            move_output(frames, pending, sender, how.exec, on_exit).await;
        }
    });
    let input: Option<Writer> = stdin.then(|| Box::new(near) as Writer);
    (input, ReceiverStream::new(receiver).boxed())
}

enum Detached {
    ByKeys,
    ByEnd(OwnedWriteHalf),
}

async fn move_input(
    mut from: tokio::io::DuplexStream,
    mut to: OwnedWriteHalf,
    mut how: Pump,
) -> Detached {
    let mut buffer = vec![0; 8 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            if how.stdin_once || how.exec.is_some() {
                let _ = to
                    .write_all(
                        &Request::CloseStdin {
                            exec: how.exec.clone(),
                        }
                        .to_bytes(),
                    )
                    .await;
            }
            return Detached::ByEnd(to);
        }
        let (bytes, detach) = match &mut how.keys {
            Some(keys) => keys.filter(&buffer[..read]),
            None => (buffer[..read].to_vec(), false),
        };
        let mut frame = Vec::with_capacity(bytes.len() + 8);
        protocol::encode(Kind::Stdin, &bytes, &mut frame);
        if !bytes.is_empty() && to.write_all(&frame).await.is_err() {
            return Detached::ByEnd(to);
        }
        if detach {
            return Detached::ByKeys;
        }
    }
}

/// Passes output on until the process has ended, the shim is gone, or nobody reads.
async fn move_output(
    mut frames: FrameReader,
    mut pending: VecDeque<Frame>,
    to: mpsc::Sender<(StreamKind, Bytes)>,
    exec: Option<String>,
    on_exit: Option<OnExit>,
) {
    loop {
        let next = match pending.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => tokio::select! {
                next = frames.next() => next,
                () = to.closed() => return,
            },
        };
        let Ok(Some(frame)) = next else { return };
        let kind = match frame.kind {
            Kind::Stdout => StreamKind::Stdout,
            Kind::Stderr => StreamKind::Stderr,
            Kind::Event => match frame.event() {
                Ok(Event::Exited { exec: ended, exit }) if ended == exec => {
                    if let Some(on_exit) = on_exit {
                        on_exit(&exit);
                    }
                    return;
                }
                _ => continue,
            },
            Kind::Request | Kind::Reply | Kind::Stdin => continue,
        };
        if to.send((kind, Bytes::from(frame.payload))).await.is_err() {
            return;
        }
    }
}
