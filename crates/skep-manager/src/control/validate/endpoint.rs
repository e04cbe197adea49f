//! Published ports.

use std::collections::BTreeSet;

use skep_objects::swarmkit::{
    EndpointSpec, PortConfig, endpoint_spec::ResolutionMode, port_config::PublishMode,
};

use super::{Validated, refuse};

const MAX_PORT: u32 = 65_535;

pub(super) fn validate_endpoint(endpoint: Option<&EndpointSpec>) -> Validated {
    let Some(endpoint) = endpoint else {
        return Ok(());
    };
    let mut published = BTreeSet::new();
    for port in &endpoint.ports {
        validate_numbers(port)?;
        if port.publish_mode() == PublishMode::Ingress && endpoint.mode() == ResolutionMode::Dnsrr {
            return refuse(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
            );
        }
        // Ports to be chosen by the swarm never collide.
        if port.published_port != 0 && !published.insert((port.published_port, port.protocol)) {
            return refuse("EndpointSpec: duplicate published ports provided");
        }
    }
    Ok(())
}

fn validate_numbers(port: &PortConfig) -> Validated {
    if port.published_port > MAX_PORT || port.target_port > MAX_PORT {
        let number = port.published_port.max(port.target_port);
        return refuse(format!(
            "EndpointSpec: invalid port {number}: Must be at most 65535"
        ));
    }
    Ok(())
}
