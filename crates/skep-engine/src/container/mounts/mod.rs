//! What a container mounts: read from binds, mounts, tmpfs, other containers and the image, checked
//! as a whole, then made.

mod explicit;
pub(super) mod propagation;
mod tmpfs;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use skep_objects::api::container::{Config, HostConfig, MountPoint};
use skep_objects::api::volume::VolumeCreate;

use self::explicit::explicit_mount;
use super::record::{MountRecord, Record};
use crate::core::Core;
use crate::error::{EngineError, Result};
use crate::image::Hold;

/// A mount that was checked but not made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Planned {
    pub record: MountRecord,
    /// The volume to make or use; an empty name invents one.
    pub volume: Option<VolumeCreate>,
    /// Make the source directory when it is missing.
    pub make_source: bool,
    /// Keeps the image that is mounted from being removed before a container has it.
    pub image: Option<Arc<Hold>>,
}

/// Reads and checks all mounts of a request.
pub(crate) fn plan(config: &Config, host: &HostConfig, core: &Core) -> Result<Vec<Planned>> {
    let mut planned: BTreeMap<String, Planned> = BTreeMap::new();
    for text in host.volumes_from.iter().flatten() {
        for mount in from_container(text, core)? {
            planned.insert(mount.record.point.destination.clone(), mount);
        }
    }
    let mut explicit: BTreeMap<String, Planned> = BTreeMap::new();
    let mut add = |mount: Planned| {
        let target = mount.record.point.destination.clone();
        if explicit.insert(target.clone(), mount).is_some() {
            return Err(EngineError::invalid(format!(
                "Duplicate mount point: {target}"
            )));
        }
        Ok(())
    };
    for text in host.binds.iter().flatten() {
        add(bind(text, &host.volume_driver)?)?;
    }
    for mount in host.mounts.iter().flatten() {
        add(explicit_mount(mount, core)?)?;
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        add(tmpfs::plan(target, options)?)?;
    }
    planned.extend(explicit);
    for target in config.volumes.iter().flat_map(BTreeMap::keys) {
        let target = clean(target);
        if target == "/" {
            return Err(EngineError::invalid(
                "invalid volume specification: '/': invalid mount config for type \"volume\": invalid specification: destination can't be '/'",
            ));
        }
        planned
            .entry(target.clone())
            .or_insert_with(|| volume("", &target, true, ""));
    }
    Ok(planned.into_values().collect())
}

/// `src:dst[:options]`, where a source that is no path names a volume.
fn bind(text: &str, volume_driver: &str) -> Result<Planned> {
    let bad =
        |why: &str| EngineError::invalid(format!("invalid volume specification: '{text}'{why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        [target] => ("", target, ""),
        _ => return Err(bad("")),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(bad(""));
    }
    let is_path = source.starts_with('/');
    let kind = if is_path { "bind" } else { "volume" };
    if !target.starts_with('/') {
        return Err(bad(&format!(
            ": invalid mount config for type \"{kind}\": invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let target = clean(target);
    if target == "/" {
        return Err(bad(&format!(
            ": invalid mount config for type \"{kind}\": invalid specification: destination can't be '/'"
        )));
    }
    let mode =
        Mode::parse(mode).ok_or_else(|| EngineError::invalid(format!("invalid mode: {mode}")))?;
    let extra = match (is_path, mode.copy, mode.propagation.is_empty()) {
        (true, Some(_), _) => "VolumeOptions",
        (false, _, false) => "BindOptions",
        _ => "",
    };
    if !extra.is_empty() {
        return Err(bad(&format!(
            ": invalid mount config for type \"{kind}\": field {extra} must not be specified"
        )));
    }
    if !is_path {
        if !source.is_empty() {
            crate::volume::validate_name(source)?;
        }
        let mut planned = volume(source, &target, !mode.read_only, &mode.text);
        if mode.text.is_empty() {
            "z".clone_into(&mut planned.record.point.mode);
        }
        planned.record.copy_up = mode.copy != Some(false);
        if let Some(volume) = &mut planned.volume {
            volume_driver.clone_into(&mut volume.driver);
        }
        return Ok(planned);
    }
    let propagation = if mode.propagation.is_empty() {
        "rprivate"
    } else {
        &mode.propagation
    };
    let point = MountPoint {
        kind: "bind".to_owned(),
        source: clean(source),
        destination: target,
        mode: mode.text.clone(),
        rw: !mode.read_only,
        propagation: propagation.to_owned(),
        ..MountPoint::default()
    };
    let record = MountRecord {
        source: PathBuf::from(clean(source)),
        point,
        recursive_read_only: mode.read_only && kernel_has_recursive_read_only(),
        ..MountRecord::default()
    };
    Ok(Planned {
        record,
        make_source: true,
        ..Planned::default()
    })
}

#[derive(Debug, Default)]
struct Mode {
    text: String,
    read_only: bool,
    /// Whether an image's content goes to a new volume, where that is said.
    copy: Option<bool>,
    propagation: String,
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        let mut mode = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        // Each kind of word may be there once.
        let mut kinds = std::collections::BTreeSet::new();
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let kind = match word {
                "ro" | "rw" => "access",
                "z" | "Z" => "label",
                "consistent" | "cached" | "delegated" => "consistency",
                "nocopy" => "copy",
                "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => "propagation",
                _ => return None,
            };
            if !kinds.insert(kind) {
                return None;
            }
            mode.read_only |= word == "ro";
            if kind == "copy" {
                mode.copy = Some(false);
            }
            if kind == "propagation" {
                word.clone_into(&mut mode.propagation);
            }
        }
        Some(mode)
    }
}

fn volume(name: &str, target: &str, rw: bool, mode: &str) -> Planned {
    let point = MountPoint {
        kind: "volume".to_owned(),
        name: name.to_owned(),
        destination: target.to_owned(),
        driver: "local".to_owned(),
        mode: mode.to_owned(),
        rw,
        ..MountPoint::default()
    };
    let record = MountRecord {
        point,
        anonymous: name.is_empty(),
        copy_up: true,
        ..MountRecord::default()
    };
    let volume = VolumeCreate {
        name: name.to_owned(),
        ..VolumeCreate::default()
    };
    Planned {
        record,
        volume: Some(volume),
        ..Planned::default()
    }
}

/// Whether what is mounted below a read-only mount can be read-only too: Linux 5.12.
fn kernel_has_recursive_read_only() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 12)
}

/// The mounts of another container, as `--volumes-from` takes them.
fn from_container(text: &str, core: &Core) -> Result<Vec<Planned>> {
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(EngineError::invalid(
            "volumes-from specification cannot be an empty string",
        ));
    }
    let mode = Mode::parse(mode)
        .filter(|mode| mode.copy.is_none() && mode.propagation.is_empty())
        .ok_or_else(|| EngineError::invalid(format!("invalid mode: {mode}")))?;
    let take = |mount: &MountRecord| {
        let mut record = mount.clone();
        record.point.rw &= !mode.read_only;
        record.anonymous = false;
        let volume = (record.point.kind == "volume").then(|| VolumeCreate {
            name: record.point.name.clone(),
            ..VolumeCreate::default()
        });
        Planned {
            record,
            volume,
            make_source: false,
            image: None,
        }
    };
    // Were it "not found", clients would take it that the image is missing.
    let other = core
        .containers
        .find(name)
        .map_err(|error| EngineError::invalid(error.to_string()))?;
    Ok(other.with(|record, _| {
        record
            .mounts
            .iter()
            .filter(|mount| mount.point.kind != "tmpfs")
            .map(take)
            .collect()
    }))
}

