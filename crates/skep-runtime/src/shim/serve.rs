//! The shim's loop: one thread, one `poll`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::exec::PendingExec;
use super::log::{Log, Stream};
use super::peer::{self, Peer};
use super::protocol::{Event, Kind, Refusal, RefusalKind, Reply};
use super::run::Made;
use super::spec::{ShimSpec, files};
use super::state::{ExitRecord, ShimState};
use super::streams::{Reading, Streams};
use super::time::now_ns;
use crate::cgroup::{Cgroup, OomWatch};
use crate::container::report::{self, Report};
use crate::sys::clone;

/// Bytes read at a time, from streams and clients.
const CHUNK: usize = 64 * 1024;

/// How long clients may take to fetch the last output once the container has ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// As much for a client that is waited for: somebody may be reading page by page.
const LONG_FAREWELL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long no connection is taken when one could not be.
const REST: Duration = Duration::from_millis(200);

/// Names a client.
pub(super) type PeerId = u64;

/// Names a process: `None` is the container's init.
pub(super) type ProcessId = Option<String>;

/// A process whose streams are held here.
#[derive(Debug)]
pub(super) struct Process {
    pub pid: i32,
    pub streams: Streams,
}

/// The state of the loop.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) dir: PathBuf,
    pub(super) spec: ShimSpec,
    pub(super) state: ShimState,
    pub(super) cgroup: Cgroup,
    log: Option<Log>,
    listener: OwnedFd,
    /// Until then no connection is taken: the last could not be.
    rests_until: Option<Instant>,
    /// That was said.
    has_complained: bool,
    signals: OwnedFd,
    gate: Option<OwnedFd>,
    /// Who asked for the start, until the program runs.
    pub(super) starting: Option<PeerId>,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    next_peer: PeerId,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    pub(super) pending: Vec<PendingExec>,
    /// When the container ended.
    ended_at: Option<Instant>,
    oom: Option<OomWatch>,
    oom_kills_told: u64,
}

/// What a descriptor in the poll set stands for.
#[derive(Debug, Clone)]
enum Source {
    Signals,
    Listener,
    Gate,
    Peer(PeerId),
    Output(ProcessId, Stream),
    Input(ProcessId),
    Pending(usize),
    Oom,
    Log,
}

impl Server {
    pub(super) fn new(
        dir: &Path,
        spec: ShimSpec,
        made: Made,
        log: Option<Log>,
        listener: OwnedFd,
    ) -> io::Result<Self> {
        let signals =
            clone::signal_fd(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
        let init = Process {
            pid: made.state.pid,
            streams: made.streams,
        };
        let cgroup = Cgroup::open(made.state.cgroup.clone());
        let oom = cgroup.watch_oom();
        Ok(Self {
            dir: dir.into(),
            cgroup,
            spec,
            state: made.state,
            log,
            listener,
            rests_until: None,
            has_complained: false,
            signals,
            gate: made.gate,
            starting: None,
            peers: BTreeMap::new(),
            next_peer: 0,
            processes: BTreeMap::from([(None, init)]),
            pending: Vec::new(),
            ended_at: None,
            oom,
            oom_kills_told: 0,
        })
    }

    pub(super) fn run(mut self) -> ExitCode {
        let mut buffer = vec![0; CHUNK];
        loop {
            if let Err(e) = self.turn(&mut buffer) {
                eprintln!("shim: {e}");
                return ExitCode::FAILURE;
            }
            if let Some(deadline) = self.farewell() {
                let is_logged = self.log.as_ref().is_none_or(|l| l.waits_for().is_none());
                let is_flushed = is_logged && self.peers.values().all(|p| !p.has_output());
                if is_flushed || Instant::now() >= deadline {
                    return ExitCode::SUCCESS;
                }
            }
        }
    }

    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.rests_until.take_if(|until| *until <= Instant::now());
        let ready = self.wait()?;
        let mut has_signal = false;
        // Highest first: handling an exec removes it from the list.
        for source in ready.into_iter().rev() {
            match source {
                Source::Signals => has_signal = true,
                Source::Listener => self.accept(),
                Source::Gate => self.gate_spoke(),
                Source::Peer(id) => self.peer_is_ready(id, buffer),
                Source::Output(process, stream) => drop(self.pump(&process, stream, buffer)),
                Source::Input(process) => {
                    if let Some(p) = self.processes.get_mut(&process) {
                        p.streams.write_input();
                    }
                }
                Source::Pending(at) => self.exec_spoke(at),
                Source::Oom => self.memory_ran_out(),
                Source::Log => self.log.iter_mut().for_each(Log::flush),
            }
        }
        // After the reports: they tell the pids which ended.
        if has_signal {
            self.read_signals();
            self.reap(buffer);
        }
        self.serve_frames();
        self.drop_peers();
        Ok(())
    }

