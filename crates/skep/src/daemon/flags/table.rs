//! Every flag that dockerd has, and what becomes of it here.

use super::Kind::{self, Bool, List, Value};

/// What a flag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What its help says.
    Acts,
    /// Nothing: what it asks for is so anyway, or means nothing here. It is logged once.
    Moot,
    /// It would be dangerous to ignore: any other value than these is an error with this reason.
    Refused(&'static [&'static str], &'static str),
}

/// One flag of dockerd's.
#[derive(Debug)]
pub struct Flag {
    /// After two dashes.
    pub name: &'static str,
    /// After one dash.
    pub short: Option<char>,
    /// What it takes.
    pub kind: Kind,
    /// The key in daemon.json, where it is another word.
    pub key: Option<&'static str>,
    /// What it does.
    pub effect: Effect,
    /// One line of help; empty for what is not used.
    pub help: &'static str,
}

const fn flag(name: &'static str, kind: Kind, effect: Effect, help: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        kind,
        key: None,
        effect,
        help,
    }
}

const fn used(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    flag(name, kind, Effect::Acts, help)
}

const fn moot(name: &'static str, kind: Kind) -> Flag {
    flag(name, kind, Effect::Moot, "")
}

const fn refused(
    name: &'static str,
    kind: Kind,
    harmless: &'static [&'static str],
    reason: &'static str,
) -> Flag {
    flag(name, kind, Effect::Refused(harmless, reason), "")
}

impl Flag {
    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    const fn key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// The key in daemon.json.
    pub fn json_key(&self) -> &'static str {
        self.key.unwrap_or(self.name)
    }
}

