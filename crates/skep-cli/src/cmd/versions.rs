//! Secrets and configs whose content changes.
//!
//! Docker's secrets and configs never change. A new content is a new object: `app.v2` beside `app`,
//! with labels that say of what it is a version. Services are switched to it by ordinary updates, with
//! all that an update has: order, monitor, failure action, rollback. Versions that no service, and no
//! service's previous spec, refers to are removed. See `docs/decisions/0030-versions-of-configs.md`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::objects::text;
use crate::client::url;
use crate::context::Context;
use crate::error::CliError;

/// Label with the name that a version is of.
pub(crate) const VERSION_OF: &str = "skep.version.of";
/// Label with a version's number; what has none is the first.
pub(crate) const VERSION: &str = "skep.version";
/// Longest name of a secret or config.
const MAX_NAME: usize = 64;

/// One version of a secret or config.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    /// 1 for what Docker made.
    pub number: u64,
    /// The object.
    pub object: Value,
}

impl Version {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        text(&self.object, "/ID")
    }

    /// The name of the object, which is not the one that users know.
    pub(crate) fn name(&self) -> &str {
        text(&self.object, "/Spec/Name")
    }
}

/// The name that users know an object by.
pub(crate) fn known_name(object: &Value) -> &str {
    object["Spec"]["Labels"][VERSION_OF]
        .as_str()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| text(object, "/Spec/Name"))
}

/// Which version an object is.
pub(crate) fn number(object: &Value) -> u64 {
    object["Spec"]["Labels"][VERSION]
        .as_str()
        .and_then(|number| number.parse().ok())
        .unwrap_or(1)
}

/// The versions of a name, oldest first. `kind` is `secret` or `config`.
pub(crate) async fn versions(
    context: &Context,
    kind: &str,
    name: &str,
) -> Result<Vec<Version>, CliError> {
    // Names of versions begin with it, as far as there is room.
    let beginning: String = name.chars().take(MAX_NAME - 8).collect();
    let filter = json!({"name": {beginning: true}}).to_string();
    let path = url(&format!("/{kind}s"), &[("filters", &filter)]);
    let found = context.client.get(&path).await?;
    let mut all: Vec<Version> = found
        .as_array()
        .into_iter()
        .flatten()
        .filter(|object| known_name(object) == name)
        .map(|object| Version {
            number: number(object),
            object: object.clone(),
        })
        .collect();
    all.sort_by_key(|version| version.number);
    Ok(all)
}

/// The newest version of a name.
pub(crate) async fn newest(
    context: &Context,
    kind: &str,
    name: &str,
) -> Result<Option<Version>, CliError> {
    Ok(versions(context, kind, name).await?.pop())
}

/// Makes the next version of a name. `body` is a spec with the new content and the labels to have.
pub(crate) async fn create(
    context: &Context,
    kind: &str,
    name: &str,
    number: u64,
    mut body: Value,
) -> Result<Version, CliError> {
    body["Name"] = version_name(name, number).into();
    body["Labels"][VERSION_OF] = name.into();
    body["Labels"][VERSION] = number.to_string().into();
    let answer = context
        .client
        .post(&format!("/{kind}s/create"), &body)
        .await?;
    if let Some(spec) = body.as_object_mut() {
        spec.shift_remove("Data");
    }
    let object = json!({"ID": answer["ID"], "Spec": body});
    Ok(Version { number, object })
}

fn version_name(name: &str, number: u64) -> String {
    let end = format!(".v{number}");
    let beginning: String = name.chars().take(MAX_NAME - end.len()).collect();
    format!("{}{end}", beginning.trim_end_matches(['.', '-', '_']))
}

/// Fields of a service's references to one kind: list, id, name.
pub(crate) fn fields(kind: &str) -> [&'static str; 3] {
    match kind {
        "secret" => ["Secrets", "SecretID", "SecretName"],
        _ => ["Configs", "ConfigID", "ConfigName"],
    }
}

