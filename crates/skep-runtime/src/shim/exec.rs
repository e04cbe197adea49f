//! Execs: further processes, made by a short-lived fork of the shim.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::Spec;

use super::protocol::{Attach, Event, Exec, Refusal, RefusalKind, Reply};
use super::serve::{PeerId, Process, Server, refuse};
use super::spec::files;
use super::state::{ExitRecord, load_json};
use super::streams::{Ends, Streams, Wanted};
use crate::CreateError;
use crate::container::report::{self, Report};
use crate::container::{self, Entry};
use crate::sys::clone::{self, Side};
use crate::sys::socket;

/// An exec that does not run yet.
#[derive(Debug)]
pub(super) struct PendingExec {
    id: String,
    asker: PeerId,
    pub report: OwnedFd,
    streams: Option<Streams>,
    pub pid: Option<i32>,
    is_let_go: bool,
    /// It ended before its start was told.
    pub exit: Option<ExitRecord>,
}

impl Server {
    /// Forks the process that makes the exec. The reply comes when its program runs.
    pub(super) fn begin_exec(&mut self, asker: PeerId, exec: Exec) -> Result<(), Refusal> {
        let conflict = |message: &str| Refusal {
            kind: RefusalKind::Conflict,
            message: message.into(),
        };
        if self.state.started_at.is_none() {
            return Err(conflict("the container is not running"));
        }
        let key = Some(exec.id.clone());
        if self.processes.contains_key(&key) || self.pending.iter().any(|p| p.id == exec.id) {
            return Err(conflict("an exec with this id exists"));
        }
        if self.cgroup.is_frozen() {
            return Err(conflict("the container is paused"));
        }
        let internal = |e: std::io::Error| Refusal {
            kind: RefusalKind::Create,
            message: format!("OCI runtime exec failed: {e}"),
        };
        let has_terminal = exec.process.terminal() == Some(true);
        let wanted = Wanted {
            stdin: exec.attach.stdin && !has_terminal,
            stdout: exec.attach.stdout && !has_terminal,
            stderr: exec.attach.stderr && !has_terminal,
        };
        let (streams, ends) = Streams::pipes(wanted).map_err(internal)?;
        if let Some(runtime) = self.spec.external.clone() {
            let mut streams = streams;
            let pid = super::external::exec(
                &runtime,
                &self.dir,
                &self.spec.id,
                &exec,
                &ends,
                &mut streams,
            )?;
            self.tie(asker, &exec);
            self.processes.insert(key, Process { pid, streams });
            if let Some(peer) = self.peers.get_mut(&asker) {
                peer.reply(&Reply::Started { pid });
            }
            return Ok(());
        }
        let (ours, theirs) = socket::pair().map_err(internal)?;
        // SAFETY: the shim has one thread.
        match unsafe { clone::fork() }.map_err(internal)? {
            Side::Child => {
                drop(ours);
                clone::exit_now(self.make(&exec, &ends, &theirs))
            }
            Side::Parent(_) => {}
        }
        self.tie(asker, &exec);
        self.pending.push(PendingExec {
            id: exec.id,
            asker,
            report: ours,
            streams: Some(streams),
            pid: None,
            is_let_go: false,
            exit: None,
        });
        Ok(())
    }

    /// The asker's connection carries the exec's streams.
    fn tie(&mut self, asker: PeerId, exec: &Exec) {
        if let Some(peer) = self.peers.get_mut(&asker) {
            peer.attached = Some(Attach {
                exec: Some(exec.id.clone()),
                ..exec.attach.clone()
            });
        }
    }

