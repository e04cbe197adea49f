//! `version`: ours, and the daemon's.

use serde_json::{Value, json};

use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::Template;

/// The commit that this was built from, where the build knew it.
const COMMIT: &str = match option_env!("SKEP_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Exit code of a template that does not compile.
const BAD_TEMPLATE: u8 = 64;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let format = match matches.text("format") {
        "json" => "{{json .}}",
        format => format,
    };
    let template = match format {
        "" => None,
        text => Some(Template::compile(text).map_err(|error| {
            CliError::new(format!(
                "template parsing error: {}",
                error.named("version")
            ))
            .with_code(BAD_TEMPLATE)
        })?),
    };
    // Without a daemon there is still our own half.
    let (server, failure) = match context.client.get("/version").await {
        Ok(server) => (Some(server), None),
        Err(error) => (None, Some(error)),
    };
    let api = match &failure {
        None => context.client.version().await?,
        Some(_) => context.client.own_version().to_owned(),
    };
    match template {
        Some(template) => {
            let all = json!({"Client": client(context, &api), "Server": server.as_ref().map(for_templates)});
            match template.render_as(&all, "system.versionInfo") {
                Ok(text) => println!("{text}"),
                Err(error) => {
                    println!("{}", error.partial);
                    return Err(CliError::new(error.named("version")));
                }
            }
        }
        None => print(context, &api, server.as_ref()),
    }
    match failure {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

fn os_arch() -> (&'static str, &'static str) {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (std::env::consts::OS, arch)
}

fn client(context: &Context, api: &str) -> Value {
    let (os, arch) = os_arch();
    json!({
        "Platform": {"Name": "skep"}, "Version": env!("CARGO_PKG_VERSION"), "ApiVersion": api,
        "APIVersion": api, "DefaultAPIVersion": context.client.own_version(), "GitCommit": COMMIT,
        "GoVersion": "none (rust)", "Os": os, "Arch": arch, "BuildTime": "", "Context": context.name,
    })
}

/// Go's structure calls two fields otherwise than JSON does.
fn for_templates(server: &Value) -> Value {
    let mut server = server.clone();
    server["APIVersion"] = server["ApiVersion"].clone();
    for field in [
        "Platform",
        "Components",
        "KernelVersion",
        "Experimental",
        "BuildTime",
        "GitCommit",
        "GoVersion",
    ] {
        if server.get(field).is_none() {
            server[field] = match field {
                "Platform" => json!({"Name": ""}),
                "Components" => json!([]),
                "Experimental" => false.into(),
                _ => "".into(),
            };
        }
    }
    server
}

fn print(context: &Context, api: &str, server: Option<&Value>) {
    let (os, arch) = os_arch();
    println!("Client:");
    for (name, value) in [
        ("Version:", env!("CARGO_PKG_VERSION")),
        ("API version:", api),
        ("Go version:", "none (rust)"),
        ("Git commit:", COMMIT),
        ("Built:", ""),
        ("OS/Arch:", &format!("{os}/{arch}")),
        ("Context:", &context.name),
    ] {
        println!(" {name:<18} {value}");
    }
    let Some(server) = server else { return };
    println!("\nServer: {}", text(server, "/Platform/Name"));
    let components = server["Components"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![engine(server)]);
    for component in &components {
        println!(" {}:", text(component, "/Name"));
        println!("  {:<17} {}", "Version:", text(component, "/Version"));
        let details = &component["Details"];
        if text(component, "/Name") == "Engine" {
            print_engine(details);
        } else {
            let mut rows: Vec<_> = details.as_object().into_iter().flatten().collect();
            rows.sort_by_key(|(name, _)| *name);
            for (name, value) in rows {
                println!(
                    "  {:<17} {}",
                    format!("{name}:"),
                    value.as_str().unwrap_or_default()
                );
            }
        }
    }
}

/// The only component of a daemon that names none.
fn engine(server: &Value) -> Value {
    json!({"Name": "Engine", "Version": server["Version"], "Details": {
        "ApiVersion": server["ApiVersion"], "MinAPIVersion": server["MinAPIVersion"],
        "GitCommit": server["GitCommit"], "Os": server["Os"], "Arch": server["Arch"],
        "BuildTime": server["BuildTime"], "Experimental": (server["Experimental"] == true).to_string(),
    }})
}

fn print_engine(details: &Value) {
    let detail = |name: &str| details[name].as_str().unwrap_or_default().to_owned();
    let api = format!(
        "{} (minimum version {})",
        detail("ApiVersion"),
        detail("MinAPIVersion")
    );
    let place = format!("{}/{}", detail("Os"), detail("Arch"));
    for (name, value) in [
        ("API version:", api),
        ("Go version:", detail("GoVersion")),
        ("Git commit:", detail("GitCommit")),
        ("Built:", detail("BuildTime")),
        ("OS/Arch:", place),
        ("Experimental:", detail("Experimental")),
    ] {
        println!("  {name:<17} {value}");
    }
}
