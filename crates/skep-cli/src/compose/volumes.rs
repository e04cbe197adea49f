//! Volumes of services: the short form, and what becomes of them.

use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::external::external_name;
use crate::error::CliError;

/// `[source:]target[:options]`
pub(super) fn short_volume(text: &str, dialect: Dialect) -> Result<Value, CliError> {
    let bad = |why: &str| CliError::new(format!("volumes: invalid spec: {text}: {why}"));
    let parts: Vec<_> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [""] => return Err(bad("empty section between colons")),
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad("too many colons")),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(bad("empty section between colons"));
    }
    let is_path = source.starts_with(['/', '.', '~']);
    let mut volume = json!({"type": if is_path { "bind" } else { "volume" }, "target": target});
    if !source.is_empty() {
        volume["source"] = source.into();
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => volume["read_only"] = true.into(),
            "rw" => {}
            "nocopy" => volume["volume"]["nocopy"] = true.into(),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                volume["bind"]["propagation"] = option.into();
            }
            "z" | "Z" if dialect == Dialect::Compose => volume["bind"]["selinux"] = option.into(),
            // Hints of consistency have no meaning here, and Docker takes any other word too.
            _ => {}
        }
    }
    Ok(volume)
}

/// A service's volume as a mount. `stack` prefixes names; `volumes` is the file's section.
pub(super) fn mount(
    volume: &Value,
    stack: &str,
    volumes: &Map<String, Value>,
    namespace: &Map<String, Value>,
) -> Result<Value, CliError> {
    let kind = volume["type"].as_str().unwrap_or("volume");
    let source = volume["source"].as_str().unwrap_or_default();
    let mut mount = json!({"Type": kind});
    if !source.is_empty() {
        mount["Source"] = source.into();
    }
    mount["Target"] = volume["target"].clone();
    if volume["read_only"] == true {
        mount["ReadOnly"] = true.into();
    }
    if let Some(consistency) = volume["consistency"].as_str() {
        mount["Consistency"] = consistency.into();
    }
    match kind {
        "bind" => {
            let bind = &volume["bind"];
            if let Some(propagation) = bind["propagation"].as_str() {
                mount["BindOptions"]["Propagation"] = propagation.into();
            }
            if bind["create_host_path"] == true {
                mount["BindOptions"]["CreateMountpoint"] = true.into();
            }
            match bind["recursive"].as_str() {
                None | Some("enabled") => {}
                Some("disabled") => mount["BindOptions"]["NonRecursive"] = true.into(),
                Some("writable") => mount["BindOptions"]["ReadOnlyNonRecursive"] = true.into(),
                Some("readonly") => mount["BindOptions"]["ReadOnlyForceRecursive"] = true.into(),
                Some(other) => {
                    return Err(CliError::new(format!(
                        "invalid value for bind.recursive: {other}"
                    )));
                }
            }
        }
        "tmpfs" => {
            if !source.is_empty() {
                return Err(CliError::new("invalid tmpfs source, source must be empty"));
            }
            let tmpfs = &volume["tmpfs"];
            if !tmpfs["size"].is_null() {
                let size = crate::grammar::parse_bytes(&super::normal::plain(&tmpfs["size"]))
                    .map_err(CliError::new)?;
                mount["TmpfsOptions"]["SizeBytes"] = size.into();
            }
            if let Some(mode) = super::normal::file_mode(&tmpfs["mode"])? {
                mount["TmpfsOptions"]["Mode"] = mode.into();
            }
        }
        "volume" if !source.is_empty() => {
            named(&mut mount, volume, source, stack, volumes, namespace)?
        }
        "volume" => {
            let options = own_options(volume);
            if !options.is_empty() {
                mount["VolumeOptions"] = Value::Object(options);
            }
        }
        "image" => {
            if let Some(subpath) = volume["image"]["subpath"].as_str() {
                mount["ImageOptions"] = json!({"Subpath": subpath});
            }
        }
        "npipe" | "cluster" => {}
        _ => {
            return Err(CliError::new(
                "volume type must be volume, bind, tmpfs, npipe, or cluster",
            ));
        }
    }
    Ok(mount)
}

fn named(
    mount: &mut Value,
    volume: &Value,
    source: &str,
    stack: &str,
    volumes: &Map<String, Value>,
    namespace: &Map<String, Value>,
) -> Result<(), CliError> {
    let known = volumes
        .get(source)
        .ok_or_else(|| CliError::new(format!("undefined volume \"{source}\"")))?;
    let mut options = own_options(volume);
    let given = known["name"].as_str().filter(|name| !name.is_empty());
    if let Some(external) = external_name(known, source) {
        mount["Source"] = external.into();
        if !options.is_empty() {
            mount["VolumeOptions"] = Value::Object(options);
        }
        return Ok(());
    }
    mount["Source"] = given
        .map_or_else(|| format!("{stack}_{source}"), str::to_owned)
        .into();
    let mut labels = known["labels"].as_object().cloned().unwrap_or_default();
    if let Some(Value::Object(own)) = options.shift_remove("Labels") {
        labels.extend(own);
    }
    labels.extend(namespace.clone());
    options.insert("Labels".to_owned(), Value::Object(labels));
    let driver = known["driver"].as_str().unwrap_or_default();
    let driver_options = known["driver_opts"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    if !driver.is_empty() || !driver_options.is_empty() {
        let texts: Map<_, _> = driver_options
            .iter()
            .map(|(key, value)| (key.clone(), super::normal::plain(value).into()))
            .collect();
        let mut config = json!({});
        if !driver.is_empty() {
            config["Name"] = driver.into();
        }
        if !texts.is_empty() {
            config["Options"] = Value::Object(texts);
        }
        options.insert("DriverConfig".to_owned(), config);
    }
    mount["VolumeOptions"] = Value::Object(options);
    Ok(())
}

/// What a service says of a volume.
fn own_options(volume: &Value) -> Map<String, Value> {
    let given = &volume["volume"];
    let mut options = Map::new();
    if given["nocopy"] == true {
        options.insert("NoCopy".to_owned(), true.into());
    }
    if let Some(subpath) = given["subpath"].as_str() {
        options.insert("Subpath".to_owned(), subpath.into());
    }
    if !given["labels"].is_null() {
        let labels = super::normal::pairs(given["labels"].clone());
        options.insert("Labels".to_owned(), labels);
    }
    options
}
