//! How an engine is set up; composed by the daemon from flags and daemon.json.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::image::RegistryConfig;

/// Where networks without a subnet get theirs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    /// For example `172.17.0.0/16`.
    pub base: String,
    /// Prefix length of each subnet.
    pub size: u8,
}

/// The network `bridge`, which containers are on that name none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultBridge {
    /// Its interface; `none` for who wants no such network.
    pub name: String,
    /// Its address and subnet; chosen when not given.
    pub address: Option<String>,
    /// The same in IPv6.
    pub address_v6: Option<String>,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// The part of the subnet that containers' addresses come from.
    pub range: Option<String>,
    /// The IPv6 subnet, or the part of it that containers' addresses come from.
    pub range_v6: Option<String>,
    /// Containers' way out, where it is not the bridge.
    pub gateway: Option<IpAddr>,
    /// The same in IPv6.
    pub gateway_v6: Option<IpAddr>,
    /// Its MTU; zero is 1500.
    pub mtu: u32,
    /// Whether its containers reach each other.
    pub icc: bool,
    /// Whether its containers show the host's address to the outside.
    pub masquerade: bool,
    /// Address that ports are published on where none is named; every address without it.
    pub publish_address: Option<Ipv4Addr>,
}

impl Default for DefaultBridge {
    fn default() -> Self {
        Self {
            name: "docker0".to_owned(),
            address: None,
            address_v6: None,
            ipv6: false,
            range: None,
            range_v6: None,
            gateway: None,
            gateway_v6: None,
            mtu: 0,
            icc: true,
            masquerade: true,
            publish_address: None,
        }
    }
}

/// One host's engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// What must outlive a reboot.
    pub data_root: PathBuf,
    /// What must not: sockets, pids, pinned namespaces.
    pub exec_root: PathBuf,
    /// The program whose argv role `shim` parents a container: skep itself.
    pub shim_program: PathBuf,
    /// Cgroup below which containers get theirs.
    pub cgroup_parent: String,
    /// Pools for networks without a subnet; Docker's defaults when empty.
    pub default_address_pools: Vec<AddressPool>,
    /// The network of containers that name none.
    pub default_bridge: DefaultBridge,
    /// Options of networks that do not say, by driver.
    pub default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the kernel is told to forward between networks.
    pub ip_forward: bool,
    /// Whether published ports are reached by the containers' own addresses too, from outside.
    pub allow_direct_routing: bool,
    /// Whether the daemon relays published ports that the kernel cannot translate.
    pub userland_proxy: bool,
    /// What `host-gateway` stands for; the default bridge's address when empty.
    pub host_gateway_ips: Vec<IpAddr>,
    /// Name servers for containers that name none.
    pub dns: Vec<String>,
    /// Resolver options for containers that name none.
    pub dns_options: Vec<String>,
    /// Search domains for containers that name none.
    pub dns_search: Vec<String>,
    /// How registries are spoken to.
    pub registries: RegistryConfig,
    /// Other OCI runtimes by name.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// Where CDI specifications are, later directories over earlier.
    pub cdi_spec_dirs: Vec<PathBuf>,
    /// Runtime of containers that name none.
    pub default_runtime: String,
    /// Log driver of containers that name none.
    pub log_driver: String,
    /// Its options.
    pub log_opts: BTreeMap<String, String>,
    /// The host's labels, shown in `info` and to the scheduler.
    pub labels: Vec<String>,
    /// `kind=value` that this node offers to the scheduler.
    pub generic_resources: Vec<String>,
    /// Ulimits of containers that set none, `name=soft[:hard]`.
    pub default_ulimits: BTreeMap<String, (i64, i64)>,
    /// Size of `/dev/shm` in bytes where a container names none.
    pub default_shm_size: i64,
    /// Whether containers that do not say get an init process.
    pub init: bool,
    /// Whether containers that do not say gain no privileges by set-user-id programs.
    pub no_new_privileges: bool,
    /// Seccomp profile of containers that name none, as in `--security-opt seccomp=`: its JSON or
    /// `unconfined`; empty for the built-in one.
    pub seccomp_profile: String,
    /// `private` or `shareable` for containers that do not say.
    pub default_ipc_mode: String,
    /// `private` or `host` for containers that do not say; empty to go by the cgroup version.
    pub default_cgroupns_mode: String,
    /// Seconds between the stop signal and SIGKILL when the daemon stops containers.
    pub shutdown_timeout_seconds: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            data_root: PathBuf::from("/var/lib/skep"),
            exec_root: PathBuf::from("/run/skep"),
            shim_program: PathBuf::from("/proc/self/exe"),
            cgroup_parent: "skep".to_owned(),
            default_address_pools: Vec::new(),
            default_bridge: DefaultBridge::default(),
            default_network_opts: BTreeMap::new(),
            ip_forward: true,
            allow_direct_routing: false,
            userland_proxy: true,
            host_gateway_ips: Vec::new(),
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            registries: RegistryConfig::default(),
            runtimes: BTreeMap::new(),
            cdi_spec_dirs: vec![PathBuf::from("/etc/cdi"), PathBuf::from("/var/run/cdi")],
            default_runtime: "skep".to_owned(),
            log_driver: "json-file".to_owned(),
            log_opts: BTreeMap::new(),
            labels: Vec::new(),
            generic_resources: Vec::new(),
            default_ulimits: BTreeMap::new(),
            default_shm_size: 64 << 20,
            init: false,
            no_new_privileges: false,
            seccomp_profile: String::new(),
            default_ipc_mode: "private".to_owned(),
            default_cgroupns_mode: String::new(),
            shutdown_timeout_seconds: 15,
        }
    }
}
