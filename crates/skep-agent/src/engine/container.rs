//! A task as the container that runs it. Pure.

use std::collections::BTreeMap;

use skep_engine::{CreateContainer, InMemoryFile, ManagedContainer, OverlayAttachment};
use skep_objects::api::container as api;
use skep_objects::api::network::{EndpointIpamConfig, EndpointSettings};
use skep_objects::extras::AllowedExtras;
use skep_objects::swarmkit::container_spec::Isolation;
use skep_objects::swarmkit::generic_resource::Resource;
use skep_objects::swarmkit::port_config::{Protocol, PublishMode};
use skep_objects::swarmkit::privileges::app_armor_opts::AppArmorMode;
use skep_objects::swarmkit::privileges::seccomp_opts::SeccompMode;
use skep_objects::swarmkit::task_spec::Runtime;
use skep_objects::swarmkit::{
    ContainerSpec, GenericResource, HealthConfig, Network, NodeDescription, PortConfig, Privileges,
    ResourceRequirements, Task,
};
use skep_objects::timestamp;

use super::extras;
use super::mounts::mounts;
use crate::executor::TaskError;
use skep_objects::template::task::{TaskContext, service_name, task_name};

/// The container spec of a task; none for a network attachment.
pub(super) fn container_spec(task: &Task) -> Option<&ContainerSpec> {
    match task.spec.as_ref()?.runtime.as_ref()? {
        Runtime::Container(spec) => Some(spec),
        Runtime::Attachment(_) | Runtime::Generic(_) => None,
    }
}

/// Whether a network lives on one node only (`host`, `bridge`, …).
pub(super) fn is_node_local(network: &Network) -> bool {
    let spec = network.spec.as_ref();
    let driver = network
        .driver_state
        .as_ref()
        .or(spec.and_then(|s| s.driver_config.as_ref()));
    let driver = driver.map_or("", |d| d.name.as_str());
    !matches!(driver, "" | "overlay")
}

/// Whether this host makes its own part of it: every host has the predefined ones already.
pub(super) fn is_made_here(network: &Network) -> bool {
    let annotations = network.spec.as_ref().and_then(|s| s.annotations.as_ref());
    let is_predefined =
        annotations.is_some_and(|a| a.labels.contains_key("com.docker.swarm.predefined"));
    is_node_local(network) && !is_predefined
}

fn network_name(network: &Network) -> &str {
    let annotations = network.spec.as_ref().and_then(|s| s.annotations.as_ref());
    annotations.map_or(&network.id, |a| &a.name)
}

