//! Options of the local driver: `type`, `o`, `device`, `size`.

use std::collections::BTreeMap;

use crate::error::{EngineError, Result};

/// Refuses unknown options and those that make no sense alone, with Docker's texts.
pub(super) fn validate(name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let refuse = |text: String| Err(EngineError::invalid(format!("create {name}: {text}")));
    if let Some(unknown) = options
        .keys()
        .find(|key| !matches!(key.as_str(), "type" | "o" | "device" | "size"))
    {
        return refuse(format!("invalid option: {unknown:?}"));
    }
    let needs: [(&str, &[&str]); 3] = [
        ("device", &["type"]),
        ("o", &["device", "type"]),
        ("type", &["device"]),
    ];
    for (option, others) in needs {
        let missing = others.iter().find(|other| !options.contains_key(**other));
        if let Some(missing) = missing.filter(|_| options.contains_key(option)) {
            return refuse(format!("missing required option: {missing:?}"));
        }
    }
    if options.contains_key("size") {
        return refuse("quota size requested but no quota support".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_honoured_are_refused_by_name() {
        let check = |options: &[(&str, &str)], expect: &str| {
            let options = options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(validate("v", &options).unwrap_err().to_string(), expect);
        };
        check(&[("colour", "red")], "create v: invalid option: \"colour\"");
        check(
            &[("type", "tmpfs")],
            "create v: missing required option: \"device\"",
        );
        check(
            &[("size", "1g")],
            "create v: quota size requested but no quota support",
        );
    }
}
