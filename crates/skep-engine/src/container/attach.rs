//! Attaching to a container's streams, before its start or while it runs.

use std::collections::VecDeque;
use std::time::Duration;

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

/// How many pieces of output wait for a slow reader. Beyond that the connection waits, and behind it
/// the process, or the shim closes the connection: see [`protocol::Attach::lossless`].
const BACKLOG: usize = 64;
/// As much of the input at once.
const INPUT: usize = 32 << 10;
/// How long the input of a client that is gone may take to reach the process.
const LAST_INPUT: Duration = Duration::from_secs(10);

/// Somebody who attached to a container that is not started yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    streams: protocol::Attach,
    reply: oneshot::Sender<Result<Talk>>,
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
            lossless: false,
        };
        let source = match wait_for_start(&container, &streams) {
            Some(talk) => Source::Later(talk),
            None => match open(&container, &streams).await {
                Err(error) => return Err(self.told_running(&container, reference, error).await),
                Ok(talk) => Source::Now(talk),
            },
        };
        let (input, output) = pump(
            source,
            Pump {
                stdin: streams.stdin,
                keys: tty.then_some(keys),
                stdin_once,
                id: container.id.clone(),
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
    ) -> Result<BoxStream<Result<(StreamKind, Bytes)>>> {
        let wanted = LogOptions {
            stdout: options.stdout,
            stderr: options.stderr,
            ..LogOptions::default()
        };
        let logs = self.logs(reference, &wanted).await?;
        let lines = logs
            .records
            .map(|record| record.map(|record| (record.stream, record.bytes)));
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
    let mut talk = Talk::open(&container.bundle).await.map_err(gone)?;
    talk.call(request).await.map(|_| ()).map_err(gone)
}

async fn open(container: &Container, streams: &protocol::Attach) -> Result<Talk> {
    let gone = |error: super::shim::TalkError| EngineError::Shim {
        doing: "attach to",
        id: container.id.clone(),
        reason: error.to_string(),
    };
    let mut talk = Talk::open(&container.bundle).await.map_err(gone)?;
    talk.call(&Request::Attach(streams.clone()))
        .await
        .map_err(gone)?;
    Ok(talk)
}

/// Lets a client wait for the next start; none when there is a shim to attach to already.
///
/// Such a client wants the output from its first byte to its last, as a foreground `docker run` does.
fn wait_for_start(
    container: &Container,
    streams: &protocol::Attach,
) -> Option<oneshot::Receiver<Result<Talk>>> {
    let mut live = container.live();
    // Under the lock: who waits is taken from the list before the state says that the container runs.
    let (running, starts) = container.with(|_, state| (state.running, state.starts));
    if running || live.connected == Some(starts) {
        return None;
    }
    let (reply, talk) = oneshot::channel();
    live.waiting.retain(|waiting| !waiting.reply.is_closed());
    live.waiting.push(Waiting {
        streams: protocol::Attach {
            lossless: true,
            ..streams.clone()
        },
        reply,
    });
    Some(talk)
}

/// Connects who waited, between the creation of the container and the start of its program. Who comes
/// later finds the shim by itself.
pub(super) async fn connect_waiting(container: &Container) {
    let waiting = {
        let mut live = container.live();
        live.connected = Some(container.with(|_, state| state.starts));
        std::mem::take(&mut live.waiting)
    };
    for Waiting { streams, reply } in waiting
        .into_iter()
        .filter(|waiting| !waiting.reply.is_closed())
    {
        // Whoever waited tells of a failure.
        let _ = reply.send(open(container, &streams).await);
    }
}

/// Nothing will come: the start failed.
pub(super) fn refuse_waiting(container: &Container) {
    let mut live = container.live();
    live.connected = None;
    live.waiting.clear();
}

/// A connection that is there, or will be once the container starts.
pub(super) enum Source {
    Now(Talk),
    Later(oneshot::Receiver<Result<Talk>>),
}

/// Told how a process ended.
pub(super) type OnExit = Box<dyn FnOnce(&ExitRecord) + Send>;

/// How the streams are moved.
pub(super) struct Pump {
    pub stdin: bool,
    pub keys: Option<DetachKeys>,
    /// The end of the input is the process's end of file.
    pub stdin_once: bool,
    /// The container.
    pub id: String,
    pub exec: Option<String>,
    /// Told of the end before the output ends.
    pub on_exit: Option<OnExit>,
}

/// What is sent to a client.
type Piece = Result<(StreamKind, Bytes)>;

/// Moves bytes between a shim and a client in the background, until either is done.
pub(super) fn pump(source: Source, how: Pump) -> (Option<Writer>, BoxStream<Piece>) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let (near, far) = tokio::io::duplex(INPUT);
    let stdin = how.stdin;
    tokio::spawn(async move {
        let talk = match source {
            Source::Now(talk) => talk,
            Source::Later(talk) => tokio::select! {
                talk = talk => match talk {
                    Ok(Ok(talk)) => talk,
                    Ok(Err(error)) => return drop(sender.send(Err(error)).await),
                    Err(_) => return,
                },
                () = sender.closed() => return,
            },
        };
        move_both(talk, far, sender, how).await;
    });
    let input: Option<Writer> = stdin.then(|| Box::new(near) as Writer);
    (input, ReceiverStream::new(receiver).boxed())
}

