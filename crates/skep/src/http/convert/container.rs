//! The container of a service's tasks.

use proto::container_spec::Isolation;
use proto::mount::bind_options::Propagation;
use proto::mount::{Consistency, Type};
use proto::privileges::app_armor_opts::AppArmorMode;
use proto::privileges::credential_spec::Source;
use proto::privileges::seccomp_opts::SeccompMode;
use proto::{config_reference, secret_reference};
use skep_objects::api::container::{
    BindOptions, HealthConfig, Mount, MountDriver, Nothing, TmpfsOptions, Ulimit, VolumeOptions,
};
use skep_objects::api::encode::{duration, nanoseconds};
use skep_objects::api::service as api;
use skep_objects::swarmkit as proto;

use super::{ConvertError, invalid, proto_name, word};

/// A container's spec as the API shows it.
pub fn from_spec(spec: &proto::ContainerSpec) -> api::ContainerSpec {
    api::ContainerSpec {
        image: spec.image.clone(),
        labels: spec.labels.clone(),
        command: spec.command.clone(),
        args: spec.args.clone(),
        hostname: spec.hostname.clone(),
        env: spec.env.clone(),
        dir: spec.dir.clone(),
        user: spec.user.clone(),
        groups: spec.groups.clone(),
        privileges: spec.privileges.as_ref().map(from_privileges),
        init: spec.init,
        stop_signal: spec.stop_signal.clone(),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        read_only: spec.read_only,
        mounts: spec.mounts.iter().map(from_mount).collect(),
        stop_grace_period: spec
            .stop_grace_period
            .as_ref()
            .map(|p| nanoseconds(Some(p))),
        healthcheck: spec.healthcheck.as_ref().map(from_health),
        hosts: spec.hosts.clone(),
        dns_config: spec.dns_config.as_ref().map(|dns| api::DnsConfig {
            nameservers: dns.nameservers.clone(),
            search: dns.search.clone(),
            options: dns.options.clone(),
        }),
        secrets: spec.secrets.iter().map(from_secret).collect(),
        configs: spec.configs.iter().map(from_config).collect(),
        isolation: word(spec.isolation().as_str_name(), "ISOLATION_"),
        sysctls: spec.sysctls.clone(),
        capability_add: spec.capability_add.clone(),
        capability_drop: spec.capability_drop.clone(),
        ulimits: spec
            .ulimits
            .iter()
            .map(|limit| Ulimit {
                name: limit.name.clone(),
                hard: limit.hard,
                soft: limit.soft,
            })
            .collect(),
        oom_score_adj: spec.oom_score_adj,
    }
}

/// A container's spec as managers keep it.
pub fn to_spec(spec: api::ContainerSpec) -> Result<proto::ContainerSpec, ConvertError> {
    let isolation = match spec.isolation.as_str() {
        "" => Isolation::Default,
        text => Isolation::from_str_name(&proto_name("ISOLATION_", text))
            .ok_or_else(|| invalid("Isolation", text))?,
    };
    Ok(proto::ContainerSpec {
        image: spec.image,
        labels: spec.labels,
        command: spec.command,
        args: spec.args,
        env: spec.env,
        dir: spec.dir,
        user: spec.user,
        mounts: spec
            .mounts
            .into_iter()
            .map(to_mount)
            .collect::<Result<_, _>>()?,
        stop_grace_period: spec.stop_grace_period.map(duration),
        pull_options: None,
        groups: spec.groups,
        secrets: spec
            .secrets
            .into_iter()
            .map(to_secret)
            .collect::<Result<_, _>>()?,
        tty: spec.tty,
        hostname: spec.hostname,
        dns_config: spec.dns_config.map(|dns| proto::container_spec::DnsConfig {
            nameservers: dns.nameservers,
            search: dns.search,
            options: dns.options,
        }),
        healthcheck: spec.healthcheck.map(to_health),
        hosts: spec.hosts,
        open_stdin: spec.open_stdin,
        read_only: spec.read_only,
        stop_signal: spec.stop_signal,
        configs: spec
            .configs
            .into_iter()
            .map(to_config)
            .collect::<Result<_, _>>()?,
        privileges: spec.privileges.map(to_privileges).transpose()?,
        init: spec.init,
        isolation: isolation.into(),
        pids_limit: 0,
        sysctls: spec.sysctls,
        capability_add: spec.capability_add,
        capability_drop: spec.capability_drop,
        ulimits: spec
            .ulimits
            .into_iter()
            .map(|limit| proto::container_spec::Ulimit {
                name: limit.name,
                soft: limit.soft,
                hard: limit.hard,
            })
            .collect(),
        oom_score_adj: spec.oom_score_adj,
    })
}

