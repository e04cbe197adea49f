//! Every method that a manager serves: who may call it, and where it runs.

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Also a node without a certificate.
    Anyone,
    /// Workers and managers of this swarm.
    Members,
    /// Managers of this swarm.
    Managers,
}

/// What a manager that is not the leader does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// Answers it itself.
    Never,
    /// Hands it to the leader.
    Always,
    /// Hands it to the leader if it came from this process, else answers it itself.
    FromHere,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Full gRPC path.
    pub service: &'static str,
    /// Name within the service.
    pub name: &'static str,
    /// Who may call it.
    pub allowed: Allowed,
    /// Where it runs.
    pub proxied: Proxied,
    /// Whether the caller sends a stream (then a failed call cannot be sent again).
    pub streams_in: bool,
}

/// Looks a request's path up; unknown paths are refused by the caller of this.
pub fn find(path: &str) -> Option<Method> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    let group = SERVICES.iter().find(|g| g.service == service)?;
    let (name, allowed) = *group.methods.iter().find(|(n, _)| *n == name)?;
    let streams_in = STREAMS_IN.contains(&(group.service, name));
    Some(Method {
        service: group.service,
        name,
        allowed,
        proxied: group.proxied,
        streams_in,
    })
}

/// All rows.
pub fn all() -> impl Iterator<Item = Method> {
    SERVICES.iter().flat_map(|group| {
        group.methods.iter().map(|(name, allowed)| Method {
            service: group.service,
            name,
            allowed: *allowed,
            proxied: group.proxied,
            streams_in: STREAMS_IN.contains(&(group.service, name)),
        })
    })
}

struct Group {
    service: &'static str,
    proxied: Proxied,
    methods: &'static [(&'static str, Allowed)],
}

use Allowed::{Anyone, Managers, Members};

const STREAMS_IN: &[(&str, &str)] = &[
    ("docker.swarmkit.v1.LogBroker", "PublishLogs"),
    ("docker.swarmkit.v1.Raft", "StreamRaftMessage"),
    ("skep.v1.Endpoints", "Watch"),
    ("skep.v1.Probes", "Attend"),
    ("skep.v1.Quorum", "Messages"),
];

const SERVICES: &[Group] = &[
    Group {
        service: "docker.swarmkit.v1.CA",
        proxied: Proxied::Always,
        methods: &[("GetRootCACertificate", Anyone), ("GetUnlockKey", Managers)],
    },
    Group {
        service: "docker.swarmkit.v1.NodeCA",
        proxied: Proxied::Always,
        methods: &[
            ("IssueNodeCertificate", Anyone),
            ("NodeCertificateStatus", Anyone),
        ],
    },
    Group {
        service: "docker.swarmkit.v1.Control",
        proxied: Proxied::FromHere,
        methods: &[
            ("GetNode", Managers),
            ("ListNodes", Managers),
            ("UpdateNode", Managers),
            ("RemoveNode", Managers),
            ("GetTask", Managers),
            ("ListTasks", Managers),
            ("RemoveTask", Managers),
            ("GetService", Managers),
            ("ListServices", Managers),
            ("CreateService", Managers),
            ("UpdateService", Managers),
            ("RemoveService", Managers),
            ("ListServiceStatuses", Managers),
            ("GetNetwork", Managers),
            ("ListNetworks", Managers),
            ("CreateNetwork", Managers),
            ("RemoveNetwork", Managers),
            ("GetCluster", Managers),
            ("ListClusters", Managers),
            ("UpdateCluster", Managers),
            ("GetSecret", Managers),
            ("UpdateSecret", Managers),
            ("ListSecrets", Managers),
            ("CreateSecret", Managers),
            ("RemoveSecret", Managers),
            ("GetConfig", Managers),
            ("UpdateConfig", Managers),
            ("ListConfigs", Managers),
            ("CreateConfig", Managers),
            ("RemoveConfig", Managers),
            ("GetExtension", Managers),
            ("CreateExtension", Managers),
            ("RemoveExtension", Managers),
            ("GetResource", Managers),
            ("UpdateResource", Managers),
            ("ListResources", Managers),
            ("CreateResource", Managers),
            ("RemoveResource", Managers),
            ("CreateVolume", Managers),
            ("GetVolume", Managers),
            ("UpdateVolume", Managers),
            ("ListVolumes", Managers),
            ("RemoveVolume", Managers),
        ],
    },
    Group {
        service: "docker.swarmkit.v1.Dispatcher",
        proxied: Proxied::Always,
        methods: &[
            ("Session", Members),
            ("Heartbeat", Members),
            ("UpdateTaskStatus", Members),
            ("UpdateVolumeStatus", Members),
            ("Tasks", Members),
            ("Assignments", Members),
        ],
    },
    Group {
        service: "skep.v1.Endpoints",
        proxied: Proxied::Always,
        methods: &[("Watch", Members)],
    },
    Group {
        service: "skep.v1.Probes",
        proxied: Proxied::Always,
        methods: &[("Attend", Members), ("Examine", Managers)],
    },
    Group {
        service: "skep.v1.Quorum",
        proxied: Proxied::Never,
        methods: &[("Messages", Managers)],
    },
    Group {
        service: "docker.swarmkit.v1.Health",
        proxied: Proxied::Never,
        methods: &[("Check", Managers)],
    },
    Group {
        service: "docker.swarmkit.v1.Logs",
        proxied: Proxied::FromHere,
        methods: &[("SubscribeLogs", Managers)],
    },
    Group {
        service: "docker.swarmkit.v1.LogBroker",
        proxied: Proxied::Always,
        methods: &[("ListenSubscriptions", Members), ("PublishLogs", Members)],
    },
    Group {
        service: "docker.swarmkit.v1.Raft",
        proxied: Proxied::Never,
        methods: &[
            ("ProcessRaftMessage", Managers),
            ("StreamRaftMessage", Managers),
            ("ResolveAddress", Managers),
        ],
    },
    Group {
        service: "docker.swarmkit.v1.RaftMembership",
        proxied: Proxied::Always,
        methods: &[("Join", Managers), ("Leave", Managers)],
    },
    Group {
        service: "docker.swarmkit.v1.ResourceAllocator",
        proxied: Proxied::Always,
        methods: &[("AttachNetwork", Members), ("DetachNetwork", Members)],
    },
    Group {
        service: "docker.swarmkit.v1.Watch",
        proxied: Proxied::Never,
        methods: &[("Watch", Managers)],
    },
];
