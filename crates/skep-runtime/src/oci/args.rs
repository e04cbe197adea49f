//! Flags as Go's libraries take them: `--name value`, `--name=value`, `-n value`.

use super::OciError;

/// Flags and what follows them.
#[derive(Debug, Default)]
pub(super) struct Args {
    values: Vec<(String, String)>,
    switches: Vec<String>,
    pub rest: Vec<String>,
}

impl Args {
    /// `valued` flags take a value, `switches` none. With `stops` everything from the first plain word
    /// on is left alone; without it flags may also follow plain words.
    pub(super) fn parse(
        args: &[String],
        valued: &[&str],
        switches: &[&str],
        stops: bool,
    ) -> Result<Self, OciError> {
        let mut parsed = Self::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.rest.extend(words.cloned());
                break;
            }
            let Some(flag) = word
                .strip_prefix("--")
                .or_else(|| word.strip_prefix('-'))
                .filter(|f| !f.is_empty())
            else {
                parsed.rest.push(word.clone());
                if stops {
                    parsed.rest.extend(words.cloned());
                    break;
                }
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if valued.contains(&name) {
                let value = value
                    .or_else(|| words.next().cloned())
                    .ok_or_else(|| OciError::Usage(format!("flag needs an argument: {word}")))?;
                parsed.values.push((name.into(), value));
            } else if switches.contains(&name) {
                if !matches!(value.as_deref(), Some("false" | "0")) {
                    parsed.switches.push(name.into());
                }
            } else {
                return Err(OciError::Usage(format!(
                    "flag provided but not defined: {word}"
                )));
            }
        }
        Ok(parsed)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.switches.iter().any(|s| s == name)
    }

    /// The last one given.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Every one given under any of the names.
    pub(super) fn all<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.values
            .iter()
            .filter(|(n, _)| names.contains(&n.as_str()))
            .map(|(_, v)| v.as_str())
    }

    /// The one plain word that a command takes.
    pub(super) fn only_id(&self) -> Result<&str, OciError> {
        match self.rest.as_slice() {
            [id] => Ok(id),
            other => Err(OciError::Usage(format!(
                "expected exactly 1 argument, the container's id, got {}",
                other.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_may_stand_before_and_after_words() {
        let args = Args::parse(
            &words("--bundle=/b id --force -p x"),
            &["bundle", "p"],
            &["force"],
            false,
        )
        .unwrap();
        assert_eq!(
            (args.value("bundle"), args.value("p"), args.has("force")),
            (Some("/b"), Some("x"), true)
        );
        assert_eq!(args.only_id().unwrap(), "id");
    }

    #[test]
    fn a_command_line_to_run_is_left_alone() {
        let args = Args::parse(&words("-t id ls -l"), &[], &["t"], true).unwrap();
        assert_eq!(args.rest, ["id", "ls", "-l"]);
    }

    #[test]
    fn unknown_flags_are_named() {
        let error = Args::parse(&words("--nope id"), &[], &[], false)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "flag provided but not defined: --nope");
    }
}