fn from_health(health: &proto::HealthConfig) -> HealthConfig {
    HealthConfig {
        test: Some(health.test.clone()),
        interval: nanoseconds(health.interval.as_ref()),
        timeout: nanoseconds(health.timeout.as_ref()),
        start_period: nanoseconds(health.start_period.as_ref()),
        start_interval: nanoseconds(health.start_interval.as_ref()),
        retries: i64::from(health.retries),
    }
}

fn to_health(health: HealthConfig) -> proto::HealthConfig {
    proto::HealthConfig {
        test: health.test.unwrap_or_default(),
        interval: Some(duration(health.interval)),
        timeout: Some(duration(health.timeout)),
        retries: i32::try_from(health.retries).unwrap_or(i32::MAX),
        start_period: Some(duration(health.start_period)),
        start_interval: Some(duration(health.start_interval)),
    }
}

fn from_mount(mount: &proto::Mount) -> Mount {
    let kind = mount.r#type();
    Mount {
        kind: word(kind.as_str_name(), "TYPE_"),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.readonly,
        consistency: match mount.consistency() {
            Consistency::Default => String::new(),
            other => word(other.as_str_name(), "CONSISTENCY_"),
        },
        bind_options: mount.bind_options.as_ref().map(|bind| BindOptions {
            propagation: word(bind.propagation().as_str_name(), "PROPAGATION_"),
            non_recursive: bind.nonrecursive,
            create_mountpoint: bind.createmountpoint,
            read_only_non_recursive: bind.readonlynonrecursive,
            read_only_force_recursive: bind.readonlyforcerecursive,
        }),
        volume_options: mount.volume_options.as_ref().map(|volume| VolumeOptions {
            no_copy: volume.nocopy,
            labels: Some(volume.labels.clone()),
            subpath: volume.subpath.clone(),
            driver_config: volume.driver_config.as_ref().map(|driver| MountDriver {
                name: driver.name.clone(),
                options: Some(driver.options.clone()),
            }),
        }),
        image_options: None,
        tmpfs_options: mount.tmpfs_options.as_ref().map(|tmpfs| TmpfsOptions {
            size_bytes: tmpfs.size_bytes,
            mode: tmpfs.mode,
            options: from_tmpfs_options(&tmpfs.options),
        }),
        cluster_options: (kind == Type::Cluster).then_some(Nothing {}),
    }
}

/// `noexec,size=1` as the pairs that the API has.
fn from_tmpfs_options(options: &str) -> Option<Vec<Vec<String>>> {
    let pair = |option: &str| option.splitn(2, '=').map(str::to_owned).collect();
    (!options.is_empty()).then(|| options.split(',').map(pair).collect())
}

