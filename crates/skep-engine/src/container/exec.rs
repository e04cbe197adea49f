//! Further processes in a running container.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_objects::ErrorKind;
use skep_objects::api::exec::{ExecCreate, ExecInspect, ExecProcessConfig, ExecStart};
use skep_objects::ids::new_hex_id;
use skep_runtime::shim::ExitRecord;
use skep_runtime::shim::protocol::{Attach, Exec, RefusalKind, Reply, Request};

use super::attach::{Pump, Source, pump};
use super::detach_keys::DetachKeys;
use super::shim::{Talk, TalkError};
use super::{Container, layered, oci};
use crate::core::Core;
use crate::engine::{Attached, StreamKind};
use crate::error::{EngineError, Result};

/// Ended execs that `exec inspect` still knows, in each container.
const KEPT: usize = 32;

/// The execs of all containers.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    known: Mutex<HashMap<String, ExecRecord>>,
    created: AtomicU64,
}

#[derive(Debug, Clone)]
struct ExecRecord {
    container: String,
    request: ExecCreate,
    /// Its number among all that were created.
    created: u64,
    running: bool,
    exit_code: Option<i64>,
    pid: i32,
}

impl Execs {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, ExecRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids of a container's execs that are prepared or run.
    pub(crate) fn of(&self, container: &str) -> Vec<String> {
        let execs = self.lock();
        let live = execs
            .iter()
            .filter(|(_, exec)| exec.container == container && exec.exit_code.is_none());
        let mut ids: Vec<String> = live.map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// What ran in a container that ended was killed with it.
    pub(crate) fn container_ended(&self, container: &str) {
        for exec in self
            .lock()
            .values_mut()
            .filter(|exec| exec.container == container && exec.running)
        {
            exec.running = false;
            exec.exit_code = Some(137);
        }
    }

    pub(crate) fn container_removed(&self, container: &str) {
        self.lock().retain(|_, exec| exec.container != container);
    }

    /// Records an end; false when it is known already.
    fn ended(&self, id: &str, code: i64) -> bool {
        let mut execs = self.lock();
        let Some(exec) = execs.get_mut(id).filter(|exec| exec.running) else {
            return false;
        };
        exec.running = false;
        exec.exit_code = Some(code);
        let container = exec.container.clone();
        let mut old: Vec<(u64, String)> = execs
            .iter()
            .filter(|(_, exec)| exec.container == container && exec.exit_code.is_some())
            .map(|(id, exec)| (exec.created, id.clone()))
            .collect();
        old.sort();
        for (_, id) in old.iter().take(old.len().saturating_sub(KEPT)) {
            execs.remove(id);
        }
        true
    }

    fn get(&self, id: &str) -> Result<ExecRecord> {
        let found = self.lock().get(id).cloned();
        found.ok_or_else(|| no_such(id))
    }

    /// Takes the one run that an exec has.
    fn begin(&self, id: &str) -> Result<()> {
        let mut execs = self.lock();
        let exec = execs.get_mut(id).ok_or_else(|| no_such(id))?;
        exec.refuse_again(id)?;
        exec.running = true;
        Ok(())
    }
}

impl ExecRecord {
    fn refuse_again(&self, id: &str) -> Result<()> {
        if self.running {
            return Err(EngineError::conflict(format!(
                "exec {id} is already running"
            )));
        }
        if self.exit_code.is_some() {
            return Err(EngineError::conflict(format!("exec {id} has already run")));
        }
        Ok(())
    }
}

fn no_such(id: &str) -> EngineError {
    EngineError::NoSuch {
        what: "exec instance",
        reference: id.to_owned(),
    }
}

/// The exit code of an exec that could not be begun.
const CANNOT_RUN: i64 = 126;

impl Core {
    pub(crate) fn exec_create(&self, reference: &str, request: ExecCreate) -> Result<String> {
        let container = self.containers.find(reference)?;
        container.refuse_unless_running()?;
        if request.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(EngineError::invalid("No exec command specified"));
        }
        DetachKeys::parse(&request.detach_keys)?;
        let id = new_hex_id();
        let action = format!("exec_create: {}", words(&request));
        let mut execs = self.execs.lock();
        // A removal forgets the execs, after the end: one that is kept now is forgotten then.
        container.refuse_unless_running()?;
        let record = ExecRecord {
            container: container.id.clone(),
            request,
            created: self.execs.created.fetch_add(1, Ordering::Relaxed),
            running: false,
            exit_code: None,
            pid: 0,
        };
        execs.insert(id.clone(), record);
        drop(execs);
        self.publish_exec(&container, &action, &id, None);
        Ok(id)
    }

