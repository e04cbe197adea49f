//! `--mount`: `type=,source=,target=,...`.

use serde_json::{Map, Value, json};

use super::{fields, split_pair};
use crate::error::CliError;
use crate::grammar::parse_bytes;

/// One mount as the API takes it.
pub fn mount(text: &str) -> Result<Value, CliError> {
    read(text).map_err(|why| {
        CliError::new(format!(
            "invalid argument \"{text}\" for \"--mount\" flag: {why}"
        ))
        .with_code(125)
    })
}

fn read(text: &str) -> Result<Value, String> {
    let mut mount = Map::new();
    let mut options = Options::default();
    let mut kind = "volume".to_owned();
    for field in fields(text).map_err(|error| error.message)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let switch = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(value) => Err(format!("invalid value for {key}: {value}")),
        };
        match key.as_str() {
            "readonly" | "ro" => {
                options.read_only = switch()?;
                continue;
            }
            "bind-create-src" => {
                options
                    .bind
                    .insert("CreateMountpoint".to_owned(), switch()?.into());
                continue;
            }
            "bind-nonrecursive" => {
                options
                    .bind
                    .insert("NonRecursive".to_owned(), switch()?.into());
                continue;
            }
            "volume-nocopy" => {
                if switch()? {
                    options.volume.insert("NoCopy".to_owned(), true.into());
                } else {
                    options.volume_given = true;
                }
                continue;
            }
            _ => {}
        }
        let value =
            value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        match key.as_str() {
            "type" => kind = value.to_ascii_lowercase(),
            "source" | "src" => {
                let source = match value.strip_prefix('.') {
                    Some(_) => std::env::current_dir()
                        .map(|dir| normal(&dir.join(value)))
                        .unwrap_or_else(|_| value.to_owned()),
                    None => value.to_owned(),
                };
                mount.insert("Source".to_owned(), source.into());
            }
            "target" | "dst" | "destination" => {
                mount.insert("Target".to_owned(), value.into());
            }
            "consistency" => {
                mount.insert("Consistency".to_owned(), value.to_ascii_lowercase().into());
            }
            other => options.set(other, value, &field)?,
        }
    }
    if !mount.contains_key("Target") {
        return Err("target is required".to_owned());
    }
    // An empty source is none.
    if mount.get("Source").is_some_and(|source| source == "") {
        mount.remove("Source");
    }
    options.into_mount(&kind, mount)
}

#[derive(Default)]
struct Options {
    read_only: bool,
    bind: Map<String, Value>,
    volume: Map<String, Value>,
    volume_given: bool,
    image: Map<String, Value>,
    tmpfs: Map<String, Value>,
    driver: Map<String, Value>,
    driver_options: Map<String, Value>,
    labels: Map<String, Value>,
}

