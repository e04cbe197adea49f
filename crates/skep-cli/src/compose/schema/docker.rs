//! Keys of Docker's version 3.13.

use super::Key;
use super::Shape::{
    Any, Count, Duration, Entries, Flag, Integer, Limits, List, ListOrNamed, Map, Number, Options,
    Pairs, Text, TextOrList,
};
use super::parts::{
    CREDENTIAL, EXTERNAL, FILE, GENERIC, HEALTHCHECK, LIMITS, LOGGING, PLACEMENT, RESTART,
    TOP_VOLUME, UPDATE,
};

const SERVICE: &[Key] = &[
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
    ("networks", ListOrNamed(ATTACHMENT)),
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
    ("ulimits", Limits),
    ("user", Text),
    ("userns_mode", Text),
    ("volumes", Entries(VOLUME)),
    ("working_dir", Text),
];

const PORT: &[Key] = &[
    ("mode", Text),
    ("target", Integer),
    ("published", Integer),
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
    ("tmpfs", Any),
];
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
            ("cpus", Number),
            ("generic_resources", GENERIC),
            ("memory", Number),
        ]),
    ),
];
const ATTACHMENT: &[Key] = &[
    ("aliases", List),
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
