//! `exec`: a further process in a running container.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci_spec::runtime::{Capability, Process};

use super::args::Args;
use super::create::{follow, own_streams, preserve_fds, write_pid_file};
use super::state::Known;
use super::wait::{self, Foreground};
use super::{Global, OciError, system};
use crate::container::{self, Entry};
use crate::shim::load_json;
use crate::sys::{clone, socket};

const VALUED: &[&str] = &[
    "process",
    "p",
    "console-socket",
    "pid-file",
    "cwd",
    "env",
    "e",
    "user",
    "u",
    "additional-gids",
    "g",
    "cap",
    "c",
    "preserve-fds",
    "process-label",
    "apparmor",
    "cgroup",
];

const SWITCHES: &[&str] = &[
    "tty",
    "t",
    "detach",
    "d",
    "no-new-privs",
    "ignore-paused",
    "no-subreaper",
];

pub(super) fn exec(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, VALUED, SWITCHES, true)?;
    let Some((id, command)) = args.rest.split_first() else {
        return Err(OciError::Usage(
            "expected the container's id and a command".into(),
        ));
    };
    let known = Known::load(global, id)?;
    match known.status() {
        "running" | "created" => {}
        "paused" if args.has("ignore-paused") => {}
        "stopped" => {
            return Err(OciError::Refused(
                "cannot exec in a stopped container".into(),
            ));
        }
        status => {
            return Err(OciError::WrongState {
                op: "exec in",
                status,
            });
        }
    }
    let config = known.place.config()?;
    let process = match args.value("process").or(args.value("p")) {
        Some(path) => load_json(Path::new(path))?,
        None => {
            let base = config
                .process()
                .clone()
                .ok_or_else(|| OciError::Refused("the container has no process".into()))?;
            build(base, &args, command)?
        }
    };
    let is_detached = args.has("detach") || args.has("d");
    let console_socket = args.value("console-socket").map(PathBuf::from);
    if process.terminal() == Some(true) && is_detached && console_socket.is_none() {
        return Err(OciError::Usage(
            "cannot allocate tty if runc will detach without setting console socket".into(),
        ));
    }
    clone::block_signals();
    let (ours, theirs) = socket::pair().map_err(system("socketpair"))?;
    let cgroup = known.cgroup();
    let place = (id.as_str(), known.state.bundle.as_path());
    let status = known.status();
    let container_state = container::state_of(&config, place, status, known.state.pid);
    let entry = Entry {
        id,
        container_pid: known.state.pid,
        cgroup: &cgroup,
        process: &process,
        seccomp_filter: None,
        seccomp: config.linux().as_ref().and_then(|l| l.seccomp().as_ref()),
        state: (config.version(), container_state),
        stdio: own_streams(),
        report: theirs.as_fd(),
        gate: theirs.as_fd(),
        is_sibling: false,
        preserve_fds: preserve_fds(&args)?,
    };
    let pid = container::enter(&entry).map_err(|e| {
        OciError::Refused(format!(
            "exec failed: unable to start container process: {e}"
        ))
    })?;
    drop(theirs);
    let terminal = follow(&ours, console_socket.as_deref())?;
    socket::send(ours.as_fd(), b"s", None).map_err(system("let the process go"))?;
    write_pid_file(args.value("pid-file").map(Path::new), pid)?;
    if is_detached {
        // Until it executes it needs this end; then the end comes by itself.
        let _ = crate::container::report::receive(&ours);
        return Ok(ExitCode::SUCCESS);
    }
    wait::foreground(Foreground { pid, terminal })
}

/// The container's own process with what the command line changes.
fn build(mut process: Process, args: &Args, command: &[String]) -> Result<Process, OciError> {
    if command.is_empty() {
        return Err(OciError::Usage("process args cannot be empty".into()));
    }
    process.set_args(Some(command.to_vec()));
    process.set_terminal(Some(args.has("tty") || args.has("t")));
    if let Some(cwd) = args.value("cwd") {
        process.set_cwd(cwd.into());
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(args.all(&["env", "e"]).map(str::to_owned));
    process.set_env(Some(env));
    if args.has("no-new-privs") {
        process.set_no_new_privileges(Some(true));
    }
    let number = |text: &str| {
        text.parse::<u32>()
            .map_err(|_| OciError::Usage(format!("{text:?} is not a number")))
    };
    if let Some(user) = args.value("user").or(args.value("u")) {
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        let mut of_process = process.user().clone();
        of_process.set_uid(number(uid)?);
        of_process.set_gid(number(gid)?);
        process.set_user(of_process);
    }
    let gids = args
        .all(&["additional-gids", "g"])
        .map(number)
        .collect::<Result<Vec<_>, _>>()?;
    if !gids.is_empty() {
        let mut of_process = process.user().clone();
        of_process.set_additional_gids(Some(gids));
        process.set_user(of_process);
    }
    add_capabilities(&mut process, args)?;
    Ok(process)
}

fn add_capabilities(process: &mut Process, args: &Args) -> Result<(), OciError> {
    for name in args.all(&["cap", "c"]) {
        let cap: Capability = serde_json::from_value(name.into())
            .map_err(|_| OciError::Usage(format!("unknown capability {name:?}")))?;
        let mut sets = process.capabilities().clone().unwrap_or_default();
        let with = |set: &Option<std::collections::HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(cap);
            Some(set)
        };
        let (bounding, effective, permitted) = (
            with(sets.bounding()),
            with(sets.effective()),
            with(sets.permitted()),
        );
        sets.set_bounding(bounding);
        sets.set_effective(effective);
        sets.set_permitted(permitted);
        process.set_capabilities(Some(sets));
    }
    Ok(())
}
