//! From flags to the body of `POST /containers/create`.

use serde_json::{Map, Value, json};

use super::host::host_config;
use super::networking::{endpoints, ports};
use crate::client::Endpoint;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{labels, whole_environment};

/// The body; `detached` is `run --detach`.
pub(super) fn create_body(
    context: &Context,
    matches: &Matches,
    detached: bool,
) -> Result<Value, CliError> {
    let (exposed, bindings) = ports(matches)?;
    let (volumes, binds) = volumes(matches)?;
    let interactive = matches.flag("interactive");
    let attached = attached(matches)?;
    let is_attached = |name: &str| {
        !detached
            && match attached.is_empty() {
                true => name != "stdin" || interactive,
                false => attached.iter().any(|stream| stream == name),
            }
    };
    let env = whole_environment(matches.list("env-file"), matches.list("env"))?;
    let env = with_proxies(context, env);
    let entrypoint = matches.given_text("entrypoint").map(|text| vec![text]);
    let mut body = json!({
        "Hostname": matches.text("hostname"),
        "Domainname": matches.text("domainname"),
        "User": matches.text("user"),
        "AttachStdin": is_attached("stdin"),
        "AttachStdout": is_attached("stdout"),
        "AttachStderr": is_attached("stderr"),
        "Tty": matches.flag("tty"),
        "OpenStdin": interactive,
        "StdinOnce": interactive && is_attached("stdin"),
        "Env": or_null(env),
        "Cmd": or_null(matches.args()[1..].to_vec()),
        "Image": matches.arg(0),
        "Volumes": volumes,
        "WorkingDir": matches.text("workdir"),
        "Entrypoint": entrypoint,
        "OnBuild": null,
        "Labels": labels(matches.list("label-file"), matches.list("label"))?,
    });
    if !exposed.is_empty() {
        body["ExposedPorts"] = Value::Object(exposed);
    }
    if let Some(health) = health(matches)? {
        body["Healthcheck"] = health;
    }
    if let Some(signal) = matches.given_text("stop-signal") {
        body["StopSignal"] = signal.into();
    }
    if let Some(seconds) = matches.number("stop-timeout") {
        body["StopTimeout"] = seconds.into();
    }
    let (mode, endpoints) = endpoints(matches)?;
    let mut host = host_config(matches)?;
    if matches.flag("use-api-socket") {
        add_api_socket(context, &mut body, &mut host)?;
    }
    host["NetworkMode"] = mode.into();
    host["PortBindings"] = Value::Object(bindings);
    host["Binds"] = or_null(binds);
    body["HostConfig"] = host;
    body["NetworkingConfig"] = json!({"EndpointsConfig": endpoints});
    Ok(body)
}

/// A list, or null where it is empty: Go's nil slice.
pub(super) fn or_null(list: Vec<String>) -> Value {
    if list.is_empty() {
        Value::Null
    } else {
        list.into()
    }
}

fn attached(matches: &Matches) -> Result<Vec<String>, CliError> {
    let lower = |stream: &String| {
        let stream = stream.to_ascii_lowercase();
        match stream.as_str() {
            "stdin" | "stdout" | "stderr" => Ok(stream),
            _ => Err(CliError::bad_flag(
                &stream,
                "-a, --attach",
                "valid streams are STDIN, STDOUT and STDERR",
            )),
        }
    };
    matches.list("attach").iter().map(lower).collect()
}

fn health(matches: &Matches) -> Result<Option<Value>, CliError> {
    const TIMES: [(&str, &str); 4] = [
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
    ];
    let given = matches
        .given_flags()
        .any(|flag| flag.starts_with("health-"));
    if matches.flag("no-healthcheck") {
        if given {
            return Err(
                CliError::new("--no-healthcheck conflicts with --health-* options").with_code(125),
            );
        }
        return Ok(Some(json!({"Test": ["NONE"]})));
    }
    if !given {
        return Ok(None);
    }
    let mut health = json!({});
    if let Some(command) = matches
        .given_text("health-cmd")
        .filter(|text| !text.is_empty())
    {
        health["Test"] = json!(["CMD-SHELL", command]);
    }
    for (flag, field) in TIMES {
        if let Some(time) = matches.duration(flag) {
            if time < 0 {
                return Err(CliError::new(format!("--{flag} cannot be negative")).with_code(125));
            }
            health[field] = time.into();
        }
    }
    if let Some(retries) = matches.number("health-retries") {
        if retries < 0 {
            return Err(CliError::new("--health-retries cannot be negative").with_code(125));
        }
        health["Retries"] = retries.into();
    }
    Ok(Some(health))
}

