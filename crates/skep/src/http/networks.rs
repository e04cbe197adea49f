//! `/networks/*`: local networks from the engine, swarm networks from the managers.

use http::StatusCode;
use skep_engine::Filters;
use skep_objects::api::network::{Network, NetworkConnect, NetworkCreate, NetworkDisconnect};

use super::Api;
use super::call::{self, Call, Response};
use super::cluster::networks as swarm;
use super::error::{ApiError, Result};

/// Filters that Docker knows.
const KNOWN: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// Picks the handler.
pub async fn route(mut call: Call, path: &[&str]) -> Result<Response> {
    let engine = call.api.engine.clone();
    let networks = engine.networks();
    match (call.method().as_str(), path) {
        ("GET", ["networks"]) => call::ok(&list(&call.api, &call.query.filters()?).await?),
        ("POST", ["networks", "create"]) => create(call).await,
        ("POST", ["networks", "prune"]) => call::ok(&networks.prune(&call.query.filters()?).await?),
        ("GET", ["networks", id]) => {
            let scope = call.query.get("scope");
            let verbose = match call.query.get("verbose") {
                "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
                "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
                other => {
                    return Err(ApiError::invalid(format!(
                        "invalid value for verbose: {other}: strconv.ParseBool: parsing {other:?}: invalid syntax"
                    )));
                }
            };
            call::ok(&find(&call.api, id, scope, verbose).await?)
        }
        ("DELETE", ["networks", id]) => remove(&call, id).await,
        ("POST", ["networks", id, "connect"]) => {
            let request: NetworkConnect = call.json().await?;
            networks.connect(id, request).await?;
            Ok(call::empty(StatusCode::OK))
        }
        ("POST", ["networks", id, "disconnect"]) => {
            let request: NetworkDisconnect = call.json().await?;
            networks.disconnect(id, request).await?;
            Ok(call::empty(StatusCode::OK))
        }
        _ => Err(ApiError::no_route()),
    }
}

/// The swarm's networks first, then this host's that are not among them.
async fn list(api: &Api, filters: &Filters) -> Result<Vec<Network>> {
    filters.validate(&KNOWN)?;
    let mut rows = Vec::new();
    let mut knows_swarm = false;
    // Without a leader the local networks can be shown all the same.
    if let Ok(manager) = api.manager()
        && let Ok(known) = swarm::list(&manager, filters).await
    {
        rows = known;
        knows_swarm = true;
    }
    for mut local in api.engine.networks().list(filters).await? {
        // One of the swarm's that is removed lasts here until its last task has ended.
        let is_removed = knows_swarm && local.scope == "swarm";
        if !is_removed && rows.iter().all(|row| row.id != local.id) {
            // Lists do not show who is on a network.
            local.containers = Some(std::collections::BTreeMap::new());
            rows.push(local);
        }
    }
    Ok(rows)
}

async fn create(mut call: Call) -> Result<Response> {
    let request: NetworkCreate = call.json().await?;
    let taken = || {
        let text = format!("network with name {} already exists", request.name);
        ApiError::new(skep_objects::ErrorKind::AlreadyExists, text)
    };
    let manager = call.api.manager();
    if let Ok(manager) = &manager
        && let Some(found) = swarm::find(manager, &request.name).await?
        && found.name == request.name
    {
        return Err(taken());
    }
    let created = if swarm::is_swarm(&request) {
        swarm::create(&manager?, request).await?
    } else {
        call.api.engine.networks().create(request).await?
    };
    call::json(StatusCode::CREATED, &created)
}

/// The one network that `reference` means: full ids first, then names, then beginnings of ids.
/// What this host knows of a swarm network goes before what managers know: it has containers.
async fn find(api: &Api, reference: &str, scope: &str, verbose: bool) -> Result<Network> {
    let fits = |network: &Network| scope.is_empty() || network.scope == scope;
    let local = api.engine.networks().list(&Filters::default()).await?;
    let mut candidates: Vec<(String, String)> = local
        .iter()
        .filter(|network| fits(network))
        .map(|network| (network.id.clone(), network.name.clone()))
        .collect();
    let mut elsewhere = Vec::new();
    if let Ok(manager) = api.manager() {
        // Lists hide the swarm's side of `host` and `bridge`; `service create --network host` asks
        // for it by name.
        if scope == "swarm"
            && let Some(found) = swarm::find(&manager, reference).await?
            && found.name == reference
            && local.iter().all(|network| network.id != found.id)
        {
            return Ok(found);
        }
        elsewhere = swarm::list(&manager, &Filters::default())
            .await
            .unwrap_or_default();
        elsewhere
            .retain(|network| fits(network) && candidates.iter().all(|(id, _)| *id != network.id));
        candidates.extend(elsewhere.iter().map(|n| (n.id.clone(), n.name.clone())));
    }
    let id = choose(&candidates, reference)?;
    match elsewhere.into_iter().find(|network| network.id == id) {
        Some(network) => Ok(network),
        None => Ok(api.engine.networks().inspect(&id, verbose).await?),
    }
}

/// Picks an id among `(id, name)` pairs.
fn choose(candidates: &[(String, String)], reference: &str) -> Result<String> {
    let full = candidates.iter().find(|(id, _)| id == reference);
    if let Some((id, _)) = full {
        return Ok(id.clone());
    }
    let by_name: Vec<_> = candidates
        .iter()
        .filter(|(_, name)| name == reference)
        .collect();
    let by_prefix: Vec<_> = candidates
        .iter()
        .filter(|(id, _)| id.starts_with(reference))
        .collect();
    for (found, how) in [(by_name, "name"), (by_prefix, "ID prefix")] {
        match found.as_slice() {
            [] => {}
            [(id, _)] => return Ok(id.clone()),
            many => {
                let count = many.len();
                let text =
                    format!("network {reference} is ambiguous ({count} matches found on {how})");
                return Err(ApiError::invalid(text));
            }
        }
    }
    Err(ApiError::not_found(format!(
        "network {reference} not found"
    )))
}

async fn remove(call: &Call, reference: &str) -> Result<Response> {
    let found = find(&call.api, reference, "", false).await?;
    if found.scope == "swarm" {
        swarm::remove(&call.api.manager()?, &found.id).await?;
    } else {
        call.api.engine.networks().remove(&found.id).await?;
    }
    Ok(call::empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_found_by_id_then_name_then_prefix() {
        let pairs = [("abc1", "web"), ("abc2", "abc1"), ("d1", "x"), ("d2", "x")];
        let pairs = pairs.map(|(id, name)| (id.to_owned(), name.to_owned()));
        let check = |reference: &str, expect: Result<&str, &str>| {
            let got = choose(&pairs, reference).map_err(|error| error.message);
            assert_eq!(
                got.as_deref().map_err(String::as_str),
                expect,
                "{reference}"
            );
        };
        check("abc1", Ok("abc1"));
        check("web", Ok("abc1"));
        check("d1", Ok("d1"));
        check(
            "abc",
            Err("network abc is ambiguous (2 matches found on ID prefix)"),
        );
        check("x", Err("network x is ambiguous (2 matches found on name)"));
        check("nope", Err("network nope not found"));
    }
}