fn to_mount(mount: Mount) -> Result<proto::Mount, ConvertError> {
    let kind = match mount.kind.as_str() {
        "" => Type::Bind,
        text => Type::from_str_name(&proto_name("TYPE_", text))
            .ok_or_else(|| invalid("MountType", text))?,
    };
    let consistency = match mount.consistency.as_str() {
        "" => Consistency::Default,
        text => Consistency::from_str_name(&proto_name("CONSISTENCY_", text))
            .ok_or_else(|| invalid("MountConsistency", text))?,
    };
    Ok(proto::Mount {
        r#type: kind.into(),
        source: mount.source,
        target: mount.target,
        readonly: mount.read_only,
        bind_options: mount.bind_options.map(to_bind).transpose()?,
        volume_options: mount
            .volume_options
            .map(|volume| proto::mount::VolumeOptions {
                nocopy: volume.no_copy,
                labels: volume.labels.unwrap_or_default(),
                driver_config: volume.driver_config.map(|driver| proto::Driver {
                    name: driver.name,
                    options: driver.options.unwrap_or_default(),
                }),
                subpath: volume.subpath,
            }),
        tmpfs_options: mount.tmpfs_options.map(|tmpfs| proto::mount::TmpfsOptions {
            size_bytes: tmpfs.size_bytes,
            mode: tmpfs.mode,
            options: to_tmpfs_options(tmpfs.options.unwrap_or_default()),
        }),
        consistency: consistency.into(),
    })
}

fn to_tmpfs_options(options: Vec<Vec<String>>) -> String {
    let options: Vec<String> = options.into_iter().map(|pair| pair.join("=")).collect();
    options.join(",")
}

fn to_bind(bind: BindOptions) -> Result<proto::mount::BindOptions, ConvertError> {
    let propagation = match bind.propagation.as_str() {
        "" => Propagation::Rprivate,
        text => Propagation::from_str_name(&proto_name("PROPAGATION_", text))
            .ok_or_else(|| invalid("MountPropagation", text))?,
    };
    Ok(proto::mount::BindOptions {
        propagation: propagation.into(),
        nonrecursive: bind.non_recursive,
        createmountpoint: bind.create_mountpoint,
        readonlynonrecursive: bind.read_only_non_recursive,
        readonlyforcerecursive: bind.read_only_force_recursive,
    })
}

fn from_file(file: &proto::FileTarget) -> api::FileTarget {
    api::FileTarget {
        name: file.name.clone(),
        uid: file.uid.clone(),
        gid: file.gid.clone(),
        mode: file.mode,
    }
}

fn to_file(file: api::FileTarget) -> proto::FileTarget {
    proto::FileTarget {
        name: file.name,
        uid: file.uid,
        gid: file.gid,
        mode: file.mode,
    }
}

fn from_secret(reference: &proto::SecretReference) -> api::SecretReference {
    api::SecretReference {
        file: reference
            .target
            .as_ref()
            .map(|secret_reference::Target::File(file)| from_file(file)),
        secret_id: reference.secret_id.clone(),
        secret_name: reference.secret_name.clone(),
    }
}

fn to_secret(reference: api::SecretReference) -> Result<proto::SecretReference, ConvertError> {
    Ok(proto::SecretReference {
        secret_id: reference.secret_id,
        secret_name: reference.secret_name,
        target: reference
            .file
            .map(|file| secret_reference::Target::File(to_file(file))),
    })
}

fn from_config(reference: &proto::ConfigReference) -> api::ConfigReference {
    let mut converted = api::ConfigReference {
        config_id: reference.config_id.clone(),
        config_name: reference.config_name.clone(),
        ..api::ConfigReference::default()
    };
    match &reference.target {
        Some(config_reference::Target::File(file)) => converted.file = Some(from_file(file)),
        Some(config_reference::Target::Runtime(_)) => {
            converted.runtime = Some(api::RuntimeTarget {});
        }
        None => {}
    }
    converted
}

fn to_config(reference: api::ConfigReference) -> Result<proto::ConfigReference, ConvertError> {
    let target = match (reference.file, reference.runtime) {
        (Some(_), Some(_)) => {
            let text = "invalid config: cannot specify both File and Runtime";
            return Err(ConvertError(text.to_owned()));
        }
        (Some(file), None) => Some(config_reference::Target::File(to_file(file))),
        (None, Some(_)) => Some(config_reference::Target::Runtime(proto::RuntimeTarget {})),
        (None, None) => {
            let text = "invalid config: either File or Runtime should be set";
            return Err(ConvertError(text.to_owned()));
        }
    };
    Ok(proto::ConfigReference {
        config_id: reference.config_id,
        config_name: reference.config_name,
        target,
    })
}

