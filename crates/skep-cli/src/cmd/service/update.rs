//! `service update`, `service scale`, `service rollback`.

use serde_json::{Value, json};

use super::create::{stored_auth, unpinned};
use super::{progress, update_spec};
use crate::client::{escape, url};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::{CliError, join};
use crate::grammar::Matches;
use crate::opts::{pinned_image, registry_auth_header};

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = matches.arg(0);
    if matches.flag("rollback") {
        let others = ["detach", "quiet", "rollback", "help"];
        if matches.given_flags().any(|flag| !others.contains(&flag)) {
            return Err(CliError::new(
                "other flags may not be combined with --rollback",
            ));
        }
        return roll_back(context, matches, &[("registryAuthFrom", "spec")]).await;
    }
    let service = find(context, name).await?;
    let mut spec = service["Spec"].clone();
    update_spec::apply(context, &mut spec, matches).await?;
    let image = text(&spec, "/TaskTemplate/ContainerSpec/Image").to_owned();
    let auth = registry_auth_header(context, &image);
    if matches.given("image") && !matches.flag("no-resolve-image") {
        match pinned_image(context, &image, &auth).await {
            Some((pinned, platforms)) => {
                spec["TaskTemplate"]["ContainerSpec"]["Image"] = pinned.into();
                if !platforms.is_empty() {
                    spec["TaskTemplate"]["Placement"]["Platforms"] = json!(platforms);
                }
            }
            None => eprintln!("{}", unpinned(&image)),
        }
    }
    let with_auth = matches.flag("with-registry-auth");
    let query: &[(&str, &str)] = if with_auth {
        &[]
    } else {
        &[("registryAuthFrom", "spec")]
    };
    send(
        context,
        &service,
        &spec,
        query,
        with_auth.then_some(stored_auth(&auth)),
    )
    .await?;
    println!("{name}");
    finish(context, matches, text(&service, "/ID"), name).await
}

pub(super) async fn rollback(context: &Context, matches: &Matches) -> Result<(), CliError> {
    roll_back(context, matches, &[]).await
}

async fn roll_back(
    context: &Context,
    matches: &Matches,
    more: &[(&str, &str)],
) -> Result<(), CliError> {
    let name = matches.arg(0);
    let service = find(context, name).await?;
    send(
        context,
        &service,
        &service["Spec"],
        &[&[("rollback", "previous")], more].concat(),
        None,
    )
    .await?;
    println!("{name}");
    finish(context, matches, text(&service, "/ID"), name).await
}

/// Spreads the tasks of services evenly over the nodes that there are now.
pub(super) async fn rebalance(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut errors = Vec::new();
    let mut asked = Vec::new();
    for name in matches.args() {
        let path = format!("/services/{}/rebalance", escape(name));
        match context.client.post_empty(&path).await {
            Ok(answer) => {
                let warnings = answer["Warnings"].as_array().into_iter().flatten();
                for warning in warnings.filter_map(Value::as_str) {
                    eprintln!("{warning}");
                }
                println!("{name}");
                asked.push(name);
            }
            Err(error) => errors.push(error),
        }
    }
    for name in asked {
        let service = find(context, name).await?;
        finish(context, matches, text(&service, "/ID"), name).await?;
    }
    join(errors)
}

pub(super) async fn scale(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut wanted = Vec::new();
    for arg in matches.args() {
        let (name, count) = arg.split_once('=').ok_or_else(|| {
            CliError::new(format!(
                "invalid scale specifier '{arg}'.\nSee 'docker service scale --help'.\n\nUsage:  docker service scale SERVICE=REPLICAS [SERVICE=REPLICAS...]\n\nScale one or multiple replicated services"
            ))
        })?;
        let count: u64 = count.parse().map_err(|_| {
            CliError::new(format!("{name}: invalid replicas value {count}: strconv.ParseUint: parsing \"{count}\": invalid syntax"))
        })?;
        wanted.push((name, count));
    }
    let mut errors = Vec::new();
    let mut scaled = Vec::new();
    for (name, count) in wanted {
        match scale_one(context, name, count).await {
            Ok(id) => {
                println!("{name} scaled to {count}");
                scaled.push((id, name));
            }
            Err(error) => errors.push(CliError::new(format!("{name}: {}", error.message))),
        }
    }
    for (id, name) in scaled {
        finish(context, matches, &id, name).await?;
    }
    join(errors)
}

async fn scale_one(context: &Context, name: &str, count: u64) -> Result<String, CliError> {
    let service = find(context, name).await?;
    let mut spec = service["Spec"].clone();
    if spec["Mode"].get("Replicated").is_some() {
        spec["Mode"]["Replicated"]["Replicas"] = count.into();
    } else if spec["Mode"].get("ReplicatedJob").is_some() {
        spec["Mode"]["ReplicatedJob"]["TotalCompletions"] = count.into();
    } else {
        return Err(CliError::new(
            "scale can only be used with replicated or replicated-job mode",
        ));
    }
    send(context, &service, &spec, &[], None).await?;
    Ok(text(&service, "/ID").to_owned())
}

async fn find(context: &Context, name: &str) -> Result<Value, CliError> {
    context
        .client
        .get(&url(
            &format!("/services/{}", escape(name)),
            &[("insertDefaults", "false")],
        ))
        .await
}

async fn send(
    context: &Context,
    service: &Value,
    spec: &Value,
    query: &[(&str, &str)],
    auth: Option<&str>,
) -> Result<(), CliError> {
    let version = service["Version"]["Index"].to_string();
    let mut all = query.to_vec();
    all.push(("version", &version));
    let path = url(&format!("/services/{}/update", text(service, "/ID")), &all);
    let headers: Vec<_> = auth
        .map(|auth| ("x-registry-auth", auth))
        .into_iter()
        .collect();
    let answer = context
        .client
        .json_with(http::Method::POST, &path, Some(spec), &headers)
        .await?;
    for warning in answer["Warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        eprintln!("{warning}");
    }
    Ok(())
}

async fn finish(
    context: &Context,
    matches: &Matches,
    id: &str,
    name: &str,
) -> Result<(), CliError> {
    if matches.flag("detach") {
        return Ok(());
    }
    progress::wait(context, id, name, matches.flag("quiet")).await
}
