//! Everything about one container.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_objects::api::container as api;
use skep_objects::api::network::EndpointSettings;

use super::endpoints::GATEWAY_ENDPOINT;
use super::record::{Record, RunState};
use super::{Container, ports};
use crate::core::Core;
use crate::error::Result;
use crate::timestamp;

impl Core {
    pub(crate) async fn inspect(
        self: &Arc<Self>,
        reference: &str,
        size: bool,
    ) -> Result<api::ContainerInspect> {
        let container = self.containers.find(reference)?;
        let mut inspect = self.view(&container);
        if size {
            let (rw, root) = self.measure(&container).await?;
            inspect.size_rw = Some(rw);
            inspect.size_root_fs = Some(root);
        }
        Ok(inspect)
    }

    /// Bytes in the writable layer, and with those of the image.
    pub(super) async fn measure(&self, container: &Container) -> Result<(i64, i64)> {
        let upper = container.dir.join("upper");
        let image = container.with(|record, _| record.image_id.clone());
        let rw = self
            .blocking(move || crate::volume::bytes_below(&upper))
            .await?;
        let image = self
            .images
            .by_id(&image)
            .map_or(0, |image| image.size_bytes);
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok((signed(rw), signed(rw + image)))
    }

    fn view(&self, container: &Container) -> api::ContainerInspect {
        let (record, state) = (container.record(), container.state());
        let health = container
            .live()
            .health
            .as_ref()
            .map(super::HealthRecord::view);
        let file = |name: &str| container.dir.join(name).display().to_string();
        let log_path = match record.host_config.log_config.driver.as_str() {
            "json-file" => file(&format!("{}-json.log", record.id)),
            _ => String::new(),
        };
        let execs = self.execs.of(&container.id);
        api::ContainerInspect {
            id: record.id.clone(),
            created: record.created.clone(),
            path: record.path.clone(),
            args: record.args.clone(),
            state: state_view(&state, health),
            image: record.image_id.clone(),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path,
            name: format!("/{}", record.name),
            restart_count: state.restart_count,
            driver: "overlay2".to_owned(),
            platform: "linux".to_owned(),
            exec_ids: (!execs.is_empty()).then_some(execs),
            graph_driver: self.graph_driver(container, &record),
            mounts: mount_points(&record),
            network_settings: network_settings(&record, &state, &self.config.exec_root),
            host_config: skep_objects::api::container::HostConfig {
                links: self.shown_links(&record),
                ..record.host_config
            },
            config: record.config,
            ..api::ContainerInspect::default()
        }
    }

    fn graph_driver(&self, container: &Container, record: &Record) -> api::GraphDriver {
        let dir = |name: &str| container.dir.join(name).display().to_string();
        let lower = self
            .images
            .by_id(&record.image_id)
            .map(|image| image.lower)
            .unwrap_or_default();
        let lower: Vec<String> = lower.iter().map(|dir| dir.display().to_string()).collect();
        let data = [
            ("ID", record.id.clone()),
            ("LowerDir", lower.join(":")),
            ("MergedDir", dir("rootfs")),
            ("UpperDir", dir("upper")),
            ("WorkDir", dir("work")),
        ];
        api::GraphDriver {
            data: Some(
                data.into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            ),
            name: "overlay2".to_owned(),
        }
    }
}

fn state_view(state: &RunState, health: Option<api::Health>) -> api::State {
    api::State {
        status: state.status().to_owned(),
        running: state.running,
        paused: state.paused,
        restarting: state.restarting,
        oom_killed: state.oom_killed,
        dead: state.dead,
        pid: state.pid,
        exit_code: state.exit_code,
        error: state.error.clone(),
        started_at: timestamp::text_or_zero(state.started_at),
        finished_at: timestamp::text_or_zero(state.finished_at),
        health,
    }
}

pub(super) fn mount_points(record: &Record) -> Vec<api::MountPoint> {
    record
        .mounts
        .iter()
        .filter(|mount| !mount.unlisted)
        .map(|mount| mount.point.clone())
        .collect()
}

/// Endpoints as they are while it runs, as they were asked for while it does not.
pub(super) fn endpoints(record: &Record, state: &RunState) -> BTreeMap<String, EndpointSettings> {
    let mut all = record.endpoints.clone();
    for settings in all.values_mut() {
        if let Some(ipam) = &mut settings.ipam_config {
            for ip in [&mut ipam.ipv4_address, &mut ipam.ipv6_address] {
                *ip = ip.split('/').next().unwrap_or_default().to_owned();
            }
        }
        if settings
            .ipam_config
            .as_ref()
            .is_some_and(|ipam| ipam.is_empty())
        {
            settings.ipam_config = None;
        }
    }
    for (name, settings) in state
        .endpoints
        .iter()
        .filter(|(name, _)| name.as_str() != GATEWAY_ENDPOINT)
    {
        all.insert(name.clone(), settings.clone());
    }
    all
}

fn network_settings(
    record: &Record,
    state: &RunState,
    exec_root: &std::path::Path,
) -> api::NetworkSettings {
    let networks = endpoints(record, state);
    // The fields of old describe the default bridge and nothing else.
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let running = state.running && !state.netns.is_empty();
    let ports = if state.running {
        state.ports.clone()
    } else {
        api::PortMap::new()
    };
    let ports = if state.running && ports.is_empty() {
        ports::port_map(&record.config, &[])
    } else {
        ports
    };
    let sandbox_key = if running {
        exec_root
            .join("netns")
            .join(&state.netns)
            .display()
            .to_string()
    } else {
        String::new()
    };
    api::NetworkSettings {
        sandbox_id: if running {
            state.netns.clone()
        } else {
            String::new()
        },
        sandbox_key,
        ports: Some(ports),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks,
        ..api::NetworkSettings::default()
    }
}
