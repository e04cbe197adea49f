//! `start`, `state`, `kill`, `delete`, `pause`, `resume`, `list`.

use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};

use super::args::Args;
use super::state::{Known, Place, ids};
use super::{Global, OciError, on};
use crate::container::run_all_hooks;
use crate::sys::clone;

pub(super) fn start(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &[], &[], false)?;
    start_known(&Known::load(global, args.only_id()?)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn start_known(known: &Known) -> Result<(), OciError> {
    match known.status() {
        "created" => {}
        status => {
            return Err(OciError::WrongState {
                op: "start",
                status,
            });
        }
    }
    let fifo = known.place.fifo();
    // Not for reading: the init has it open, or else is gone and the open fails.
    let gate = rustix::fs::open(
        &fifo,
        OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| on("open", &fifo)(e.into()))?;
    let watch = rustix::fs::open(
        &fifo,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| on("open", &fifo)(e.into()))?;
    std::fs::remove_file(&fifo).map_err(on("remove", &fifo))?;
    rustix::io::write(&gate, b"s").map_err(|e| on("write", &fifo)(e.into()))?;
    drop(gate);
    // The init closes its end, the last one to write, as it executes the program; or it says why not.
    let mut fds = [PollFd::new(&watch, PollFlags::empty())];
    rustix::event::poll(&mut fds, None)
        .map_err(|e| super::system("wait for the program")(e.into()))?;
    let mut said = [0; 4096];
    let count = rustix::io::read(&watch, &mut said).unwrap_or(0);
    if count > 0 {
        let why = String::from_utf8_lossy(&said[..count]).into_owned();
        // It is about to end by itself.
        let _ = clone::kill(known.state.pid, libc::SIGKILL);
        return Err(OciError::Refused(why));
    }
    let config = known.place.config()?;
    if let Some(hooks) = config.hooks().as_ref().filter(|h| h.poststart().is_some()) {
        let state = state_json(known, "running")?;
        // The container runs; the specification asks for a warning.
        warn_of(run_all_hooks(
            "poststart",
            hooks.poststart().as_deref(),
            &state,
        ));
    }
    Ok(())
}

fn warn_of(failed: Vec<crate::container::CreateError>) {
    for error in failed {
        eprintln!("warning: {error}");
    }
}

fn state_json(known: &Known, status: &str) -> Result<String, OciError> {
    let config = known.place.config()?;
    let mut json = serde_json::json!({
        "ociVersion": super::SPEC_VERSION,
        "id": known.state.id,
        "status": status,
        "pid": if status == "stopped" { 0 } else { known.state.pid },
        "bundle": known.state.bundle,
    });
    if let Some(annotations) = config.annotations() {
        json["annotations"] = serde_json::json!(annotations);
    }
    Ok(json.to_string())
}

pub(super) fn state(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &[], &[], false)?;
    let known = Known::load(global, args.only_id()?)?;
    println!("{}", state_json(&known, known.status())?);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn kill(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &[], &["all", "a"], false)?;
    let (id, signal) = match args.rest.as_slice() {
        [id] => (id, "SIGTERM"),
        [id, signal] => (id, signal.as_str()),
        _ => {
            return Err(OciError::Usage(
                "expected the container's id and a signal".into(),
            ));
        }
    };
    let signal = signal_number(signal)
        .ok_or_else(|| OciError::Usage(format!("unknown signal {signal:?}")))?;
    let known = Known::load(global, id)?;
    let wants_all = args.has("all") || args.has("a");
    if wants_all {
        for pid in known.cgroup().pids()? {
            let _ = clone::kill(pid, signal);
        }
    }
    if !known.is_alive() {
        return if wants_all {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(OciError::NotRunning)
        };
    }
    clone::kill(known.state.pid, signal).map_err(super::system("kill"))?;
    if signal == libc::SIGKILL && known.cgroup().is_frozen() {
        known.cgroup().thaw()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `9`, `KILL`, `SIGKILL`.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let names = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("ILL", libc::SIGILL),
        ("TRAP", libc::SIGTRAP),
        ("ABRT", libc::SIGABRT),
        ("BUS", libc::SIGBUS),
        ("FPE", libc::SIGFPE),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("SEGV", libc::SIGSEGV),
        ("USR2", libc::SIGUSR2),
        ("PIPE", libc::SIGPIPE),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("CHLD", libc::SIGCHLD),
        ("CONT", libc::SIGCONT),
        ("STOP", libc::SIGSTOP),
        ("TSTP", libc::SIGTSTP),
        ("TTIN", libc::SIGTTIN),
        ("TTOU", libc::SIGTTOU),
        ("URG", libc::SIGURG),
        ("XCPU", libc::SIGXCPU),
        ("XFSZ", libc::SIGXFSZ),
        ("VTALRM", libc::SIGVTALRM),
        ("PROF", libc::SIGPROF),
        ("WINCH", libc::SIGWINCH),
        ("IO", libc::SIGIO),
        ("PWR", libc::SIGPWR),
        ("SYS", libc::SIGSYS),
    ];
    names
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, number)| *number)
}

