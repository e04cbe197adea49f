//! `stack deploy`.

use serde_json::{Value, json};

use super::remove::list;
use super::{checked_name, of_stack};
use crate::client::{escape, url};
use crate::cmd::objects::text;
use crate::cmd::service::wait;
use crate::compose::{Stack, convert, load};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{pinned_image, registry_auth_header};

/// When images are looked up in their registry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resolve {
    Always,
    Changed,
    Never,
}

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = checked_name(matches.arg(0))?;
    let files: Vec<String> = matches
        .list("compose-file")
        .iter()
        .flat_map(|list| list.split(','))
        .map(str::to_owned)
        .collect();
    let resolve = match matches.text("resolve-image") {
        "always" => Resolve::Always,
        "changed" => Resolve::Changed,
        "never" => Resolve::Never,
        other => {
            return Err(CliError::new(format!(
                "Invalid option {other} for flag --resolve-image"
            )));
        }
    };
    let loaded = load(&files, false)?;
    loaded
        .warnings
        .iter()
        .for_each(|warning| eprintln!("{warning}"));
    if !matches.given("detach") && !matches.flag("quiet") {
        eprintln!(
            "Since --detach=false was not specified, tasks will be created in the background.\nIn a future release, --detach=false will become the default."
        );
    }
    let stack = convert(&loaded, name)?;
    manager_only(context).await?;
    if matches.flag("prune") {
        prune(context, name, &stack).await?;
    }
    external_networks(context, &stack).await?;
    create_networks(context, name, &stack).await?;
    create_files(context, "secret", &stack.secrets).await?;
    create_files(context, "config", &stack.configs).await?;
    let deployed = deploy_services(context, matches, name, stack.services, resolve).await?;
    if !matches.flag("detach") {
        for (id, name) in deployed {
            wait(context, &id, &name, matches.flag("quiet")).await?;
        }
    }
    Ok(())
}

async fn manager_only(context: &Context) -> Result<(), CliError> {
    let info = context.client.get("/info").await?;
    if info["Swarm"]["ControlAvailable"] == true {
        return Ok(());
    }
    Err(CliError::new(
        "this node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again",
    ))
}

async fn prune(context: &Context, name: &str, stack: &Stack) -> Result<(), CliError> {
    for service in super::remove::sorted(list(context, "/services", &of_stack(name)).await?) {
        let known = text(&service, "/Spec/Name");
        if stack.services.iter().all(|spec| spec["Name"] != known) {
            println!("Removing service {known}");
            context
                .client
                .delete(&format!("/services/{}", text(&service, "/ID")))
                .await?;
        }
    }
    Ok(())
}

async fn external_networks(context: &Context, stack: &Stack) -> Result<(), CliError> {
    for name in &stack.external_networks {
        let network = match context
            .client
            .get(&format!("/networks/{}", escape(name)))
            .await
        {
            Ok(network) => network,
            Err(error) if error.is_not_found() => {
                return Err(CliError::new(format!(
                    "network \"{name}\" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed"
                )));
            }
            Err(error) => return Err(error),
        };
        let scope = text(&network, "/Scope");
        if scope != "swarm" {
            return Err(CliError::new(format!(
                "network \"{name}\" is declared as external, but it is not in the right scope: \"{scope}\" instead of \"swarm\""
            )));
        }
    }
    Ok(())
}

async fn create_networks(context: &Context, name: &str, stack: &Stack) -> Result<(), CliError> {
    let known = list(context, "/networks", &of_stack(name)).await?;
    for body in &stack.networks {
        let name = text(body, "/Name");
        if known.iter().any(|network| text(network, "/Name") == name) {
            continue;
        }
        println!("Creating network {name}");
        context
            .client
            .post("/networks/create", body)
            .await
            .map_err(|error| {
                CliError::new(format!(
                    "failed to create network {name}: {}",
                    error.message
                ))
            })?;
    }
    Ok(())
}

