//! `--gpus`: `all`, a number, or `count=,device=,driver=,capabilities=,options=`.

use serde_json::{Map, Value, json};

use super::{fields, split_pair};
use crate::error::CliError;

/// One request for devices as the API takes it.
pub fn gpus(text: &str) -> Result<Value, CliError> {
    read(text).map_err(|why| CliError::bad_flag(text, "--gpus", why))
}

fn read(text: &str) -> Result<Value, String> {
    let (mut count, mut driver) = (0, String::new());
    let mut devices = Vec::new();
    let mut capabilities = Vec::new();
    let mut options = Map::new();
    let (mut has_count, mut has_device) = (false, false);
    for field in fields(text).map_err(|error| error.message)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => ("count".to_owned(), field.clone()),
        };
        match key.as_str() {
            "count" => {
                has_count = true;
                count = match value.as_str() {
                    "all" => -1,
                    number => number.parse().map_err(|_| {
                        format!("invalid count ({number}): value must be either \"all\" or an integer: invalid syntax")
                    })?,
                };
            }
            "device" => {
                has_device = true;
                devices.extend(value.split(',').map(str::to_owned));
            }
            "driver" => driver = value,
            "capabilities" => {
                capabilities = value.split(',').map(str::to_owned).collect();
            }
            "options" => {
                for option in fields(&value).map_err(|error| error.message)? {
                    let (name, value) = split_pair(&option);
                    options.insert(name.to_owned(), value.into());
                }
            }
            other => return Err(format!("unexpected key '{other}' in '{field}'")),
        }
    }
    if !has_count && !has_device {
        count = 1;
    }
    if !capabilities.iter().any(|name| name == "gpu") {
        capabilities.push("gpu".to_owned());
    }
    let devices = if has_device {
        json!(devices)
    } else {
        Value::Null
    };
    Ok(json!({
        "Driver": driver, "Count": count, "DeviceIDs": devices,
        "Capabilities": [capabilities], "Options": options,
    }))
}
