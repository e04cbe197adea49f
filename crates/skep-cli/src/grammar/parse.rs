//! From words to flags and arguments, by the rules of Go's pflag.

use std::collections::BTreeMap;

use super::{Arity, Command, Flag, FlagKind, parse_bytes, parse_cpus, parse_duration};

/// What the user asked of a command.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    values: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    args: Vec<String>,
    /// The command's own words, whatever the user typed for it.
    pub command: String,
    /// Flags that have gone out of use, with what replaced them.
    replaced: Vec<(&'static str, &'static str)>,
}

/// Words that the grammar does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl Matches {
    /// The arguments.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// One argument; empty where it was not given.
    pub fn arg(&self, number: usize) -> &str {
        self.args.get(number).map_or("", String::as_str)
    }

    /// Whether the user gave the flag.
    pub fn given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Flags that the user gave and that have gone out of use, with what replaced them.
    pub(crate) fn replaced(&self) -> &[(&'static str, &'static str)] {
        &self.replaced
    }

    /// Names of the flags that the user gave.
    pub fn given_flags(&self) -> impl Iterator<Item = &str> {
        self.values.keys().copied()
    }

    /// A flag's last value, or its default; empty without either.
    pub fn text(&self, name: &str) -> &str {
        self.values
            .get(name)
            .and_then(|values| values.last().map(String::as_str))
            .or_else(|| self.defaults.get(name).copied())
            .unwrap_or_default()
    }

    /// A flag's value where the user gave it.
    pub fn given_text(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .and_then(|values| values.last())
            .map(String::as_str)
    }

    /// Every value of a flag.
    pub fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// A switch.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1" | "t" | "T" | "TRUE" | "True")
    }

    /// A whole number, where the user gave it. The grammar has checked it.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.given_text(name)?.parse().ok()
    }

    /// A whole number from 0, where the user gave it. The grammar has checked it.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.given_text(name)?.parse().ok()
    }

    /// A fraction, where the user gave it. The grammar has checked it.
    pub fn fraction(&self, name: &str) -> Option<f64> {
        self.given_text(name)?.parse().ok()
    }

    /// Nanoseconds, where the user gave them. The grammar has checked them.
    pub fn duration(&self, name: &str) -> Option<i64> {
        parse_duration(self.given_text(name)?).ok()
    }

    /// Bytes, where the user gave them. The grammar has checked them.
    pub fn bytes(&self, name: &str) -> Option<i64> {
        parse_bytes(self.given_text(name)?).ok()
    }

    /// Billionths of a CPU, where the user gave them. The grammar has checked them.
    pub fn cpus(&self, name: &str) -> Option<i64> {
        parse_cpus(self.given_text(name)?).ok()
    }
}

/// Reads the words after the command's own; `shown` is what the user typed for it.
pub fn parse(command: &Command, shown: &str, words: &[String]) -> Result<Matches, UsageError> {
    let flags = command.flags();
    let mut matches = parse_flags(&flags, words, command.stops_at_argument)?;
    matches.command = command.path.to_owned();
    if !matches.flag("help") {
        check_arity(command, shown, matches.args.len())?;
    }
    Ok(matches)
}

/// Reads the flags before the command's words; everything from the first word on is an argument.
pub fn parse_root(flags: &[Flag], words: &[String]) -> Result<Matches, UsageError> {
    parse_flags(flags, words, true)
}

/// Reads flags and arguments; with `stop`, the first argument ends the flags.
fn parse_flags(flags: &[Flag], words: &[String], stop: bool) -> Result<Matches, UsageError> {
    let mut matches = Matches::default();
    for flag in flags {
        if let Some(default) = flag.default {
            matches.defaults.insert(flag.name, default);
        }
    }
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            matches.args.extend(words.cloned());
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            long_flag(flags, long, &mut words, &mut matches)?;
        } else if word.len() > 1 && word.starts_with('-') {
            short_flags(flags, &word[1..], word, &mut words, &mut matches)?;
        } else {
            matches.args.push(word.clone());
            if stop {
                matches.args.extend(words.cloned());
                break;
            }
        }
    }
    Ok(matches)
}