/// Switches references to any of these ids to a version; whether there were any.
pub(crate) fn switch(
    spec: &mut Value,
    kind: &str,
    ids: &BTreeSet<String>,
    version: &Version,
) -> bool {
    let [list, id, name] = fields(kind);
    let mut switched = false;
    let references = spec
        .pointer_mut(&format!("/TaskTemplate/ContainerSpec/{list}"))
        .and_then(Value::as_array_mut);
    for reference in references.into_iter().flatten() {
        let known = text(reference, &format!("/{id}"));
        if ids.contains(known) && known != version.id() {
            reference[id] = version.id().into();
            reference[name] = version.name().into();
            switched = true;
        }
    }
    switched
}

/// Ids of one kind that services, or their previous specs, refer to.
pub(crate) fn referred(services: &[Value], kind: &str) -> BTreeSet<String> {
    let [list, id, _] = fields(kind);
    let specs = services
        .iter()
        .flat_map(|service| [&service["Spec"], &service["PreviousSpec"]]);
    specs
        .filter_map(|spec| {
            spec.pointer(&format!("/TaskTemplate/ContainerSpec/{list}"))?
                .as_array()
        })
        .flatten()
        .map(|reference| text(reference, &format!("/{id}")).to_owned())
        .collect()
}

/// Removes versions that are not the newest and that nothing refers to. One that came into use
/// meanwhile stays: the daemon says so.
pub(crate) async fn remove_superseded(
    context: &Context,
    kind: &str,
    name: &str,
) -> Result<Vec<String>, CliError> {
    let mut all = versions(context, kind, name).await?;
    all.pop();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let services = context.client.get("/services").await?;
    let used = referred(services.as_array().map_or(&[], Vec::as_slice), kind);
    let mut removed = Vec::new();
    for version in all.iter().filter(|version| !used.contains(version.id())) {
        let path = format!("/{kind}s/{}", version.id());
        match context.client.delete(&path).await {
            Ok(_) => removed.push(version.name().to_owned()),
            Err(error) if error.is_not_found() || error.status == Some(400) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Whether the daemon refused an update because the content would change.
pub(crate) fn is_change_of_content(error: &CliError) -> bool {
    error.message.contains("only updates to Labels are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, name: &str) -> Version {
        Version {
            number: 2,
            object: json!({"ID": id, "Spec": {"Name": name}}),
        }
    }

    #[test]
    fn names_of_versions_fit() {
        assert_eq!(version_name("app", 2), "app.v2");
        let long = "a".repeat(64);
        assert_eq!(version_name(&long, 12).len(), 64);
        assert!(version_name(&long, 12).ends_with("a.v12"));
        let object = json!({"Spec": {"Name": "app.v2", "Labels": {"skep.version.of": "app", "skep.version": "2"}}});
        assert_eq!((known_name(&object), number(&object)), ("app", 2));
        let object = json!({"Spec": {"Name": "app"}});
        assert_eq!((known_name(&object), number(&object)), ("app", 1));
    }

    #[test]
    fn references_are_switched_and_files_stay() {
        let reference =
            json!({"File": {"Name": "/etc/app"}, "ConfigID": "c1", "ConfigName": "app"});
        let other = json!({"File": {"Name": "/x"}, "ConfigID": "c9", "ConfigName": "x"});
        let mut spec =
            json!({"TaskTemplate": {"ContainerSpec": {"Configs": [reference, other.clone()]}}});
        let ids = BTreeSet::from(["c1".to_owned()]);
        assert!(switch(&mut spec, "config", &ids, &version("c2", "app.v2")));
        assert_eq!(
            spec["TaskTemplate"]["ContainerSpec"]["Configs"],
            json!([{"File": {"Name": "/etc/app"}, "ConfigID": "c2", "ConfigName": "app.v2"}, other])
        );
        assert!(!switch(&mut spec, "config", &ids, &version("c2", "app.v2")));
        assert!(!switch(&mut spec, "secret", &ids, &version("c2", "app.v2")));
    }

    #[test]
    fn a_previous_spec_keeps_its_version() {
        let uses =
            |id: &str| json!({"TaskTemplate": {"ContainerSpec": {"Secrets": [{"SecretID": id}]}}});
        let services = [json!({"Spec": uses("s2"), "PreviousSpec": uses("s1")})];
        let used: Vec<_> = referred(&services, "secret").into_iter().collect();
        assert_eq!(used, ["s1", "s2"]);
    }
}