/// `--volume`: anonymous volumes, and binds with absolute sources.
fn volumes(matches: &Matches) -> Result<(Map<String, Value>, Vec<String>), CliError> {
    let (mut volumes, mut binds) = (Map::new(), Vec::new());
    for volume in matches.list("volume") {
        if volume.is_empty() {
            return Err(CliError::new("invalid empty volume spec").with_code(125));
        }
        if volume.split(':').any(str::is_empty) && !volume.ends_with(':') {
            let why = format!("invalid spec: {volume}: empty section between colons");
            return Err(CliError::new(why).with_code(125));
        }
        match volume.split_once(':') {
            None => drop(volumes.insert(volume.clone(), json!({}))),
            Some((source, rest)) if source.starts_with('.') => {
                let source = std::path::absolute(source)?;
                binds.push(format!("{}:{rest}", lexical(&source)));
            }
            Some(_) => binds.push(volume.clone()),
        }
    }
    Ok((volumes, binds))
}

/// The environment with the proxies that `config.json` names for this daemon, where the user has not
/// set them.
fn with_proxies(context: &Context, mut env: Vec<String>) -> Vec<String> {
    const NAMES: [(&str, &str); 5] = [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ];
    let proxies = &context.config["proxies"];
    let host = context
        .client
        .endpoint()
        .map(ToString::to_string)
        .unwrap_or_default();
    let chosen = proxies.get(&host).unwrap_or(&proxies["default"]);
    for (field, name) in NAMES {
        let Some(value) = chosen[field].as_str().filter(|value| !value.is_empty()) else {
            continue;
        };
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            let is_set = env
                .iter()
                .any(|entry| entry.split('=').next() == Some(name.as_str()));
            if !is_set {
                env.push(format!("{name}={value}"));
            }
        }
    }
    env
}

/// Where a container finds the credentials that `--use-api-socket` hands on.
pub(super) const HANDED_ON: &str = "/run/secrets/docker";

/// `--use-api-socket`: the daemon's socket within the container, and the caller's credentials.
fn add_api_socket(context: &Context, body: &mut Value, host: &mut Value) -> Result<(), CliError> {
    let Endpoint::Unix(socket) = context.client.endpoint()? else {
        return Err(CliError::new(
            "flag --use-api-socket can only be used when the daemon is reached through a unix socket",
        )
        .with_code(125));
    };
    let mount = json!({
        "Type": "bind", "Source": socket, "Target": "/var/run/docker.sock", "BindOptions": {},
    });
    match host.get_mut("Mounts").and_then(Value::as_array_mut) {
        Some(mounts) => mounts.push(mount),
        None => host["Mounts"] = json!([mount]),
    }
    if !crate::credentials::all(context).is_empty() {
        let mut env: Vec<Value> = body["Env"].as_array().cloned().unwrap_or_default();
        env.push(format!("DOCKER_CONFIG={HANDED_ON}").into());
        body["Env"] = env.into();
    }
    Ok(())
}

