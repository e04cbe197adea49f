//! `inspect` of whatever has a name.

use serde_json::Value;

use crate::client::{escape, url};
use crate::cmd::objects::{Shown, inspect};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;

/// A kind of object: its name, what comes before and after the object's name in its path, and
/// whether only managers of a swarm have it.
struct Kind {
    name: &'static str,
    before: &'static str,
    after: &'static str,
    of_swarm: bool,
}

const fn kind(
    name: &'static str,
    before: &'static str,
    after: &'static str,
    of_swarm: bool,
) -> Kind {
    Kind {
        name,
        before,
        after,
        of_swarm,
    }
}

/// In the order in which names are looked up.
const KINDS: [Kind; 10] = [
    kind("container", "/containers/", "/json", false),
    kind("image", "/images/", "/json", false),
    kind("network", "/networks/", "", false),
    kind("volume", "/volumes/", "", false),
    kind("service", "/services/", "", true),
    kind("task", "/tasks/", "", true),
    kind("node", "/nodes/", "", true),
    kind("plugin", "/plugins/", "/json", false),
    kind("secret", "/secrets/", "", true),
    kind("config", "/configs/", "", true),
];

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let wanted = matches.text("type");
    if matches.given("type") && !KINDS.iter().any(|kind| kind.name == wanted) {
        let mut names: Vec<_> = KINDS
            .iter()
            .map(|kind| format!("{:?}", kind.name))
            .collect();
        names.sort();
        return Err(CliError::new(format!(
            "unknown type: {wanted:?}: must be one of {}",
            names.join(", ")
        )));
    }
    let shown = Shown::of_host(type_of, true);
    inspect(matches.args(), matches.text("format"), shown, |name| {
        find(context, matches, name)
    })
    .await
}

async fn find(context: &Context, matches: &Matches, name: &str) -> Result<Value, CliError> {
    let wanted = matches.text("type");
    let mut is_manager = None;
    for kind in KINDS
        .iter()
        .filter(|kind| wanted.is_empty() || kind.name == wanted)
    {
        if kind.of_swarm && wanted.is_empty() {
            let manages = match is_manager {
                Some(known) => known,
                None => manages(context).await?,
            };
            is_manager = Some(manages);
            if !manages {
                continue;
            }
        }
        let size = match (kind.name, matches.flag("size")) {
            ("container", true) => "1",
            _ => "",
        };
        let defaults = if kind.name == "service" { "true" } else { "" };
        let query = [("insertDefaults", defaults), ("size", size)];
        let path = url(
            &format!("{}{}{}", kind.before, escape(name), kind.after),
            &query,
        );
        match context.client.get(&path).await {
            Err(error) if wanted.is_empty() && is_elsewhere(&error) => {}
            result => return result,
        }
    }
    Err(CliError::new(format!("Error: No such object: {name}")))
}

/// Go's type of an object, by what only such have.
fn type_of(value: &Value) -> &'static str {
    let has = |pointer: &str| value.pointer(pointer).is_some();
    let known = [
        ("/Endpoint", "swarm.Service"),
        ("/DesiredState", "swarm.Task"),
        ("/Description", "swarm.Node"),
        ("/Mountpoint", "volume.Volume"),
        ("/IPAM", "network.Inspect"),
        ("/Spec/Data", "swarm.Config"),
        ("/Version", "swarm.Secret"),
    ];
    let found = known.into_iter().find(|(pointer, _)| has(pointer));
    found.map_or("", |(_, of)| of)
}

async fn manages(context: &Context) -> Result<bool, CliError> {
    let info = context.client.get("/info").await?;
    Ok(info.pointer("/Swarm/ControlAvailable") == Some(&Value::Bool(true)))
}

/// Whether a kind's refusal leaves the other kinds to be asked: it is not there, this host has no
/// such kind, or the name is none for it.
fn is_elsewhere(error: &CliError) -> bool {
    matches!(error.status, Some(400 | 404 | 406 | 501 | 503))
}
