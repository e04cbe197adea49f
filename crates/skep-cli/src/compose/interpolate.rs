//! `$VAR` and `${VAR:-default}` in values.

use serde_json::Value;

use super::dotenv::Variables;
use crate::error::CliError;

/// What a variable stands for.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces variables in every text below a value. `path` is for errors.
pub(super) fn interpolate(
    value: &mut Value,
    path: &str,
    variables: &Variables,
) -> Result<(), CliError> {
    match value {
        Value::String(text) if text.contains('$') => {
            let lookup = |name: &str| variables.get(name);
            let expander = Expander {
                lookup: &lookup,
                unset: &|name| variables.note_unset(name),
                is_plain: variables.is_plain,
            };
            let expanded = expander.expand(text).map_err(|error| match error {
                Problem::Invalid => CliError::new(format!(
                    "invalid interpolation format for {path}: \"{text}\"; you may need to escape any $ with another $"
                )),
                Problem::Required(name, message) => {
                    CliError::new(format!(
                        "invalid interpolation format for {path}: \"required variable {name} is missing a value: {message}\"; you may need to escape any $ with another $"
                    ))
                }
            })?;
            if variables.is_plain && expanded != *text {
                castable(path, &expanded)?;
            }
            *text = expanded;
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| interpolate(item, &format!("{path}.[]"), variables)),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, item)| {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            interpolate(item, &path, variables)
        }),
        _ => Ok(()),
    }
}

/// Places of whole numbers and of flags in Docker's format, by their ends.
const WHOLE: [&str; 13] = [
    "configs.[].mode",
    "secrets.[].mode",
    "deploy.placement.max_replicas_per_node",
    "deploy.replicas",
    "deploy.restart_policy.max_attempts",
    "deploy.rollback_config.parallelism",
    "deploy.update_config.parallelism",
    "healthcheck.retries",
    "ports.[].published",
    "ports.[].target",
    "tmpfs.size",
    "hard",
    "soft",
];
const FLAGS: [&str; 10] = [
    "attachable",
    "external",
    "healthcheck.disable",
    "internal",
    "privileged",
    "read_only",
    "stdin_open",
    "tty",
    "volume.nocopy",
    "volumes.[].read_only",
];
/// Maps in which everything is the user's.
const USERS: [&str; 6] = [
    "args",
    "driver_opts",
    "environment",
    "labels",
    "options",
    "sysctls",
];

/// Whether what a variable gave is of the kind that is wanted where it stands.
fn castable(path: &str, text: &str) -> Result<(), CliError> {
    if path.split('.').skip(2).any(|key| USERS.contains(&key)) {
        return Ok(());
    }
    let is_at = |places: &[&str]| {
        let mut ends = places.iter().filter_map(|place| path.strip_suffix(place));
        ends.any(|before| before.ends_with('.'))
    };
    let is_limit = path.rsplit('.').nth(1) == Some("ulimits");
    let why = if is_limit || is_at(&WHOLE) {
        let is_number = text.parse::<i64>().is_ok();
        (!is_number).then(|| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
    } else if is_at(&["max_failure_ratio"]) {
        let is_number = text.parse::<f64>().is_ok();
        (!is_number).then(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
    } else if is_at(&FLAGS) {
        const WORDS: [&str; 12] = [
            "1", "t", "true", "y", "yes", "on", "0", "f", "false", "n", "no", "off",
        ];
        let is_flag = WORDS.contains(&text.to_ascii_lowercase().as_str());
        (!is_flag).then(|| format!("invalid boolean: {text}"))
    } else {
        None
    };
    match why {
        Some(why) => Err(CliError::new(format!(
            "error while interpolating {path}: failed to cast to expected type: {why}"
        ))),
        None => Ok(()),
    }
}

enum Problem {
    Invalid,
    Required(String, String),
}

/// Replaces variables in one text; nothing where it is malformed or lacks what it requires.
pub(super) fn expand_text(text: &str, lookup: Lookup<'_>) -> Option<String> {
    let expander = Expander {
        lookup,
        unset: &|_| (),
        is_plain: false,
    };
    expander.expand(text).ok()
}

/// How texts are read.
struct Expander<'a> {
    lookup: Lookup<'a>,
    unset: &'a dyn Fn(&str),
    is_plain: bool,
}

impl Expander<'_> {
    fn expand(&self, text: &str) -> Result<String, Problem> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = self.closing_brace(after).ok_or(Problem::Invalid)?;
                out.push_str(&self.braced(&after[..end])?);
                rest = &after[end + 1..];
            } else {
                let end = name_end(rest);
                if end == 0 {
                    return Err(Problem::Invalid);
                }
                out.push_str(&self.plain(&rest[..end]));
                rest = &rest[end..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Where a `${` ends; a default may hold others.
    fn closing_brace(&self, text: &str) -> Option<usize> {
        if self.is_plain {
            return text.find('}');
        }
        let mut depth = 0usize;
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'{' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
                b'}' if depth == 0 => return Some(at),
                b'}' => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// A variable without a default.
    fn plain(&self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            (self.unset)(name);
            String::new()
        })
    }

    fn braced(&self, inner: &str) -> Result<String, Problem> {
        let end = name_end(inner);
        if end == 0 {
            return Err(Problem::Invalid);
        }
        let (name, rest) = inner.split_at(end);
        if rest.is_empty() {
            return Ok(self.plain(name));
        }
        let value = (self.lookup)(name);
        let filled = value.clone().filter(|value| !value.is_empty());
        let other = |text: &str| match self.is_plain {
            true => Ok(text.to_owned()),
            false => self.expand(text),
        };
        let required = |message: &str| Problem::Required(name.to_owned(), message.to_owned());
        if let Some(default) = rest.strip_prefix(":-") {
            filled.map_or_else(|| other(default), Ok)
        } else if let Some(default) = rest.strip_prefix('-') {
            value.map_or_else(|| other(default), Ok)
        } else if let Some(message) = rest.strip_prefix(":?") {
            filled.ok_or_else(|| required(message))
        } else if let Some(message) = rest.strip_prefix('?') {
            value.ok_or_else(|| required(message))
        } else if self.is_plain {
            Err(Problem::Invalid)
        } else if let Some(instead) = rest.strip_prefix(":+") {
            filled.map_or_else(|| Ok(String::new()), |_| other(instead))
        } else if let Some(instead) = rest.strip_prefix('+') {
            value.map_or_else(|| Ok(String::new()), |_| other(instead))
        } else {
            Err(Problem::Invalid)
        }
    }
}

