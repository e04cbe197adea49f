//! `name=soft[:hard]`.

use serde_json::{Value, json};

use crate::error::CliError;

const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One ulimit as the API takes it.
pub fn ulimit(text: &str) -> Result<Value, CliError> {
    let bad = |why: String| {
        CliError::new(format!(
            "invalid argument \"{text}\" for \"--ulimit\" flag: {why}"
        ))
        .with_code(125)
    };
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| bad(format!("invalid ulimit argument: {text}")))?;
    if !NAMES.contains(&name) {
        return Err(bad(format!("invalid ulimit type: {name}")));
    }
    if values.matches(':').count() > 1 {
        return Err(bad(format!(
            "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
        )));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| {
            bad(format!(
                "strconv.ParseInt: parsing \"{text}\": invalid syntax"
            ))
        })
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(bad(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    Ok(json!({"Name": name, "Hard": hard, "Soft": soft}))
}
