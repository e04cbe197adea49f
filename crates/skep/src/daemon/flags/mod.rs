//! dockerd's command line: which flags there are, and how they are read.
//!
//! Flags that have no meaning in skep are accepted, so that what starts dockerd starts skep; each
//! is logged once. Those that would be dangerous to ignore are refused, as is an unknown one.

mod table;

use std::collections::BTreeMap;

use Kind::{Bool, List, Value};
pub use table::{Effect, FLAGS, Flag};

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
    for flag in shown.filter(|flag| !flag.help.is_empty()) {
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
    text.push_str(
        "\nFlags of dockerd that mean nothing here are accepted; those that cannot be heeded are refused.\n",
    );
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