/// What to create for a task.
pub(super) fn container(
    task: &Task,
    spec: &ContainerSpec,
    node: &NodeDescription,
    files: Vec<InMemoryFile>,
    allowed: &AllowedExtras,
) -> Result<CreateContainer, TaskError> {
    let context = TaskContext {
        task,
        node,
        payload: None,
    };
    let spec = &context.expand_container(spec).map_err(TaskError::Fatal)?;
    let mut env = spec.env.clone();
    env.extend(generic_resources(&task.assigned_generic_resources));
    let host_ports = host_ports(task);
    let config = api::Config {
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        exposed_ports: some_map(
            host_ports
                .iter()
                .map(|p| (port_key(p), api::Nothing {}))
                .collect(),
        ),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        env: some(env),
        cmd: some(spec.args.clone()),
        entrypoint: some(spec.command.clone()),
        healthcheck: spec.healthcheck.as_ref().map(health),
        image: spec.image.clone(),
        working_dir: spec.dir.clone(),
        labels: Some(labels(task, spec)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec
            .stop_grace_period
            .as_ref()
            .map(|d| i64::try_from(timestamp::duration(d).as_secs()).unwrap_or(i64::MAX)),
        ..Default::default()
    };
    let mut host_config = host_config(task, spec)?;
    host_config.mounts = some(mounts(spec)?);
    host_config.port_bindings = some_map(host_ports.iter().map(binding).collect());
    let mut request = CreateContainer {
        name: task_name(task),
        config,
        host_config,
        networking_config: local_networks(task),
        platform: String::new(),
        managed: Some(ManagedContainer {
            task_id: task.id.clone(),
            service_id: task.service_id.to_string(),
            service_name: service_name(task).to_owned(),
            networks: overlay_networks(task),
            files,
            host_ports,
        }),
    };
    request.host_config.network_mode = network_mode(task);
    extras::apply(task, spec, allowed, &mut request)?;
    Ok(request)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map<V>(map: BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then_some(map)
}

fn labels(task: &Task, spec: &ContainerSpec) -> BTreeMap<String, String> {
    let mut labels = spec.labels.clone();
    let own = [
        ("", String::new()),
        (".id", task.id.clone()),
        (".name", task_name(task)),
    ];
    for (suffix, value) in own {
        labels.insert(format!("com.docker.swarm.task{suffix}"), value);
    }
    labels.insert("com.docker.swarm.node.id".into(), task.node_id.to_string());
    labels.insert(
        "com.docker.swarm.service.id".into(),
        task.service_id.to_string(),
    );
    labels.insert(
        "com.docker.swarm.service.name".into(),
        service_name(task).to_owned(),
    );
    labels
}

/// `DOCKER_RESOURCE_GPU=uuid1,uuid2` for named, `=3` for counted resources.
fn generic_resources(assigned: &[GenericResource]) -> Vec<String> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in assigned {
        let (kind, value) = match &resource.resource {
            Some(Resource::NamedResourceSpec(named)) => (&named.kind, named.value.clone()),
            Some(Resource::DiscreteResourceSpec(count)) => (&count.kind, count.value.to_string()),
            None => continue,
        };
        values.entry(kind.to_uppercase()).or_default().push(value);
    }
    let line = |(kind, values): (String, Vec<String>)| {
        format!("DOCKER_RESOURCE_{kind}={}", values.join(","))
    };
    values.into_iter().map(line).collect()
}

fn health(config: &HealthConfig) -> api::HealthConfig {
    let nanos = |d: &Option<prost_types::Duration>| {
        let d = d.as_ref().map(timestamp::duration).unwrap_or_default();
        i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
    };
    api::HealthConfig {
        test: some(config.test.clone()),
        interval: nanos(&config.interval),
        timeout: nanos(&config.timeout),
        start_period: nanos(&config.start_period),
        start_interval: nanos(&config.start_interval),
        retries: i64::from(config.retries),
    }
}

fn host_config(task: &Task, spec: &ContainerSpec) -> Result<api::HostConfig, TaskError> {
    let has_credentials = |p: &Privileges| p.credential_spec.is_some();
    if spec.privileges.as_ref().is_some_and(has_credentials) {
        let text = "a credential spec is for Windows containers, which this node cannot run";
        return Err(TaskError::Fatal(text.to_owned()));
    }
    let dns = spec.dns_config.clone().unwrap_or_default();
    let mut config = api::HostConfig {
        group_add: some(spec.groups.clone()),
        readonly_rootfs: spec.read_only,
        init: spec.init,
        sysctls: some_map(spec.sysctls.clone()),
        cap_add: some(spec.capability_add.clone()),
        cap_drop: some(spec.capability_drop.clone()),
        oom_score_adj: spec.oom_score_adj,
        isolation: isolation(spec).to_owned(),
        dns: some(dns.nameservers),
        dns_search: some(dns.search),
        dns_options: some(dns.options),
        extra_hosts: some(extra_hosts(&spec.hosts)),
        ulimits: some(spec.ulimits.iter().map(ulimit).collect()),
        pids_limit: (spec.pids_limit != 0).then_some(spec.pids_limit),
        security_opt: some(spec.privileges.as_ref().map(security).unwrap_or_default()),
        ..Default::default()
    };
    let task_spec = task.spec.as_ref();
    if let Some(requirements) = task_spec.and_then(|s| s.resources.as_ref()) {
        resources(requirements, &mut config);
    }
    let driver = task
        .log_driver
        .as_deref()
        .or(task_spec.and_then(|s| s.log_driver.as_ref()));
    if let Some(driver) = driver {
        config.log_config = api::LogConfig {
            driver: driver.name.clone(),
            config: Some(driver.options.clone()),
        };
    }
    Ok(config)
}

/// The engine refuses what is not for Linux.
fn isolation(spec: &ContainerSpec) -> &'static str {
    match spec.isolation() {
        Isolation::Default => "",
        Isolation::Process => "process",
        Isolation::Hyperv => "hyperv",
    }
}

fn resources(requirements: &ResourceRequirements, config: &mut api::HostConfig) {
    if let Some(limits) = &requirements.limits {
        config.memory = limits.memory_bytes;
        config.nano_cpus = limits.nano_cpus;
    }
    if let Some(reservations) = &requirements.reservations {
        config.memory_reservation = reservations.memory_bytes;
    }
    if let Some(swap) = requirements.swap_bytes {
        // Docker's memory_swap is memory and swap together; -1 is no limit.
        config.memory_swap = if swap < 0 {
            -1
        } else {
            config.memory.saturating_add(swap)
        };
    }
    config.memory_swappiness = requirements.memory_swappiness;
}

