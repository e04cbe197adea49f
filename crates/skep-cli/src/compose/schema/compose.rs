//! Keys of the Compose Specification.

use super::Key;
use super::Shape::{
    Any, Duration, Entries, Flag, Integer, List, ListOrNamed, Map, Number, Pairs, Text,
    TextOrEntries, TextOrList, TextOrMap,
};

const SERVICE: &[Key] = &[
    ("annotations", Pairs),
    ("attach", Flag),
    ("blkio_config", Any),
    ("build", Any),
    ("cap_add", List),
    ("cap_drop", List),
    ("cgroup", Text),
    ("cgroup_parent", Text),
    ("cgroupns_mode", Text),
    ("command", TextOrList),
    ("configs", Entries(FILE)),
    ("container_name", Text),
    ("cpu_count", Number),
    ("cpu_percent", Number),
    ("cpu_period", Number),
    ("cpu_quota", Number),
    ("cpu_rt_period", Number),
    ("cpu_rt_runtime", Number),
    ("cpu_shares", Number),
    ("cpus", Number),
    ("cpuset", Text),
    ("credential_spec", Map(CREDENTIAL)),
    ("depends_on", ListOrNamed(DEPENDS)),
    ("deploy", Map(DEPLOY)),
    ("develop", Any),
    ("device_cgroup_rules", List),
    ("devices", Entries(DEVICE)),
    ("dns", TextOrList),
    ("dns_opt", List),
    ("dns_search", TextOrList),
    ("domainname", Text),
    ("driver_opts", Any),
    ("entrypoint", TextOrList),
    ("env_file", TextOrEntries(ENV_FILE)),
    ("environment", Pairs),
    ("expose", List),
    ("extends", TextOrMap(&[("file", Text), ("service", Text)])),
    ("external_links", List),
    ("extra_hosts", Pairs),
    ("gpus", TextOrEntries(GPU)),
    ("group_add", List),
    ("healthcheck", Map(HEALTHCHECK)),
    ("hostname", Text),
    ("image", Text),
    ("init", Flag),
    ("ipc", Text),
    ("isolation", Text),
    ("label_file", TextOrList),
    ("labels", Pairs),
    ("links", List),
    ("logging", Map(&[("driver", Text), ("options", Any)])),
    ("mac_address", Text),
    ("mem_limit", Number),
    ("mem_reservation", Number),
    ("mem_swappiness", Number),
    ("memswap_limit", Number),
    ("models", Any),
    ("network_mode", Text),
    ("networks", ListOrNamed(ATTACHMENT)),
    ("oom_kill_disable", Flag),
    ("oom_score_adj", Integer),
    ("pid", Text),
    ("pids_limit", Integer),
    ("platform", Text),
    ("ports", Entries(PORT)),
    ("post_start", Any),
    ("pre_stop", Any),
    ("privileged", Flag),
    ("profiles", List),
    ("provider", Any),
    ("pull_policy", Text),
    ("pull_refresh_after", Text),
    ("read_only", Flag),
    ("restart", Text),
    ("runtime", Text),
    ("scale", Integer),
    ("secrets", Entries(FILE)),
    ("security_opt", List),
    ("shm_size", Number),
    ("stdin_open", Flag),
    ("stop_grace_period", Duration),
    ("stop_signal", Text),
    ("storage_opt", Any),
    ("sysctls", Pairs),
    ("tmpfs", TextOrList),
    ("tty", Flag),
    ("ulimits", Any),
    ("use_api_socket", Flag),
    ("user", Text),
    ("userns_mode", Text),
    ("uts", Text),
    ("volumes", Entries(VOLUME)),
    ("volumes_from", List),
    ("working_dir", Text),
];

