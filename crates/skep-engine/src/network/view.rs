//! Networks as the API shows them.

use std::collections::BTreeMap;

use skep_objects::api::network as api;

use super::record::NetworkRecord;

/// A network with its members; a list shows local networks with none and the swarm's with null.
pub(super) fn network(
    network: &NetworkRecord,
    members: Option<BTreeMap<String, api::EndpointResource>>,
) -> api::Network {
    let containers = match members {
        None if network.swarm => None,
        members => Some(members.unwrap_or_default()),
    };
    let mut ipam = network.ipam.clone();
    if ipam.driver.is_empty() {
        "default".clone_into(&mut ipam.driver);
    }
    api::Network {
        name: network.name.clone(),
        id: network.id.clone(),
        created: network.created.clone(),
        scope: network.scope().to_owned(),
        driver: network.driver.clone(),
        enable_ipv4: !network.no_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam,
        internal: network.internal,
        attachable: network.attachable,
        ingress: network.ingress,
        config_from: api::ConfigReference {
            network: network.config_from.clone(),
        },
        config_only: network.config_only,
        containers,
        options: Some(network.options.clone().unwrap_or_default()),
        labels: Some(network.labels()),
        ..api::Network::default()
    }
}