    fn wait(&mut self) -> io::Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        add(Source::Signals, self.signals.as_fd(), PollFlags::IN);
        if self.ended_at.is_none() && self.rests_until.is_none() {
            add(Source::Listener, self.listener.as_fd(), PollFlags::IN);
        }
        if let Some(gate) = self
            .gate
            .as_ref()
            .filter(|_| self.starting.is_some() || self.state.started_at.is_some())
        {
            add(Source::Gate, gate.as_fd(), PollFlags::IN);
        }
        if let Some(oom) = &self.oom {
            add(Source::Oom, oom.fd().as_fd(), PollFlags::IN);
        }
        if let Some(fd) = self.log.as_ref().and_then(Log::waits_for) {
            add(Source::Log, fd, PollFlags::OUT);
        }
        for (at, exec) in self.pending.iter().enumerate() {
            add(Source::Pending(at), exec.report.as_fd(), PollFlags::IN);
        }
        for (id, peer) in &self.peers {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !self.is_input_blocked(peer));
            flags.set(PollFlags::OUT, peer.has_output());
            // With nothing to wait for, a hang-up alone would be reported for ever.
            if !flags.is_empty() {
                add(Source::Peer(*id), peer.fd(), flags);
            }
        }
        for (id, process) in &self.processes {
            if !self.is_output_blocked(id) {
                for (stream, fd) in process.streams.sources() {
                    add(Source::Output(id.clone(), stream), fd, PollFlags::IN);
                }
            }
            if let Some(fd) = process.streams.input_waits_for() {
                add(Source::Input(id.clone()), fd, PollFlags::OUT);
            }
        }
        let timeout = self.timeout();
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        Ok(sources
            .into_iter()
            .zip(is_ready)
            .filter(|(_, is_ready)| *is_ready)
            .map(|(source, _)| source)
            .collect())
    }

    fn timeout(&self) -> Option<Timespec> {
        let stalls = self.peers.values().filter_map(Peer::stall_deadline).min();
        let deadline = stalls
            .into_iter()
            .chain(self.farewell())
            .chain(self.rests_until)
            .min()?;
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    /// When clients have had time enough to fetch the last output; none while the container lives.
    fn farewell(&self) -> Option<Instant> {
        let is_waited_for = |p: &Peer| p.is_waited_for() && p.has_output();
        let patience = match self.peers.values().any(is_waited_for) {
            true => LONG_FAREWELL,
            false => FAREWELL,
        };
        Some(self.ended_at? + patience)
    }

    /// A client whose process does not read its input is not read either; nor is one that asks and does
    /// not take the answers.
    fn is_input_blocked(&self, peer: &Peer) -> bool {
        if peer.is_full() {
            return true;
        }
        let target = peer.attached.as_ref().filter(|a| a.stdin).map(|a| &a.exec);
        target
            .and_then(|id| self.processes.get(id))
            .is_some_and(|p| p.streams.is_input_full())
    }

    /// A client that lags holds up its process, for good or until it stalls; so does a log driver in
    /// blocking mode.
    fn is_output_blocked(&self, process: &ProcessId) -> bool {
        if process.is_none() && self.log.as_ref().is_some_and(Log::is_full) {
            return true;
        }
        self.peers.values().any(|peer| {
            peer.is_full() && peer.attached.as_ref().is_some_and(|a| a.exec == *process)
        })
    }

    /// Takes a connection. Where there is no room for one it waits its turn: the container is not to
    /// end for want of descriptors or memory here.
    fn accept(&mut self) {
        match peer::accept(&self.listener) {
            Ok(peer) => {
                self.has_complained = false;
                if let Some(peer) = peer {
                    self.peers.insert(self.next_peer, peer);
                    self.next_peer += 1;
                }
            }
            Err(e) => {
                if !std::mem::replace(&mut self.has_complained, true) {
                    eprintln!("shim: accept: {e}; tried again");
                }
                self.rests_until = Some(Instant::now() + REST);
            }
        }
    }

    fn peer_is_ready(&mut self, id: PeerId, buffer: &mut [u8]) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let is_blocked = self.is_input_blocked(peer);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.has_output() {
            peer.flush();
        }
        if !is_blocked {
            peer.receive(buffer);
        }
    }

    /// Answers every frame that is complete and may be taken now.
    fn serve_frames(&mut self) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            while let Some(peer) = self.peers.get(&id) {
                if self.is_input_blocked(peer) {
                    break;
                }
                let Some(peer) = self.peers.get_mut(&id) else {
                    break;
                };
                match peer.next_frame() {
                    Ok(Some(frame)) => self.take_frame(id, &frame),
                    Ok(None) => break,
                    Err(e) => {
                        peer.reply(&refuse(RefusalKind::Invalid, e.to_string()));
                        peer.is_gone = true;
                        break;
                    }
                }
            }
        }
    }

    fn drop_peers(&mut self) {
        let now = Instant::now();
        let gone: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, p)| {
                p.is_gone || p.stall_deadline().is_some_and(|deadline| deadline <= now)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            let Some(peer) = self.peers.remove(&id) else {
                continue;
            };
            let attached = peer.attached.filter(|a| a.stdin);
            if let Some(attach) = attached {
                // An exec has one client; the container's input outlives them unless told otherwise.
                let closes = attach.exec.is_some() || (self.spec.stdin_once && peer.has_sent_input);
                if let Some(process) = self.processes.get_mut(&attach.exec).filter(|_| closes) {
                    process.streams.close_input();
                }
            }
        }
    }

    /// Lets the init go.
    pub(super) fn start(&mut self, asker: PeerId) -> Result<(), Refusal> {
        let refuse = |kind, message: String| Refusal { kind, message };
        if self.state.started_at.is_some() || self.starting.is_some() {
            return Err(refuse(
                RefusalKind::Conflict,
                "the container is already started".into(),
            ));
        }
        if let Some(external) = &self.spec.external {
            super::external::start(external, &self.dir, &self.spec.id)?;
            self.mark_started();
            self.answer_start(asker);
            return Ok(());
        }
        let gate = self
            .gate
            .as_ref()
            .ok_or_else(|| refuse(RefusalKind::Conflict, "the container has ended".into()))?;
        crate::sys::socket::send(gate.as_fd(), b"s", None)
            .map_err(|e| refuse(RefusalKind::Create, format!("start: {e}")))?;
        self.starting = Some(asker);
        Ok(())
    }

    fn answer_start(&mut self, asker: PeerId) {
        let pid = self.state.pid;
        if let Some(peer) = self.peers.get_mut(&asker) {
            peer.reply(&Reply::Started { pid });
        }
    }

    fn mark_started(&mut self) {
        self.state.started_at = Some(now_ns());
        if let Err(e) = self.state.save(&self.dir) {
            eprintln!("shim: {e}");
        }
    }

    /// The init executed (end of the connection) or could not.
    fn gate_spoke(&mut self) {
        let Some(gate) = &self.gate else { return };
        if let Ok(Some((Report::NotExecuted(_), _))) = report::receive(gate) {
            return; // its log says why, and its exit code follows
        }
        self.gate = None;
        self.mark_started();
        if let Some(asker) = self.starting.take() {
            self.answer_start(asker);
        }
    }

    /// Moves what one stream has to the log and to the clients.
    fn pump(&mut self, id: &ProcessId, stream: Stream, buffer: &mut [u8]) -> bool {
        let Some(process) = self.processes.get_mut(id) else {
            return false;
        };
        match process.streams.read(stream, buffer) {
            Reading::Bytes(n) => {
                self.deliver(id, stream, &buffer[..n]);
                true
            }
            Reading::Empty | Reading::End => false,
        }
    }

    fn deliver(&mut self, id: &ProcessId, stream: Stream, bytes: &[u8]) {
        if let (None, Some(log)) = (id, &mut self.log) {
            log.write(stream, bytes);
        }
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        for peer in self.peers.values_mut() {
            let wants = peer.attached.as_ref().is_some_and(|a| {
                a.exec == *id
                    && match stream {
                        Stream::Stdout => a.stdout,
                        Stream::Stderr => a.stderr,
                    }
            });
            if wants {
                peer.output(kind, bytes);
            }
        }
    }

    /// Everything that is in the streams now. Writers that live on do not hold this up.
    fn drain(&mut self, id: &ProcessId, buffer: &mut [u8]) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            // Bounded by what a pipe can hold, as far as its writers are dead.
            let mut left = 64;
            while left > 0 && self.pump(id, stream, buffer) {
                left -= 1;
            }
        }
    }

    fn memory_ran_out(&mut self) {
        let is_certain = self.oom.as_ref().is_some_and(OomWatch::is_certain);
        let kills = self.cgroup.oom_kills();
        if is_certain || kills > self.oom_kills_told {
            self.oom_kills_told = kills.max(self.oom_kills_told + 1);
            self.tell(&None, &Event::OutOfMemory);
        }
    }

    fn read_signals(&mut self) {
        let mut info = [0; 128];
        while let Ok(n) = rustix::io::read(&self.signals, &mut info) {
            // The first field of signalfd_siginfo is the signal's number.
            let signal = n
                .checked_sub(128)
                .map(|_| u32::from_ne_bytes([info[0], info[1], info[2], info[3]]));
            let signal = signal.and_then(|s| i32::try_from(s).ok()).unwrap_or(0);
            if signal != libc::SIGCHLD && signal != 0 {
                // Somebody stops the shim by hand: the container gets the word.
                let _ = clone::kill(self.state.pid, signal);
            }
        }
    }

    fn reap(&mut self, buffer: &mut [u8]) {
        while let Some((pid, status)) = clone::reap_any() {
            let exit = exit_of(status);
            if pid == self.state.pid {
                self.container_ended(exit, buffer);
                continue;
            }
            let exec = self
                .processes
                .iter()
                .find(|(_, p)| p.pid == pid)
                .and_then(|(id, _)| id.clone());
            if let Some(id) = exec {
                self.exec_ended(&id, exit, buffer);
            } else if let Some(pending) = self.pending.iter_mut().find(|p| p.pid == Some(pid)) {
                pending.exit = Some(exit);
            }
        }
    }

    fn container_ended(&mut self, mut exit: ExitRecord, buffer: &mut [u8]) {
        self.drain(&None, buffer);
        let kills = self.cgroup.oom_kills();
        exit.oom_killed = kills > 0;
        if kills > 0 && self.oom_kills_told == 0 {
            self.tell(&None, &Event::OutOfMemory);
        }
        // Removing the cgroup would wake it too.
        self.oom = None;
        if let Some(external) = &self.spec.external {
            super::external::delete(external, &self.dir, &self.spec.id);
        }
        if let Err(e) = self.cgroup.destroy(Duration::from_secs(5)) {
            eprintln!("shim: {e}");
        }
        // Nothing of the container writes any more, whatever pid namespace it had.
        self.drain(&None, buffer);
        if let Some(log) = &mut self.log {
            log.finish();
        }
        let execs: Vec<String> = self.processes.keys().flatten().cloned().collect();
        for id in execs {
            self.exec_ended(
                &id,
                ExitRecord {
                    code: 137,
                    signal: Some(libc::SIGKILL),
                    ..exit.clone()
                },
                buffer,
            );
        }
        if let Err(e) = exit.save(&self.dir) {
            eprintln!("shim: {e}");
        }
        let _ = std::fs::remove_file(self.dir.join(files::SOCKET));
        if let Some(asker) = self.starting.take() {
            self.answer_start(asker);
        }
        self.fail_pending_execs();
        self.tell(&None, &Event::Exited { exec: None, exit });
        self.processes.clear();
        self.ended_at = Some(Instant::now());
    }

    pub(super) fn exec_ended(&mut self, id: &str, exit: ExitRecord, buffer: &mut [u8]) {
        let key = Some(id.to_owned());
        self.drain(&key, buffer);
        self.processes.remove(&key);
        self.tell(
            &key,
            &Event::Exited {
                exec: key.clone(),
                exit,
            },
        );
        clone::trim_heap();
    }

    /// Sends an event to those who asked, and to those who are attached to what it is about.
    pub(super) fn tell(&mut self, about: &ProcessId, event: &Event) {
        for peer in self.peers.values_mut() {
            if peer.wants_events || peer.attached.as_ref().is_some_and(|a| a.exec == *about) {
                peer.event(event);
            }
        }
    }
}

/// How Docker counts an exit status.
pub(super) fn exit_of(status: i32) -> ExitRecord {
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    let code = signal.map_or_else(|| libc::WEXITSTATUS(status), |s| 128 + s);
    ExitRecord {
        code,
        signal,
        oom_killed: false,
        finished_at: now_ns(),
        error: None,
    }
}

pub(super) fn refuse(kind: RefusalKind, message: String) -> Reply {
    Reply::Error(Refusal { kind, message })
}

/// A borrowed descriptor of the pending exec's report.
impl AsFd for PendingExec {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}
