//! What clients ask of a shim.

use super::container_resize;
use super::protocol::{self, Frame, Kind, Refusal, RefusalKind, Reply, Request};
use super::serve::{PeerId, ProcessId, Server, refuse};
use crate::sys::clone;

impl Server {
    pub(super) fn take_frame(&mut self, id: PeerId, frame: &Frame) {
        match frame.kind {
            Kind::Request => match frame.request() {
                Ok(request) => {
                    // `Start` and `Exec` are answered later, when the program runs.
                    if let Some(reply) = self.answer(id, request)
                        && let Some(peer) = self.peers.get_mut(&id)
                    {
                        peer.reply(&reply);
                    }
                }
                Err(e) => self.reject(id, &e.to_string()),
            },
            Kind::Stdin => self.take_input(id, &frame.payload),
            Kind::Reply | Kind::Event | Kind::Stdout | Kind::Stderr => {
                self.reject(
                    id,
                    &format!("a client does not send {:?} frames", frame.kind),
                );
            }
        }
    }

    fn reject(&mut self, id: PeerId, message: &str) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.reply(&refuse(RefusalKind::Invalid, message.into()));
        }
    }

    fn take_input(&mut self, id: PeerId, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(attach) = peer.attached.as_ref().filter(|a| a.stdin) else {
            return;
        };
        peer.has_sent_input = true;
        if let Some(process) = self.processes.get_mut(&attach.exec) {
            process.streams.add_input(bytes);
        }
    }

    /// The reply, or `None` when it will come later.
    fn answer(&mut self, id: PeerId, request: Request) -> Option<Reply> {
        let outcome = match request {
            Request::Hello => Ok(Reply::Hello {
                version: protocol::VERSION,
                state: self.state.clone(),
                execs: self.processes.keys().flatten().cloned().collect(),
            }),
            Request::Subscribe => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.wants_events = true;
                }
                Ok(Reply::Ok)
            }
            Request::Start => match self.start(id) {
                Ok(()) => return None,
                Err(refusal) => Err(refusal),
            },
            Request::Signal { signal, exec, all } => self.signal(signal, &exec, all),
            Request::Attach(attach) => self.known(&attach.exec).map(|()| {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.attached = Some(attach);
                }
                Reply::Ok
            }),
            Request::CloseStdin { exec } => self.known(&exec).map(|()| {
                if let Some(process) = self.processes.get_mut(&exec) {
                    process.streams.close_input();
                }
                Reply::Ok
            }),
            Request::Resize {
                exec,
                rows,
                columns,
            } => self.resize(&exec, rows, columns),
            Request::Exec(exec) => match self.begin_exec(id, *exec) {
                Ok(()) => return None,
                Err(refusal) => Err(refusal),
            },
        };
        Some(outcome.unwrap_or_else(Reply::Error))
    }

    fn known(&self, process: &ProcessId) -> Result<(), Refusal> {
        if self.processes.contains_key(process) {
            return Ok(());
        }
        let message = match process {
            Some(exec) => format!("no exec {exec} runs here"),
            None => "the container has ended".into(),
        };
        Err(Refusal {
            kind: RefusalKind::NotFound,
            message,
        })
    }

    fn signal(&mut self, signal: i32, exec: &ProcessId, all: bool) -> Result<Reply, Refusal> {
        self.known(exec)?;
        let failed = |e: std::io::Error| Refusal {
            kind: RefusalKind::Invalid,
            message: format!("kill: {e}"),
        };
        if all {
            for pid in self.cgroup.pids().unwrap_or_default() {
                // Gone meanwhile is as good.
                let _ = clone::kill(pid, signal);
            }
        } else if let Some(process) = self.processes.get(exec) {
            clone::kill(process.pid, signal).map_err(failed)?;
        }
        if signal == libc::SIGKILL && self.cgroup.is_frozen() {
            // A frozen process would die only when thawed, and nobody may come to do that.
            let _ = self.cgroup.thaw();
        }
        Ok(Reply::Ok)
    }

    fn resize(&mut self, exec: &ProcessId, rows: u16, columns: u16) -> Result<Reply, Refusal> {
        self.known(exec)?;
        let terminal = self.processes.get(exec).and_then(|p| p.streams.terminal());
        // As with runc, a process without one has nothing to be told.
        let Some(terminal) = terminal else {
            return Ok(Reply::Ok);
        };
        container_resize(terminal, rows, columns)
            .map(|()| Reply::Ok)
            .map_err(|e| Refusal {
                kind: RefusalKind::Invalid,
                message: format!("resize: {e}"),
            })
    }
}
