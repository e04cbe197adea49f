//! What a service's spec needs of the rest of the store: networks, free ports, secrets, configs.

use skep_objects::swarmkit::{
    ContainerSpec, EndpointSpec, NetworkAttachmentConfig, PortConfig, Service, ServiceSpec,
    endpoint_spec::ResolutionMode, port_config::PublishMode, task_spec::Runtime,
};
use skep_store::{StoreObject, View};

use super::Answer;
use crate::control::{
    error::ControlError,
    network::{ingress_network, is_ingress},
};

/// Everything that a spec needs. `current` is the service that the spec is to replace.
pub(super) fn all(view: &View, spec: &ServiceSpec, current: Option<&Service>) -> Answer<()> {
    networks(view, spec)?;
    ports(view, spec, current)?;
    if let Some(Runtime::Container(container)) =
        spec.task.as_ref().and_then(|task| task.runtime.as_ref())
    {
        secrets(view, container)?;
        configs(view, container)?;
    }
    if needs_ingress(Some(spec)) && ingress_network(view).is_none() {
        return Err(ControlError::Precondition(
            "service needs ingress network, but no ingress network is present".to_owned(),
        ));
    }
    Ok(())
}

/// Whether the routing mesh must carry one of its ports.
pub fn needs_ingress(spec: Option<&ServiceSpec>) -> bool {
    let Some(endpoint) = spec.and_then(|spec| spec.endpoint.as_ref()) else {
        return false;
    };
    endpoint.mode() == ResolutionMode::Vip
        && endpoint
            .ports
            .iter()
            .any(|port| port.publish_mode() == PublishMode::Ingress)
}

/// The networks that tasks are attached to: the task's own list, or the one that clients before
/// API 1.25 filled.
#[allow(deprecated)]
pub(super) fn attached_networks(spec: &ServiceSpec) -> &[NetworkAttachmentConfig] {
    match &spec.task {
        Some(task) if !task.networks.is_empty() => &task.networks,
        _ => &spec.networks,
    }
}

fn networks(view: &View, spec: &ServiceSpec) -> Answer<()> {
    for attachment in attached_networks(spec) {
        let Some(network) = view.network(&attachment.target) else {
            continue;
        };
        if is_ingress(network) {
            return Err(ControlError::Invalid(format!(
                "Service cannot be explicitly attached to the ingress network \"{}\"",
                network.name()
            )));
        }
    }
    Ok(())
}

/// A port in use by another service: an ingress port is taken on every node, so it collides with
/// everything; two host ports may sit on different nodes, which the scheduler sees to.
fn ports(view: &View, spec: &ServiceSpec, current: Option<&Service>) -> Answer<()> {
    let wanted: Vec<&PortConfig> = published(spec.endpoint.as_ref()).collect();
    let unchanged = current.is_some_and(|service| {
        service
            .spec
            .as_ref()
            .is_some_and(|stored| stored.endpoint == spec.endpoint)
    });
    if wanted.is_empty() || unchanged {
        return Ok(());
    }
    for service in view.services() {
        if current.is_some_and(|current| current.id == service.id) {
            continue;
        }
        let asked = service
            .spec
            .as_ref()
            .and_then(|stored| stored.endpoint.as_ref());
        let given = service
            .endpoint
            .as_ref()
            .map(|endpoint| endpoint.ports.as_slice());
        let given = given
            .unwrap_or_default()
            .iter()
            .filter(|port| port.published_port != 0);
        for theirs in published(asked).chain(given) {
            if let Some(ours) = wanted.iter().find(|ours| collide(ours, theirs)) {
                return Err(taken(ours.published_port, service, theirs));
            }
        }
    }
    Ok(())
}

fn published(endpoint: Option<&EndpointSpec>) -> impl Iterator<Item = &PortConfig> {
    let ports = endpoint.map_or(&[][..], |endpoint| &endpoint.ports);
    ports.iter().filter(|port| port.published_port != 0)
}

fn collide(ours: &PortConfig, theirs: &PortConfig) -> bool {
    let some_ingress = [ours, theirs]
        .iter()
        .any(|port| port.publish_mode() == PublishMode::Ingress);
    ours.published_port == theirs.published_port && ours.protocol == theirs.protocol && some_ingress
}

fn taken(port: u32, service: &Service, theirs: &PortConfig) -> ControlError {
    let how = match theirs.publish_mode() {
        PublishMode::Ingress => "an ingress port",
        PublishMode::Host => "a host-published port",
    };
    let (name, id) = (service.name(), &service.id);
    ControlError::Invalid(format!(
        "port '{port}' is already in use by service '{name}' ({id}) as {how}"
    ))
}

fn secrets(view: &View, container: &ContainerSpec) -> Answer<()> {
    let missing = container.secrets.iter().filter(|reference| {
        view.secret(&reference.secret_id)
            .is_none_or(|secret| secret.name() != reference.secret_name)
    });
    refuse_missing(
        "secret",
        missing.map(|reference| reference.secret_name.as_str()),
    )
}

fn configs(view: &View, container: &ContainerSpec) -> Answer<()> {
    let missing = container.configs.iter().filter(|reference| {
        view.config(&reference.config_id)
            .is_none_or(|config| config.name() != reference.config_name)
    });
    refuse_missing(
        "config",
        missing.map(|reference| reference.config_name.as_str()),
    )
}

fn refuse_missing<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Answer<()> {
    let names: Vec<&str> = names.collect();
    let plural = match names.len() {
        0 => return Ok(()),
        1 => "",
        _ => "s",
    };
    Err(ControlError::Invalid(format!(
        "{kind}{plural} not found: {}",
        names.join(", ")
    )))
}
