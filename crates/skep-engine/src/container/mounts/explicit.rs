//! One `--mount`: its type, its options, what Docker refuses.

use std::path::{Path, PathBuf};

use skep_objects::api::container::{Mount, MountPoint};

use super::{Planned, clean, kernel_has_recursive_read_only, tmpfs, volume};
use crate::container::record::MountRecord;
use crate::container::subpath;
use crate::core::Core;
use crate::error::{EngineError, Result};

/// Docker's words, of images too.
const NOT_LOCAL: &str = "subpath must be a relative path within the volume";

/// One `--mount`.
pub(super) fn explicit_mount(mount: &Mount, core: &Core) -> Result<Planned> {
    let bad = |why: String| {
        EngineError::invalid(format!(
            "invalid mount config for type \"{}\": {why}",
            mount.kind
        ))
    };
    if mount.target.is_empty() {
        return Err(bad("field Target must not be empty".to_owned()));
    }
    if !mount.target.starts_with('/') {
        return Err(bad(format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.target
        )));
    }
    let target = clean(&mount.target);
    if target == "/" {
        return Err(bad(
            "invalid specification: destination can't be '/'".to_owned()
        ));
    }
    match mount.kind.as_str() {
        "bind" => explicit_bind(mount, target),
        "volume" => explicit_volume(mount, &target),
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(bad("field Source must not be specified".to_owned()));
            }
            tmpfs::explicit(mount, &target)
        }
        "image" => {
            let image = core.images.resolve_for(&mount.source, "")?;
            let subpath = mount.image_options.clone().unwrap_or_default().subpath;
            if !subpath.is_empty() && !subpath::is_local(&subpath) {
                return Err(bad(NOT_LOCAL.to_owned()));
            }
            let point = MountPoint {
                kind: "image".to_owned(),
                name: image.id,
                source: mount.source.clone(),
                destination: target,
                ..MountPoint::default()
            };
            let record = MountRecord {
                point,
                subpath,
                lower: image.lower,
                ..MountRecord::default()
            };
            Ok(Planned {
                record,
                image: image.hold,
                ..Planned::default()
            })
        }
        "cluster" => Err(EngineError::NotSupported(format!(
            "a mount of type {}",
            mount.kind
        ))),
        _ => Err(bad("mount type unknown".to_owned())),
    }
}

fn explicit_bind(mount: &Mount, target: String) -> Result<Planned> {
    let bad = |why: String| {
        EngineError::invalid(format!("invalid mount config for type \"bind\": {why}"))
    };
    let options = mount.bind_options.clone().unwrap_or_default();
    if mount.source.is_empty() {
        return Err(bad("field Source must not be empty".to_owned()));
    }
    if !mount.source.starts_with('/') {
        return Err(bad(format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.source
        )));
    }
    let known = [
        "", "private", "rprivate", "shared", "rshared", "slave", "rslave",
    ];
    if !known.contains(&options.propagation.as_str()) {
        return Err(bad(format!(
            "invalid propagation mode: {}",
            options.propagation
        )));
    }
    if !options.create_mountpoint && !Path::new(&mount.source).exists() {
        return Err(bad(format!(
            "bind source path does not exist: {}",
            mount.source
        )));
    }
    let recursive = options.read_only_force_recursive || !options.read_only_non_recursive;
    if options.read_only_force_recursive && options.read_only_non_recursive {
        return Err(bad(
            "ReadOnlyNonRecursive and ReadOnlyForceRecursive are mutually exclusive".to_owned(),
        ));
    }
    if !mount.read_only && (options.read_only_force_recursive || options.read_only_non_recursive) {
        return Err(bad(
            "ReadOnlyNonRecursive and ReadOnlyForceRecursive require ReadOnly".to_owned(),
        ));
    }
    if options.read_only_force_recursive && !kernel_has_recursive_read_only() {
        return Err(bad(
            "recursive read-only mounts need Linux 5.12 or later".to_owned()
        ));
    }
    let propagation = if options.propagation.is_empty() {
        "rprivate".to_owned()
    } else {
        options.propagation
    };
    let point = MountPoint {
        kind: "bind".to_owned(),
        source: clean(&mount.source),
        destination: target,
        rw: !mount.read_only,
        propagation,
        ..MountPoint::default()
    };
    let record = MountRecord {
        source: PathBuf::from(clean(&mount.source)),
        point,
        non_recursive: options.non_recursive,
        recursive_read_only: mount.read_only && recursive && kernel_has_recursive_read_only(),
        ..MountRecord::default()
    };
    Ok(Planned {
        record,
        make_source: options.create_mountpoint,
        ..Planned::default()
    })
}

fn explicit_volume(mount: &Mount, target: &str) -> Result<Planned> {
    let options = mount.volume_options.clone().unwrap_or_default();
    if mount.source.is_empty() && mount.read_only {
        return Err(EngineError::invalid(
            "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes",
        ));
    }
    if !mount.source.is_empty() {
        if mount.source.starts_with('/') {
            return Err(EngineError::invalid(format!(
                "invalid mount config for type \"volume\": invalid specification: source must not be an absolute path: {}",
                mount.source
            )));
        }
        crate::volume::validate_name(&mount.source)?;
    }
    if !options.subpath.is_empty() {
        let refuse = |why: &str| {
            EngineError::invalid(format!("invalid mount config for type \"volume\": {why}"))
        };
        if mount.source.is_empty() {
            return Err(refuse("must not set Subpath when using anonymous volumes"));
        }
        if !subpath::is_local(&options.subpath) {
            return Err(refuse(NOT_LOCAL));
        }
    }
    let mut planned = volume(&mount.source, target, !mount.read_only, "z");
    planned.record.copy_up = !options.no_copy && options.subpath.is_empty();
    planned.record.subpath = options.subpath;
    if let Some(volume) = &mut planned.volume {
        volume.labels = options.labels;
        let driver = options.driver_config.unwrap_or_default();
        volume.driver = driver.name;
        volume.driver_opts = driver.options;
    }
    Ok(planned)
}
