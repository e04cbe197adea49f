//! `skep oci`: the runtime behind the command line which the OCI runtime specification describes.
//!
//! ```text
//! skep oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND [OPTIONS] ID
//! ```
//!
//! State is kept below `--root`, a directory a container: `state.json`, a copy of `config.json` as it
//! was at creation, and `start.fifo`, which is there until the container is started.

mod args;
mod create;
mod exec;
mod features;
mod lifecycle;
mod state;
mod wait;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::Args;

use crate::cgroup::CgroupError;
use crate::container::CreateError;
use crate::shim::ShimError;

/// Where state is kept unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/skep/oci";

/// The version of the specification which this follows.
const SPEC_VERSION: &str = "1.2.0";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum OciError {
    #[error("{0}")]
    Usage(String),
    #[error("container does not exist")]
    NoContainer,
    #[error("container with given ID already exists")]
    Exists,
    #[error("invalid container ID format: {0:?}")]
    BadId(String),
    #[error("cannot {op} a container in the {status} state")]
    WrongState {
        op: &'static str,
        status: &'static str,
    },
    #[error(
        "container {0} is not stopped: it must be stopped before it can be deleted (or use --force)"
    )]
    NotStopped(String),
    #[error("container not running")]
    NotRunning,
    #[error("{op} {}: {source}", path.display())]
    File {
        op: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("runc create failed: unable to start container process: {0}")]
    Create(#[from] CreateError),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    State(#[from] ShimError),
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: std::io::Error,
    },
}

fn on<'a>(op: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> OciError + 'a {
    move |source| OciError::File {
        op,
        path: path.into(),
        source,
    }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> OciError {
    move |source| OciError::System { what, source }
}

/// What stands before the sub-command.
#[derive(Debug)]
struct Global {
    root: PathBuf,
    log: Option<PathBuf>,
    log_json: bool,
}

const USAGE: &str = "usage: skep oci [--root DIR] [--log FILE] [--log-format text|json] \
                     create|start|state|kill|delete|exec|run|pause|resume|list|features [OPTIONS] ID …";

/// The argv role: `skep oci [OPTIONS] create|start|state|kill|delete|exec|run …`. `args` come after
/// `oci`. Call it before any thread or runtime exists.
pub fn main(args: &[String]) -> ExitCode {
    let global_flags = &["root", "log", "log-format", "criu", "rootless"];
    let parsed = Args::parse(
        args,
        global_flags,
        &["debug", "systemd-cgroup", "version", "v", "help", "h"],
        true,
    );
    let mut parsed = match parsed {
        Ok(parsed) => parsed,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    if parsed.has("version") || parsed.has("v") {
        println!(
            "skep oci version {}\nspec: {SPEC_VERSION}",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
    }
    let global = Global {
        root: parsed
            .value("root")
            .map_or_else(|| DEFAULT_ROOT.into(), PathBuf::from),
        log: parsed.value("log").map(PathBuf::from),
        log_json: parsed.value("log-format") == Some("json"),
    };
    let rest = std::mem::take(&mut parsed.rest);
    match dispatch(&global, &rest) {
        Ok(code) => code,
        Err(e) => {
            report(&global, &e);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(global: &Global, args: &[String]) -> Result<ExitCode, OciError> {
    let Some((command, args)) = args.split_first() else {
        return Err(OciError::Usage(USAGE.into()));
    };
    match command.as_str() {
        "create" => create::create(global, args),
        "run" => create::run(global, args),
        "start" => lifecycle::start(global, args),
        "state" => lifecycle::state(global, args),
        "kill" => lifecycle::kill(global, args),
        "delete" => lifecycle::delete(global, args),
        "pause" => lifecycle::pause(global, args),
        "resume" => lifecycle::resume(global, args),
        "list" => lifecycle::list(global, args),
        "exec" => exec::exec(global, args),
        "features" => features::features(args),
        other => Err(OciError::Usage(format!(
            "unknown command {other:?}\n{USAGE}"
        ))),
    }
}

/// To standard error, and to the log as engines read it.
fn report(global: &Global, error: &OciError) {
    eprintln!("{error}");
    let Some(path) = &global.log else { return };
    let level = "error";
    let line = if global.log_json {
        serde_json::json!({ "level": level, "msg": error.to_string(), "time": crate::shim::timestamp() }).to_string()
    } else {
        format!(
            "time={:?} level={level} msg={:?}",
            crate::shim::timestamp(),
            error.to_string()
        )
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    if let Err(e) = file.and_then(|mut f| writeln!(f, "{line}")) {
        eprintln!("write {}: {e}", path.display());
    }
}
