//! Making a container: everything is checked before anything is made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use skep_objects::ErrorKind;
use skep_objects::api::container::{Config, HostConfig, NetworkingConfig};
use skep_objects::api::network::{EndpointIpamConfig, EndpointSettings};
use skep_objects::ids::{new_hex_id, short_id};

use super::record::{Record, RunState, TaskRecord};
use super::{Container, conflicts, defaults, merge, mounts, name, ports, validate};
use crate::core::Core;
use crate::engine::{CreateContainer, Created, ManagedContainer};
use crate::error::{EngineError, Result};
use crate::timestamp;

impl Core {
    pub(crate) async fn create(self: &Arc<Self>, request: CreateContainer) -> Result<Created> {
        let begun = Instant::now();
        let core = self.clone();
        let created = self.blocking(move || core.create_now(request)).await??;
        self.metrics.containers.create.since(begun);
        Ok(created)
    }

    fn create_now(self: &Arc<Self>, request: CreateContainer) -> Result<Created> {
        let CreateContainer {
            name,
            mut config,
            mut host_config,
            networking_config,
            platform,
            managed,
        } = request;
        if !name.is_empty() {
            name::validate(&name)?;
        }
        validate::platform(&platform)?;
        let image = self.images.resolve_for(&config.image, &platform)?;
        let mut warnings = validate::early(&config, &mut host_config)?;
        conflicts::check(&config, &host_config, &networking_config)?;
        ports::expose_published(&mut config, &host_config);
        merge::merge(&mut config, &image.config)?;
        if config.network_disabled && matches!(host_config.network_mode.as_str(), "" | "default") {
            "none".clone_into(&mut host_config.network_mode);
        }
        let settings = self.settings();
        defaults::fill(&mut host_config, &settings);
        warnings.extend(validate::late(&config, &host_config, &settings)?);
        let id = new_hex_id();
        self.settle_names(&mut config, &mut host_config, &id)?;
        let endpoints = wanted_endpoints(&host_config, &networking_config, managed.as_ref())?;
        let plan = mounts::plan(&config, &host_config, self)?;
        let (path, args) = command(&config);
        let name = self.take_name(name.trim_start_matches('/'), &id)?;
        let record = Record {
            id: id.clone(),
            name: name.clone(),
            created: timestamp::text(SystemTime::now()),
            image: config.image.clone(),
            image_id: image.id.clone(),
            config,
            host_config,
            endpoints,
            path,
            args,
            task: managed.as_ref().map(task_record),
            ..Record::default()
        };
        match self.make(record, plan, managed) {
            Ok(container) => {
                self.publish(&container, "create", BTreeMap::new());
                Ok(Created { id, warnings })
            }
            Err(error) => {
                self.containers.release(&name, &id);
                Err(error)
            }
        }
    }

    /// Puts a container on disk and among the others; undoes all of it when a step fails.
    fn make(
        &self,
        mut record: Record,
        plan: Vec<mounts::Planned>,
        managed: Option<ManagedContainer>,
    ) -> Result<Arc<Container>> {
        let dir = self.config.data_root.join("containers").join(&record.id);
        let bundle = self.config.exec_root.join("containers").join(&record.id);
        std::fs::create_dir(&dir).map_err(EngineError::io("create", &dir))?;
        let _images: Vec<_> = plan.iter().map(|planned| planned.image.clone()).collect();
        let made = (|| {
            for part in ["upper", "work", "rootfs"] {
                std::fs::create_dir(dir.join(part))
                    .map_err(EngineError::io("create", dir.join(part)))?;
            }
            record.mounts = mounts::make(plan, &record, self)?;
            super::rootfs::copy_up(self, &record)?;
            record.save(&dir)
        })();
        if let Err(error) = made {
            mounts::unmake(&record, self);
            let _ = std::fs::remove_dir_all(&dir);
            return Err(error);
        }
        let container = Arc::new(Container::new(dir, bundle, record, RunState::default()));
        container.live().files = managed.map(|managed| managed.files).unwrap_or_default();
        self.containers.insert(container.clone());
        Ok(container)
    }

    fn take_name(&self, wanted: &str, id: &str) -> Result<String> {
        if !wanted.is_empty() {
            self.containers.reserve(wanted, id)?;
            return Ok(wanted.to_owned());
        }
        for attempt in 0..8 {
            let name = name::invent(attempt);
            if self.containers.reserve(&name, id).is_ok() {
                return Ok(name);
            }
        }
        let name = short_id(id).to_owned();
        self.containers.reserve(&name, id)?;
        Ok(name)
    }

