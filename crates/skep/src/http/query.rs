//! The query string, read as Docker reads it.

use skep_engine::Filters;

use super::error::{ApiError, Result};

/// The parameters of a request, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`.
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (percent_decode(name, true), percent_decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of `name`, or the empty string.
    pub fn get(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }

    /// The first value of `name` when it was sent and is not empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every value of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Anything but nothing, 0, no, false and none is true.
    pub fn flag(&self, name: &str) -> bool {
        !matches!(
            self.get(name).to_lowercase().as_str(),
            "" | "0" | "no" | "false" | "none"
        )
    }

    /// [`Query::flag`] with another value for what was not sent.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.0.iter().any(|(key, _)| key == name) {
            self.flag(name)
        } else {
            default
        }
    }

    /// A number; what is none is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).parse().ok()
    }

    /// A number that must be one when it is sent.
    pub fn strict<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.given(name) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            ApiError::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
        })?;
        Ok(Some(number))
    }

    /// The `filters` parameter.
    pub fn filters(&self) -> Result<Filters> {
        Ok(Filters::parse(self.get("filters"))?)
    }

    /// The `version` parameter of an update.
    pub fn version(&self, what: &str) -> Result<u64> {
        let text = self.get("version");
        text.parse().map_err(|_| {
            ApiError::invalid(format!(
                "invalid {what} version '{text}': strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })
    }
}

/// Decodes `%41`, and `+` as a space where `plus` says so. What is no escape stays.
pub fn percent_decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match (
            bytes[at],
            hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) if plus => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("a=1&b=x%20y+z&c&d=%zz&e=&a=2");
        assert_eq!(query.get("a"), "1");
        assert_eq!(query.get("b"), "x y z");
        assert_eq!(query.get("d"), "%zz");
        assert_eq!(query.given("e"), None);
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn flags_are_docker_s() {
        let query = Query::parse("a=1&b=0&c=false&d=True&e=none&f=no&g=yes");
        let set: Vec<bool> = ["a", "b", "c", "d", "e", "f", "g", "h"]
            .iter()
            .map(|n| query.flag(n))
            .collect();
        assert_eq!(set, [true, false, false, true, false, false, true, false]);
        assert!(query.flag_or("h", true) && !query.flag_or("b", true));
    }

    #[test]
    fn a_version_must_be_a_number() {
        let refusal = Query::parse("version=x")
            .version("service")
            .expect_err("no number");
        let text = "invalid service version 'x': strconv.ParseUint: parsing \"x\": invalid syntax";
        assert_eq!(refusal.message, text);
    }
}