async fn move_both(
    talk: Talk,
    from: tokio::io::DuplexStream,
    to: mpsc::Sender<Piece>,
    mut how: Pump,
) {
    let (frames, write, pending) = talk.split();
    let output = Output {
        frames,
        pending,
        to,
        id: how.id.clone(),
        exec: how.exec.clone(),
        on_exit: how.on_exit.take(),
    };
    if !how.stdin {
        let _write = write;
        output.run().await;
        return;
    }
    let (output, input) = (output.run(), move_input(from, write, how));
    tokio::pin!(output, input);
    tokio::select! {
        over = &mut output => match over {
            Over::Ended => {}
            // What it had sent is for the process all the same.
            Over::Unread => drop(tokio::time::timeout(LAST_INPUT, input).await),
        },
        detached = &mut input => match detached {
            Detached::ByKeys => {}
            // The output goes on after the end of the input; the connection must too.
            Detached::ByEnd(_write) => {
                output.await;
            }
        },
    }
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

/// The way from a process to a client.
struct Output {
    frames: FrameReader,
    pending: VecDeque<Frame>,
    to: mpsc::Sender<Piece>,
    id: String,
    exec: Option<String>,
    on_exit: Option<OnExit>,
}

/// Why no more output is moved.
enum Over {
    /// That was all of it, or all that can be had.
    Ended,
    /// The client is gone.
    Unread,
}

impl Output {
    /// Passes output on until the process has ended, the shim is gone, or nobody reads.
    async fn run(mut self) -> Over {
        loop {
            let next = match self.pending.pop_front() {
                Some(frame) => Ok(Some(frame)),
                None => tokio::select! {
                    next = self.frames.next() => next,
                    () = self.to.closed() => return Over::Unread,
                },
            };
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    return self
                        .broken("the connection to the container ended early")
                        .await;
                }
                Err(error) => return self.broken(&error.to_string()).await,
            };
            let kind = match frame.kind {
                Kind::Stdout => StreamKind::Stdout,
                Kind::Stderr => StreamKind::Stderr,
                Kind::Event => match frame.event() {
                    Ok(Event::Exited { exec: ended, exit }) if ended == self.exec => {
                        if let Some(on_exit) = self.on_exit {
                            on_exit(&exit);
                        }
                        return Over::Ended;
                    }
                    _ => continue,
                },
                Kind::Request | Kind::Reply | Kind::Stdin => continue,
            };
            let piece = Ok((kind, Bytes::from(frame.payload)));
            if self.to.send(piece).await.is_err() {
                return Over::Unread;
            }
        }
    }

    /// Without the word of the process's end what came is not known to be all, and must not look so.
    async fn broken(self, reason: &str) -> Over {
        let error = EngineError::Shim {
            doing: "read the output of",
            id: self.id,
            reason: reason.to_owned(),
        };
        let _ = self.to.send(Err(error)).await;
        Over::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Record, RunState};
    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_a_start_whose_waiters_are_connected_already() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::damaged("c1", &EngineError::invalid("none"));
        let at = dir.path().to_owned();
        let container = Container::new(at.clone(), at, record, RunState::default());
        let streams = protocol::Attach::default();
        let waits = || wait_for_start(&container, &streams).is_some();
        assert!(waits(), "it is not started");
        connect_waiting(&container).await;
        assert!(
            !waits(),
            "there is a shim, and the state does not say so yet"
        );
        refuse_waiting(&container);
        assert!(waits(), "the start failed");
        connect_waiting(&container).await;
        container
            .change_state(|state| (state.running, state.starts) = (true, 1))
            .unwrap();
        assert!(!waits(), "it runs");
        container
            .change_state(|state| state.running = false)
            .unwrap();
        assert!(waits(), "it has ended: the next start");
        assert_eq!(
            container.live().waiting.len(),
            1,
            "who went away is forgotten"
        );
    }
}
