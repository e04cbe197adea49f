//! Which namespaces are new, which are entered, and which are shared with the host.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};
use rustix::fs::{Mode, OFlags};

use super::error::{Context, CreateError, on};
use crate::sys::privilege;

/// The plan for a container's namespaces.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW…` of namespaces that the init process gets as it is cloned.
    pub new: u64,
    /// Entered by the creating process before it clones, so that the init is born in them.
    join: Vec<(LinuxNamespaceType, PathBuf)>,
    /// A mount namespace, entered by the init itself: what else its creator does needs this side's.
    mounts: Option<PathBuf>,
    /// A new cgroup namespace, made once the process is in its cgroups.
    pub new_cgroup: bool,
    /// A new time namespace, made by the creating process, with offsets.
    time: Option<String>,
    /// A user namespace, new or joined.
    pub user: Option<UserNamespace>,
}

#[derive(Debug)]
pub(crate) enum UserNamespace {
    New {
        uids: Vec<LinuxIdMapping>,
        gids: Vec<LinuxIdMapping>,
    },
    Join(PathBuf),
}

impl Namespaces {
    pub(crate) fn plan(linux: &Linux) -> Result<Self, CreateError> {
        let mut plan = Self::default();
        let mut seen = Vec::new();
        for namespace in linux.namespaces().iter().flatten() {
            let kind = namespace.typ();
            if seen.contains(&kind) {
                return Err(CreateError::Config(format!(
                    "malformed spec: duplicate ns {kind}"
                )));
            }
            seen.push(kind);
            match namespace
                .path()
                .clone()
                .filter(|p| !p.as_os_str().is_empty())
            {
                Some(path) => plan.add_path(kind, path),
                None => plan.add_new(kind, linux),
            }
        }
        if plan.new & libc::CLONE_NEWNS as u64 == 0 && plan.mounts.is_none() {
            return Err(CreateError::Config(
                "a container needs a mount namespace of its own".into(),
            ));
        }
        Ok(plan)
    }

    fn add_path(&mut self, kind: LinuxNamespaceType, path: PathBuf) {
        match kind {
            LinuxNamespaceType::User => self.user = Some(UserNamespace::Join(path)),
            LinuxNamespaceType::Mount => self.mounts = Some(path),
            _ => self.join.push((kind, path)),
        }
    }

    fn add_new(&mut self, kind: LinuxNamespaceType, linux: &Linux) {
        match kind {
            LinuxNamespaceType::Cgroup => self.new_cgroup = true,
            LinuxNamespaceType::Time => self.time = Some(time_offsets(linux)),
            LinuxNamespaceType::User => {
                self.user = Some(UserNamespace::New {
                    uids: linux.uid_mappings().clone().unwrap_or_default(),
                    gids: linux.gid_mappings().clone().unwrap_or_default(),
                });
                self.new |= libc::CLONE_NEWUSER as u64;
            }
            _ => self.new |= flag_of(kind) as u64,
        }
    }

    /// Called by the creating process, which ends soon and so need not come back.
    pub(crate) fn enter_existing(&self) -> Result<(), CreateError> {
        for (kind, path) in &self.join {
            enter(*kind, path)?;
        }
        if let Some(offsets) = &self.time {
            privilege::unshare(libc::CLONE_NEWTIME).context(|| "unshare time namespace".into())?;
            if !offsets.is_empty() {
                std::fs::write("/proc/self/timens_offsets", offsets)
                    .context(|| "write /proc/self/timens_offsets".into())?;
            }
        }
        Ok(())
    }

    /// Called by the init, before it is somebody of its user namespace. The paths of the root and of
    /// mounts are then those of the namespace that it is in.
    pub(crate) fn enter_mounts(&self) -> Result<(), CreateError> {
        match &self.mounts {
            Some(path) => enter(LinuxNamespaceType::Mount, path),
            None => Ok(()),
        }
    }

    /// A hostname may be set only where it is the container's own.
    pub(crate) fn has_own_uts(&self) -> bool {
        self.new & libc::CLONE_NEWUTS as u64 != 0
            || self.join.iter().any(|(k, _)| *k == LinuxNamespaceType::Uts)
    }
}

fn enter(kind: LinuxNamespaceType, path: &Path) -> Result<(), CreateError> {
    let go = || -> io::Result<()> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        privilege::enter_namespaces(fd.as_fd(), flag_of(kind))
    };
    go().context(|| format!("join {kind} namespace {}", path.display()))
}

fn flag_of(kind: LinuxNamespaceType) -> libc::c_int {
    match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::Time => libc::CLONE_NEWTIME,
    }
}

fn time_offsets(linux: &Linux) -> String {
    let mut text = String::new();
    for (clock, offset) in linux.time_offsets().iter().flatten() {
        let json = serde_json::to_value(offset).unwrap_or_default();
        let field = |name: &str| {
            json.get(name)
                .and_then(serde_json::Value::as_i64)
                .unwrap_or(0)
        };
        text += &format!("{clock} {} {}\n", field("secs"), field("nanosecs"));
    }
    text
}

/// Writes the id maps of the new process; done by the creating process, which has the rights.
pub(crate) fn write_id_maps(pid: i32, user: &UserNamespace) -> Result<(), CreateError> {
    let UserNamespace::New { uids, gids } = user else {
        return Ok(());
    };
    let text = |maps: &[LinuxIdMapping]| {
        maps.iter()
            .map(|m| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size()))
            .collect::<String>()
    };
    for (file, maps) in [("uid_map", uids), ("gid_map", gids)] {
        if !maps.is_empty() {
            let path = PathBuf::from(format!("/proc/{pid}/{file}"));
            std::fs::write(&path, text(maps)).context(on("write", &path))?;
        }
    }
    Ok(())
}
