//! What every command works with: the daemon's address, the client, the user's configuration.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::{Client, Endpoint, TlsFiles, must_be_readable};
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
        let failed =
            |error: CliError| CliError::new(format!("Failed to initialize: {}", error.message));
        let endpoint = endpoint(root, &config_dir, &name)
            .map_err(|error| {
                CliError::new(format!(
                    "unable to resolve docker endpoint: {}",
                    error.message
                ))
            })
            .and_then(Endpoint::checked)
            .map_err(failed);
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
    Endpoint::parse(&host, tls_files(root, config_dir)?)
}

/// The files of TLS, where flags or variables ask for it. Those that are named must be there, and the
/// authority's in any case; a certificate and a key need not be.
fn tls_files(root: &Matches, config_dir: &Path) -> Result<Option<TlsFiles>, CliError> {
    let given = |flag: &str, variable: &str| match root.given(flag) {
        true => root.flag(flag),
        false => env(variable).is_some(),
    };
    let verify = given("tlsverify", "DOCKER_TLS_VERIFY");
    // Whoever says that the server shall not be checked wants TLS all the same.
    if !verify && !root.given("tlsverify") && !given("tls", "DOCKER_TLS") {
        return Ok(None);
    }
    let dir = env("DOCKER_CERT_PATH").map_or_else(|| config_dir.to_owned(), PathBuf::from);
    let file = |flag: &str, name: &str| {
        let named = root.given_text(flag).map(PathBuf::from);
        (named.is_some(), named.unwrap_or_else(|| dir.join(name)))
    };
    let ca = file("tlscacert", "ca.pem").1;
    must_be_readable(&ca)?;
    let own = [("tlscert", "cert.pem"), ("tlskey", "key.pem")].map(|(flag, name)| file(flag, name));
    for (is_named, path) in &own {
        if *is_named || path.exists() {
            must_be_readable(path)?;
        }
    }
    let [(_, cert), (_, key)] = own;
    Ok(Some(TlsFiles {
        ca: verify.then_some(ca),
        cert,
        key,
    }))
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
