//! Parts that both dialects have alike.

use super::Key;
use super::Shape::{
    self, Count, Duration, Entries, Flag, FlagOrMap, Integer, List, Map, Number, OneOf, Options,
    Pairs, Ratio, Text, TextOrList,
};

pub(super) const FILE: &[Key] = &[
    ("source", Text),
    ("target", Text),
    ("uid", Text),
    ("gid", Text),
    ("mode", Number),
];
pub(super) const CREDENTIAL: &[Key] = &[("config", Text), ("file", Text), ("registry", Text)];
pub(super) const LOGGING: &[Key] = &[("driver", Text), ("options", Options)];
pub(super) const HEALTHCHECK: &[Key] = &[
    ("disable", Flag),
    ("interval", Duration),
    ("retries", Count),
    ("start_interval", Duration),
    ("start_period", Duration),
    ("test", TextOrList),
    ("timeout", Duration),
];
pub(super) const PLACEMENT: &[Key] = &[
    ("constraints", List),
    ("max_replicas_per_node", Count),
    ("preferences", Entries(&[("spread", Text)])),
];
pub(super) const LIMITS: &[Key] = &[("cpus", Number), ("memory", Number), ("pids", Integer)];
pub(super) const GENERIC: Shape = Entries(&[(
    "discrete_resource_spec",
    Map(&[("kind", Text), ("value", Integer)]),
)]);
pub(super) const RESTART: &[Key] = &[
    ("condition", Text),
    ("delay", Duration),
    ("max_attempts", Count),
    ("window", Duration),
];
pub(super) const UPDATE: &[Key] = &[
    ("delay", Duration),
    ("failure_action", Text),
    ("max_failure_ratio", Ratio),
    ("monitor", Duration),
    ("order", OneOf(&["start-first", "stop-first"])),
    ("parallelism", Count),
];
pub(super) const EXTERNAL: Shape = FlagOrMap(&[("name", Text)]);
pub(super) const TOP_VOLUME: &[Key] = &[
    ("driver", Text),
    ("driver_opts", Options),
    ("external", EXTERNAL),
    ("labels", Pairs),
    ("name", Text),
    ("x-cluster-spec", Shape::Any),
];
