//! Secrets and configs of a stack.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::url;
use crate::cmd::objects::text;
use crate::cmd::versions::{self, Version};
use crate::context::Context;
use crate::error::CliError;

/// By name in the file: the object that services are to refer to.
pub(super) type Objects = BTreeMap<String, Version>;

/// Makes what is not there; where the content changed, makes a new version; else updates labels.
pub(super) async fn deploy(
    context: &Context,
    kind: &str,
    bodies: &[Value],
) -> Result<Objects, CliError> {
    let mut objects = Objects::new();
    for body in bodies {
        let name = text(body, "/Name").to_owned();
        let version = match versions::newest(context, kind, &name).await? {
            Some(known) => update(context, kind, &name, known, body).await?,
            None => create(context, kind, &name, body).await?,
        };
        objects.insert(name, version);
    }
    Ok(objects)
}

async fn create(
    context: &Context,
    kind: &str,
    name: &str,
    body: &Value,
) -> Result<Version, CliError> {
    println!("Creating {kind} {name}");
    let answer = context
        .client
        .post(&format!("/{kind}s/create"), body)
        .await
        .map_err(|error| {
            CliError::new(format!("failed to create {kind} {name}: {}", error.message))
        })?;
    let object = serde_json::json!({"ID": answer["ID"], "Spec": {"Name": name}});
    Ok(Version { number: 1, object })
}

/// The daemon alone can say whether a secret's content is another one: it refuses the update then.
async fn update(
    context: &Context,
    kind: &str,
    name: &str,
    known: Version,
    body: &Value,
) -> Result<Version, CliError> {
    let mut same = body.clone();
    same["Name"] = known.name().into();
    for label in [versions::VERSION_OF, versions::VERSION] {
        if let Some(value) = known.object["Spec"]["Labels"].get(label) {
            same["Labels"][label] = value.clone();
        }
    }
    let index = known.object["Version"]["Index"].to_string();
    let path = url(
        &format!("/{kind}s/{}/update", known.id()),
        &[("version", &index)],
    );
    match context.client.post(&path, &same).await {
        Ok(_) => Ok(known),
        Err(error) if versions::is_change_of_content(&error) => {
            let number = known.number + 1;
            println!("Updating {kind} {name} (version {number})");
            versions::create(context, kind, name, number, body.clone())
                .await
                .map_err(|error| {
                    CliError::new(format!("failed to update {kind} {name}: {}", error.message))
                })
        }
        Err(error) => Err(CliError::new(format!(
            "failed to update {kind} {name}: {}",
            error.message
        ))),
    }
}

/// Gives references to secrets and configs the ids of what they name.
pub(super) async fn fill_ids(
    context: &Context,
    spec: &mut Value,
    secrets: &Objects,
    configs: &Objects,
) -> Result<(), CliError> {
    let mut credential = None;
    for (kind, own) in [("secret", secrets), ("config", configs)] {
        let [list, id, name_field] = versions::fields(kind);
        let Some(references) = spec
            .pointer_mut(&format!("/TaskTemplate/ContainerSpec/{list}"))
            .and_then(Value::as_array_mut)
        else {
            continue;
        };
        for reference in references {
            let name = text(reference, &format!("/{name_field}")).to_owned();
            let version = match own.get(&name) {
                Some(version) => version.clone(),
                None => versions::newest(context, kind, &name)
                    .await?
                    .ok_or_else(|| CliError::new(format!("{kind} not found: {name}")))?,
            };
            reference[id] = version.id().into();
            reference[name_field] = version.name().into();
            if reference.get("Runtime").is_some() {
                credential = Some(version.id().to_owned());
            }
        }
    }
    if let Some(id) = credential {
        // A credential spec names its config by id.
        spec["TaskTemplate"]["ContainerSpec"]["Privileges"]["CredentialSpec"]["Config"] = id.into();
    }
    Ok(())
}