fn long_flag<'a>(
    flags: &[Flag],
    long: &str,
    words: &mut impl Iterator<Item = &'a String>,
    matches: &mut Matches,
) -> Result<(), UsageError> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    let flag = flags
        .iter()
        .find(|flag| flag.name == name)
        .ok_or_else(|| UsageError(format!("unknown flag: --{name}")))?;
    let value = match (value, flag.kind) {
        (Some(value), _) => value,
        (None, FlagKind::Bool) => "true".to_owned(),
        (None, _) => words
            .next()
            .cloned()
            .ok_or_else(|| UsageError(format!("flag needs an argument: --{name}")))?,
    };
    keep(flag, value, matches)
}

fn short_flags<'a>(
    flags: &[Flag],
    letters: &str,
    word: &str,
    words: &mut impl Iterator<Item = &'a String>,
    matches: &mut Matches,
) -> Result<(), UsageError> {
    let mut rest = letters;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        if letter == 'h' && !flags.iter().any(|flag| flag.short == Some('h')) {
            matches.values.insert("help", vec!["true".to_owned()]);
            continue;
        }
        let flag = flags
            .iter()
            .find(|flag| flag.short == Some(letter))
            .ok_or_else(|| UsageError(format!("unknown shorthand flag: '{letter}' in {word}")))?;
        if flag.kind == FlagKind::Bool && !rest.starts_with('=') {
            keep(flag, "true".to_owned(), matches)?;
            continue;
        }
        let value = match rest.strip_prefix('=').unwrap_or(rest) {
            "" => words.next().cloned().ok_or_else(|| {
                UsageError(format!("flag needs an argument: '{letter}' in {word}"))
            })?,
            value => value.to_owned(),
        };
        return keep(flag, value, matches);
    }
    Ok(())
}

/// Checks a value and notes it.
fn keep(flag: &Flag, value: String, matches: &mut Matches) -> Result<(), UsageError> {
    let number = |function: &str| number_error(function, &value, !digits_only(&value));
    let refusal = match flag.kind {
        FlagKind::Bool => (!is_bool(&value)).then(|| number("ParseBool")),
        FlagKind::Int => value.parse::<i64>().is_err().then(|| number("ParseInt")),
        FlagKind::Uint => unsigned(flag, &value),
        FlagKind::Float => value.parse::<f64>().is_err().then(|| number("ParseFloat")),
        FlagKind::Duration => parse_duration(&value).err(),
        // Without end: Docker's size of memory and swap together, and no other.
        FlagKind::Bytes if value == "-1" && flag.name == "memory-swap" => None,
        FlagKind::Bytes => parse_bytes(&value).err(),
        FlagKind::Cpus => parse_cpus(&value).err(),
        FlagKind::Filter if !value.is_empty() && !value.contains('=') => {
            Some("bad format of filter (expected name=value)".to_owned())
        }
        FlagKind::Text | FlagKind::List | FlagKind::Filter => None,
    };
    if let Some(refusal) = refusal {
        let name = match flag.short {
            Some(short) => format!("-{short}, --{}", flag.name),
            None => format!("--{}", flag.name),
        };
        return Err(UsageError(format!(
            "invalid argument \"{value}\" for \"{name}\" flag: {refusal}"
        )));
    }
    if let Some(other) = flag.notes.replaced_by {
        matches.replaced.push((flag.name, other));
    }
    let name = flag.notes.replaced_by.or(flag.notes.same_as);
    let name = name.unwrap_or(flag.name);
    matches.values.entry(name).or_default().push(value);
    Ok(())
}

/// Why a text is no number, in the words of Go's parser.
fn number_error(function: &str, value: &str, is_in_range: bool) -> String {
    let why = if is_in_range {
        "invalid syntax"
    } else {
        "value out of range"
    };
    format!("strconv.{function}: parsing \"{value}\": {why}")
}

