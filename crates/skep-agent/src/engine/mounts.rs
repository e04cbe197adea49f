//! Mounts of a service as mounts of a container.

use skep_objects::api::container as api;
use skep_objects::swarmkit::mount::bind_options::Propagation;
use skep_objects::swarmkit::mount::{BindOptions, Consistency, TmpfsOptions, Type, VolumeOptions};
use skep_objects::swarmkit::{ContainerSpec, Mount};

use crate::executor::TaskError;

/// Their placeholders are expanded already.
pub(super) fn mounts(spec: &ContainerSpec) -> Result<Vec<api::Mount>, TaskError> {
    spec.mounts.iter().map(mount).collect()
}

fn mount(mount: &Mount) -> Result<api::Mount, TaskError> {
    let kind = match mount.r#type() {
        Type::Bind => "bind",
        Type::Volume => "volume",
        Type::Tmpfs => "tmpfs",
        Type::Npipe => return Err(TaskError::Fatal("named pipes are for Windows".to_owned())),
        Type::Cluster => {
            return Err(TaskError::Fatal(
                "cluster volumes are not supported".to_owned(),
            ));
        }
    };
    let consistency = match mount.consistency() {
        Consistency::Default => "",
        Consistency::Consistent => "consistent",
        Consistency::Cached => "cached",
        Consistency::Delegated => "delegated",
    };
    let volume = mount.volume_options.as_ref();
    Ok(api::Mount {
        kind: kind.to_owned(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.readonly,
        consistency: consistency.to_owned(),
        bind_options: mount.bind_options.as_ref().map(bind),
        volume_options: volume.map(volume_options),
        tmpfs_options: mount.tmpfs_options.as_ref().map(tmpfs),
        ..Default::default()
    })
}

fn bind(options: &BindOptions) -> api::BindOptions {
    let propagation = match options.propagation() {
        Propagation::Rprivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Rshared => "rshared",
        Propagation::Shared => "shared",
        Propagation::Rslave => "rslave",
        Propagation::Slave => "slave",
    };
    api::BindOptions {
        propagation: propagation.to_owned(),
        non_recursive: options.nonrecursive,
        create_mountpoint: options.createmountpoint,
        read_only_non_recursive: options.readonlynonrecursive,
        read_only_force_recursive: options.readonlyforcerecursive,
    }
}

fn volume_options(options: &VolumeOptions) -> api::VolumeOptions {
    let driver_config = options
        .driver_config
        .as_ref()
        .map(|driver| api::MountDriver {
            name: driver.name.clone(),
            options: Some(driver.options.clone()),
        });
    api::VolumeOptions {
        no_copy: options.nocopy,
        labels: Some(options.labels.clone()),
        subpath: options.subpath.clone(),
        driver_config,
    }
}

fn tmpfs(options: &TmpfsOptions) -> api::TmpfsOptions {
    let list = options.options.split(',').filter(|o| !o.is_empty());
    let list: Vec<Vec<String>> = list
        .map(|o| o.splitn(2, '=').map(str::to_owned).collect())
        .collect();
    api::TmpfsOptions {
        size_bytes: options.size_bytes,
        mode: options.mode,
        options: (!list.is_empty()).then_some(list),
    }
}