/// A path without `..`, as Go's `filepath.Abs` cleans it.
fn lexical(path: &std::path::Path) -> String {
    use std::path::Component;
    let mut clean = std::path::PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    clean.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(line: &str) -> Result<Value, CliError> {
        let run = super::super::COMMANDS
            .iter()
            .find(|command| command.path == "container run")
            .unwrap();
        let words = shell_words::split(line).unwrap();
        let matches = crate::grammar::parse(run, "run", &words).unwrap();
        let context = Context::open(&Matches::default()).unwrap();
        create_body(&context, &matches, matches.flag("detach"))
    }

    /// Each pointer must have its value in the body of the line.
    fn check(line: &str, expected: &[(&str, Value)]) {
        let body = body(line).unwrap();
        for (pointer, value) in expected {
            assert_eq!(body.pointer(pointer), Some(value), "{line}: {pointer}");
        }
    }

    #[test]
    fn streams_are_attached_unless_detached() {
        check(
            "--rm busybox:latest echo hi",
            &[
                ("/AttachStdout", true.into()),
                ("/AttachStdin", false.into()),
                ("/Cmd", json!(["echo", "hi"])),
                ("/Entrypoint", Value::Null),
                ("/HostConfig/AutoRemove", true.into()),
                ("/HostConfig/NetworkMode", "default".into()),
                ("/HostConfig/MemorySwappiness", (-1).into()),
                ("/HostConfig/RestartPolicy/Name", "no".into()),
            ],
        );
        check(
            "-dit busybox",
            &[
                ("/AttachStdout", false.into()),
                ("/OpenStdin", true.into()),
                ("/StdinOnce", false.into()),
            ],
        );
        check(
            "-i busybox",
            &[("/AttachStdin", true.into()), ("/StdinOnce", true.into())],
        );
        check(
            "-a stderr busybox",
            &[
                ("/AttachStdout", false.into()),
                ("/AttachStderr", true.into()),
            ],
        );
    }

    #[test]
    fn ports_become_bindings_and_exposed_ports() {
        check(
            "-p 127.0.0.1:8111:80 -p 9000-9001:90-91/udp --expose 70 nginx",
            &[
                (
                    "/HostConfig/PortBindings/80~1tcp",
                    json!([{"HostIp": "127.0.0.1", "HostPort": "8111"}]),
                ),
                (
                    "/HostConfig/PortBindings/91~1udp",
                    json!([{"HostIp": "", "HostPort": "9001"}]),
                ),
                ("/ExposedPorts/70~1tcp", json!({})),
                ("/ExposedPorts/80~1tcp", json!({})),
            ],
        );
        assert!(body("-p x:80 nginx").is_err());
    }

    #[test]
    fn resources_and_limits_keep_their_units() {
        check(
            "-m 64m --cpus 1.5 --pids-limit 9 --ulimit nofile=10:20 --restart on-failure:3 --shm-size 1m nginx",
            &[
                ("/HostConfig/Memory", (64 << 20).into()),
                ("/HostConfig/NanoCpus", 1_500_000_000.into()),
                ("/HostConfig/PidsLimit", 9.into()),
                (
                    "/HostConfig/Ulimits/0",
                    json!({"Name": "nofile", "Hard": 20, "Soft": 10}),
                ),
                (
                    "/HostConfig/RestartPolicy",
                    json!({"Name": "on-failure", "MaximumRetryCount": 3}),
                ),
                ("/HostConfig/ShmSize", (1 << 20).into()),
            ],
        );
    }

    #[test]
    fn volumes_devices_and_temporary_files_have_their_places() {
        check(
            "-v /a:/b:ro -v /c --tmpfs /t:size=1m --device /dev/null:/dev/x:r nginx",
            &[
                ("/HostConfig/Binds", json!(["/a:/b:ro"])),
                ("/Volumes", json!({"/c": {}})),
                ("/HostConfig/Tmpfs", json!({"/t": "size=1m"})),
                (
                    "/HostConfig/Devices/0",
                    json!({"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}),
                ),
            ],
        );
    }

    #[test]
    fn the_first_network_takes_the_flags_about_addresses() {
        check(
            "--network front --ip 10.0.0.9 --network-alias web --network name=back,alias=db nginx",
            &[
                ("/HostConfig/NetworkMode", "front".into()),
                (
                    "/NetworkingConfig/EndpointsConfig/front/IPAMConfig",
                    json!({"IPv4Address": "10.0.0.9"}),
                ),
                (
                    "/NetworkingConfig/EndpointsConfig/front/Aliases",
                    json!(["web"]),
                ),
                (
                    "/NetworkingConfig/EndpointsConfig/back/Aliases",
                    json!(["db"]),
                ),
            ],
        );
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "--rm --restart always x",
            "--no-healthcheck --health-cmd true x",
            "--device a:b:c:d x",
        ] {
            assert!(body(line).is_err(), "{line}");
        }
    }
}
