//! Names to ids: networks, secrets and configs that a service names.

use serde_json::{Value, json};

use crate::client::{escape, url};
use crate::cmd::objects::text;
use crate::cmd::versions;
use crate::context::Context;
use crate::error::CliError;
use crate::opts::{FileReference, file_reference, network_attachment};

/// `--network` flags as attachments, sorted by id as Docker does.
pub(super) async fn networks(context: &Context, flags: &[String]) -> Result<Vec<Value>, CliError> {
    let mut all = Vec::new();
    for flag in flags {
        let attachment = network_attachment(flag)?;
        let id = network_id(context, &attachment.target).await?;
        all.push(attachment.to_service(&id));
    }
    all.sort_by(|a, b| text(a, "/Target").cmp(text(b, "/Target")));
    Ok(all)
}

/// The id of a network of the swarm.
pub(super) async fn network_id(context: &Context, name: &str) -> Result<String, CliError> {
    if name.is_empty() {
        return Err(CliError::new("invalid network name or ID: value is empty"));
    }
    let path = url(
        &format!("/networks/{}", escape(name)),
        &[("scope", "swarm")],
    );
    let network = context.client.get(&path).await?;
    Ok(text(&network, "/Id").to_owned())
}

/// `--secret` or `--config` flags as references. `kind` is `secret` or `config`.
pub(super) async fn files(
    context: &Context,
    kind: &str,
    flags: &[String],
) -> Result<Vec<Value>, CliError> {
    let wanted: Vec<FileReference> = flags
        .iter()
        .map(|flag| file_reference(kind, flag))
        .collect::<Result<_, _>>()?;
    let mut targets = std::collections::BTreeSet::new();
    for reference in &wanted {
        let target = reference.target.as_deref().unwrap_or(&reference.source);
        if !targets.insert(target) {
            return Err(CliError::new(format!(
                "duplicate {kind} target for {} not allowed",
                reference.source
            )));
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = wanted.iter().map(|r| r.source.as_str()).collect();
    let ids = named(context, kind, &names).await?;
    let (id_field, name_field) = if kind == "secret" {
        ("SecretID", "SecretName")
    } else {
        ("ConfigID", "ConfigName")
    };
    wanted
        .iter()
        .map(|reference| {
            let object = newest(&ids, &reference.source)
                .ok_or_else(|| CliError::new(format!("{kind} not found: {}", reference.source)))?;
            Ok(json!({"File": reference.file(&reference.source), id_field: text(object, "/ID"), name_field: text(object, "/Spec/Name")}))
        })
        .collect()
}

/// The newest version of a name among these objects.
fn newest<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    let of_name = objects.iter().filter(|o| versions::known_name(o) == name);
    of_name
        .max_by_key(|object| versions::number(object))
        .or_else(|| objects.iter().find(|o| text(o, "/Spec/Name") == name))
}

/// Secrets or configs of these names, and others that begin with them.
async fn named(context: &Context, kind: &str, names: &[&str]) -> Result<Vec<Value>, CliError> {
    let names: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), true.into()))
        .collect();
    let path = url(
        &format!("/{kind}s"),
        &[("filters", &json!({"name": names}).to_string())],
    );
    let found = context.client.get(&path).await?;
    Ok(found.as_array().cloned().unwrap_or_default())
}

/// Where a credential spec names a config, its id takes the name's place, and the service gets a
/// reference to it, which is answered.
pub(super) async fn credential_config(
    context: &Context,
    container: &mut Value,
) -> Result<Option<Value>, CliError> {
    let name = text(container, "/Privileges/CredentialSpec/Config").to_owned();
    if name.is_empty() {
        return Ok(None);
    }
    let found = named(context, "config", &[&name]).await?;
    let config = found
        .iter()
        .find(|object| text(object, "/Spec/Name") == name)
        .ok_or_else(|| CliError::new(format!("config not found: {name}")))?;
    let id = text(config, "/ID");
    container["Privileges"]["CredentialSpec"]["Config"] = id.into();
    Ok(Some(
        json!({"Runtime": {}, "ConfigID": id, "ConfigName": name}),
    ))
}