pub(super) fn delete(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &[], &["force", "f"], false)?;
    let is_forced = args.has("force") || args.has("f");
    let id = args.only_id()?;
    match Known::load(global, id) {
        Ok(known) => delete_known(&known, is_forced)?,
        Err(OciError::NoContainer) if is_forced => {
            // A creation that was cut short leaves a directory without a state.
            let place = Place::of(global, id)?;
            if place.dir.exists() {
                place.remove()?;
            }
        }
        Err(e) => return Err(e),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn delete_known(known: &Known, is_forced: bool) -> Result<(), OciError> {
    if known.is_alive() {
        if !is_forced {
            return Err(OciError::NotStopped(known.state.id.clone()));
        }
        let _ = clone::kill(known.state.pid, libc::SIGKILL);
    }
    known.cgroup().destroy(Duration::from_secs(10))?;
    let config = known.place.config()?;
    let stopped = state_json(known, "stopped")?;
    known.place.remove()?;
    if let Some(hooks) = config.hooks() {
        warn_of(run_all_hooks(
            "poststop",
            hooks.poststop().as_deref(),
            &stopped,
        ));
    }
    Ok(())
}

pub(super) fn pause(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &[], &[], false)?;
    let known = Known::load(global, args.only_id()?)?;
    match known.status() {
        "running" | "created" => known.cgroup().freeze()?,
        status => {
            return Err(OciError::WrongState {
                op: "pause",
                status,
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn resume(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &[], &[], false)?;
    let known = Known::load(global, args.only_id()?)?;
    match known.status() {
        "paused" => known.cgroup().thaw()?,
        status => {
            return Err(OciError::WrongState {
                op: "resume",
                status,
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let args = Args::parse(args, &["format", "f"], &["quiet", "q"], false)?;
    let quiet = args.has("quiet") || args.has("q");
    let known: Vec<Known> = ids(&global.root)
        .iter()
        .filter_map(|id| Known::load(global, id).ok())
        .collect();
    if args.value("format").or(args.value("f")) == Some("json") {
        let states = known
            .iter()
            .map(|k| state_json(k, k.status()))
            .collect::<Result<Vec<_>, _>>()?;
        println!("[{}]", states.join(","));
        return Ok(ExitCode::SUCCESS);
    }
    if !quiet {
        println!("{:<24}{:<12}{:<12}BUNDLE", "ID", "PID", "STATUS");
    }
    for k in &known {
        if quiet {
            println!("{}", k.state.id);
        } else {
            let status = k.status();
            let pid = if status == "stopped" { 0 } else { k.state.pid };
            println!(
                "{:<24}{pid:<12}{status:<12}{}",
                k.state.id,
                k.state.bundle.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigkill", 9),
            ("SIGTERM", 15),
            ("34", 34),
        ] {
            assert_eq!(signal_number(text), Some(number));
        }
        for text in ["0", "-1", "NOPE", "999"] {
            assert_eq!(signal_number(text), None);
        }
    }
}
