//! Device nodes and who may use which.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep_objects::api::container::{DeviceMapping, HostConfig};

use crate::error::{EngineError, Result};

/// What every container may use, beside making nodes: null, zero, full, random, urandom, tty,
/// console, ptmx, pts.
const ALWAYS: [(i64, i64); 9] = [
    (1, 3),
    (1, 5),
    (1, 7),
    (1, 8),
    (1, 9),
    (5, 0),
    (5, 1),
    (5, 2),
    (136, -1),
];

/// Nodes to make and rules of the device cgroup.
pub(super) fn devices(host: &HostConfig) -> Result<(Vec<Value>, Vec<Value>)> {
    if host.privileged {
        return Ok((all_of(host)?, vec![json!({"allow": true, "access": "rwm"})]));
    }
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    for kind in ["c", "b"] {
        rules.push(json!({"allow": true, "type": kind, "access": "m"}));
    }
    for (major, minor) in ALWAYS {
        rules.push(
            json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"}),
        );
    }
    let mut nodes = Vec::new();
    for mapping in host.devices.iter().flatten() {
        for (node, rule) in mapped(mapping)? {
            nodes.push(node);
            rules.push(rule);
        }
    }
    for text in host.device_cgroup_rules.iter().flatten() {
        rules.push(rule(text)?);
    }
    Ok((nodes, rules))
}

/// The host's devices, and those asked for under another path beside them. Matches moby: a path that
/// the host has stays the host's, and what cgroups would allow is not asked.
fn all_of(host: &HostConfig) -> Result<Vec<Value>> {
    let paths = below(Path::new("/dev"));
    let mut nodes: Vec<Value> = paths.iter().filter_map(|path| node(path, path)).collect();
    for mapping in host.devices.iter().flatten() {
        let asked = mapped(mapping)?.into_iter().map(|(node, _)| node);
        let is_new = |node: &Value| {
            let path = node["path"].as_str().map(Path::new);
            path.is_none_or(|path| !paths.iter().any(|known| known == path))
        };
        nodes.extend(asked.filter(is_new));
    }
    Ok(nodes)
}

/// One `--device`, which may be a directory.
fn mapped(mapping: &DeviceMapping) -> Result<Vec<(Value, Value)>> {
    let refuse = |text: &str| {
        EngineError::Start(format!(
            "error gathering device information while adding custom device \"{}\": {text}",
            mapping.path_on_host
        ))
    };
    let source = std::fs::canonicalize(&mapping.path_on_host)
        .map_err(|_| refuse("no such file or directory"))?;
    let inside = if mapping.path_in_container.is_empty() {
        &mapping.path_on_host
    } else {
        &mapping.path_in_container
    };
    let access = if mapping.cgroup_permissions.is_empty() {
        "rwm"
    } else {
        &mapping.cgroup_permissions
    };
    let paths = if source.is_dir() {
        below(&source)
    } else {
        vec![source.clone()]
    };
    let mut result = Vec::new();
    for path in paths {
        let rest = path.strip_prefix(&source).unwrap_or(Path::new(""));
        let target = if rest.as_os_str().is_empty() {
            PathBuf::from(inside)
        } else {
            Path::new(inside).join(rest)
        };
        if let Some(node) = node(&path, &target) {
            let rule = json!({"allow": true, "type": node["type"], "major": node["major"], "minor": node["minor"], "access": access});
            result.push((node, rule));
        }
    }
    if result.is_empty() {
        Err(refuse("not a device node"))
    } else {
        Ok(result)
    }
}

fn node(path: &Path, target: &Path) -> Option<Value> {
    let meta = std::fs::metadata(path).ok()?;
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    let (major, minor) = (
        rustix::fs::major(meta.rdev()),
        rustix::fs::minor(meta.rdev()),
    );
    Some(json!({
        "path": target, "type": kind, "major": major, "minor": minor,
        "fileMode": meta.mode() & 0o7777, "uid": meta.uid(), "gid": meta.gid(),
    }))
}

/// Device nodes below a directory, without those that each container has its own of.
fn below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let own = [
            "/dev/pts",
            "/dev/shm",
            "/dev/fd",
            "/dev/mqueue",
            "/dev/console",
            "/dev/ptmx",
        ];
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if own.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        if kind.is_dir() {
            found.extend(below(&path));
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(path);
        }
    }
    found
}

/// One `--device-cgroup-rule`, for example `c 1:3 mr`.
fn rule(text: &str) -> Result<Value> {
    let bad = || EngineError::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind @ ("a" | "b" | "c"), numbers, access] = words[..] else {
        return Err(bad());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| {
        if text == "*" {
            Ok(-1)
        } else {
            text.parse::<i64>().map_err(|_| bad())
        }
    };
    if access.is_empty() || access.chars().any(|c| !"rwm".contains(c)) {
        return Err(bad());
    }
    Ok(
        json!({"allow": true, "type": kind, "major": number(major)?, "minor": number(minor)?, "access": access}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_made_and_allowed() {
        let mapping = DeviceMapping {
            path_on_host: "/dev/null".into(),
            path_in_container: "/dev/nil".into(),
            cgroup_permissions: "r".into(),
        };
        let host = HostConfig {
            devices: Some(vec![mapping]),
            ..HostConfig::default()
        };
        let (nodes, rules) = devices(&host).unwrap();
        assert_eq!(
            (nodes[0]["path"].as_str(), nodes[0]["major"].as_u64()),
            (Some("/dev/nil"), Some(1))
        );
        assert_eq!(rules.last().unwrap()["access"], "r");
        assert_eq!(rules[0]["allow"], false);
    }

    #[test]
    fn a_privileged_container_has_devices_under_other_paths_too() {
        let mapping = |inside: &str| DeviceMapping {
            path_on_host: "/dev/null".into(),
            path_in_container: inside.into(),
            cgroup_permissions: "r".into(),
        };
        let host = HostConfig {
            privileged: true,
            devices: Some(vec![mapping("/dev/nil"), mapping("/dev/zero")]),
            ..HostConfig::default()
        };
        let (nodes, rules) = devices(&host).unwrap();
        let minors = |path: &str| -> Vec<Option<u64>> {
            let of = nodes.iter().filter(|node| node["path"] == path);
            of.map(|node| node["minor"].as_u64()).collect()
        };
        assert_eq!(minors("/dev/nil"), [Some(3)]);
        assert_eq!(minors("/dev/zero"), [Some(5)]);
        assert_eq!(rules.len(), 1);
    }

    #[test]
    fn rules_are_read_or_refused() {
        assert_eq!(rule("c 7:* rw").unwrap()["minor"], -1);
        for bad in ["", "c 7 rw", "x 1:1 r", "c 1:1 z"] {
            assert_eq!(
                rule(bad).unwrap_err().to_string(),
                format!("invalid device cgroup rule format: '{bad}'")
            );
        }
    }
}