    /// Host name, and the ids of containers whose namespaces are shared.
    fn settle_names(&self, config: &mut Config, host: &mut HostConfig, id: &str) -> Result<()> {
        if host.network_mode == "host" || host.uts_mode == "host" {
            if config.hostname.is_empty() {
                let name = rustix::system::uname();
                config.hostname = name.nodename().to_string_lossy().into_owned();
            }
        } else if config.hostname.is_empty() {
            short_id(id).clone_into(&mut config.hostname);
        }
        for link in host.links.iter().flatten() {
            let name = link.split(':').next().unwrap_or(link);
            self.containers.find(name).map_err(|_| {
                EngineError::invalid(format!(
                    "could not get container for {name}: No such container: {name}"
                ))
            })?;
        }
        for mode in [&mut host.ipc_mode, &mut host.pid_mode] {
            if let Some(other) = super::oci::shared(mode) {
                // Were it "not found", clients would take it that the image is missing.
                let other = self
                    .containers
                    .find(other)
                    .map_err(|error| EngineError::invalid(error.to_string()))?;
                *mode = format!("container:{}", other.id);
            }
        }
        // Whose network is shared need not be there before the start.
        if let Some(other) = super::oci::shared(&host.network_mode)
            && let Ok(other) = self.containers.find(other)
        {
            host.network_mode = format!("container:{}", other.id);
            (config.hostname, config.domainname) = other.with(|record, _| {
                let theirs = &record.config;
                (theirs.hostname.clone(), theirs.domainname.clone())
            });
        }
        Ok(())
    }

    /// Publishes an event of a container with its labels, image and name.
    pub(crate) fn publish(
        &self,
        container: &Container,
        action: &str,
        more: BTreeMap<String, String>,
    ) {
        let mut attributes = container.event_attributes();
        attributes.extend(more);
        self.events
            .publish("container", action, &container.id, attributes);
    }
}

/// The program and its arguments.
fn command(config: &Config) -> (String, Vec<String>) {
    let entrypoint = config.entrypoint.iter().flatten();
    let mut words = entrypoint.chain(config.cmd.iter().flatten()).cloned();
    (words.next().unwrap_or_default(), words.collect())
}

fn task_record(managed: &ManagedContainer) -> TaskRecord {
    TaskRecord {
        task_id: managed.task_id.clone(),
        service_id: managed.service_id.clone(),
        service_name: managed.service_name.clone(),
        swarm_networks: managed.networks.iter().map(network_name).collect(),
        has_files: !managed.files.is_empty(),
    }
}

fn network_name(attachment: &crate::engine::OverlayAttachment) -> String {
    let annotations = attachment
        .network
        .spec
        .as_ref()
        .and_then(|spec| spec.annotations.as_ref());
    annotations.map_or_else(
        || attachment.network.id.clone(),
        |annotations| annotations.name.clone(),
    )
}

/// Which networks a container is to join, by name.
fn wanted_endpoints(
    host: &HostConfig,
    networking: &NetworkingConfig,
    managed: Option<&ManagedContainer>,
) -> Result<BTreeMap<String, EndpointSettings>> {
    let mut wanted = BTreeMap::new();
    for (name, settings) in networking.endpoints_config.iter().flatten() {
        let name = if name == "default" { "bridge" } else { name };
        super::endpoints::validate_endpoint(name, &settings.clone().unwrap_or_default())?;
        wanted.insert(name.to_owned(), settings.clone().unwrap_or_default());
    }
    for attachment in managed.iter().flat_map(|managed| &managed.networks) {
        let address = |v4: bool| {
            attachment
                .addresses
                .iter()
                .find(|a| a.contains(':') != v4)
                .cloned()
                .unwrap_or_default()
        };
        let ipam = EndpointIpamConfig {
            ipv4_address: address(true),
            ipv6_address: address(false),
            ..Default::default()
        };
        let settings = EndpointSettings {
            ipam_config: Some(ipam),
            network_id: attachment.network.id.clone(),
            aliases: Some(attachment.aliases.clone()).filter(|aliases| !aliases.is_empty()),
            driver_opts: Some(attachment.driver_opts.clone()).filter(|options| !options.is_empty()),
            ..EndpointSettings::default()
        };
        wanted.insert(network_name(attachment), settings);
    }
    let mode = host.network_mode.as_str();
    if super::oci::shared(mode).is_some() {
        return if wanted.is_empty() {
            Ok(wanted)
        } else {
            Err(EngineError::refused(
                ErrorKind::InvalidArgument,
                "conflicting options: network settings and the network mode of another container",
            ))
        };
    }
    let has_swarm_networks = managed.is_some_and(|managed| !managed.networks.is_empty());
    if !has_swarm_networks
        && !wanted.contains_key(mode)
        && !wanted.values().any(|w| w.network_id == mode)
    {
        wanted.insert(mode.to_owned(), EndpointSettings::default());
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_mode_is_a_network_to_join() {
        let host = HostConfig {
            network_mode: "web".into(),
            ..HostConfig::default()
        };
        let wanted = wanted_endpoints(&host, &NetworkingConfig::default(), None).unwrap();
        assert_eq!(wanted.keys().collect::<Vec<_>>(), ["web"]);
    }

    #[test]
    fn a_task_joins_its_swarm_networks_and_not_the_bridge() {
        let host = HostConfig {
            network_mode: "bridge".into(),
            ..HostConfig::default()
        };
        let network = skep_objects::swarmkit::Network {
            id: "n1".into(),
            ..Default::default()
        };
        let attachment = crate::engine::OverlayAttachment {
            network,
            addresses: vec!["10.0.1.3/24".into()],
            ..Default::default()
        };
        let managed = ManagedContainer {
            networks: vec![attachment],
            ..Default::default()
        };
        let wanted = wanted_endpoints(&host, &NetworkingConfig::default(), Some(&managed)).unwrap();
        assert_eq!(
            wanted["n1"].ipam_config.as_ref().unwrap().ipv4_address,
            "10.0.1.3/24"
        );
        assert_eq!(wanted.len(), 1);
    }
}