    pub(crate) async fn exec_start(
        self: &Arc<Self>,
        id: &str,
        start: &ExecStart,
    ) -> Result<Option<Attached>> {
        let exec = self.execs.get(id)?;
        let container = self.containers.find(&exec.container)?;
        exec.refuse_again(id)?;
        container.refuse_unless_running()?;
        let request = exec.request;
        let attach = Attach {
            exec: Some(id.to_owned()),
            stdin: request.attach_stdin && !start.detach,
            stdout: !start.detach,
            stderr: !start.detach && !request.tty,
            lossless: true,
        };
        let size = start.console_size.or(request.console_size);
        self.execs.begin(id)?;
        let message = self.exec_message(&container, id, &request, attach.clone(), size);
        let message = match message.await {
            Ok(message) => message,
            Err(error) => {
                self.execs.ended(id, CANNOT_RUN);
                let error = self.told_running(&container, &container.id, error).await;
                if start.detach || error.kind() != ErrorKind::InvalidArgument {
                    return Err(error);
                }
                // Whoever is attached by now reads why, as of a program that is not there.
                return Ok(Some(failed(request.tty, &error)));
            }
        };
        let started = run(&container, message).await;
        let (talk, pid) = match started {
            Ok(started) => started,
            Err(error) => {
                let code = exit_code(&error);
                self.execs.ended(id, code);
                let error = start_error(&container, error);
                let error = self.told_running(&container, &container.id, error).await;
                if start.detach || error.kind() != ErrorKind::InvalidArgument {
                    return Err(error);
                }
                return Ok(Some(failed(request.tty, &error)));
            }
        };
        if let Some(exec) = self.execs.lock().get_mut(id) {
            exec.pid = pid;
        }
        self.publish_exec(
            &container,
            &format!("exec_start: {}", words(&request)),
            id,
            None,
        );
        if start.detach {
            return Ok(None);
        }
        let keys = request
            .tty
            .then(|| DetachKeys::parse(&request.detach_keys))
            .transpose()?;
        let how = Pump {
            stdin: attach.stdin,
            keys,
            stdin_once: true,
            id: container.id.clone(),
            exec: Some(id.to_owned()),
            on_exit: Some(self.tell_of_end(id)),
        };
        let (input, output) = pump(Source::Now(talk), how);
        Ok(Some(Attached {
            tty: request.tty,
            input,
            output,
        }))
    }

    /// The whole of what the shim is asked.
    pub(super) async fn exec_message(
        self: &Arc<Self>,
        container: &Arc<Container>,
        id: &str,
        request: &ExecCreate,
        attach: Attach,
        size: Option<[u32; 2]>,
    ) -> Result<Request> {
        let (core, container, id, request) = (
            self.clone(),
            container.clone(),
            id.to_owned(),
            request.clone(),
        );
        self.blocking(move || {
            let record = container.record();
            let user = if request.user.is_empty() {
                &record.config.user
            } else {
                &request.user
            };
            let layers = layered::Layered::new(core.layers(&container)?);
            let groups = record.host_config.group_add.clone().unwrap_or_default();
            let who = super::start::resolve_user(&layers, user, &groups)?;
            let mut config = record.config.clone();
            config
                .env
                .get_or_insert_default()
                .extend(request.env.clone().unwrap_or_default());
            let env = oci::environment(
                &config,
                &record.config.hostname,
                &who.home,
                &[],
                request.tty,
            );
            let cwd = [&request.working_dir, &record.config.working_dir]
                .into_iter()
                .find(|dir| !dir.is_empty());
            let args = request.cmd.clone().unwrap_or_default();
            let process = oci::exec_process(
                &record.host_config,
                &core.settings().default_ulimits,
                &args,
                &env,
                cwd.map_or("/", String::as_str),
                request.tty,
                size,
                &who,
                request.privileged,
            )?;
            let capabilities = oci::for_exec(&record.host_config, request.privileged)?;
            let cache = core.config.exec_root.join("seccomp");
            let seccomp_filter = if request.privileged {
                None
            } else {
                oci::seccomp_filter(&record.host_config, &capabilities, &cache)?
            };
            let process = serde_json::from_value(process)
                .map_err(|error| EngineError::invalid(error.to_string()))?;
            Ok(Request::Exec(Box::new(Exec {
                id,
                process,
                attach,
                seccomp_filter,
            })))
        })
        .await?
    }

