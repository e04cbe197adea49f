//! Containers outside services on attachable swarm networks: `docker run --network <overlay>`.
//!
//! The managers choose the address, before the container is made; the network is extended to this
//! host; a label of the container remembers the attachment, so that it is given back when the
//! container is removed, by whatever daemon runs here then.

use std::sync::Arc;

use skep_engine::CreateContainer;
use skep_objects::api::container::NetworkingConfig;
use skep_objects::api::network::EndpointSettings;
use skep_objects::ids;
use skep_objects::swarmkit::NetworkAttachment;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::cluster::lookup;
use super::error::{ApiError, Result};
use super::membership::Membership;

/// The label's beginning; the network's id follows. Its value is `attachment/holder`.
const LABEL: &str = "io.skep.attachment.";
/// Network modes that name no network.
const MODES: [&str; 5] = ["", "default", "bridge", "host", "none"];

/// One address that the managers gave.
#[derive(Debug)]
struct Held {
    attachment: String,
    network: String,
    holder: String,
}

/// Asks the managers for an address on each swarm network that a new container names.
pub async fn attach(api: &Api, request: &mut CreateContainer) -> Result<Attachments> {
    let mut held = Attachments {
        swarm: api.swarm.clone(),
        held: Vec::new(),
    };
    for name in names(request) {
        let Some(id) = swarm_network(api, &name).await? else {
            continue;
        };
        let holder = ids::new_hex_id();
        let asked = asked_address(&request.networking_config, &name);
        let (attachment, given) = match api.swarm.attach(&id, &holder, asked).await {
            Ok(given) => given,
            Err(error) => return Err(held.undo(error).await),
        };
        let label = format!("{LABEL}{id}");
        let value = format!("{attachment}/{holder}");
        held.held.push(Held {
            attachment,
            network: id,
            holder,
        });
        if let Err(error) = take_up(api, request, &name, &given).await {
            return Err(held.undo(error).await);
        }
        request
            .config
            .labels
            .get_or_insert_default()
            .insert(label, value);
    }
    Ok(held)
}

/// Names and ids of networks in a request.
fn names(request: &CreateContainer) -> Vec<String> {
    let mut names = vec![request.host_config.network_mode.clone()];
    let endpoints = request.networking_config.endpoints_config.iter().flatten();
    names.extend(endpoints.map(|(name, _)| name.clone()));
    names.retain(|name| !MODES.contains(&name.as_str()) && !name.starts_with("container:"));
    names.sort();
    names.dedup();
    names
}

/// The id of the swarm network that `name` means; none for a local network.
async fn swarm_network(api: &Api, name: &str) -> Result<Option<String>> {
    if let Ok(local) = api.engine.networks().inspect(name, false).await {
        return Ok((local.scope == "swarm").then_some(local.id));
    }
    let Ok(manager) = api.manager() else {
        return Ok(None);
    };
    match lookup::network(&manager, name).await {
        Ok(found) => Ok(Some(found.id)),
        // The engine refuses it by name.
        Err(_) => Ok(None),
    }
}

/// The address that the user wants on the network.
fn asked_address(config: &NetworkingConfig, name: &str) -> Vec<String> {
    let settings = config
        .endpoints_config
        .as_ref()
        .and_then(|all| all.get(name)?.as_ref());
    let ipam = settings.and_then(|settings| settings.ipam_config.as_ref());
    ipam.map(|ipam| ipam.ipv4_address.clone())
        .filter(|ip| !ip.is_empty())
        .into_iter()
        .collect()
}

/// Extends the network to this host and writes the address into the request.
async fn take_up(
    api: &Api,
    request: &mut CreateContainer,
    name: &str,
    given: &NetworkAttachment,
) -> Result<()> {
    let network = given.network.as_ref();
    let network = network.ok_or_else(|| ApiError::internal("an attachment without network"))?;
    api.engine.networks().ensure_swarm_network(network).await?;
    let endpoints = request
        .networking_config
        .endpoints_config
        .get_or_insert_default();
    let settings = endpoints.entry(name.to_owned()).or_default();
    let settings = settings.get_or_insert_with(EndpointSettings::default);
    let ipam = settings.ipam_config.get_or_insert_default();
    for address in &given.addresses {
        let address = address.split('/').next().unwrap_or_default().to_owned();
        if address.contains(':') {
            ipam.ipv6_address = address;
        } else {
            ipam.ipv4_address = address;
        }
    }
    Ok(())
}

/// Addresses held for a container that is being made.
#[derive(Debug)]
pub struct Attachments {
    swarm: Arc<dyn Membership>,
    held: Vec<Held>,
}

impl Attachments {
    /// Gives the addresses back, for the reason given.
    pub async fn undo(self, reason: ApiError) -> ApiError {
        for held in self.held {
            give_back(&*self.swarm, &held).await;
        }
        reason
    }
}

async fn give_back(swarm: &dyn Membership, held: &Held) {
    if let Err(error) = swarm
        .detach(&held.attachment, &held.network, &held.holder)
        .await
    {
        tracing::warn!(network.id = %held.network, %error, "an address on a swarm network is not given back");
    }
}

/// Gives addresses back as containers are removed, until `stop`.
pub async fn follow_removals(api: Arc<Api>, stop: CancellationToken) {
    let (_, mut events) = api.engine.events().subscribe();
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = events.recv() => received,
        };
        let event = match received {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if event.kind != "container" || event.action != "destroy" {
            continue;
        }
        for (key, value) in &event.actor.attributes {
            let held = key.strip_prefix(LABEL).zip(value.split_once('/'));
            if let Some((network, (attachment, holder))) = held {
                let held = Held {
                    attachment: attachment.to_owned(),
                    network: network.to_owned(),
                    holder: holder.to_owned(),
                };
                give_back(&*api.swarm, &held).await;
            }
        }
    }
}
