//! Keys of Docker's version 3.13.

use super::Shape::{
    self, Any, Duration, Entries, Flag, Integer, List, Map, Number, Pairs, Text, TextOrList,
};

const SERVICE: &[(&str, Shape)] = &[
    ("build", Any),
    ("cap_add", List),
    ("cap_drop", List),
    ("cgroup_parent", Text),
    ("cgroupns_mode", Text),
    ("command", TextOrList),
    ("configs", Entries(FILE)),
    ("container_name", Text),
    ("credential_spec", Map(CREDENTIAL)),
    ("depends_on", List),
    ("deploy", Map(DEPLOY)),
    ("devices", List),
    ("dns", TextOrList),
    ("dns_search", TextOrList),
    ("domainname", Text),
    ("entrypoint", TextOrList),
    ("env_file", TextOrList),
    ("environment", Pairs),
    ("expose", List),
    ("external_links", List),
    ("extra_hosts", Pairs),
    ("healthcheck", Map(HEALTHCHECK)),
    ("hostname", Text),
    ("image", Text),
    ("init", Flag),
    ("ipc", Text),
    ("isolation", Text),
    ("labels", Pairs),
    ("links", List),
    ("logging", Map(LOGGING)),
    ("mac_address", Text),
    ("network_mode", Text),
    ("networks", Any),
    ("oom_score_adj", Integer),
    ("pid", Any),
    ("ports", Entries(PORT)),
    ("privileged", Flag),
    ("read_only", Flag),
    ("restart", Text),
    ("secrets", Entries(FILE)),
    ("security_opt", List),
    ("shm_size", Number),
    ("stdin_open", Flag),
    ("stop_grace_period", Duration),
    ("stop_signal", Text),
    ("sysctls", Pairs),
    ("tmpfs", TextOrList),
    ("tty", Flag),
    ("ulimits", Any),
    ("user", Text),
    ("userns_mode", Text),
    ("volumes", Entries(VOLUME)),
    ("working_dir", Text),
];

const FILE: &[(&str, Shape)] = &[
    ("source", Text),
    ("target", Text),
    ("uid", Text),
    ("gid", Text),
    ("mode", Number),
];
const CREDENTIAL: &[(&str, Shape)] = &[("config", Text), ("file", Text), ("registry", Text)];
const LOGGING: &[(&str, Shape)] = &[("driver", Text), ("options", Any)];
const PORT: &[(&str, Shape)] = &[
    ("mode", Text),
    ("target", Integer),
    ("published", Integer),
    ("protocol", Text),
];
const VOLUME: &[(&str, Shape)] = &[
    ("type", Text),
    ("source", Text),
    ("target", Text),
    ("read_only", Flag),
    ("consistency", Text),
    ("bind", Any),
    ("volume", Any),
    ("tmpfs", Any),
];
const HEALTHCHECK: &[(&str, Shape)] = &[
    ("disable", Flag),
    ("interval", Duration),
    ("retries", Number),
    ("start_interval", Duration),
    ("start_period", Duration),
    ("test", TextOrList),
    ("timeout", Duration),
];
const DEPLOY: &[(&str, Shape)] = &[
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
const PLACEMENT: &[(&str, Shape)] = &[
    ("constraints", List),
    ("max_replicas_per_node", Integer),
    ("preferences", Entries(&[("spread", Text)])),
];
const RESOURCES: &[(&str, Shape)] = &[
    (
        "limits",
        Map(&[("cpus", Number), ("memory", Number), ("pids", Integer)]),
    ),
    (
        "reservations",
        Map(&[
            ("cpus", Number),
            ("generic_resources", Any),
            ("memory", Number),
        ]),
    ),
];
const RESTART: &[(&str, Shape)] = &[
    ("condition", Text),
    ("delay", Duration),
    ("max_attempts", Integer),
    ("window", Duration),
];
const UPDATE: &[(&str, Shape)] = &[
    ("delay", Duration),
    ("failure_action", Text),
    ("max_failure_ratio", Number),
    ("monitor", Duration),
    ("order", Text),
    ("parallelism", Integer),
];
const NETWORK: &[(&str, Shape)] = &[
    ("attachable", Flag),
    ("driver", Text),
    ("driver_opts", Any),
    ("external", Any),
    ("internal", Flag),
    (
        "ipam",
        Map(&[("config", Entries(&[("subnet", Text)])), ("driver", Text)]),
    ),
    ("labels", Pairs),
    ("name", Text),
];
const TOP_VOLUME: &[(&str, Shape)] = &[
    ("driver", Text),
    ("driver_opts", Any),
    ("external", Any),
    ("labels", Pairs),
    ("name", Text),
    ("x-cluster-spec", Any),
];
const TOP_FILE: &[(&str, Shape)] = &[
    ("driver", Text),
    ("driver_opts", Any),
    ("external", Any),
    ("file", Text),
    ("labels", Pairs),
    ("name", Text),
    ("template_driver", Text),
];
/// Top-level sections whose entries have known keys; `x-` keys may stand in them, but not in `deploy`.
pub(super) const SECTIONS: [(&str, &[(&str, Shape)]); 5] = [
    ("services", SERVICE),
    ("networks", NETWORK),
    ("volumes", TOP_VOLUME),
    ("secrets", TOP_FILE),
    ("configs", TOP_FILE),
];
