//! Names to ids: networks, secrets and configs that a service names.

use serde_json::{Value, json};

use crate::client::{escape, url};
use crate::cmd::objects::text;
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
    let names: serde_json::Map<String, Value> = wanted
        .iter()
        .map(|reference| (reference.source.clone(), true.into()))
        .collect();
    let path = url(
        &format!("/{kind}s"),
        &[("filters", &json!({"name": names}).to_string())],
    );
    let found = context.client.get(&path).await?;
    let ids = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let (id_field, name_field) = if kind == "secret" {
        ("SecretID", "SecretName")
    } else {
        ("ConfigID", "ConfigName")
    };
    wanted
        .iter()
        .map(|reference| {
            let object = ids
                .iter()
                .find(|object| text(object, "/Spec/Name") == reference.source)
                .ok_or_else(|| CliError::new(format!("{kind} not found: {}", reference.source)))?;
            // A config's file lies where it says; a bare name below the root.
            let default = if kind == "config" { format!("/{}", reference.source) } else { reference.source.clone() };
            Ok(json!({"File": reference.file(&default), id_field: text(object, "/ID"), name_field: reference.source}))
        })
        .collect()
}
