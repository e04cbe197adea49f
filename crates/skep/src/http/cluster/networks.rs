//! The swarm's part of `/networks/*`.

use skep_engine::Filters;
use skep_objects::api::network as api;
use skep_objects::swarmkit as proto;

use super::{Manager, ask, lookup};
use crate::http::Api;
use crate::http::convert::network;
use crate::http::error::{ApiError, Result};

/// Networks that every host has of its own.
const PREDEFINED: [&str; 4] = ["bridge", "host", "none", "default"];

/// Whether managers make this network, and not the engine.
pub fn is_swarm(request: &api::NetworkCreate) -> bool {
    request.driver == "overlay" || request.scope == "swarm" || request.ingress
}

/// Marks what stands in the swarm for a network that every host has of its own.
const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";

/// Swarm networks that pass the filters, in the order of their ids; without the stand-ins for each
/// host's own networks, which users know by the local ones.
pub async fn list(manager: &Manager, filters: &Filters) -> Result<Vec<api::Network>> {
    let request = proto::ListNetworksRequest::default();
    let networks = ask!(manager, list_networks, request)?.networks;
    let mut rows: Vec<api::Network> = networks
        .iter()
        .map(network::from_network)
        .filter(|network| {
            !network
                .labels
                .as_ref()
                .is_some_and(|labels| labels.contains_key(PREDEFINED_LABEL))
        })
        .filter(|network| matches(filters, network))
        .collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}

fn matches(filters: &Filters, network: &api::Network) -> bool {
    let predefined = PREDEFINED.contains(&network.name.as_str());
    let kind = if predefined { "builtin" } else { "custom" };
    let labels = network.labels.clone().unwrap_or_default();
    // Managers cannot tell from here whether a swarm network is unused.
    filters
        .get("dangling")
        .all(|wanted| matches!(wanted, "0" | "false"))
        && filters.exact("driver", &network.driver)
        && filters.pattern("name", &network.name)
        && filters.pattern("id", &network.id)
        && filters.exact("scope", &network.scope)
        && filters.exact("type", kind)
        && filters.labels("label", &labels)
}

/// Makes a swarm network.
pub async fn create(
    manager: &Manager,
    request: api::NetworkCreate,
) -> Result<api::NetworkCreateResponse> {
    if PREDEFINED.contains(&request.name.as_str()) {
        let text = format!(
            "operation is not permitted on predefined {} network",
            request.name
        );
        return Err(ApiError::new(skep_objects::ErrorKind::NotAllowed, text));
    }
    let spec = Some(network::to_spec(request));
    let created = ask!(
        manager,
        create_network,
        proto::CreateNetworkRequest { spec }
    )?
    .network;
    let id = created.unwrap_or_default().id;
    Ok(api::NetworkCreateResponse {
        id,
        warning: String::new(),
    })
}

/// Removes a swarm network.
pub async fn remove(manager: &Manager, id: &str) -> Result<()> {
    let request = proto::RemoveNetworkRequest {
        network_id: id.to_owned(),
        ..Default::default()
    };
    ask!(manager, remove_network, request)?;
    Ok(())
}

/// A swarm network by id, name or beginning of an id; none when there is no such.
pub async fn find(manager: &Manager, reference: &str) -> Result<Option<api::Network>> {
    match lookup::network(manager, reference).await {
        Ok(found) => Ok(Some(network::from_network(&found))),
        Err(error) if error.status == http::StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names of networks in a service's spec become ids. A local network is refused by name.
pub async fn to_ids(
    api: &Api,
    manager: &Manager,
    networks: &mut [proto::NetworkAttachmentConfig],
) -> Result<()> {
    for wanted in networks {
        let missing = match lookup::network(manager, &wanted.target).await {
            Ok(found) => {
                wanted.target = found.id;
                continue;
            }
            Err(missing) => missing,
        };
        let Ok(local) = api.engine.networks().inspect(&wanted.target, false).await else {
            return Err(missing);
        };
        if PREDEFINED.contains(&local.name.as_str()) {
            let found = lookup::network(manager, &local.name).await.map_err(|_| {
                let text = "could not find the corresponding predefined swarm network";
                ApiError::not_found(format!("{text}: {}", missing.message))
            })?;
            wanted.target = found.id;
            continue;
        }
        let text = format!(
            "The network {} cannot be used with services. Only networks scoped to the swarm can \
             be used, such as those created with the overlay driver.",
            local.name
        );
        return Err(ApiError::new(skep_objects::ErrorKind::NotAllowed, text));
    }
    Ok(())
}
