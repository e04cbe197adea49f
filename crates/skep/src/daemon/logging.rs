//! The daemon's own log, on standard error; its level may change while it runs.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::config::Config;

/// A handle on the log's level.
#[derive(Debug)]
pub struct Logging(reload::Handle<EnvFilter, Registry>);

/// Starts logging. `SKEP_LOG` may name levels by module, for developers.
pub fn init(config: &Config) -> Logging {
    let (filter, handle) = reload::Layer::new(filter(config));
    let registry = tracing_subscriber::registry().with(filter);
    let text = fmt::layer().with_ansi(false).with_writer(|| Output);
    // A second subscriber is refused: then somebody else, a test, has the log already.
    let _ = if config.log_json {
        registry.with(text.json()).try_init()
    } else {
        registry.with(text).try_init()
    };
    Logging(handle)
}

/// Lines kept for a dump.
const KEPT: usize = 2000;
static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The last lines of the log.
pub fn recent() -> String {
    let lines = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().map(String::as_str).collect()
}

/// Standard error, keeping what is written; the formatter writes a line at a time.
struct Output;

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(bytes).into_owned());
        drop(lines);
        io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn filter(config: &Config) -> EnvFilter {
    let level = match config.log_level.as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    // Below these the libraries talk about every frame they send.
    let quiet = [
        "h2=warn",
        "hyper=warn",
        "hyper_util=warn",
        "rustls=warn",
        "tower=warn",
    ];
    let builder = EnvFilter::builder().with_default_directive(level.into());
    let given = std::env::var("SKEP_LOG").unwrap_or_default();
    quiet
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(builder.parse_lossy(given), EnvFilter::add_directive)
}

impl Logging {
    /// Takes over the level of another configuration.
    pub fn set(&self, config: &Config) {
        if let Err(error) = self.0.reload(filter(config)) {
            tracing::warn!(%error, "the log level stays");
        }
    }
}