fn digits_only(value: &str) -> bool {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn unsigned(flag: &Flag, value: &str) -> Option<String> {
    let most = if flag.shown == "uint16" {
        u64::from(u16::MAX)
    } else {
        u64::MAX
    };
    match value.parse::<u64>() {
        Ok(number) if number <= most => None,
        _ if digits_only(value) && !value.starts_with('-') => {
            Some(number_error("ParseUint", value, false))
        }
        _ => Some(number_error("ParseUint", value, true)),
    }
}

fn is_bool(value: &str) -> bool {
    matches!(
        value,
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False"
    )
}

fn check_arity(command: &Command, shown: &str, count: usize) -> Result<(), UsageError> {
    let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
    let wants = match command.arity {
        Arity::None if count > 0 => "accepts no arguments".to_owned(),
        Arity::Exactly(wanted) if count != wanted => {
            format!("requires {wanted} {}", plural(wanted))
        }
        Arity::AtLeast(least) if count < least => {
            format!("requires at least {least} {}", plural(least))
        }
        Arity::Between(least, most) if !(least..=most).contains(&count) => format!(
            "requires at least {least} and at most {most} {}",
            plural(most)
        ),
        Arity::AtMost(most) if count > most => format!("requires at most {most} {}", plural(most)),
        Arity::Between(least, most) if !(least..=most).contains(&count) => {
            format!(
                "requires at least {least} and at most {most} {}",
                plural(most)
            )
        }
        _ => return Ok(()),
    };
    Err(UsageError(format!("docker: 'docker {shown}' {wants}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Vec<Flag> {
        "-d, --detach\n-e, --env list\n--replicas uint\n--memory bytes\n--memory-swap bytes\n--delay duration=5s\n-i, --interactive\n-t, --tty"
            .lines()
            .filter_map(Flag::decode)
            .collect()
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn check(line: &str, stop: bool) -> Matches {
        parse_flags(&flags(), &words(line), stop).unwrap()
    }

    fn refuse(line: &str, text: &str) {
        assert_eq!(
            parse_flags(&flags(), &words(line), true)
                .unwrap_err()
                .to_string(),
            text,
            "{line}"
        );
    }

    #[test]
    fn flags_may_stand_anywhere_unless_the_first_argument_ends_them() {
        assert_eq!(check("a -d b", false).args(), ["a", "b"]);
        assert_eq!(check("a -d b", true).args(), ["a", "-d", "b"]);
        assert_eq!(check("-d -- -x", false).args(), ["-x"]);
    }

    #[test]
    fn values_come_joined_or_apart() {
        assert_eq!(
            check("-eA=1 -e B=2 --env=C --env D", false).list("env"),
            ["A=1", "B=2", "C", "D"]
        );
        assert!(check("-it", false).flag("tty") && check("-it", false).flag("interactive"));
        assert!(!check("--detach=false", false).flag("detach"));
        assert_eq!(check("-d", false).text("delay"), "5s");
        assert_eq!(check("--replicas 3", false).count("replicas"), Some(3));
    }

    #[test]
    fn refusals_have_dockers_words() {
        refuse("--nope", "unknown flag: --nope");
        refuse("-z", "unknown shorthand flag: 'z' in -z");
        refuse("--env", "flag needs an argument: --env");
        refuse("-e", "flag needs an argument: 'e' in -e");
        refuse(
            "--replicas x",
            "invalid argument \"x\" for \"--replicas\" flag: strconv.ParseUint: parsing \"x\": invalid syntax",
        );
        refuse(
            "--memory -1",
            "invalid argument \"-1\" for \"--memory\" flag: invalid size: '-1'",
        );
        assert_eq!(check("--memory-swap -1", true).text("memory-swap"), "-1");
        refuse(
            "--delay 5",
            "invalid argument \"5\" for \"--delay\" flag: time: missing unit in duration \"5\"",
        );
    }
}