fn from_privileges(privileges: &proto::Privileges) -> api::Privileges {
    let credential = |spec: &proto::privileges::CredentialSpec| {
        let mut converted = api::CredentialSpec::default();
        match spec.source.clone() {
            Some(Source::Config(config)) => converted.config = config,
            Some(Source::File(file)) => converted.file = file,
            Some(Source::Registry(registry)) => converted.registry = registry,
            None => {}
        }
        converted
    };
    api::Privileges {
        credential_spec: privileges.credential_spec.as_ref().map(credential),
        selinux_context: privileges
            .selinux_context
            .as_ref()
            .map(|c| api::SeLinuxContext {
                disable: c.disable,
                user: c.user.clone(),
                role: c.role.clone(),
                kind: c.r#type.clone(),
                level: c.level.clone(),
            }),
        seccomp: privileges.seccomp.as_ref().map(|seccomp| api::SeccompOpts {
            mode: word(seccomp.mode().as_str_name(), "SECCOMP_MODE_"),
            profile: seccomp.profile.clone(),
        }),
        app_armor: privileges
            .apparmor
            .as_ref()
            .map(|apparmor| api::AppArmorOpts {
                mode: word(apparmor.mode().as_str_name(), "APP_ARMOR_MODE_"),
            }),
        no_new_privileges: privileges.no_new_privileges,
    }
}

fn to_privileges(privileges: api::Privileges) -> Result<proto::Privileges, ConvertError> {
    let seccomp = |opts: api::SeccompOpts| {
        let mode = match opts.mode.as_str() {
            "" => SeccompMode::Default,
            text => SeccompMode::from_str_name(&proto_name("SECCOMP_MODE_", text))
                .ok_or_else(|| invalid("SeccompMode", text))?,
        };
        let profile = opts.profile;
        Ok(proto::privileges::SeccompOpts {
            mode: mode.into(),
            profile,
        })
    };
    let apparmor = |opts: api::AppArmorOpts| {
        let mode = match opts.mode.as_str() {
            "" => AppArmorMode::Default,
            text => AppArmorMode::from_str_name(&proto_name("APP_ARMOR_MODE_", text))
                .ok_or_else(|| invalid("AppArmorMode", text))?,
        };
        Ok(proto::privileges::AppArmorOpts { mode: mode.into() })
    };
    Ok(proto::Privileges {
        credential_spec: privileges.credential_spec.map(to_credential).transpose()?,
        selinux_context: privileges
            .selinux_context
            .map(|c| proto::privileges::SeLinuxContext {
                disable: c.disable,
                user: c.user,
                role: c.role,
                r#type: c.kind,
                level: c.level,
            }),
        seccomp: privileges.seccomp.map(seccomp).transpose()?,
        apparmor: privileges.app_armor.map(apparmor).transpose()?,
        no_new_privileges: privileges.no_new_privileges,
    })
}

fn to_credential(
    spec: api::CredentialSpec,
) -> Result<proto::privileges::CredentialSpec, ConvertError> {
    let given = [
        Source::Config(spec.config),
        Source::File(spec.file),
        Source::Registry(spec.registry),
    ];
    let mut given = given.into_iter().filter(|source| match source {
        Source::Config(text) | Source::File(text) | Source::Registry(text) => !text.is_empty(),
    });
    let source = given.next().ok_or_else(|| {
        ConvertError("invalid CredentialSpec: must either provide \"file\", \"registry\", or \"config\" for credential spec".to_owned())
    })?;
    if given.next().is_some() {
        return Err(ConvertError(
            "invalid CredentialSpec: cannot specify both \"config\", \"file\" and \"registry\""
                .to_owned(),
        ));
    }
    Ok(proto::privileges::CredentialSpec {
        source: Some(source),
    })
}
