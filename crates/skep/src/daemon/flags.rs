//! dockerd's command line: which flags there are, and how they are read.
//!
//! Flags that have no meaning in skep are accepted, so that what starts dockerd starts skep; each
//! is logged once. An unknown flag is an error.

use std::collections::BTreeMap;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true`, `=false`.
    Bool,
    /// One value; the last wins.
    Value,
    /// A value each time it is given.
    List,
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
    /// Whether skep does anything with it.
    pub used: bool,
    /// One line of help; empty for what is not used.
    pub help: &'static str,
}

const fn used(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        kind,
        key: None,
        used: true,
        help,
    }
}

const fn idle(name: &'static str, kind: Kind) -> Flag {
    Flag {
        name,
        short: None,
        kind,
        key: None,
        used: false,
        help: "",
    }
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

use Kind::{Bool, List, Value};

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
    // Refused by name: who gives them counts on them.
    used("authorization-plugin", List, "").key("authorization-plugins"),
    used("selinux-enabled", Bool, ""),
    used("userns-remap", Value, ""),
    used("validate", Bool, "Validate the configuration and exit"),
    used("version", Bool, "Print version information and quit").short('v'),
    idle("allow-direct-routing", Bool),
    idle("allow-nondistributable-artifacts", List),
    idle("api-cors-header", Value),
    idle("bridge-accept-fwmark", Value),
    idle("cluster-advertise", Value),
    idle("cluster-store", Value),
    idle("cluster-store-opt", List),
    idle("containerd", Value),
    idle("containerd-namespace", Value),
    idle("containerd-plugins-namespace", Value),
    idle("cpu-rt-period", Value),
    idle("cpu-rt-runtime", Value),
    idle("cri-containerd", Bool),
    idle("default-gateway", Value),
    idle("default-gateway-v6", Value),
    idle("default-network-opt", List).key("default-network-opts"),
    idle("exec-opt", List).key("exec-opts"),
    idle("experimental", Bool),
    idle("feature", List).key("features"),
    idle("firewall-backend", Value),
    idle("fixed-cidr", Value),
    idle("fixed-cidr-v6", Value),
    idle("host-gateway-ip", List).key("host-gateway-ips"),
    idle("http-proxy", Value),
    idle("https-proxy", Value),
    idle("init-path", Value),
    idle("ip-forward", Bool),
    idle("ip-forward-no-drop", Bool),
    idle("ip-masq", Bool),
    idle("ip6tables", Bool),
    idle("iptables", Bool),
    idle("ipv6", Bool),
    idle("live-restore", Bool),
    idle("max-concurrent-downloads", Value),
    idle("max-concurrent-uploads", Value),
    idle("max-download-attempts", Value),
    idle("network-control-plane-mtu", Value),
    idle("no-proxy", Value),
    idle("oom-score-adjust", Value),
    idle("raw-logs", Bool),
    idle("rootless", Bool),
    idle("storage-driver", Value).short('s'),
    idle("storage-opt", List).key("storage-opts"),
    idle("userland-proxy", Bool),
    idle("userland-proxy-path", Value),
];

/// Why a command line is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FlagError {
    /// No such flag.
    #[error("unknown flag: --{0}")]
    Unknown(String),
    /// No such letter.
    #[error("unknown shorthand flag: '{letter}' in {given}")]
    UnknownShort {
        /// The letter.
        letter: char,
        /// What it stood in.
        given: String,
    },
    /// A flag at the end that wants a value.
    #[error("flag needs an argument: --{0}")]
    NoValue(String),
    /// A flag that is given something else than true or false.
    #[error(
        "invalid argument {value:?} for \"--{name}\" flag: strconv.ParseBool: parsing {value:?}: invalid syntax"
    )]
    NotBool {
        /// The flag.
        name: String,
        /// What it got.
        value: String,
    },
    /// A word that belongs to no flag.
    #[error("\"skep daemon\" accepts no arguments.")]
    Argument,
}

/// The values that were given, by flag. Booleans are `true` or `false`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<&'static str, Vec<String>>);

impl Given {
    /// Reads a command line.
    pub fn parse(args: &[String]) -> Result<Self, FlagError> {
        let mut given = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                if args.next().is_some() {
                    return Err(FlagError::Argument);
                }
            } else if let Some(long) = arg.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let flag = FLAGS.iter().find(|flag| flag.name == name);
                let flag = flag.ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
                given.take(flag, value, &mut args)?;
            } else if let Some(letters) = arg.strip_prefix('-').filter(|l| !l.is_empty()) {
                given.letters(arg, letters, &mut args)?;
            } else {
                return Err(FlagError::Argument);
            }
        }
        Ok(given)
    }

    /// `-D`, `-H value`, `-Hvalue`, `-H=value`, `-Dl debug`.
    fn letters(
        &mut self,
        arg: &str,
        letters: &str,
        args: &mut std::slice::Iter<'_, String>,
    ) -> Result<(), FlagError> {
        for (at, letter) in letters.char_indices() {
            let flag = FLAGS.iter().find(|flag| flag.short == Some(letter));
            let flag = flag.ok_or_else(|| FlagError::UnknownShort {
                letter,
                given: arg.to_owned(),
            })?;
            let rest = &letters[at + letter.len_utf8()..];
            if flag.kind != Bool || rest.starts_with('=') {
                let value = rest.strip_prefix('=').unwrap_or(rest);
                let value = (!rest.is_empty()).then(|| value.to_owned());
                return self.take(flag, value, args);
            }
            self.take(flag, None, args)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        flag: &'static Flag,
        value: Option<String>,
        args: &mut std::slice::Iter<'_, String>,
    ) -> Result<(), FlagError> {
        let name = flag.name.to_owned();
        let value = match (flag.kind, value) {
            (Bool, None) => "true".to_owned(),
            (Bool, Some(value)) => match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".to_owned(),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".to_owned(),
                _ => return Err(FlagError::NotBool { name, value }),
            },
            (_, Some(value)) => value,
            (_, None) => args.next().cloned().ok_or(FlagError::NoValue(name))?,
        };
        let values = self.0.entry(flag.name).or_default();
        if flag.kind != List {
            values.clear();
        }
        values.push(value);
        Ok(())
    }

    /// The values of a flag.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// The value of a flag.
    pub fn value(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(|values| values.last().cloned())
    }

    /// Whether a flag is on, when it was given.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "true")
    }

    /// The flags that were given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Adds what daemon.json says.
    pub fn set(&mut self, name: &'static str, values: Vec<String>) {
        self.0.insert(name, values);
    }
}

/// What `--help` prints.
pub fn usage() -> String {
    let mut text = String::from(
        "Usage:  skep daemon [OPTIONS]\n\nA container engine and swarm node.\n\nOptions:\n",
    );
    let shown = FLAGS.iter();
    for flag in shown.filter(|flag| flag.used && !flag.help.is_empty()) {
        let short = flag
            .short
            .map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let kind = match flag.kind {
            Bool => "",
            Value => " string",
            List => " list",
        };
        let name = format!("--{}{kind}", flag.name);
        text.push_str(&format!("  {short}{name:<37} {}\n", flag.help));
    }
    text.push_str("\nOther flags of dockerd are accepted and have no effect.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Given, FlagError> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Given::parse(&args)
    }

    #[test]
    fn flags_are_read_in_all_their_forms() {
        for line in [
            "-D -H unix:///a -H tcp://b --log-level debug",
            "--debug --host=unix:///a --host tcp://b -l debug",
            "--debug=true -Hunix:///a -H=tcp://b -l=debug",
            "-Dl debug -H unix:///a -H tcp://b",
        ] {
            let given = parse(line).expect(line);
            assert_eq!(given.flag("debug"), Some(true), "{line}");
            assert_eq!(given.list("host"), ["unix:///a", "tcp://b"], "{line}");
            assert_eq!(given.value("log-level").as_deref(), Some("debug"), "{line}");
        }
    }

    #[test]
    fn the_last_value_wins_and_lists_grow() {
        let given = parse("--mtu 1 --mtu 2 --label a --label b").expect("good");
        assert_eq!(given.value("mtu").as_deref(), Some("2"));
        assert_eq!(given.list("label"), ["a", "b"]);
    }

    #[test]
    fn what_starts_dockerd_starts_skep() {
        let line = "-H fd:// --containerd=/run/containerd/containerd.sock --storage-driver overlay2 \
                    --userland-proxy=false --live-restore --iptables=false --exec-opt native.cgroupdriver=cgroupfs";
        let given = parse(line).expect("good");
        assert_eq!(given.flag("userland-proxy"), Some(false));
    }

    #[test]
    fn bad_flags_are_refused_with_docker_s_texts() {
        for (line, text) in [
            ("--nope", "unknown flag: --nope"),
            ("-Dx", "unknown shorthand flag: 'x' in -Dx"),
            ("--mtu", "flag needs an argument: --mtu"),
            ("extra", "\"skep daemon\" accepts no arguments."),
            (
                "--debug=maybe",
                "invalid argument \"maybe\" for \"--debug\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
        ] {
            assert_eq!(parse(line).expect_err(line).to_string(), text);
        }
    }

    #[test]
    fn no_name_or_letter_is_used_twice() {
        let mut names: Vec<&str> = FLAGS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FLAGS.len());
        let mut letters: Vec<char> = FLAGS.iter().filter_map(|f| f.short).collect();
        let all = letters.len();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), all);
    }
}