/// Makes volumes and directories. `record` names the container that will hold them.
pub(crate) fn make(plan: Vec<Planned>, record: &Record, core: &Core) -> Result<Vec<MountRecord>> {
    let mut made = Vec::new();
    for mut planned in plan {
        match make_one(&mut planned, record, core) {
            Ok(()) => made.push(planned.record),
            Err(error) => {
                unmake(
                    &Record {
                        mounts: made,
                        ..record.clone()
                    },
                    core,
                );
                return Err(error);
            }
        }
    }
    Ok(made)
}

fn make_one(planned: &mut Planned, record: &Record, core: &Core) -> Result<()> {
    if let Some(request) = planned.volume.take() {
        let volume =
            core.volumes
                .create_now(request, planned.record.anonymous, Some(&record.id))?;
        planned.record.point.name = volume.name;
        planned.record.source = PathBuf::from(&volume.mountpoint);
        planned.record.point.source = volume.mountpoint;
    }
    let source = &planned.record.source;
    if planned.make_source && !source.exists() {
        std::fs::create_dir_all(source).map_err(|error| {
            EngineError::invalid(format!(
                "error while creating mount source path '{}': {error}",
                source.display()
            ))
        })?;
    }
    Ok(())
}

/// Gives up what [`make`] took: the holds on volumes, and volumes of nobody's name.
pub(crate) fn unmake(record: &Record, core: &Core) {
    release(record, core, true);
}

/// Releases the volumes of a container; anonymous ones are removed when asked to.
pub(crate) fn release(record: &Record, core: &Core, anonymous_too: bool) {
    for mount in record
        .mounts
        .iter()
        .filter(|mount| mount.point.kind == "volume")
    {
        core.volumes.release(&mount.point.name, &record.id);
        if anonymous_too
            && mount.anonymous
            && let Err(error) = core.volumes.remove_now(&mount.point.name)
        {
            tracing::debug!(volume.name = %mount.point.name, %error, "anonymous volume stays");
        }
    }
}

/// Without `.`, `..` and doubled slashes; absolute.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_a_path_or_names_a_volume() {
        let planned = bind("/srv:/data:ro,rslave", "").unwrap();
        let point = &planned.record.point;
        assert_eq!(
            (point.kind.as_str(), point.rw, point.propagation.as_str()),
            ("bind", false, "rslave")
        );
        let planned = bind("vol1:/data", "").unwrap();
        assert_eq!(planned.record.point.mode, "z");
        assert!(planned.record.copy_up && !planned.record.anonymous);
    }

    #[test]
    fn bad_binds_have_dockers_texts() {
        let check = |text: &str, expect: &str| {
            let error = bind(text, "").unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("a:b:c:d", "invalid volume specification: 'a:b:c:d'");
        check(
            "/a:b",
            "invalid mount path: 'b' mount path must be absolute",
        );
        check("/a:/b:ro,rw", "invalid mode: ro,rw");
        check("/a:/b:nocopy", "field VolumeOptions must not be specified");
        check("a1:/b:rslave", "field BindOptions must not be specified");
        check("/a:/", "destination can't be '/'");
        check("/a:/b:foo", "invalid mode: foo");
        check(
            "a/b:/c",
            "includes invalid characters for a local volume name",
        );
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, expect) in [("/a//b/../c/.", "/a/c"), ("/..", "/"), ("a", "/a")] {
            assert_eq!(clean(path), expect);
        }
    }
}