impl Options {
    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), String> {
        match key {
            "bind-propagation" => {
                self.bind
                    .insert("Propagation".to_owned(), value.to_ascii_lowercase().into());
            }
            "bind-recursive" => match value {
                "enabled" => {}
                "disabled" => drop(self.bind.insert("NonRecursive".to_owned(), true.into())),
                "writable" => drop(
                    self.bind
                        .insert("ReadOnlyNonRecursive".to_owned(), true.into()),
                ),
                "readonly" => drop(
                    self.bind
                        .insert("ReadOnlyForceRecursive".to_owned(), true.into()),
                ),
                other => {
                    return Err(format!(
                        "invalid value for bind-recursive: {other} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            },
            "volume-subpath" => drop(self.volume.insert("Subpath".to_owned(), value.into())),
            "volume-label" => {
                let (name, value) = split_pair(value);
                self.labels.insert(name.to_owned(), value.into());
            }
            "volume-driver" => drop(self.driver.insert("Name".to_owned(), value.into())),
            "volume-opt" => {
                let (name, value) = split_pair(value);
                self.driver_options.insert(name.to_owned(), value.into());
            }
            "image-subpath" => drop(self.image.insert("Subpath".to_owned(), value.into())),
            "tmpfs-size" => {
                let size = parse_bytes(value)
                    .map_err(|_| format!("invalid value for tmpfs-size: {value}"))?;
                self.tmpfs.insert("SizeBytes".to_owned(), size.into());
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8)
                    .map_err(|_| format!("invalid value for tmpfs-mode: {value}"))?;
                self.tmpfs.insert("Mode".to_owned(), mode.into());
            }
            other => return Err(format!("unexpected key '{other}' in '{field}'")),
        }
        Ok(())
    }

    /// How deep a bind is read-only makes sense only where it is read-only.
    fn check_recursion(&self) -> Result<(), String> {
        let asks = |mode: &str, needs: &str| {
            format!(
                "option 'bind-recursive={mode}' requires '{needs}' to be specified in conjunction"
            )
        };
        let has = |name: &str| self.bind.contains_key(name);
        if has("ReadOnlyNonRecursive") && !self.read_only {
            return Err(asks("writable", "readonly"));
        }
        if has("ReadOnlyForceRecursive") {
            if !self.read_only {
                return Err(asks("readonly", "readonly"));
            }
            if self
                .bind
                .get("Propagation")
                .is_none_or(|mode| mode != "rprivate")
            {
                return Err(asks("readonly", "bind-propagation=rprivate"));
            }
        }
        Ok(())
    }

    fn into_mount(mut self, kind: &str, mut given: Map<String, Value>) -> Result<Value, String> {
        self.check_recursion()?;
        if !self.labels.is_empty() {
            self.volume
                .insert("Labels".to_owned(), Value::Object(self.labels));
        }
        if !self.driver_options.is_empty() {
            self.driver
                .insert("Options".to_owned(), Value::Object(self.driver_options));
        }
        // Docker sends an empty driver along with other volume options.
        if !self.driver.is_empty() || !self.volume.is_empty() || self.volume_given {
            self.volume
                .insert("DriverConfig".to_owned(), Value::Object(self.driver));
        }
        if self.bind.get("ReadOnlyForceRecursive").is_some() {
            if !self.read_only {
                return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".to_owned());
            }
            if self.bind.get("Propagation").is_none_or(|p| p != "rprivate") {
                return Err("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction".to_owned());
            }
        }
        if self.bind.get("ReadOnlyNonRecursive").is_some() && !self.read_only {
            return Err("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction".to_owned());
        }
        let mut mount = json!({"Type": kind});
        for field in ["Source", "Target"] {
            if let Some(value) = given.remove(field) {
                mount[field] = value;
            }
        }
        if self.read_only {
            mount["ReadOnly"] = true.into();
        }
        if let Some(value) = given.remove("Consistency") {
            mount["Consistency"] = value;
        }
        let groups = [
            ("bind", "BindOptions", self.bind),
            ("volume", "VolumeOptions", self.volume),
            ("image", "ImageOptions", self.image),
            ("tmpfs", "TmpfsOptions", self.tmpfs),
        ];
        for (owner, field, options) in groups {
            if options.is_empty() {
                continue;
            }
            if owner != kind {
                return Err(format!(
                    "cannot mix '{owner}-*' options with mount type '{kind}'"
                ));
            }
            mount[field] = Value::Object(options);
        }
        Ok(mount)
    }
}

/// A path with `.` and `..` worked off.
fn normal(path: &std::path::Path) -> String {
    let mut parts = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            std::path::Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_takes_its_own_options() {
        assert_eq!(
            mount("type=volume,src=v,dst=/d,volume-label=x=y").unwrap(),
            json!({"Type": "volume", "Source": "v", "Target": "/d", "VolumeOptions": {"Labels": {"x": "y"}, "DriverConfig": {}}})
        );
        assert_eq!(
            mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap(),
            json!({"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 1016}})
        );
        assert_eq!(
            mount("type=bind,src=/etc,dst=/e,readonly").unwrap(),
            json!({"Type": "bind", "Source": "/etc", "Target": "/e", "ReadOnly": true})
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("type=volume", "target is required"),
            ("dst=/d,nope=1", "unexpected key 'nope' in 'nope=1'"),
            ("dst=/d,src", "invalid field 'src' must be a key=value pair"),
            (
                "dst=/d,tmpfs-size=1m",
                "cannot mix 'tmpfs-*' options with mount type 'volume'",
            ),
        ] {
            assert!(
                mount(text).unwrap_err().message.ends_with(why),
                "{text}: {}",
                mount(text).unwrap_err().message
            );
        }
    }
}
