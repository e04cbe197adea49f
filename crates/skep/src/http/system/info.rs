//! `GET /info` and `GET /system/df`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Instant, SystemTime};

use serde::Serialize;
use skep_engine::ListOptions;
use skep_objects::api::container::ContainerSummary;
use skep_objects::api::image::ImageSummary;
use skep_objects::api::volume::Volume;
use skep_objects::api::{encode, swarm, system as api};

use super::ENGINE_VERSION;
use super::facts::Facts;
use crate::http::Api;
use crate::http::error::Result;
use crate::http::query::Query;
use crate::http::version::ApiVersion;

/// Network drivers.
const NETWORK_DRIVERS: [&str; 6] = ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"];

/// Containers by state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    /// With a running process.
    pub running: usize,
    /// Frozen.
    pub paused: usize,
    /// Everything else.
    pub stopped: usize,
}

impl Api {
    /// Counts containers by state.
    pub async fn count_containers(&self) -> Count {
        let all = ListOptions {
            all: true,
            ..ListOptions::default()
        };
        let containers = self.engine.list(&all).await.unwrap_or_default();
        let mut count = Count::default();
        for container in &containers {
            match container.state.as_str() {
                "running" | "restarting" => count.running += 1,
                "paused" => count.paused += 1,
                _ => count.stopped += 1,
            }
        }
        count
    }
}

/// Devices that containers may ask for by name.
fn devices(dirs: &[std::path::PathBuf]) -> Vec<api::DeviceInfo> {
    let device = |id| api::DeviceInfo {
        source: "cdi".to_owned(),
        id,
    };
    let names = skep_engine::cdi_devices(dirs);
    names.into_iter().map(device).collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `GET /info`.
pub async fn info(api: &Api) -> api::Info {
    let begun = Instant::now();
    let facts = &api.facts;
    let config = facts.config();
    let engine = &config.engine;
    let count = api.count_containers().await;
    let swarm = api.swarm.info().await;
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let warnings = swarm.warnings.clone();
    let info = api::Info {
        id: facts.id(),
        containers: count.running + count.paused + count.stopped,
        containers_running: count.running,
        containers_paused: count.paused,
        containers_stopped: count.stopped,
        images: api.count_images().await,
        driver: "overlay2".to_owned(),
        driver_status: driver_status(),
        plugins: api::Plugins {
            volume: strings(&["local"]),
            network: strings(&NETWORK_DRIVERS),
            authorization: None,
            log: strings(&skep_engine::log_drivers()),
        },
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        oom_kill_disable: !v2,
        ipv4_forwarding: sysctl_is_on("/proc/sys/net/ipv4/ip_forward"),
        debug: config.debug,
        n_fd: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        n_goroutines: tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        system_time: now(),
        logging_driver: engine.log_driver.clone(),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: if v2 { "2" } else { "1" }.to_owned(),
        n_events_listener: api.engine.events().listeners(),
        kernel_version: facts.kernel.clone(),
        operating_system: facts.operating_system.clone(),
        os_version: facts.os_version.clone(),
        os_type: "linux".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: registries(&engine.registries.insecure, &engine.registries.mirrors),
        ncpu: facts.cpus,
        mem_total: facts.memory,
        generic_resources: generic_resources(&config.node_generic_resources),
        docker_root_dir: engine.data_root.display().to_string(),
        http_proxy: masked(&engine.registries.proxies.http),
        https_proxy: masked(&engine.registries.proxies.https),
        no_proxy: engine.registries.proxies.none_for.clone(),
        name: facts.name(),
        labels: engine.labels.clone(),
        server_version: ENGINE_VERSION.to_owned(),
        runtimes: runtimes(facts),
        default_runtime: engine.default_runtime.clone(),
        swarm,
        live_restore_enabled: !config.stop_containers,
        init_binary: "skep".to_owned(),
        security_options: strings(&["name=seccomp,profile=builtin"]),
        firewall_backend: Some(api::FirewallInfo {
            driver: "nftables".to_owned(),
            info: Vec::new(),
        }),
        cdi_spec_dirs: engine
            .cdi_spec_dirs
            .iter()
            .map(|dir| dir.display().to_string())
            .collect(),
        discovered_devices: devices(&engine.cdi_spec_dirs),
        default_address_pools: engine
            .default_address_pools
            .iter()
            .map(|pool| api::AddressPool {
                base: pool.base.clone(),
                size: u32::from(pool.size),
            })
            .collect(),
        warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
        ..api::Info::default()
    };
    api.engine.metrics().system_info.since(begun);
    info
}

fn driver_status() -> Vec<[String; 2]> {
    [
        ("Supports d_type", "true"),
        ("Using metacopy", "false"),
        ("Native Overlay Diff", "true"),
        ("userxattr", "false"),
    ]
    .map(|(key, value)| [key.to_owned(), value.to_owned()])
    .to_vec()
}

fn sysctl_is_on(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

fn now() -> String {
    encode::rfc3339_nano(SystemTime::now().into())
}

fn runtimes(facts: &Facts) -> BTreeMap<String, api::Runtime> {
    let config = facts.config();
    let own = (
        "skep".to_owned(),
        api::Runtime {
            path: "skep".to_owned(),
            ..api::Runtime::default()
        },
    );
    let others = config.engine.runtimes.iter().map(|(name, path)| {
        let path = path.display().to_string();
        (
            name.clone(),
            api::Runtime {
                path,
                ..api::Runtime::default()
            },
        )
    });
    others.chain([own]).collect()
}

/// A proxy's address without the password for it.
fn masked(proxy: &str) -> String {
    let (scheme, rest) = match proxy.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), proxy),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}xxxxx:xxxxx@{host}"),
        None => proxy.to_owned(),
    }
}