    /// Records the end before the output ends, so that whoever reads that to its end finds the exit code.
    fn tell_of_end(self: &Arc<Self>, id: &str) -> super::attach::OnExit {
        let (core, id) = (self.clone(), id.to_owned());
        Box::new(move |exit| core.exec_ended(&id, exit))
    }

    /// An end that the shim told of.
    pub(super) fn exec_ended(&self, id: &str, exit: &ExitRecord) {
        let Ok(exec) = self.execs.get(id) else { return };
        if self.execs.ended(id, i64::from(exit.code))
            && let Ok(container) = self.containers.find(&exec.container)
        {
            self.publish_exec(&container, "exec_die", id, Some(exit.code));
        }
    }

    pub(crate) fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        let exec = self.execs.get(id)?;
        let request = exec.request;
        let mut words = request.cmd.unwrap_or_default().into_iter();
        Ok(ExecInspect {
            id: id.to_owned(),
            running: exec.running,
            exit_code: exec.exit_code,
            process_config: ExecProcessConfig {
                tty: request.tty,
                entrypoint: words.next().unwrap_or_default(),
                arguments: words.collect(),
                privileged: Some(request.privileged),
                user: request.user,
            },
            open_stdin: request.attach_stdin,
            open_stderr: request.attach_stderr,
            open_stdout: request.attach_stdout,
            can_remove: exec.exit_code.is_some(),
            container_id: exec.container,
            detach_keys: Some(request.detach_keys),
            pid: exec.pid,
        })
    }

    pub(crate) async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let exec = self.execs.get(id)?;
        if !exec.running {
            return Err(EngineError::conflict(format!("exec {id} is not running")));
        }
        if !exec.request.tty {
            // Docker accepts a size where there is no terminal.
            return Ok(());
        }
        let container = self.containers.find(&exec.container)?;
        let request = Request::Resize {
            exec: Some(id.to_owned()),
            rows: height,
            columns: width,
        };
        match super::attach::resize(&container, &request).await {
            Err(_) if !self.execs.get(id).is_ok_and(|exec| exec.running) => {
                Err(EngineError::conflict(format!("exec {id} is not running")))
            }
            Err(error) => Err(self.told_running(&container, &exec.container, error).await),
            Ok(()) => Ok(()),
        }
    }

    fn publish_exec(&self, container: &Container, action: &str, id: &str, code: Option<i32>) {
        let mut attributes = BTreeMap::from([("execID".to_owned(), id.to_owned())]);
        attributes.extend(code.map(|code| ("exitCode".to_owned(), code.to_string())));
        self.publish(container, action, attributes);
    }
}

fn words(request: &ExecCreate) -> String {
    request.cmd.as_deref().unwrap_or_default().join(" ")
}

/// Starts a process through the shim.
pub(super) async fn run(container: &Container, message: Request) -> Result<(Talk, i32), TalkError> {
    let mut talk = Talk::open(&container.bundle).await?;
    match talk.call(&message).await? {
        Reply::Started { pid } => Ok((talk, pid)),
        other => Err(TalkError::Gone(format!("it answered {other:?}"))),
    }
}

fn exit_code(error: &TalkError) -> i64 {
    match error {
        TalkError::Refused(refusal) => i64::from(refusal.kind.exit_code()),
        TalkError::Gone(_) | TalkError::Silent => 128,
    }
}

/// A program that could not be run is told of in its output, as in Docker; its exit code says the rest.
fn failed(tty: bool, error: &EngineError) -> Attached {
    let text = bytes::Bytes::from(format!("{error}\r\n"));
    let output = futures::stream::iter([Ok((StreamKind::Stdout, text))]);
    Attached {
        tty,
        input: None,
        output: futures::StreamExt::boxed(output),
    }
}

fn start_error(container: &Container, error: TalkError) -> EngineError {
    match error {
        TalkError::Refused(refusal) => {
            let kind = match refusal.kind {
                RefusalKind::Conflict => ErrorKind::Conflict,
                RefusalKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::InvalidArgument,
            };
            EngineError::refused(kind, refusal.message)
        }
        error @ (TalkError::Gone(_) | TalkError::Silent) => EngineError::Shim {
            doing: "exec in",
            id: container.id.clone(),
            reason: error.to_string(),
        },
    }
}
