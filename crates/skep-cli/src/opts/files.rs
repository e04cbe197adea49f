//! `--secret` and `--config`: which object becomes which file.

use serde_json::{Value, json};

use super::fields;
use crate::error::CliError;

/// What a `--secret` or `--config` flag says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReference {
    /// Name of the secret or config.
    pub source: String,
    /// The file's name, where one was given.
    pub target: Option<String>,
    uid: String,
    gid: String,
    mode: u32,
}

impl FileReference {
    /// The file, as the API takes it.
    pub fn file(&self, default_target: &str) -> Value {
        json!({
            "Name": self.target.as_deref().unwrap_or(default_target),
            "UID": self.uid, "GID": self.gid, "Mode": self.mode,
        })
    }
}

/// Reads `name` or `source=,target=,uid=,gid=,mode=`. `kind` is `secret` or `config`.
pub fn file_reference(kind: &str, text: &str) -> Result<FileReference, CliError> {
    let bad = |why: String| {
        CliError::new(format!(
            "invalid argument \"{text}\" for \"--{kind}\" flag: {why}"
        ))
        .with_code(125)
    };
    let mut reference = FileReference {
        source: String::new(),
        target: None,
        uid: "0".to_owned(),
        gid: "0".to_owned(),
        mode: 0o444,
    };
    if !text.contains([',', '=']) {
        reference.source = text.to_owned();
        return Ok(reference);
    }
    for field in fields(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid field '{field}' must be a key=value pair")))?;
        match key.to_ascii_lowercase().as_str() {
            "source" | "src" => reference.source = value.to_owned(),
            "target" => reference.target = Some(value.to_owned()),
            "uid" => reference.uid = value.to_owned(),
            "gid" => reference.gid = value.to_owned(),
            "mode" => {
                let digits = value
                    .strip_prefix("0o")
                    .or(value.strip_prefix('0'))
                    .unwrap_or(value);
                let digits = if digits.is_empty() { "0" } else { digits };
                let radix = if value.starts_with('0') { 8 } else { 10 };
                reference.mode = u32::from_str_radix(digits, radix)
                    .map_err(|_| {
                        bad(format!(
                            "invalid mode specified: strconv.ParseUint: parsing \"{value}\": invalid syntax"
                        ))
                    })?;
            }
            other => return Err(bad(format!("invalid field in {kind} request: {other}"))),
        }
    }
    if reference.source.is_empty() {
        return Err(bad("source is required".to_owned()));
    }
    Ok(reference)
}