/// Makes secrets or configs, or updates their labels; content that differs is refused by the daemon.
async fn create_files(context: &Context, kind: &str, bodies: &[Value]) -> Result<(), CliError> {
    for body in bodies {
        let name = text(body, "/Name");
        match context
            .client
            .get(&format!("/{kind}s/{}", escape(name)))
            .await
        {
            Ok(known) => {
                let version = known["Version"]["Index"].to_string();
                let path = url(
                    &format!("/{kind}s/{}/update", text(&known, "/ID")),
                    &[("version", &version)],
                );
                context.client.post(&path, body).await.map_err(|error| {
                    CliError::new(format!("failed to update {kind} {name}: {}", error.message))
                })?;
            }
            Err(error) if error.is_not_found() => {
                println!("Creating {kind} {name}");
                context
                    .client
                    .post(&format!("/{kind}s/create"), body)
                    .await
                    .map_err(|error| {
                        CliError::new(format!("failed to create {kind} {name}: {}", error.message))
                    })?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn deploy_services(
    context: &Context,
    matches: &Matches,
    stack: &str,
    specs: Vec<Value>,
    resolve: Resolve,
) -> Result<Vec<(String, String)>, CliError> {
    let known = list(context, "/services", &of_stack(stack)).await?;
    let mut deployed = Vec::new();
    for mut spec in specs {
        fill_ids(context, &mut spec).await?;
        let name = text(&spec, "/Name").to_owned();
        let image = text(&spec, "/TaskTemplate/ContainerSpec/Image").to_owned();
        let auth = registry_auth_header(context, &image);
        let with_auth = matches.flag("with-registry-auth");
        let headers: Vec<_> = with_auth
            .then_some(("x-registry-auth", auth.as_str()))
            .into_iter()
            .collect();
        match known
            .iter()
            .find(|service| text(service, "/Spec/Name") == name)
        {
            Some(service) => {
                println!("Updating service {name} (id: {})", text(service, "/ID"));
                let was = service["Spec"]["Labels"]["com.docker.stack.image"]
                    .as_str()
                    .unwrap_or_default();
                if resolve == Resolve::Always || (resolve == Resolve::Changed && was != image) {
                    pin(context, &mut spec, &image, &auth).await;
                } else if was == image {
                    spec["TaskTemplate"]["ContainerSpec"]["Image"] =
                        service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone();
                }
                spec["TaskTemplate"]["ForceUpdate"] =
                    service["Spec"]["TaskTemplate"]["ForceUpdate"].clone();
                let version = service["Version"]["Index"].to_string();
                let mut query = vec![("version", version.as_str())];
                if !with_auth {
                    query.push(("registryAuthFrom", "spec"));
                }
                let path = url(
                    &format!("/services/{}/update", text(service, "/ID")),
                    &query,
                );
                let answer = context
                    .client
                    .json_with(http::Method::POST, &path, Some(&spec), &headers)
                    .await
                    .map_err(|error| {
                        CliError::new(format!(
                            "failed to update service {name}: {}",
                            error.message
                        ))
                    })?;
                warn(&answer);
                deployed.push((text(service, "/ID").to_owned(), name));
            }
            None => {
                println!("Creating service {name}");
                if resolve != Resolve::Never {
                    pin(context, &mut spec, &image, &auth).await;
                }
                let answer = context
                    .client
                    .json_with(
                        http::Method::POST,
                        "/services/create",
                        Some(&spec),
                        &headers,
                    )
                    .await
                    .map_err(|error| {
                        CliError::new(format!(
                            "failed to create service {name}: {}",
                            error.message
                        ))
                    })?;
                warn(&answer);
                deployed.push((text(&answer, "/ID").to_owned(), name));
            }
        }
    }
    Ok(deployed)
}

fn warn(answer: &Value) {
    for warning in answer["Warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        eprintln!("{warning}");
    }
}

async fn pin(context: &Context, spec: &mut Value, image: &str, auth: &str) {
    match pinned_image(context, image, auth).await {
        Some((pinned, platforms)) => {
            spec["TaskTemplate"]["ContainerSpec"]["Image"] = pinned.into();
            if !platforms.is_empty() {
                spec["TaskTemplate"]["Placement"]["Platforms"] = json!(platforms);
            }
        }
        None => eprintln!("{}", crate::cmd::service::unpinned(image)),
    }
}

/// Gives references to secrets and configs their ids.
async fn fill_ids(context: &Context, spec: &mut Value) -> Result<(), CliError> {
    for (kind, field, id_field, name_field) in [
        ("secret", "Secrets", "SecretID", "SecretName"),
        ("config", "Configs", "ConfigID", "ConfigName"),
    ] {
        let Some(references) = spec
            .pointer_mut(&format!("/TaskTemplate/ContainerSpec/{field}"))
            .and_then(Value::as_array_mut)
        else {
            continue;
        };
        for reference in references {
            let name = reference[name_field]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let object = context
                .client
                .get(&format!("/{kind}s/{}", escape(&name)))
                .await
                .map_err(|error| {
                    if error.is_not_found() {
                        CliError::new(format!("{kind} not found: {name}"))
                    } else {
                        error
                    }
                })?;
            reference[id_field] = object["ID"].clone();
        }
    }
    Ok(())
}