    /// In the fork: enters the container and starts the process there.
    fn make(&self, exec: &Exec, ends: &Ends, to: &OwnedFd) -> i32 {
        let failed = |error: &CreateError| {
            let _ = report::send(to.as_fd(), &Report::Failed(error.for_exec()), None);
            1
        };
        if let Err(error) = crate::open_files::put_back() {
            let what = format!("limit of open files: {error}");
            return failed(&CreateError::Config(what));
        }
        // A filter's flags, and who is asked by one that asks somebody, say the configuration.
        let filter = exec.seccomp_filter.as_deref();
        let config = filter.map(|_| load_json::<Spec>(&self.dir.join(files::CONFIG)));
        let config = match config.transpose() {
            Ok(config) => config,
            Err(error) => return failed(&CreateError::Config(error.to_string())),
        };
        let place = (self.spec.id.as_str(), self.dir.as_path());
        let state = config.as_ref().map_or_else(Default::default, |config| {
            let state = container::state_of(config, place, "running", self.state.pid);
            (config.version().as_str(), state)
        });
        let linux = config.as_ref().and_then(|config| config.linux().as_ref());
        let entry = Entry {
            id: &self.spec.id,
            container_pid: self.state.pid,
            cgroup: &self.cgroup,
            process: &exec.process,
            seccomp_filter: filter,
            seccomp: linux.and_then(|linux| linux.seccomp().as_ref()),
            state,
            stdio: ends.borrow(),
            report: to.as_fd(),
            gate: to.as_fd(),
            is_sibling: true,
            preserve_fds: 0,
        };
        match container::enter(&entry) {
            Ok(_) => 0,
            Err(error) => failed(&error),
        }
    }

    /// Something came from a pending exec.
    pub(super) fn exec_spoke(&mut self, at: usize) {
        let Some(pending) = self.pending.get_mut(at) else {
            return;
        };
        match report::receive(&pending.report) {
            Ok(Some((Report::Pid { pid, .. }, _))) => pending.pid = Some(pid),
            Ok(Some((Report::Terminal, Some(master)))) => {
                if let Some(streams) = &mut pending.streams
                    && let Err(e) = streams.set_terminal(master)
                {
                    eprintln!("shim: terminal of exec {}: {e}", pending.id);
                }
            }
            Ok(Some((Report::Ready, _))) => {
                pending.is_let_go = socket::send(pending.report.as_fd(), b"s", None).is_ok();
            }
            Ok(Some((Report::NotExecuted(_) | Report::Terminal, _))) => {}
            Ok(Some((Report::Failed(refusal), _))) => self.exec_failed(at, refusal),
            Ok(None) if pending.is_let_go => self.exec_runs(at),
            Ok(None) | Err(_) => {
                let message =
                    "OCI runtime exec failed: the process ended while it was set up".into();
                self.exec_failed(
                    at,
                    Refusal {
                        kind: RefusalKind::Create,
                        message,
                    },
                );
            }
        }
    }

    fn exec_runs(&mut self, at: usize) {
        let mut pending = self.pending.remove(at);
        let pid = pending.pid.unwrap_or(0);
        let streams = pending.streams.take().unwrap_or_default();
        if let Some(peer) = self.peers.get_mut(&pending.asker) {
            peer.reply(&Reply::Started { pid });
        }
        let key = Some(pending.id.clone());
        self.processes.insert(key, Process { pid, streams });
        if let Some(exit) = pending.exit {
            self.exec_ended(&pending.id, exit, &mut vec![0; 64 * 1024]);
        }
    }

    fn exec_failed(&mut self, at: usize, refusal: Refusal) {
        let pending = self.pending.remove(at);
        if let Some(peer) = self.peers.get_mut(&pending.asker) {
            peer.attached = None;
            peer.reply(&Reply::Error(refusal));
        }
        clone::trim_heap();
    }

    /// The container is gone, and with it what was about to run in it.
    pub(super) fn fail_pending_execs(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            if let Some(peer) = self.peers.get_mut(&pending.asker) {
                if let Some(exit) = pending.exit.filter(|_| pending.is_let_go) {
                    peer.reply(&Reply::Started {
                        pid: pending.pid.unwrap_or(0),
                    });
                    peer.event(&Event::Exited {
                        exec: Some(pending.id),
                        exit,
                    });
                } else {
                    peer.reply(&refuse(
                        RefusalKind::NotFound,
                        "the container has ended".into(),
                    ));
                }
            }
        }
    }
}
