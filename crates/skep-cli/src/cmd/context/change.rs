//! Contexts that come, change and go: create, update, use, rm.

use serde_json::{Value, json};

use super::store::{DEFAULT, Stored, TLS_FILES, check_name};
use crate::client::{Endpoint, TlsFiles};
use crate::context::{Context, env};
use crate::error::{CliError, join};
use crate::grammar::Matches;
use crate::opts::fields;

type Files = Vec<(&'static str, Vec<u8>)>;

pub(super) async fn create(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = matches.arg(0);
    check_name(name)?;
    let mut stored = Stored::new(&context.config_dir, name);
    if stored.exists() {
        return Err(CliError::new(format!("context {name:?} already exists")));
    }
    let from = matches.given_text("from");
    let mut files = Files::new();
    if matches.given("docker") && from.is_none() {
        let (endpoint, given) = endpoint(context, matches)?;
        stored.meta["Endpoints"]["docker"] = endpoint;
        files = given;
    } else {
        // The one that is named, or else the one that holds.
        let other = Stored::find(context, from.unwrap_or(&context.name))?;
        stored.meta["Metadata"] = other.meta["Metadata"].clone();
        stored.meta["Endpoints"] = other.meta["Endpoints"].clone();
        files.extend(files_of(&other)?);
        if matches.given("docker") {
            let (endpoint, given) = endpoint(context, matches)?;
            stored.meta["Endpoints"]["docker"] = endpoint;
            files = given;
        }
    }
    describe(&mut stored, matches);
    stored.save(&files)?;
    println!("{name}");
    eprintln!("Successfully created context {name:?}");
    Ok(())
}

pub(super) async fn update(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = matches.arg(0);
    check_name(name)?;
    let mut stored = Stored::load(&context.config_dir, name)?;
    let mut files = Files::new();
    if matches.given("docker") {
        let (endpoint, given) = endpoint(context, matches)?;
        stored.meta["Endpoints"]["docker"] = endpoint;
        stored.forget_tls()?;
        files = given;
    }
    describe(&mut stored, matches);
    stored.save(&files)?;
    println!("{name}");
    eprintln!("Successfully updated context {name:?}");
    Ok(())
}

fn describe(stored: &mut Stored, matches: &Matches) {
    if let Some(description) = matches.given_text("description") {
        stored.meta["Metadata"]["Description"] = description.into();
    }
}

/// `--docker host=,ca=,cert=,key=,skip-tls-verify=,from=`.
fn endpoint(context: &Context, matches: &Matches) -> Result<(Value, Files), CliError> {
    let bad =
        |why: String| CliError::new(format!("unable to create docker endpoint config: {why}"));
    let mut endpoint = json!({"Host": "", "SkipTLSVerify": false});
    let mut files = Files::new();
    for list in matches.list("docker") {
        for field in fields(list)? {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            match key {
                "host" => {
                    Endpoint::parse(value, None).map_err(|error| {
                        bad(format!(
                            "unable to apply docker endpoint options: {}",
                            error.message
                        ))
                    })?;
                    endpoint["Host"] = value.into();
                }
                "ca" | "cert" | "key" => {
                    let bytes = std::fs::read(value).map_err(|error| {
                        bad(format!("open {value}: {}", crate::error::io_text(&error)))
                    })?;
                    let name = TLS_FILES
                        .iter()
                        .find(|name| name.split('.').next() == Some(key));
                    files.extend(name.map(|name| (*name, bytes)));
                }
                "skip-tls-verify" => {
                    let skip = match value {
                        "true" | "1" | "t" => true,
                        "false" | "0" | "f" | "" => false,
                        _ => {
                            return Err(bad(format!(
                                "skip-tls-verify: strconv.ParseBool: parsing {value:?}: invalid syntax"
                            )));
                        }
                    };
                    endpoint["SkipTLSVerify"] = skip.into();
                }
                "from" => {
                    let other = Stored::find(context, value)?;
                    endpoint = other.meta["Endpoints"]["docker"].clone();
                    files = files_of(&other)?;
                }
                other => return Err(bad(format!("unrecognized config key: {other}"))),
            }
        }
    }
    Ok((endpoint, files))
}

/// A context's TLS files, to be kept with another.
fn files_of(stored: &Stored) -> Result<Files, CliError> {
    let Some(TlsFiles { ca, cert, key }) = stored.tls_files() else {
        return Ok(Files::new());
    };
    let paths = [
        ("ca.pem", ca),
        ("cert.pem", Some(cert)),
        ("key.pem", Some(key)),
    ];
    let mut files = Files::new();
    for (name, path) in paths {
        if let Some(path) = path.filter(|path| path.exists()) {
            files.push((name, std::fs::read(path)?));
        }
    }
    Ok(files)
}

pub(super) async fn choose(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = matches.arg(0);
    if name != DEFAULT {
        Stored::load(&context.config_dir, name)?;
    }
    set_current(context, Some(name).filter(|name| *name != DEFAULT))?;
    println!("{name}");
    eprintln!("Current context is now {name:?}");
    if name != DEFAULT && env("DOCKER_HOST").is_some() {
        eprintln!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use {name:?}, either set the global --context flag, or unset DOCKER_HOST environment variable."
        );
    }
    Ok(())
}

fn set_current(context: &Context, name: Option<&str>) -> Result<(), CliError> {
    let mut config = context.config_file();
    if config.text("currentContext") == name {
        return Ok(());
    }
    config.set("currentContext", name.map(Value::from));
    config.save()
}

pub(super) async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let force = matches.flag("force");
    let mut errors = Vec::new();
    for name in matches.args() {
        match remove(context, name, force) {
            Ok(()) => println!("{name}"),
            Err(error) => errors.push(error),
        }
    }
    join(errors)
}

fn remove(context: &Context, name: &str, force: bool) -> Result<(), CliError> {
    if name == DEFAULT {
        return Err(CliError::new("context \"default\" cannot be removed"));
    }
    if context.name == name || context.setting("currentContext") == Some(name) {
        if !force {
            return Err(CliError::new(format!(
                "context {name:?} is in use, set -f flag to force remove"
            )));
        }
        set_current(context, None)?;
    }
    match Stored::load(&context.config_dir, name) {
        Ok(stored) => stored.remove(),
        Err(_) if force => Ok(()),
        Err(_) => Err(CliError::new(format!("context {name:?} does not exist"))),
    }
}
