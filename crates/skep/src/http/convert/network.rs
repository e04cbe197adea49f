//! Swarm networks: as rows of `GET /networks`, and as tasks show them.

use skep_objects::api::encode;
use skep_objects::api::network as api;
use skep_objects::api::task::{IpamConfig, IpamOptions, NetworkSpec, SwarmNetwork};
use skep_objects::swarmkit as proto;

use super::{annotations, from_driver, meta, to_annotations};

/// A swarm network as `GET /networks` shows it where this node has no part in it.
pub fn from_network(network: &proto::Network) -> api::Network {
    let spec = network.spec.clone().unwrap_or_default();
    let notes = spec.annotations.clone().unwrap_or_default();
    let state = network.driver_state.clone().unwrap_or_default();
    let created = network.meta.as_ref().and_then(|m| m.created_at.as_ref());
    api::Network {
        name: notes.name,
        id: network.id.clone(),
        created: encode::timestamp(created),
        scope: "swarm".to_owned(),
        driver: state.name,
        enable_ipv4: false,
        enable_ipv6: spec.ipv6_enabled,
        ipam: network.ipam.as_ref().map(from_ipam).unwrap_or_default(),
        internal: spec.internal,
        attachable: spec.attachable,
        ingress: is_ingress(network),
        config_from: api::ConfigReference {
            network: config_from(&spec).unwrap_or_default(),
        },
        options: Some(state.options).filter(|o| !o.is_empty()),
        labels: Some(notes.labels).filter(|l| !l.is_empty()),
        ..api::Network::default()
    }
}

/// Whether this is the routing mesh's network, in the spelling of old swarms too.
pub fn is_ingress(network: &proto::Network) -> bool {
    let Some(spec) = &network.spec else {
        return false;
    };
    let label = spec
        .annotations
        .as_ref()
        .is_some_and(|a| a.name == "ingress" && a.labels.contains_key("com.docker.swarm.internal"));
    spec.ingress || label
}

fn config_from(spec: &proto::NetworkSpec) -> Option<String> {
    spec.config_from
        .as_ref()
        .map(|proto::network_spec::ConfigFrom::Network(name)| name.clone())
}

fn from_ipam(ipam: &proto::IpamOptions) -> api::Ipam {
    let driver = ipam.driver.clone().unwrap_or_default();
    let configs = ipam.configs.iter().map(|config| api::IpamConfig {
        subnet: config.subnet.clone(),
        ip_range: config.range.clone(),
        gateway: config.gateway.clone(),
        aux_address: Some(config.reserved.clone()).filter(|r| !r.is_empty()),
    });
    let configs: Vec<_> = configs.collect();
    api::Ipam {
        driver: driver.name,
        options: Some(driver.options).filter(|o| !o.is_empty()),
        config: Some(configs).filter(|c| !c.is_empty()),
    }
}

/// A network within a task.
pub fn from_task_network(network: &proto::Network) -> SwarmNetwork {
    let (version, created_at, updated_at) = meta(network.meta.as_ref());
    let spec = network.spec.clone().unwrap_or_default();
    let (name, labels) = annotations(spec.annotations.as_ref());
    SwarmNetwork {
        id: network.id.clone(),
        version,
        created_at,
        updated_at,
        spec: NetworkSpec {
            name,
            labels,
            driver_configuration: spec.driver_config.as_ref().map(from_driver),
            ipv6_enabled: spec.ipv6_enabled,
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: is_ingress(network),
            ipam_options: spec.ipam.as_ref().map(from_ipam_options),
            config_from: config_from(&spec).map(|network| api::ConfigReference { network }),
            scope: "swarm".to_owned(),
        },
        driver_state: network
            .driver_state
            .as_ref()
            .map(from_driver)
            .unwrap_or_default(),
        ipam_options: network.ipam.as_ref().map(from_ipam_options),
    }
}

fn from_ipam_options(ipam: &proto::IpamOptions) -> IpamOptions {
    IpamOptions {
        driver: ipam.driver.as_ref().map(from_driver).unwrap_or_default(),
        configs: ipam
            .configs
            .iter()
            .map(|config| IpamConfig {
                subnet: config.subnet.clone(),
                range: config.range.clone(),
                gateway: config.gateway.clone(),
            })
            .collect(),
    }
}

/// A network's spec as managers keep it.
pub fn to_spec(body: api::NetworkCreate) -> proto::NetworkSpec {
    proto::NetworkSpec {
        annotations: to_annotations(body.name, body.labels),
        driver_config: Some(proto::Driver {
            name: body.driver,
            options: body.options.unwrap_or_default(),
        }),
        ipv6_enabled: body.enable_ipv6.unwrap_or_default(),
        internal: body.internal,
        ipam: body.ipam.map(to_ipam),
        attachable: body.attachable,
        ingress: body.ingress,
        config_from: body
            .config_from
            .filter(|from| !from.network.is_empty())
            .map(|from| proto::network_spec::ConfigFrom::Network(from.network)),
    }
}

fn to_ipam(ipam: api::Ipam) -> proto::IpamOptions {
    let name = if ipam.driver.is_empty() {
        "default".to_owned()
    } else {
        ipam.driver
    };
    let configs = ipam.config.unwrap_or_default().into_iter();
    proto::IpamOptions {
        driver: Some(proto::Driver {
            name,
            options: ipam.options.unwrap_or_default(),
        }),
        configs: configs
            .map(|config| proto::IpamConfig {
                family: proto::ipam_config::AddressFamily::Unknown.into(),
                subnet: config.subnet,
                range: config.ip_range,
                gateway: config.gateway,
                reserved: config.aux_address.unwrap_or_default(),
            })
            .collect(),
    }
}