/// Registries that need no verified TLS, and Docker Hub with its mirrors.
fn registries(insecure: &[String], mirrors: &[String]) -> api::RegistryConfig {
    let hub = api::IndexInfo {
        mirrors: mirrors.to_vec(),
        name: "docker.io".to_owned(),
        official: true,
        secure: true,
    };
    let mut indexes = BTreeMap::from([("docker.io".to_owned(), hub)]);
    let mut networks = strings(&["::1/128", "127.0.0.0/8"]);
    for registry in insecure {
        if registry.contains('/') {
            networks.push(registry.clone());
            continue;
        }
        let index = api::IndexInfo {
            name: registry.clone(),
            ..api::IndexInfo::default()
        };
        indexes.insert(registry.clone(), index);
    }
    api::RegistryConfig {
        index_configs: indexes,
        insecure_registry_cidrs: networks,
        mirrors: Some(mirrors.to_vec()).filter(|mirrors| !mirrors.is_empty()),
    }
}

/// `--node-generic-resource` as the API shows it: numbers are counts, words are names.
fn generic_resources(
    resources: &[String],
) -> Option<Vec<skep_objects::api::service::GenericResource>> {
    use skep_objects::api::service::{
        DiscreteGenericResource, GenericResource, NamedGenericResource,
    };
    let convert = |pair: &String| {
        let (kind, value) = pair.split_once('=')?;
        let kind = kind.to_owned();
        Some(match value.parse() {
            Ok(value) => GenericResource {
                discrete_resource_spec: Some(DiscreteGenericResource { kind, value }),
                named_resource_spec: None,
            },
            Err(_) => GenericResource {
                named_resource_spec: Some(NamedGenericResource {
                    kind,
                    value: value.to_owned(),
                }),
                discrete_resource_spec: None,
            },
        })
    };
    let resources: Vec<_> = resources.iter().filter_map(convert).collect();
    Some(resources).filter(|resources| !resources.is_empty())
}

/// `GET /system/df`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DiskUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    layers_size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Vec<ImageSummary>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<ContainerSummary>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<Vec<Volume>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_cache: Option<Vec<()>>,
}

/// Measures what `type` asks for, or everything.
pub async fn disk_usage(api: &Api, version: ApiVersion, query: &Query) -> Result<DiskUsage> {
    // Before 1.42 nobody could ask for a part.
    let asked = query.all("type");
    let kinds: Vec<&str> = asked.filter(|_| version >= ApiVersion(1, 42)).collect();
    if let Some(unknown) = kinds
        .iter()
        .find(|kind| !["container", "image", "volume", "build-cache"].contains(kind))
    {
        let text = format!("unknown object type: {unknown}");
        return Err(crate::http::error::ApiError::invalid(text));
    }
    let wants = |kind: &str| kinds.is_empty() || kinds.contains(&kind);
    let mut usage = DiskUsage::default();
    if wants("container") {
        let all = ListOptions {
            all: true,
            size: true,
            ..ListOptions::default()
        };
        usage.containers = Some(api.engine.list(&all).await?);
    }
    if wants("image") {
        let (size, images) = api.image_usage(version).await?;
        usage.layers_size = Some(size);
        usage.images = Some(images);
    }
    if wants("volume") {
        usage.volumes = Some(api.engine.volumes().usage().await?);
    }
    if wants("build-cache") {
        usage.build_cache = Some(Vec::new());
    }
    Ok(usage)
}

/// The block `Swarm` of a host that is in none.
pub fn inactive() -> swarm::Info {
    swarm::Info {
        local_node_state: "inactive".to_owned(),
        ..swarm::Info::default()
    }
}