fn name_end(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let expander = Expander {
            lookup: &lookup,
            unset: &|_| (),
            is_plain: false,
        };
        let result = expander.expand(text);
        match (result, expected) {
            (Ok(text), Ok(expected)) => assert_eq!(text, expected),
            (Err(Problem::Invalid), Err("invalid")) => {}
            (Err(Problem::Required(name, why)), Err(expected)) => {
                assert_eq!(format!("{name}: {why}"), expected);
            }
            (result, _) => panic!("{text}: {:?}", result.ok()),
        }
    }

    #[test]
    fn variables_defaults_and_escapes() {
        check("$A-${A}-$$A", Ok("1-1-$A"));
        check("${B:-x}${EMPTY:-y}${EMPTY-z}${B-w}", Ok("xyw"));
        check("${B}", Ok(""));
        check("${B:-${A}x}${A:+set}${B+set}", Ok("1xset"));
        check("${B:?gone}", Err("B: gone"));
        check("${1}", Err("invalid"));
        check("$ x", Err("invalid"));
        check("${A", Err("invalid"));
    }

    #[test]
    fn a_mistake_names_its_place() {
        let mut value = serde_json::json!({"web": {"image": "$ x"}});
        let error = interpolate(&mut value, "services", &Variables::default()).unwrap_err();
        assert_eq!(
            error.message,
            "invalid interpolation format for services.web.image: \"$ x\"; you may need to escape any $ with another $"
        );
    }

    #[test]
    fn what_a_variable_gives_is_of_the_kind_that_is_wanted() {
        let told = |path: &str, text: &str| castable(path, text).err().map(|error| error.message);
        let failed = "failed to cast to expected type:";
        for (path, text, why) in [
            (
                "services.a.b.deploy.replicas",
                "",
                "strconv.Atoi: parsing \"\": invalid syntax",
            ),
            (
                "services.a.ports.[].target",
                "x",
                "strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "services.a.ulimits.n",
                "x",
                "strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            ("services.a.tty", "x", "invalid boolean: x"),
            ("networks.n.external", "x", "invalid boolean: x"),
        ] {
            let expected = format!("error while interpolating {path}: {failed} {why}");
            assert_eq!(told(path, text), Some(expected));
        }
        for (path, text) in [
            ("services.a.deploy.replicas", "3"),
            ("services.a.tty", "Yes"),
            ("services.a.labels.tty", "x"),
            ("services.a.environment.deploy.replicas", "x"),
            ("services.a.volumes.[].target", "/x"),
            ("services.a.deploy.mode", "x"),
        ] {
            assert_eq!(told(path, text), None);
        }
    }
}
