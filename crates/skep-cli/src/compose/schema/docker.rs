//! Keys of Docker's version 3.13.

use super::Key;
use super::Shape::{
    Any, Count, Duration, Entries, Flag, Integer, Limits, List, ListOrNamed, Map, MapOrNull,
    Number, Octal, Options, Pairs, Text, TextOrAny, TextOrList, TextOrNull, Texts, Tmpfs,
};
use super::parts::{
    CREDENTIAL, EXTERNAL, GENERIC, HEALTHCHECK, LOGGING, PLACEMENT, RESTART, TOP_VOLUME, UPDATE,
};

const SERVICE: &[Key] = &[
    ("build", TextOrAny),
    ("cap_add", Texts),
    ("cap_drop", Texts),
    ("cgroup_parent", Text),
    ("cgroupns_mode", Text),
    ("command", TextOrList),
    ("configs", Entries(REFERENCE)),
    ("container_name", Text),
    ("credential_spec", Map(CREDENTIAL)),
    ("depends_on", Texts),
    ("deploy", MapOrNull(DEPLOY)),
    ("devices", Texts),
    ("dns", TextOrList),
    ("dns_search", TextOrList),
    ("domainname", Text),
    ("entrypoint", TextOrList),
    ("env_file", TextOrList),
    ("environment", Pairs),
    ("expose", List),
    ("external_links", Texts),
    ("extra_hosts", Pairs),
    ("healthcheck", Map(HEALTHCHECK)),
    ("hostname", Text),
    ("image", Text),
    ("init", Flag),
    ("ipc", Text),
    ("isolation", Text),
    ("labels", Pairs),
    ("links", Texts),
    ("logging", Map(LOGGING)),
    ("mac_address", Text),
    ("network_mode", Text),
    ("networks", ListOrNamed(ATTACHMENT)),
    ("oom_score_adj", Integer),
    ("pid", TextOrNull),
    ("ports", Entries(PORT)),
    ("privileged", Flag),
    ("read_only", Flag),
    ("restart", Text),
    ("secrets", Entries(REFERENCE)),
    ("security_opt", Texts),
    ("shm_size", Number),
    ("stdin_open", Flag),
    ("stop_grace_period", Duration),
    ("stop_signal", Text),
    ("sysctls", Pairs),
    ("tmpfs", TextOrList),
    ("tty", Flag),
    ("ulimits", Limits),
    ("user", Text),
    ("userns_mode", Text),
    ("volumes", Entries(VOLUME)),
    ("working_dir", Text),
];

const PORT: &[Key] = &[
    ("mode", Text),
    ("target", Count),
    ("published", Count),
    ("protocol", Text),
];
const VOLUME: &[Key] = &[
    ("type", Text),
    ("source", Text),
    ("target", Text),
    ("read_only", Flag),
    ("consistency", Text),
    ("bind", Any),
    ("volume", Any),
    ("tmpfs", Tmpfs),
];
const REFERENCE: &[Key] = &[
    ("source", Text),
    ("target", Text),
    ("uid", Text),
    ("gid", Text),
    ("mode", Octal),
];
const LIMITS: &[Key] = &[("cpus", Text), ("memory", Text), ("pids", Integer)];
const DEPLOY: &[Key] = &[
    ("endpoint_mode", Text),
    ("labels", Pairs),
    ("mode", Text),
    ("placement", Map(PLACEMENT)),
    ("replicas", Count),
    ("resources", Map(RESOURCES)),
    ("restart_policy", Map(RESTART)),
    ("rollback_config", Map(UPDATE)),
    ("update_config", Map(UPDATE)),
];
const RESOURCES: &[Key] = &[
    ("limits", Map(LIMITS)),
    (
        "reservations",
        Map(&[
            ("cpus", Text),
            ("generic_resources", GENERIC),
            ("memory", Text),
        ]),
    ),
];
const ATTACHMENT: &[Key] = &[
    ("aliases", Texts),
    ("driver_opts", Options),
    ("ipv4_address", Text),
    ("ipv6_address", Text),
];
const NETWORK: &[Key] = &[
    ("attachable", Flag),
    ("driver", Text),
    ("driver_opts", Options),
    ("external", EXTERNAL),
    ("internal", Flag),
    (
        "ipam",
        Map(&[("config", Entries(&[("subnet", Text)])), ("driver", Text)]),
    ),
    ("labels", Pairs),
    ("name", Text),
];
const CONFIG: &[Key] = &[
    ("external", EXTERNAL),
    ("file", Text),
    ("labels", Pairs),
    ("name", Text),
    ("template_driver", Text),
];
const SECRET: &[Key] = &[
    ("driver", Text),
    ("driver_opts", Options),
    ("external", EXTERNAL),
    ("file", Text),
    ("labels", Pairs),
    ("name", Text),
    ("template_driver", Text),
];
/// Top-level sections whose entries have known keys; `x-` keys may stand in them, but not in `deploy`.
pub(super) const SECTIONS: [(&str, &[Key]); 5] = [
    ("services", SERVICE),
    ("networks", NETWORK),
    ("volumes", TOP_VOLUME),
    ("secrets", SECRET),
    ("configs", CONFIG),
];
