//! `skep daemon`: reads flags and daemon.json, then builds and runs engine, swarm node and HTTP API.
//!
//! This is the one composition root: every part is opened here, in order, and ended here, in the
//! opposite order and within bounded time. Containers are not part of it: they outlive the daemon
//! unless `--stop-containers` says otherwise.

pub mod config;
mod file;
pub mod flags;
pub mod listener;
mod lock;
pub(crate) mod logging;
pub(crate) mod metrics;
mod notify;
mod serve;
mod signals;
mod tls;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::system::Facts;
use crate::http::{Api, attachable};
use crate::swarm::Assembly;
use config::{Config, ConfigError};
use flags::Given;
use listener::ListenError;
use lock::{DirLock, LockError, PidFile};
use signals::{Signal, Signals};

/// How long what is left of requests may take when the daemon ends.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the threads may take that still read or write a disk.
const THREADS: Duration = Duration::from_secs(1);

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its directories.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its sockets.
    #[error("failed to load listeners: {0}")]
    Listen(#[from] ListenError),
    /// The engine.
    #[error("failed to start the engine: {0}")]
    Engine(#[from] skep_engine::EngineError),
    /// Threads, signals.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// Runs the daemon with dockerd's flags in `args`.
pub fn main(args: &[String]) -> ExitCode {
    let flags = match Given::parse(args) {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("{error}\nSee 'skep daemon --help'.");
            return ExitCode::from(125);
        }
    };
    if flags.flag("help") == Some(true) {
        print!("{}", flags::usage());
        return ExitCode::SUCCESS;
    }
    if flags.flag("version") == Some(true) {
        println!(
            "skep version {}, build {}",
            env!("CARGO_PKG_VERSION"),
            crate::http::system::COMMIT
        );
        return ExitCode::SUCCESS;
    }
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Given) -> Result<(), StartError> {
    let config = Config::load(flags)?;
    if flags.flag("validate") == Some(true) {
        println!("configuration OK");
        return Ok(());
    }
    let logging = logging::init(&config);
    for flag in &config.idle {
        tracing::info!("flag --{flag} has no meaning here and is ignored");
    }
    tracing::debug!(?config, "configuration");
    if let Some(score) = config.oom_score_adjust {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(|err| StartError::System("set oom_score_adj", err))?;
    }
    if let Err(error) = skep_runtime::open_files::raise() {
        tracing::warn!(%error, "limit of open files cannot be raised");
    }
    let _data = DirLock::take(&config.engine.data_root)?;
    let _exec = match config.engine.exec_root == config.engine.data_root {
        true => None,
        false => Some(DirLock::take(&config.engine.exec_root)?),
    };
    let _pid = PidFile::write(&config.pidfile)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_name("skep").build();
    let runtime = runtime.map_err(|err| StartError::System("start threads", err))?;
    let ended = runtime.block_on(daemon(config, flags, &logging));
    runtime.shutdown_timeout(THREADS);
    ended
}

/// Opens everything, serves until told to end, closes everything.
async fn daemon(
    config: Config,
    flags: &Given,
    logging: &logging::Logging,
) -> Result<(), StartError> {
    let mut signals =
        Signals::listen().map_err(|err| StartError::System("listen for signals", err))?;
    // Sockets first: what cannot be served must not be started.
    let listeners = listener::bind_all(&config).await?;
    let engine = skep_engine::Engine::open(config.engine.clone()).await?;
    let facts = Facts::gather(&config);
    let assembly = Assembly {
        state_dir: config.engine.data_root.join("swarm"),
        default_advertise_addr: config.swarm_default_advertise_addr.clone(),
        prefer_local_images: config.prefer_local_images,
        extras: config.service_extras.clone(),
    };
    let swarm = assembly.open(&engine).await;
    let api = Arc::new(Api::new(engine.clone(), Arc::new(swarm.clone()), facts));
    let stop = CancellationToken::new();
    let server = serve::Server::spawn(api.clone(), listeners, stop.clone());
    let metrics = metrics::spawn(&config, api.clone(), stop.clone()).await;
    let removals = tokio::spawn(attachable::follow_removals(api.clone(), stop.clone()));
    notify::ready();
    tracing::info!(
        pid = std::process::id(),
        "daemon has completed initialization"
    );
    while let Signal::Reload = signals.next().await {
        reload(flags, &api, logging);
    }
    tracing::info!("daemon is ending");
    notify::stopping();
    // A second signal means at once.
    let close = async {
        stop.cancel();
        server.drain(DRAIN).await;
        // It has heard `stop` and holds nothing that is lost.
        removals.abort();
        swarm.shutdown().await;
        let stop = api.facts.config().stop_containers;
        engine.shutdown(stop).await;
        if let Some(metrics) = metrics {
            metrics.abort();
        }
    };
    tokio::select! {
        () = close => {}
        () = signals.ended_again() => tracing::warn!("ending without waiting"),
    }
    Ok(())
}

/// SIGHUP: what may change while running is taken from daemon.json, and an event says so.
fn reload(flags: &Given, api: &Api, logging: &logging::Logging) {
    match Config::load(flags) {
        Ok(config) => {
            logging.set(&config);
            api.engine.reload(&config.engine);
            let attributes = api.facts.reload(&config);
            api.engine
                .events()
                .publish("daemon", "reload", &api.facts.id(), attributes);
            tracing::info!("configuration reloaded");
        }
        Err(error) => tracing::error!(%error, "configuration not reloaded"),
    }
}
