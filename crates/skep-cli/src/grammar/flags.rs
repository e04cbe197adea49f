//! Flags, and the notation they are written down in.

/// What a flag's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// Present or not; `--flag=false` too.
    Bool,
    /// Any text.
    Text,
    /// Text, as often as wanted.
    List,
    /// A whole number.
    Int,
    /// A whole number from 0.
    Uint,
    /// A fraction.
    Float,
    /// A Go duration.
    Duration,
    /// A size with a unit.
    Bytes,
    /// Decimal CPUs.
    Cpus,
}

/// One flag of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The letter, if it has one.
    pub short: Option<char>,
    /// The name without dashes.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: FlagKind,
    /// What the help calls the value.
    pub shown: &'static str,
    /// The value when it is not given.
    pub default: Option<&'static str>,
}

impl Flag {
    /// Reads `[-s, ]--name[ kind][=default]`; nothing for an empty line.
    pub fn decode(line: &'static str) -> Option<Self> {
        let line = line.trim();
        let (short, rest) = match line.strip_prefix("--") {
            Some(rest) => (None, rest),
            None => {
                let (short, rest) = line.strip_prefix('-')?.split_once(", --")?;
                (short.chars().next(), rest)
            }
        };
        let (rest, default) = match rest.split_once('=') {
            Some((rest, default)) => (rest, Some(default)),
            None => (rest, None),
        };
        let (name, shown) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self {
            short,
            name,
            kind: kind_of(shown),
            shown,
            default,
        })
    }
}

fn kind_of(shown: &str) -> FlagKind {
    match shown {
        "" | "bool" => FlagKind::Bool,
        "int" | "int64" => FlagKind::Int,
        "uint" | "uint64" | "uint32" | "uint16" => FlagKind::Uint,
        "float" => FlagKind::Float,
        "duration" => FlagKind::Duration,
        "bytes" => FlagKind::Bytes,
        "decimal" => FlagKind::Cpus,
        "string" | "command" | "pem-file" | "node-addr" | "network-mode" => FlagKind::Text,
        // list, filter, mount, port, network, secret, config, ulimit, ipNetSlice, ...
        _ => FlagKind::List,
    }
}
