//! What the daemon knows of itself and its machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::daemon::config::Config;

/// What does not change while the daemon runs, and the settings that a reload may change.
#[derive(Debug)]
pub struct Facts {
    /// Kernel release.
    pub kernel: String,
    /// For example `Debian GNU/Linux 12 (bookworm)`.
    pub operating_system: String,
    /// For example `12`.
    pub os_version: String,
    /// Number of processors.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: i64,
    /// The host's name, as the kernel has it now.
    id: String,
    config: ArcSwap<Config>,
}

/// The processor as Go names it.
pub fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Facts {
    /// Looks at the machine.
    pub fn gather(config: &Config) -> Self {
        let uname = rustix::system::uname();
        let (operating_system, os_version) = os_release();
        let system = rustix::system::sysinfo();
        let bytes = u64::from(system.mem_unit) * system.totalram;
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            operating_system,
            os_version,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: i64::try_from(bytes).unwrap_or(i64::MAX),
            id: engine_id(&config.engine.data_root),
            config: ArcSwap::from_pointee(config.clone()),
        }
    }

    /// The engine's own id; it stays with the data directory.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// The host's name, which may change.
    pub fn name(&self) -> String {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    }

    /// The settings.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Takes over settings read again; returns what the `reload` event says of them.
    pub fn reload(&self, config: &Config) -> BTreeMap<String, String> {
        let mut next = Config::clone(&self.config());
        next.debug = config.debug;
        next.log_level.clone_from(&config.log_level);
        next.stop_containers = config.stop_containers;
        next.features.clone_from(&config.features);
        let engine = &config.engine;
        next.engine.labels.clone_from(&engine.labels);
        next.engine.registries.clone_from(&engine.registries);
        next.engine.runtimes.clone_from(&engine.runtimes);
        next.engine
            .default_runtime
            .clone_from(&engine.default_runtime);
        next.engine
            .default_ipc_mode
            .clone_from(&engine.default_ipc_mode);
        next.engine.default_shm_size = engine.default_shm_size;
        next.engine.shutdown_timeout_seconds = engine.shutdown_timeout_seconds;
        self.config.store(Arc::new(next));
        self.reloaded(config)
    }

    /// The attributes that dockerd's event has.
    fn reloaded(&self, config: &Config) -> BTreeMap<String, String> {
        let list = |items: &[String]| serde_json::to_string(items).unwrap_or_default();
        let engine = &config.engine;
        let registries = &engine.registries;
        let features: BTreeMap<&str, bool> = config
            .features
            .iter()
            .map(|feature| match feature.split_once('=') {
                Some((name, value)) => (name, value == "true"),
                None => (feature.as_str(), true),
            })
            .collect();
        let features = match features.is_empty() {
            true => "{}".to_owned(),
            false => serde_json::to_string(&features).unwrap_or_default(),
        };
        let runtimes = engine.runtimes.keys().cloned();
        let mut runtimes: Vec<String> = runtimes.chain(["skep".to_owned()]).collect();
        runtimes.sort();
        [
            ("name", self.name()),
            ("allow-nondistributable-artifacts", "[]".to_owned()),
            ("debug", config.debug.to_string()),
            ("default-ipc-mode", engine.default_ipc_mode.clone()),
            ("default-runtime", engine.default_runtime.clone()),
            ("default-shm-size", engine.default_shm_size.to_string()),
            ("features", features),
            ("insecure-registries", list(&registries.insecure)),
            ("labels", list(&engine.labels)),
            ("live-restore", (!config.stop_containers).to_string()),
            (
                "max-concurrent-downloads",
                registries.concurrent_downloads.to_string(),
            ),
            (
                "max-concurrent-uploads",
                registries.concurrent_uploads.to_string(),
            ),
            (
                "max-download-attempts",
                registries.download_attempts.to_string(),
            ),
            ("registry-mirrors", list(&registries.mirrors)),
            ("runtimes", runtimes.join(" ")),
            (
                "shutdown-timeout",
                engine.shutdown_timeout_seconds.to_string(),
            ),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// Name and version of the distribution.
fn os_release() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let field = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    (
        field("PRETTY_NAME").unwrap_or_else(|| "linux".to_owned()),
        field("VERSION_ID").unwrap_or_default(),
    )
}

/// The id kept in the data directory, made at the first start.
fn engine_id(data_root: &Path) -> String {
    let path = data_root.join("engine-id");
    if let Ok(id) = std::fs::read_to_string(&path)
        && id.trim().len() == 36
    {
        return id.trim().to_owned();
    }
    let mut bytes: [u8; 16] = rand::random();
    // Version 4, variant 1: a random UUID.
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let id = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-");
    if let Err(error) = std::fs::write(&path, &id) {
        tracing::warn!(path = %path.display(), %error, "the engine's id is not kept");
    }
    id
}
