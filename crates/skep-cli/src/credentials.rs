//! Credentials of registries: in `config.json`, or with a helper program that keeps them
//! (`docker-credential-NAME get|store|erase|list`).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use crate::config::ConfigFile;
use crate::context::Context;
use crate::error::CliError;

/// The key under which credentials of Docker Hub are kept.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// The user that a helper names where the secret is a token.
const TOKEN_USER: &str = "<token>";

/// Who somebody is at one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
    /// A token in place of a password, where the registry gave one.
    pub(crate) token: String,
    pub(crate) server: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Whether there is anything to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.user.is_empty() && self.password.is_empty() && self.token.is_empty()
    }

    /// As the daemon's API takes them; what is empty is left out.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({});
        for (field, text) in [
            ("username", &self.user),
            ("password", &self.password),
            ("serveraddress", &self.server),
            ("identitytoken", &self.token),
        ] {
            if !text.is_empty() {
                value[field] = text.as_str().into();
            }
        }
        value
    }

    /// The header `X-Registry-Auth`.
    pub(crate) fn header(&self) -> String {
        match self.is_empty() {
            true => URL_SAFE.encode("{}"),
            false => URL_SAFE.encode(self.to_json().to_string()),
        }
    }
}

/// The name of a registry without scheme and path: what its credentials are kept under.
pub(crate) fn host_of(server: &str) -> &str {
    let rest = server
        .strip_prefix("https://")
        .or_else(|| server.strip_prefix("http://"))
        .unwrap_or(server);
    rest.split('/').next().unwrap_or(rest)
}

/// The helper program that keeps a registry's credentials.
fn helper<'a>(config: &'a Value, key: &str) -> Option<&'a str> {
    config["credHelpers"][key]
        .as_str()
        .or_else(|| config["credsStore"].as_str())
        .filter(|name| !name.is_empty())
}

/// The credentials for a registry. A helper that fails counts as one that knows nothing.
pub(crate) fn get(context: &Context, key: &str) -> Credentials {
    if let Some(found) = from_environment(key) {
        return found;
    }
    if let Some(name) = helper(&context.config, key) {
        return match ask(name, "get", key) {
            Ok(answer) => from_helper(&answer, key),
            Err(_) => Credentials::default(),
        };
    }
    let entry = entry_of(&context.config, key);
    entry.map_or_else(Credentials::default, |entry| from_file(entry, key))
}

/// What a configuration's `auths` say of a registry, under its key or under its address.
fn entry_of<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    let auths = config["auths"].as_object()?;
    let known = |other: &&String| host_of(other) == host_of(key);
    auths
        .get(key)
        .or_else(|| auths.keys().find(known).and_then(|name| auths.get(name)))
}

/// What `$DOCKER_AUTH_CONFIG` says, which counts before everything else.
fn from_environment(key: &str) -> Option<Credentials> {
    let text = crate::context::env("DOCKER_AUTH_CONFIG")?;
    let config: Value = serde_json::from_str(&text).ok()?;
    entry_of(&config, key).map(|entry| from_file(entry, key))
}

/// All credentials, by registry: for the header `X-Registry-Config`.
pub(crate) fn all(context: &Context) -> BTreeMap<String, Credentials> {
    let mut keys: Vec<String> = Vec::new();
    let names = |field: &str| context.config[field].as_object().into_iter().flatten();
    keys.extend(names("auths").map(|(key, _)| key.clone()));
    keys.extend(names("credHelpers").map(|(key, _)| key.clone()));
    if let Some(name) = context.config["credsStore"].as_str()
        && let Ok(list) = ask(name, "list", "")
        && let Ok(Value::Object(list)) = serde_json::from_slice(&list)
    {
        keys.extend(list.into_iter().map(|(key, _)| key));
    }
    keys.into_iter()
        .map(|key| (key.clone(), get(context, &key)))
        .filter(|(_, found)| !found.is_empty())
        .collect()
}

/// Keeps credentials; true where they are new in the file, for everybody to read who can read it.
pub(crate) fn store(config: &mut ConfigFile, found: &Credentials) -> Result<bool, CliError> {
    let key = found.server.clone();
    let mut entry = json!({});
    let in_file = match helper(&config.value, &key).map(str::to_owned) {
        Some(name) => {
            let (user, secret) = match found.token.is_empty() {
                true => (found.user.as_str(), &found.password),
                false => (TOKEN_USER, &found.token),
            };
            let body = json!({"ServerURL": key, "Username": user, "Secret": secret});
            ask(&name, "store", &format!("{body}\n")).map_err(|why| {
                CliError::new(format!(
                    "Error saving credentials: error storing credentials - {why}"
                ))
            })?;
            false
        }
        None => {
            let password = if found.token.is_empty() {
                &found.password
            } else {
                ""
            };
            entry["auth"] = STANDARD.encode(format!("{}:{password}", found.user)).into();
            if !found.token.is_empty() {
                entry["identitytoken"] = found.token.as_str().into();
            }
            true
        }
    };
    let mut auths = config.value["auths"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let is_new = auths.get(&key) != Some(&entry);
    auths.insert(key, entry);
    config.set("auths", Some(Value::Object(auths)));
    config.save()?;
    Ok(in_file && is_new)
}

/// Forgets what is kept under a key.
pub(crate) fn erase(config: &mut ConfigFile, key: &str) -> Result<(), CliError> {
    if let Some(name) = helper(&config.value, key).map(str::to_owned) {
        ask(&name, "erase", key)
            .map_err(|why| CliError::new(format!("error erasing credentials - {why}")))?;
    }
    let mut auths = config.value["auths"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    if auths.shift_remove(key).is_some() {
        config.set("auths", Some(Value::Object(auths)));
        config.save()?;
    }
    Ok(())
}

fn from_file(entry: &Value, key: &str) -> Credentials {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let pair = STANDARD
        .decode(text("auth"))
        .ok()
        .and_then(|pair| String::from_utf8(pair).ok());
    let (user, password) = match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((user, password)) => (user.to_owned(), password.trim_matches('\0').to_owned()),
        None => (text("username"), text("password")),
    };
    let found = Credentials {
        user,
        password,
        token: text("identitytoken"),
        server: key.to_owned(),
    };
    if found.is_empty() {
        Credentials::default()
    } else {
        found
    }
}

fn from_helper(answer: &[u8], key: &str) -> Credentials {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    let (user, secret) = (text("Username"), text("Secret"));
    let found = match user.as_str() {
        TOKEN_USER => Credentials {
            token: secret,
            ..Default::default()
        },
        _ => Credentials {
            user,
            password: secret,
            ..Default::default()
        },
    };
    Credentials {
        server: key.to_owned(),
        ..found
    }
}

/// Runs a helper; what it says, or why it could not.
fn ask(name: &str, verb: &str, input: &str) -> Result<Vec<u8>, String> {
    let program = format!("docker-credential-{name}");
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("err: exec: \"{program}\": executable file not found in $PATH, out: ``")
            }
            _ => format!("err: {error}, out: ``"),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read has said what it has to say.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| format!("err: {error}, out: ``"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!(
            "err: {}, out: `{}`",
            output.status,
            String::from_utf8_lossy(&output.stdout).trim()
        )),
    }
}