/// `IP name…` as services have it to `name:IP` as containers have it.
fn extra_hosts(hosts: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for line in hosts {
        let mut words = line.split_whitespace();
        if let Some(address) = words.next() {
            out.extend(words.map(|name| format!("{name}:{address}")));
        }
    }
    out
}

fn ulimit(limit: &skep_objects::swarmkit::container_spec::Ulimit) -> api::Ulimit {
    api::Ulimit {
        name: limit.name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    }
}

fn security(privileges: &Privileges) -> Vec<String> {
    let mut options = Vec::new();
    if let Some(selinux) = &privileges.selinux_context {
        if selinux.disable {
            options.push("label=disable".to_owned());
        }
        let parts = [
            ("user", &selinux.user),
            ("role", &selinux.role),
            ("type", &selinux.r#type),
            ("level", &selinux.level),
        ];
        let set = parts.iter().filter(|(_, value)| !value.is_empty());
        options.extend(set.map(|(name, value)| format!("label={name}:{value}")));
    }
    if privileges.no_new_privileges {
        options.push("no-new-privileges=true".to_owned());
    }
    if let Some(seccomp) = &privileges.seccomp {
        match seccomp.mode() {
            SeccompMode::Default => {}
            SeccompMode::Unconfined => options.push("seccomp=unconfined".to_owned()),
            SeccompMode::Custom => {
                options.push(format!(
                    "seccomp={}",
                    String::from_utf8_lossy(&seccomp.profile)
                ));
            }
        }
    }
    if let Some(apparmor) = &privileges.apparmor
        && apparmor.mode() == AppArmorMode::Disabled
    {
        options.push("apparmor=unconfined".to_owned());
    }
    options
}

/// Ports published on this host only.
fn host_ports(task: &Task) -> Vec<PortConfig> {
    let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    ports
        .filter(|p| p.publish_mode() == PublishMode::Host)
        .cloned()
        .collect()
}

fn port_key(port: &PortConfig) -> String {
    let protocol = match port.protocol() {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    format!("{}/{protocol}", port.target_port)
}

fn binding(port: &PortConfig) -> (String, Option<Vec<api::PortBinding>>) {
    let host_port = if port.published_port == 0 {
        String::new()
    } else {
        port.published_port.to_string()
    };
    (
        port_key(port),
        Some(vec![api::PortBinding {
            host_ip: String::new(),
            host_port,
        }]),
    )
}

fn overlay_networks(task: &Task) -> Vec<OverlayAttachment> {
    let mut out = Vec::new();
    for attachment in &task.networks {
        let Some(network) = attachment.network.as_ref().filter(|n| !is_node_local(n)) else {
            continue;
        };
        out.push(OverlayAttachment {
            network: Network::clone(network),
            addresses: attachment.addresses.clone(),
            aliases: attachment.aliases.clone(),
            driver_opts: attachment.driver_attachment_opts.clone(),
        });
    }
    out
}

/// `host` and `none` are modes; the others are endpoints.
fn network_mode(task: &Task) -> String {
    let mut local = task
        .networks
        .iter()
        .filter_map(|a| a.network.as_ref())
        .filter(|n| is_node_local(n));
    match local.next().map(|network| network_name(network)) {
        Some(name) => name.to_owned(),
        None => "default".to_owned(),
    }
}

fn local_networks(task: &Task) -> api::NetworkingConfig {
    let mut endpoints = BTreeMap::new();
    for attachment in &task.networks {
        let Some(network) = attachment.network.as_ref().filter(|n| is_node_local(n)) else {
            continue;
        };
        let address = |is_v6: bool| {
            let bare = attachment
                .addresses
                .iter()
                .filter_map(|a| a.split('/').next());
            bare.filter(|a| a.contains(':') == is_v6)
                .map(str::to_owned)
                .next()
                .unwrap_or_default()
        };
        let ipam = EndpointIpamConfig {
            ipv4_address: address(false),
            ipv6_address: address(true),
            ..Default::default()
        };
        let settings = EndpointSettings {
            ipam_config: (!ipam.is_empty()).then_some(ipam),
            aliases: some(attachment.aliases.clone()),
            ..Default::default()
        };
        endpoints.insert(network_name(network).to_owned(), Some(settings));
    }
    api::NetworkingConfig {
        endpoints_config: some_map(endpoints),
    }
}

#[cfg(test)]
mod tests;