/// Every flag that is accepted.
pub const FLAGS: &[Flag] = &[
    used(
        "add-runtime",
        List,
        "Register an additional OCI compatible runtime",
    )
    .key("runtimes"),
    used("bip", Value, "Address and subnet of the default bridge"),
    used("bridge", Value, "Name of the default bridge").short('b'),
    used("cgroup-parent", Value, "Parent cgroup of all containers"),
    used(
        "config-file",
        Value,
        "Daemon configuration file (default \"/etc/skep/daemon.json\")",
    ),
    used(
        "data-root",
        Value,
        "Root directory of persistent state (default \"/var/lib/skep\")",
    ),
    used("debug", Bool, "Enable debug mode").short('D'),
    used(
        "default-address-pool",
        List,
        "Default address pools for local networks",
    )
    .key("default-address-pools"),
    used(
        "default-runtime",
        Value,
        "Default OCI runtime for containers",
    ),
    used(
        "default-shm-size",
        Value,
        "Default shm size for containers (default 64MiB)",
    ),
    used("default-ulimit", List, "Default ulimits for containers").key("default-ulimits"),
    used("dns", List, "DNS server to use"),
    used("dns-opt", List, "DNS options to use").key("dns-opts"),
    used("dns-search", List, "DNS search domains to use"),
    used(
        "exec-root",
        Value,
        "Root directory of execution state (default \"/run/skep\")",
    ),
    used(
        "group",
        Value,
        "Group of the unix socket (default \"docker\")",
    )
    .short('G'),
    used("help", Bool, "Print usage").short('h'),
    used("host", List, "Daemon socket(s) to listen on")
        .short('H')
        .key("hosts"),
    used(
        "insecure-registry",
        List,
        "Registry to speak to without verified TLS",
    )
    .key("insecure-registries"),
    used("label", List, "Key=value labels of the daemon").key("labels"),
    used(
        "log-driver",
        Value,
        "Default driver for container logs (default \"json-file\")",
    ),
    used(
        "log-format",
        Value,
        "Format of the daemon's own log (\"text\"|\"json\")",
    ),
    used(
        "log-level",
        Value,
        "Logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")",
    )
    .short('l'),
    used("cdi-spec-dir", List, "CDI specification directories to use").key("cdi-spec-dirs"),
    used("log-opt", List, "Default log driver options for containers").key("log-opts"),
    used(
        "metrics-addr",
        Value,
        "Address and port to serve the metrics on",
    ),
    used("mtu", Value, "MTU of the default bridge (default 1500)"),
    used(
        "node-generic-resource",
        List,
        "Advertise a user-defined resource",
    )
    .key("node-generic-resources"),
    used(
        "pidfile",
        Value,
        "File with the daemon's process id (default \"<exec-root>/skep.pid\")",
    )
    .short('p'),
    used("registry-mirror", List, "Preferred registry mirror").key("registry-mirrors"),
    used(
        "shutdown-timeout",
        Value,
        "Seconds to wait when stopping containers (default 15)",
    ),
    used(
        "stop-containers",
        Bool,
        "Stop containers when the daemon ends, as dockerd does by default",
    ),
    used(
        "swarm-default-advertise-addr",
        Value,
        "Default address or interface to advertise in a swarm",
    ),
    used(
        "tls",
        Bool,
        "Use TLS; implied by --tlsverify; --tls=false serves tcp in the clear",
    ),
    used(
        "tlscacert",
        Value,
        "Trust certificates signed only by this CA",
    ),
    used("tlscert", Value, "TLS certificate file"),
    used("tlskey", Value, "TLS key file"),
    used("tlsverify", Bool, "Use TLS and verify the client"),
    used(
        "service-extras",
        Value,
        "What services may have here beyond Docker's API: all, none, or a list (default all)",
    ),
    used(
        "default-cgroupns-mode",
        Value,
        "Default cgroup namespace of containers (\"host\"|\"private\")",
    ),
    used(
        "default-ipc-mode",
        Value,
        "Default IPC mode of containers (\"shareable\"|\"private\")",
    ),
    used(
        "icc",
        Bool,
        "Containers on the default bridge reach each other (default true)",
    ),
    used("init", Bool, "Run an init in containers that do not say"),
    used(
        "ip",
        Value,
        "Address that ports are published on by default (default 0.0.0.0)",
    ),
    used(
        "no-new-privileges",
        Bool,
        "Set no-new-privileges for containers that do not say",
    ),
    used(
        "seccomp-profile",
        Value,
        "Seccomp profile of containers that name none: a file, \"builtin\" or \"unconfined\"",
    ),
    used("validate", Bool, "Validate the configuration and exit"),
    used("version", Bool, "Print version information and quit").short('v'),
    used(
        "userland-proxy",
        Bool,
        "Relay published ports that the kernel cannot translate: ::1, and [::] without IPv6",
    ),
    used(
        "allow-direct-routing",
        Bool,
        "Published ports are reached by containers' own addresses too",
    ),
    used(
        "bip6",
        Value,
        "IPv6 address and subnet of the default bridge",
    ),
    used(
        "default-gateway",
        Value,
        "Gateway of containers on the default bridge",
    ),
    used(
        "default-gateway-v6",
        Value,
        "IPv6 gateway of containers on the default bridge",
    ),
    used(
        "default-network-opt",
        List,
        "Default options of networks, driver=key=value",
    )
    .key("default-network-opts"),
    used(
        "exec-opt",
        List,
        "Runtime execution options (native.cgroupdriver=cgroupfs)",
    )
    .key("exec-opts"),
    used(
        "experimental",
        Bool,
        "Say that experimental features are on",
    ),
    used("feature", List, "Enable a feature (cdi)").key("features"),
    used(
        "fixed-cidr",
        Value,
        "Subnet of the addresses of containers on the default bridge",
    ),
    used(
        "fixed-cidr-v6",
        Value,
        "IPv6 subnet of containers on the default bridge",
    ),
    used(
        "host-gateway-ip",
        List,
        "What host-gateway stands for in --add-host",
    )
    .key("host-gateway-ips"),
    used("http-proxy", Value, "Proxy for http requests to registries"),
    used(
        "https-proxy",
        Value,
        "Proxy for https requests to registries",
    ),
    used(
        "ip-forward",
        Bool,
        "Turn the kernel's forwarding on (default true)",
    ),
    used(
        "ip-masq",
        Bool,
        "Containers on the default bridge show the host's address (default true)",
    ),
    used("ipv6", Bool, "The default bridge has IPv6"),
    used(
        "live-restore",
        Bool,
        "Leave containers running when the daemon ends (default true)",
    ),
    used(
        "max-concurrent-downloads",
        Value,
        "Layers brought at a time (default 3)",
    ),
    used(
        "max-concurrent-uploads",
        Value,
        "Layers sent at a time (default 5)",
    ),
    used(
        "max-download-attempts",
        Value,
        "How often a layer is asked for (default 5)",
    ),
    used(
        "no-proxy",
        Value,
        "Hosts and subnets that are reached without proxy",
    ),
    used(
        "oom-score-adjust",
        Value,
        "The daemon's oom_score_adj (-1000 to 1000)",
    ),
    used("storage-driver", Value, "Storage driver (overlay2)").short('s'),
    // They ask for what is so anyway, or for what is not there to be told.
    moot("allow-nondistributable-artifacts", List).key("allow-nondistributable-artifacts"),
    moot("containerd", Value),
    moot("containerd-namespace", Value),
    moot("containerd-plugins-namespace", Value),
    moot("cri-containerd", Bool),
    moot("ip-forward-no-drop", Bool),
    moot("network-control-plane-mtu", Value),
    moot("raw-logs", Bool),
    moot("userland-proxy-path", Value),
    // Refused by name, but for values that change nothing: who gives them counts on them.
    refused(
        "authorization-plugin",
        List,
        &[],
        "plugins are not supported",
    )
    .key("authorization-plugins"),
    refused(
        "bridge-accept-fwmark",
        Value,
        &[""],
        "packets are not let in by their mark",
    ),
    refused(
        "cpu-rt-period",
        Value,
        &["0"],
        "the real-time scheduler is left to the host",
    ),
    refused(
        "cpu-rt-runtime",
        Value,
        &["0"],
        "the real-time scheduler is left to the host",
    ),
    refused(
        "firewall-backend",
        Value,
        &["", "nftables"],
        "rules are written by nftables only",
    ),
    refused("init-path", Value, &[""], "the init of --init is built in"),
    refused(
        "ip6tables",
        Bool,
        &["true"],
        "ports and networks need the daemon's nftables rules",
    ),
    refused(
        "iptables",
        Bool,
        &["true"],
        "ports and networks need the daemon's nftables rules",
    ),
    refused("rootless", Bool, &["false"], "the daemon needs root"),
    refused(
        "selinux-enabled",
        Bool,
        &["false"],
        "SELinux is not supported",
    ),
    refused(
        "storage-opt",
        List,
        &["overlay2.override_kernel_check=true"],
        "overlay2 has no options here",
    ),
    refused(
        "userns-remap",
        Value,
        &[""],
        "user namespaces are not supported",
    ),
];
