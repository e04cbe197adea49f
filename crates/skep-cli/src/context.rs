//! What every command works with: the daemon's address, the client, the user's configuration.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::{Client, Endpoint, TlsFiles};
use crate::cmd::context::{DEFAULT, Stored};
use crate::config::ConfigFile;
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
    /// The name of the context that holds.
    pub name: String,
    file: ConfigFile,
}

/// A variable of the environment that says something.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The directory of the user's configuration.
pub(crate) fn config_dir(root: &Matches) -> PathBuf {
    root.given_text("config")
        .map_or_else(default_config_dir, PathBuf::from)
}

/// That directory, where no flag names another.
pub(crate) fn default_config_dir() -> PathBuf {
    env("DOCKER_CONFIG").map_or_else(
        || Path::new(&env("HOME").unwrap_or_else(|| "/".to_owned())).join(".docker"),
        PathBuf::from,
    )
}

impl Context {
    /// Reads root flags and environment, as Docker's command line does.
    pub fn open(root: &Matches) -> Result<Self, CliError> {
        let config_dir = config_dir(root);
        let file = ConfigFile::load(&config_dir);
        let hosts = root.list("host");
        if !hosts.is_empty() && root.given("context") {
            return Err(CliError::new(
                "conflicting options: cannot specify both --host and --context",
            ));
        }
        let name = context_name(root, &file);
        let endpoint = endpoint(root, &config_dir, &name).map_err(|error| {
            CliError::new(format!(
                "Failed to initialize: unable to resolve docker endpoint: {}",
                error.message
            ))
        });
        let headers = headers(&file.value)?;
        Ok(Self {
            client: Client::new(endpoint, env("DOCKER_API_VERSION"), headers),
            config_dir,
            config: file.value.clone(),
            name,
            file,
        })
    }

    /// A text of `config.json`, such as `psFormat`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.file.text(name)
    }

    /// `config.json`, to be changed and saved.
    pub(crate) fn config_file(&self) -> ConfigFile {
        self.file.clone()
    }

    /// The `--format` that holds for a list: the flag's, or what `config.json` says.
    pub(crate) fn format<'a>(&'a self, matches: &'a Matches, setting: &str) -> &'a str {
        match matches.text("format") {
            "" if !matches.flag("quiet") => self.setting(setting).unwrap_or_default(),
            format => format,
        }
    }
}

/// `--context`, then `$DOCKER_HOST`'s own, then `$DOCKER_CONTEXT`, then the configuration's.
fn context_name(root: &Matches, file: &ConfigFile) -> String {
    if let Some(name) = root.given_text("context") {
        return name.to_owned();
    }
    if root.given("host") || env("DOCKER_HOST").is_some() {
        return DEFAULT.to_owned();
    }
    env("DOCKER_CONTEXT")
        .or_else(|| file.text("currentContext").map(str::to_owned))
        .unwrap_or_else(|| DEFAULT.to_owned())
}

/// The daemon's address: the context's, or that of flags and environment.
fn endpoint(root: &Matches, config_dir: &Path, name: &str) -> Result<Endpoint, CliError> {
    if name != DEFAULT {
        let stored = Stored::load(config_dir, name)?;
        return Endpoint::parse(&stored.host(), stored.tls_files());
    }
    let hosts = root.list("host");
    if hosts.len() > 1 {
        return Err(CliError::new("Specify only one -H"));
    }
    let host = hosts
        .first()
        .cloned()
        .or_else(|| env("DOCKER_HOST"))
        .unwrap_or_else(default_host);
    Endpoint::parse(&host, tls_files(root, config_dir))
}

fn tls_files(root: &Matches, config_dir: &Path) -> Option<TlsFiles> {
    let verify = match root.given("tlsverify") {
        true => root.flag("tlsverify"),
        false => env("DOCKER_TLS_VERIFY").is_some(),
    };
    let wanted = verify || root.flag("tls") || env("DOCKER_TLS").is_some();
    wanted.then(|| {
        let dir = env("DOCKER_CERT_PATH").map_or_else(|| config_dir.to_owned(), PathBuf::from);
        let file = |flag: &str, name: &str| {
            root.given_text(flag)
                .map_or_else(|| dir.join(name), PathBuf::from)
        };
        TlsFiles {
            ca: verify.then(|| file("tlscacert", "ca.pem")),
            cert: file("tlscert", "cert.pem"),
            key: file("tlskey", "key.pem"),
        }
    })
}

/// `$DOCKER_CUSTOM_HEADERS` (`name=value,...`), or else `HttpHeaders` of the configuration. The user
/// agent is ours to say.
fn headers(config: &Value) -> Result<Vec<(String, String)>, CliError> {
    let mut all = Vec::new();
    if let Some(text) = env("DOCKER_CUSTOM_HEADERS") {
        for field in crate::opts::fields(&text)? {
            let (name, value) = field.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                CliError::new(format!(
                    "failed to parse custom headers from DOCKER_CUSTOM_HEADERS environment variable: missing value in {field:?}"
                ))
            })?;
            all.push((name.to_owned(), value.to_owned()));
        }
    } else {
        let given = config["HttpHeaders"].as_object().into_iter().flatten();
        all.extend(
            given.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))),
        );
    }
    all.retain(|(name, _)| !name.eq_ignore_ascii_case("user-agent"));
    Ok(all)
}

/// The address without any choice of the user's.
pub(crate) fn default_host() -> String {
    let socket = SOCKETS
        .iter()
        .find(|socket| Path::new(socket).exists())
        .unwrap_or(&SOCKETS[1]);
    format!("unix://{socket}")
}
