//! What every command works with: the daemon's address, the client, the user's configuration.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::{Client, Endpoint, TlsFiles};
use crate::error::CliError;
use crate::grammar::Matches;

/// Where `skep daemon` listens, and where dockerd does; the first that exists is taken.
const SOCKETS: [&str; 2] = ["/run/skep/skep.sock", "/var/run/docker.sock"];

/// See the module.
#[derive(Debug)]
pub struct Context {
    /// Requests to the daemon.
    pub client: Client,
    /// The directory of `config.json`.
    pub config_dir: PathBuf,
    /// `config.json`, or an empty object.
    pub config: Value,
}

impl Context {
    /// Reads root flags and environment, as Docker's command line does.
    pub fn open(root: &Matches) -> Result<Self, CliError> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = env("HOME").unwrap_or_else(|| "/".to_owned());
        let config_dir = root
            .given_text("config")
            .map(str::to_owned)
            .or_else(|| env("DOCKER_CONFIG"))
            .map_or_else(|| Path::new(&home).join(".docker"), PathBuf::from);
        let config = read_config(&config_dir)?;
        let hosts = root.list("host");
        if hosts.len() > 1 {
            return Err(CliError::new("specify only one -H").with_code(1));
        }
        let host = hosts.first().cloned().or_else(|| env("DOCKER_HOST"));
        let host = match host {
            Some(host) => host,
            None => context_host(root, &config, &config_dir)?.unwrap_or_else(default_host),
        };
        let verify = root.flag("tlsverify") || env("DOCKER_TLS_VERIFY").is_some();
        let tls = (verify || root.flag("tls")).then(|| {
            let dir = env("DOCKER_CERT_PATH").map_or_else(|| config_dir.clone(), PathBuf::from);
            let file = |flag: &str, name: &str| {
                root.given_text(flag)
                    .map_or_else(|| dir.join(name), PathBuf::from)
            };
            TlsFiles {
                ca: verify.then(|| file("tlscacert", "ca.pem")),
                cert: file("tlscert", "cert.pem"),
                key: file("tlskey", "key.pem"),
            }
        });
        let endpoint = Endpoint::parse(&host, tls)?;
        let version = env("DOCKER_API_VERSION");
        Ok(Self {
            client: Client::new(endpoint, version),
            config_dir,
            config,
        })
    }

    /// A text of `config.json`, such as `psFormat`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.config
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    }
}

fn default_host() -> String {
    let socket = SOCKETS
        .iter()
        .find(|socket| Path::new(socket).exists())
        .unwrap_or(&SOCKETS[1]);
    format!("unix://{socket}")
}

fn read_config(dir: &Path) -> Result<Value, CliError> {
    let path = dir.join("config.json");
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| {
            CliError::new(format!(
                "WARNING: Error loading config file: {}: {error}",
                path.display()
            ))
        }),
        Err(_) => Ok(Value::Object(serde_json::Map::new())),
    }
}

/// The address of the chosen context, where one is chosen.
fn context_host(root: &Matches, config: &Value, dir: &Path) -> Result<Option<String>, CliError> {
    let chosen = root
        .given_text("context")
        .map(str::to_owned)
        .or_else(|| {
            std::env::var("DOCKER_CONTEXT")
                .ok()
                .filter(|name| !name.is_empty())
        })
        .or_else(|| {
            config
                .get("currentContext")
                .and_then(Value::as_str)
                .map(str::to_owned)
        });
    match chosen.as_deref() {
        None | Some("" | "default") => Ok(None),
        Some(name) => crate::cmd::context::host_of(dir, name).map(Some),
    }
}