const CREDENTIAL: &[Key] = &[("config", Text), ("file", Text), ("registry", Text)];
const DEPENDS: &[Key] = &[("condition", Text), ("required", Flag), ("restart", Flag)];
const DEVICE: &[Key] = &[("source", Text), ("target", Text), ("permissions", Text)];
const ENV_FILE: &[Key] = &[("path", Text), ("required", Flag), ("format", Text)];
const FILE: &[Key] = &[
    ("source", Text),
    ("target", Text),
    ("uid", Text),
    ("gid", Text),
    ("mode", Number),
];
const GPU: &[Key] = &[
    ("capabilities", List),
    ("count", Number),
    ("device_ids", List),
    ("driver", Text),
    ("options", Pairs),
];
const ATTACHMENT: &[Key] = &[
    ("aliases", List),
    ("driver_opts", Any),
    ("gw_priority", Number),
    ("interface_name", Text),
    ("ipv4_address", Text),
    ("ipv6_address", Text),
    ("link_local_ips", List),
    ("mac_address", Text),
    ("priority", Number),
];
const PORT: &[Key] = &[
    ("app_protocol", Text),
    ("host_ip", Text),
    ("mode", Text),
    ("name", Text),
    ("protocol", Text),
    ("published", Number),
    ("target", Integer),
];
const VOLUME: &[Key] = &[
    (
        "bind",
        Map(&[
            ("create_host_path", Flag),
            ("propagation", Text),
            ("recursive", Text),
            ("selinux", Text),
        ]),
    ),
    ("consistency", Text),
    ("image", Map(&[("subpath", Text)])),
    ("read_only", Flag),
    ("source", Text),
    ("target", Text),
    ("tmpfs", Map(&[("mode", Number), ("size", Number)])),
    ("type", Text),
    (
        "volume",
        Map(&[("labels", Pairs), ("nocopy", Flag), ("subpath", Text)]),
    ),
];
const HEALTHCHECK: &[Key] = &[
    ("disable", Flag),
    ("interval", Duration),
    ("retries", Number),
    ("start_interval", Duration),
    ("start_period", Duration),
    ("test", TextOrList),
    ("timeout", Duration),
];
const DEPLOY: &[Key] = &[
    ("endpoint_mode", Text),
    ("labels", Pairs),
    ("mode", Text),
    ("placement", Map(PLACEMENT)),
    ("replicas", Integer),
    ("resources", Map(RESOURCES)),
    ("restart_policy", Map(RESTART)),
    ("rollback_config", Map(UPDATE)),
    ("update_config", Map(UPDATE)),
];
const PLACEMENT: &[Key] = &[
    ("constraints", List),
    ("max_replicas_per_node", Integer),
    ("preferences", Entries(&[("spread", Text)])),
];
const RESOURCES: &[Key] = &[
    (
        "limits",
        Map(&[("cpus", Number), ("memory", Number), ("pids", Integer)]),
    ),
    (
        "reservations",
        Map(&[
            ("cpus", Number),
            ("devices", Entries(GPU)),
            ("generic_resources", Any),
            ("memory", Number),
        ]),
    ),
];
const RESTART: &[Key] = &[
    ("condition", Text),
    ("delay", Duration),
    ("max_attempts", Integer),
    ("window", Duration),
];
const UPDATE: &[Key] = &[
    ("delay", Duration),
    ("failure_action", Text),
    ("max_failure_ratio", Number),
    ("monitor", Duration),
    ("order", Text),
    ("parallelism", Integer),
];
const NETWORK: &[Key] = &[
    ("attachable", Flag),
    ("driver", Text),
    ("driver_opts", Any),
    ("enable_ipv4", Flag),
    ("enable_ipv6", Flag),
    ("external", Any),
    ("internal", Flag),
    (
        "ipam",
        Map(&[
            ("config", Entries(IPAM)),
            ("driver", Text),
            ("options", Any),
        ]),
    ),
    ("labels", Pairs),
    ("name", Text),
];
const IPAM: &[Key] = &[
    ("aux_addresses", Any),
    ("gateway", Text),
    ("ip_range", Text),
    ("subnet", Text),
];
const TOP_VOLUME: &[Key] = &[
    ("driver", Text),
    ("driver_opts", Any),
    ("external", Any),
    ("labels", Pairs),
    ("name", Text),
    ("x-cluster-spec", Any),
];
const TOP_FILE: &[Key] = &[
    ("content", Text),
    ("driver", Text),
    ("driver_opts", Any),
    ("environment", Text),
    ("external", Any),
    ("file", Text),
    ("labels", Pairs),
    ("name", Text),
    ("template_driver", Text),
];
/// Top-level sections whose entries have known keys; `x-` keys may stand anywhere.
pub(super) const SECTIONS: [(&str, &[Key]); 5] = [
    ("services", SERVICE),
    ("networks", NETWORK),
    ("volumes", TOP_VOLUME),
    ("secrets", TOP_FILE),
    ("configs", TOP_FILE),
];
