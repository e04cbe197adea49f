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
    /// `name=value`, as often as wanted.
    Filter,
}

/// What a flag asks of the daemon, or what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// The API version from which daemons know it.
    pub since: Option<&'static str>,
    /// Whether only daemons on Windows know it.
    pub windows: bool,
    /// Whether only experimental daemons know it.
    pub experimental: bool,
    /// Whether help leaves it out.
    pub hidden: bool,
    /// The flag that it is another name of.
    pub same_as: Option<&'static str>,
    /// The flag that replaced it, of which users are told.
    pub replaced_by: Option<&'static str>,
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
    /// What stands behind `@` in its line.
    pub notes: Notes,
}

impl Flag {
    /// Reads `[-s, ]--name[ kind][=default]` and notes: `@1.32` (the least API version),
    /// `@windows`, `@experimental`, `@hidden`, `@as:other`, `@now:other`. Nothing for an empty line.
    pub fn decode(line: &'static str) -> Option<Self> {
        let mut parts = line.trim().split(" @");
        let line = parts.next().unwrap_or_default();
        let mut notes = Notes::default();
        for note in parts {
            match note {
                "windows" => notes.windows = true,
                "experimental" => notes.experimental = true,
                "hidden" => notes.hidden = true,
                _ => match note.split_once(':') {
                    Some(("as", other)) => notes.same_as = Some(other),
                    Some(("now", other)) => notes.replaced_by = Some(other),
                    _ => notes.since = Some(note),
                },
            }
        }
        notes.hidden |= notes.same_as.is_some() || notes.replaced_by.is_some();
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
            notes,
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
        "filter" => FlagKind::Filter,
        // list, mount, port, network, secret, config, ulimit, ipNetSlice, ...
        _ => FlagKind::List,
    }
}
