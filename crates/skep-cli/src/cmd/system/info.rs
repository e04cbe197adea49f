//! `system info`: the daemon's state in words, in Docker's order.

use std::io::Write as _;

use serde_json::{Value, json};

use super::swarm_info;
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Template, bytes_binary};

/// Exit code of a template that does not compile.
const BAD_TEMPLATE: u8 = 64;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let client = json!({
        "Debug": false, "Context": context.name, "Version": env!("CARGO_PKG_VERSION"),
        "Plugins": [], "Warnings": null,
    });
    let (info, failure) = match context.client.get("/info").await {
        Ok(info) => (info, None),
        Err(error) => (Value::Null, Some(error)),
    };
    match matches.text("format") {
        "" => print(context, &info, failure.as_ref())?,
        format => print_template(format, &info, &client, failure.as_ref())?,
    }
    match failure {
        None => Ok(()),
        // It has been told.
        Some(error) => Err(error),
    }
}

fn print_template(
    format: &str,
    info: &Value,
    client: &Value,
    failure: Option<&CliError>,
) -> Result<(), CliError> {
    let format = if format == "json" {
        "{{json .}}"
    } else {
        format
    };
    let template = Template::compile(format).map_err(|error| {
        CliError::new(format!("template parsing error: {error}")).with_code(BAD_TEMPLATE)
    })?;
    let mut all = info.clone();
    if !all.is_object() {
        all = json!({});
    }
    let errors: Vec<&str> = failure.iter().map(|error| error.message.as_str()).collect();
    if format != "{{json .}}" || failure.is_some() {
        all["ServerErrors"] = json!(if format.contains("ServerErrors") {
            vec![]
        } else {
            errors
        });
    }
    all["ClientInfo"] = client.clone();
    match template.render_as(&all, "system.dockerInfo") {
        Ok(text) => println!("{text}"),
        Err(error) => {
            println!("{}", error.partial);
            return Err(CliError::new(error.to_string()));
        }
    }
    Ok(())
}

fn print(context: &Context, info: &Value, failure: Option<&CliError>) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Client:\n Version:    {}\n Context:    {}\n Debug Mode: false\n\nServer:",
        env!("CARGO_PKG_VERSION"),
        context.name
    )?;
    if failure.is_none() {
        out.write_all(server_text(info).as_bytes())?;
        writeln!(out)?;
    }
    drop(out);
    for warning in info["Warnings"].as_array().into_iter().flatten() {
        eprintln!("{}", warning.as_str().unwrap_or_default());
    }
    Ok(())
}

/// The server's part, a line each thing.
fn server_text(info: &Value) -> String {
    let mut out = String::new();
    engine(info, &mut out);
    swarm_info::text(&info["Swarm"], &mut out);
    runtimes(info, &mut out);
    host(info, &mut out);
    registries(info, &mut out);
    out
}

