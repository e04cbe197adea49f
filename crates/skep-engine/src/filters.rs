//! The `filters` parameter of list and prune requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use skep_objects::go_duration::parse_length;

use crate::error::{EngineError, Result};

/// Names with the values asked for; several values of one name mean any of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Reads `{"name":["a","b"]}` or `{"name":{"a":true}}`, as clients of any age send it.
    ///
    /// # Errors
    /// Neither of the two forms.
    pub fn parse(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Set(BTreeMap<String, bool>),
        }
        if json.is_empty() {
            return Ok(Self::default());
        }
        let parsed: BTreeMap<String, Values> =
            serde_json::from_str(json).map_err(|_| EngineError::invalid("invalid filter"))?;
        let sets = parsed.into_iter().map(|(name, values)| {
            let values = match values {
                Values::List(list) => list.into_iter().collect(),
                Values::Set(set) => set.into_keys().collect(),
            };
            (name, values)
        });
        Ok(Self(sets.collect()))
    }

    /// Adds one value, as a caller inside skep does.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0
            .entry(name.to_owned())
            .or_default()
            .insert(value.to_owned());
        self
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of `name`.
    pub fn get(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether `name` is asked for.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|values| !values.is_empty())
    }

    /// Refuses a name that is not in `known`.
    ///
    /// # Errors
    /// Docker's `invalid filter 'x'`.
    pub fn validate(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(EngineError::invalid(format!("invalid filter '{name}'"))),
            None => Ok(()),
        }
    }

    /// Whether `value` is one of those asked for, or none is.
    #[must_use]
    pub fn exact(&self, name: &str, value: &str) -> bool {
        !self.contains(name) || self.get(name).any(|wanted| wanted == value)
    }

    /// Whether a wanted value is a prefix of `value`, or none is wanted.
    #[must_use]
    pub fn prefix(&self, name: &str, value: &str) -> bool {
        !self.contains(name) || self.get(name).any(|wanted| value.starts_with(wanted))
    }

    /// Whether `value` equals or matches, as a regular expression, a wanted value, or none is wanted.
    #[must_use]
    pub fn pattern(&self, name: &str, value: &str) -> bool {
        !self.contains(name)
            || self.get(name).any(|wanted| {
                wanted == value
                    || regex::Regex::new(wanted).is_ok_and(|regex| regex.is_match(value))
            })
    }

    /// Whether each wanted `key` or `key=value` of `name` is among `labels`.
    #[must_use]
    pub fn labels(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(name).all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        })
    }

    /// Whether none of the `label!` filters matches.
    #[must_use]
    pub fn labels_absent(&self, labels: &BTreeMap<String, String>) -> bool {
        !self
            .get("label!")
            .any(|wanted| match wanted.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
                None => labels.contains_key(wanted),
            })
    }

    /// A yes-or-no filter such as `dangling`.
    ///
    /// # Errors
    /// Docker's text for a value that is neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name).next() else {
            return Ok(None);
        };
        match value {
            "1" | "true" | "True" | "TRUE" | "t" | "T" => Ok(Some(true)),
            "0" | "false" | "False" | "FALSE" | "f" | "F" => Ok(Some(false)),
            _ => Err(EngineError::invalid(format!(
                "invalid value '{value}' for filter '{name}'"
            ))),
        }
    }
}

/// The time that `until` names: a date, a unix time, or so long ago.
///
/// # Errors
/// None of these, or more than one.
pub(crate) fn until(filters: &Filters, now: SystemTime) -> Result<Option<SystemTime>> {
    let mut values = filters.get("until");
    let Some(text) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(EngineError::invalid("more than one until filter specified"));
    }
    if let Some(at) = crate::timestamp::parse(text) {
        return Ok(Some(at));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok(Duration::try_from_secs_f64(seconds)
            .ok()
            .map(|since| UNIX_EPOCH + since));
    }
    match parse_length(text) {
        Some(ago) => Ok(now.checked_sub(ago)),
        None => Err(EngineError::invalid(format!(
            "failed to parse value as time or duration: \"{text}\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_parameter_mean_the_same() {
        let list = Filters::parse(r#"{"label":["a","b=c"]}"#).unwrap();
        let set = Filters::parse(r#"{"label":{"a":true,"b=c":true}}"#).unwrap();
        assert_eq!(list, set);
        assert!(Filters::parse("[1]").is_err());
    }

    #[test]
    fn until_is_a_date_a_number_or_so_long_ago() {
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        let at = |text: &str| until(&Filters::default().with("until", text), now).unwrap();
        assert_eq!(at("1h30m"), Some(now - Duration::from_secs(5400)));
        assert_eq!(at("1000"), Some(UNIX_EPOCH + Duration::from_secs(1000)));
        assert_eq!(
            at("1970-01-01T00:00:05Z"),
            Some(UNIX_EPOCH + Duration::from_secs(5))
        );
        assert!(until(&Filters::default().with("until", "soon"), now).is_err());
    }

    #[test]
    fn every_wanted_label_must_be_there() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let wants = |filter: &str| {
            Filters::default()
                .with("label", filter)
                .labels("label", &labels)
        };
        assert!(wants("a"));
        assert!(wants("a=1"));
        assert!(!wants("a=2"));
        assert!(!wants("b"));
    }
}
