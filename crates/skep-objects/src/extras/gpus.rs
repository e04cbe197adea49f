//! `--gpus`.

use std::collections::BTreeMap;

use crate::api::container::DeviceRequest;

/// Reads `all`, a number, or `count=`, `device=`, `driver=`, `capabilities=`, `options=` as fields of
/// CSV: a field with commas of its own stands in double quotes.
pub fn parse_gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest {
        count: 1,
        ..DeviceRequest::default()
    };
    let mut capabilities = vec!["gpu".to_owned()];
    let mut seen = Vec::new();
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_owned(), value),
            None => ("count".to_owned(), field.as_str()),
        };
        if seen.contains(&key) {
            return Err(format!(
                "gpu request key '{key}' can be specified only once"
            ));
        }
        match key.as_str() {
            "count" => request.count = count(value)?,
            "device" => {
                request.device_ids = Some(value.split(',').map(str::to_owned).collect());
                if !seen.iter().any(|key| key == "count") {
                    request.count = 0;
                }
            }
            "driver" => request.driver = value.to_owned(),
            "capabilities" => capabilities.extend(value.split(',').map(str::to_owned)),
            "options" => {
                let pair = |pair: &str| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (key.to_owned(), value.to_owned())
                };
                request.options = Some(value.split(',').map(pair).collect());
            }
            other => return Err(format!("unexpected key '{other}' in '{field}'")),
        }
        seen.push(key);
    }
    if request.device_ids.is_some() && seen.iter().any(|key| key == "count") {
        return Err("cannot set both count and device on device request".to_owned());
    }
    capabilities.sort();
    capabilities.dedup();
    request.capabilities = Some(vec![capabilities]);
    if request.options.is_none() {
        request.options = Some(BTreeMap::new());
    }
    Ok(request)
}

fn count(value: &str) -> Result<i64, String> {
    if value == "all" {
        return Ok(-1);
    }
    value
        .parse()
        .ok()
        .filter(|count| *count >= -1)
        .ok_or_else(|| {
            format!("invalid count ({value}): value must be either \"all\" or an integer")
        })
}

/// One line of CSV, with double quotes around fields that hold commas.
fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => {
                if let Some(field) = fields.last_mut() {
                    field.push(letter);
                }
            }
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    Ok(fields)
}