pub(super) fn line(out: &mut String, indent: usize, text: &str) {
    out.push_str(&" ".repeat(indent));
    out.push_str(text);
    out.push('\n');
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn engine(info: &Value, out: &mut String) {
    let mut put = |indent: usize, name: &str, value: &Value| {
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        line(out, indent, &format!("{name}: {shown}"));
    };
    put(1, "Containers", &info["Containers"]);
    put(2, "Running", &info["ContainersRunning"]);
    put(2, "Paused", &info["ContainersPaused"]);
    put(2, "Stopped", &info["ContainersStopped"]);
    put(1, "Images", &info["Images"]);
    for (name, field) in [
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
    ] {
        if !text(info, &format!("/{field}")).is_empty() {
            put(1, name, &info[field]);
        }
    }
    for pair in info["DriverStatus"].as_array().into_iter().flatten() {
        put(2, pair[0].as_str().unwrap_or_default(), &pair[1]);
    }
    for (name, field) in [
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
    ] {
        if !text(info, &format!("/{field}")).is_empty() {
            put(1, name, &info[field]);
        }
    }
    line(out, 1, "Plugins:");
    for kind in ["Volume", "Network", "Authorization", "Log"] {
        let names = texts(&info["Plugins"][kind]);
        if kind != "Authorization" || !names.is_empty() {
            line(out, 2, &format!("{kind}: {}", names.join(" ")));
        }
    }
    let dirs = texts(&info["CDISpecDirs"]);
    if !dirs.is_empty() {
        line(out, 1, "CDI spec directories:");
        dirs.iter().for_each(|dir| line(out, 2, dir));
    }
}

fn runtimes(info: &Value, out: &mut String) {
    let mut names: Vec<&str> = info["Runtimes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    if !names.is_empty() {
        line(out, 1, &format!("Runtimes: {}", names.join(" ")));
        line(
            out,
            1,
            &format!("Default Runtime: {}", text(info, "/DefaultRuntime")),
        );
    }
    line(
        out,
        1,
        &format!("Init Binary: {}", text(info, "/InitBinary")),
    );
    for (name, field) in [
        ("containerd", "ContainerdCommit"),
        ("runc", "RuncCommit"),
        ("init", "InitCommit"),
    ] {
        if info.get(field).is_some() {
            line(
                out,
                1,
                &format!("{name} version: {}", text(&info[field], "/ID")),
            );
        }
    }
    let options = texts(&info["SecurityOptions"]);
    if options.is_empty() {
        return;
    }
    line(out, 1, "Security Options:");
    for option in options {
        for part in option.split(',') {
            match part.split_once('=') {
                Some(("name", name)) => line(out, 2, name),
                Some(("profile", profile)) => line(out, 3, &format!("Profile: {profile}")),
                Some((key, value)) => line(out, 3, &format!("{key}: {value}")),
                None => line(out, 2, part),
            }
        }
    }
}

fn host(info: &Value, out: &mut String) {
    for (name, field) in [
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ] {
        if !text(info, &format!("/{field}")).is_empty() {
            line(
                out,
                1,
                &format!("{name}: {}", text(info, &format!("/{field}"))),
            );
        }
    }
    line(out, 1, &format!("CPUs: {}", info["NCPU"]));
    let memory = info["MemTotal"].as_f64().unwrap_or(0.0);
    line(out, 1, &format!("Total Memory: {}", bytes_binary(memory)));
    for (name, field) in [
        ("Name", "Name"),
        ("ID", "ID"),
        ("Docker Root Dir", "DockerRootDir"),
    ] {
        if !text(info, &format!("/{field}")).is_empty() {
            line(
                out,
                1,
                &format!("{name}: {}", text(info, &format!("/{field}"))),
            );
        }
    }
    line(out, 1, &format!("Debug Mode: {}", info["Debug"] == true));
    if info["Debug"] == true {
        line(out, 2, &format!("File Descriptors: {}", info["NFd"]));
        line(out, 2, &format!("Goroutines: {}", info["NGoroutines"]));
        line(
            out,
            2,
            &format!("System Time: {}", text(info, "/SystemTime")),
        );
        line(
            out,
            2,
            &format!("EventsListeners: {}", info["NEventsListener"]),
        );
    }
    for (name, field) in [
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    ] {
        if !text(info, &format!("/{field}")).is_empty() {
            line(
                out,
                1,
                &format!("{name}: {}", text(info, &format!("/{field}"))),
            );
        }
    }
    let labels = texts(&info["Labels"]);
    if !labels.is_empty() {
        line(out, 1, "Labels:");
        labels.iter().for_each(|label| line(out, 2, label));
    }
    line(
        out,
        1,
        &format!("Experimental: {}", info["ExperimentalBuild"] == true),
    );
}

fn registries(info: &Value, out: &mut String) {
    let config = &info["RegistryConfig"];
    let insecure: Vec<&str> = config["IndexConfigs"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, index)| index["Secure"] == false)
        .map(|(name, _)| name.as_str())
        .chain(texts(&config["InsecureRegistryCIDRs"]))
        .collect();
    if !insecure.is_empty() {
        line(out, 1, "Insecure Registries:");
        insecure.iter().for_each(|name| line(out, 2, name));
    }
    let mirrors = texts(&config["Mirrors"]);
    if !mirrors.is_empty() {
        line(out, 1, "Registry Mirrors:");
        mirrors.iter().for_each(|name| line(out, 2, name));
    }
    line(
        out,
        1,
        &format!(
            "Live Restore Enabled: {}",
            info["LiveRestoreEnabled"] == true
        ),
    );
    if !text(info, "/ProductLicense").is_empty() {
        line(
            out,
            1,
            &format!("Product License: {}", text(info, "/ProductLicense")),
        );
    }
    let pools = info["DefaultAddressPools"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if !pools.is_empty() {
        line(out, 1, "Default Address Pools:");
        for pool in pools {
            line(
                out,
                2,
                &format!(" Base: {}, Size: {}", text(pool, "/Base"), pool["Size"]),
            );
        }
    }
}
