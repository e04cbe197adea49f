//! Options of the local driver: `type`, `o`, `device`, `size`.

use std::collections::BTreeMap;

use crate::error::{EngineError, Result};

/// Refuses unknown options and those that make no sense alone, with Docker's texts.
pub(super) fn validate(options: &BTreeMap<String, String>) -> Result<()> {
    if let Some(unknown) = options
        .keys()
        .find(|key| !matches!(key.as_str(), "type" | "o" | "device" | "size"))
    {
        return Err(EngineError::invalid(format!(
            "create: invalid option: \"{unknown}\""
        )));
    }
    let has = |key: &str| options.get(key).is_some_and(|value| !value.is_empty());
    if options.is_empty() || (!has("type") && !has("o") && !has("device")) {
        return Ok(());
    }
    if !has("device") {
        return Err(EngineError::invalid(
            "create: missing device in volume options",
        ));
    }
    if !has("type") && !has("o") {
        return Err(EngineError::invalid(
            "create: missing required option: \"type\"",
        ));
    }
    Ok(())
}
