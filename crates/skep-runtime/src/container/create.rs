//! The creator: everything between reading `config.json` and an init process that sets itself up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Linux, Spec};

use super::error::{Context, CreateError};
use super::init::{self, Init};
use super::namespaces::{Namespaces, write_id_maps};
use super::report::{self, Report};
use super::{attributes, idmap, listener};
use crate::cgroup::{Cgroup, CgroupPaths};
use crate::seccomp::{self, Filter};
use crate::shim::OverlaySpec;
use crate::sys::clone::{self, Side};
use crate::sys::socket;

/// What a container is made of, beside its configuration.
#[derive(Debug)]
pub(crate) struct Creation<'a> {
    pub id: &'a str,
    pub bundle: &'a Path,
    pub spec: &'a Spec,
    pub overlay: Option<&'a OverlaySpec>,
    pub seccomp_filter: Option<&'a Path>,
    pub console_size: Option<(u16, u16)>,
    /// Standard input, output, error; unused with a terminal.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Where reports go.
    pub report: BorrowedFd<'a>,
    /// The init reads a byte here before it executes; the end of file ends it.
    pub gate: BorrowedFd<'a>,
    /// The init is the child of the asker, not of this process, and dies with it.
    pub is_sibling: bool,
    /// Descriptors from 3 on that the program inherits.
    pub preserve_fds: u32,
}

/// The OCI state that hooks get.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct StateFile<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<std::collections::BTreeMap<&'a str, &'a str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

/// The OCI state of a container of this configuration.
pub(crate) fn state_of(
    spec: &Spec,
    (id, bundle): (&str, &Path),
    status: &'static str,
    pid: i32,
) -> String {
    let state = StateFile {
        oci_version: spec.version(),
        id,
        status,
        pid,
        bundle,
        annotations: spec
            .annotations()
            .as_ref()
            .map(|a| a.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()),
    };
    serde_json::to_string(&state).expect("the state always serialises")
}

impl Creation<'_> {
    pub(crate) fn state(&self, status: &'static str, pid: i32) -> String {
        state_of(self.spec, (self.id, self.bundle), status, pid)
    }
}

/// Makes the container; its init reports `Ready` or `Failed` by itself. On an error nothing is left.
///
/// The process has one thread. With `is_sibling` it has no other purpose than this call: it stays in
/// the namespaces that the configuration names.
pub(crate) fn create(creation: &Creation<'_>) -> Result<(i32, CgroupPaths), CreateError> {
    let process = validate(creation.spec)?;
    let default_linux = Linux::default();
    let linux = creation.spec.linux().as_ref().unwrap_or(&default_linux);
    attributes::refuse_unsupported(process, linux)?;
    idmap::check(creation.spec)?;
    let namespaces = Namespaces::plan(linux)?;
    let filter = seccomp::load(creation.seccomp_filter, linux.seccomp().as_ref(), process)?;
    listener::check(
        filter.as_ref().is_some_and(Filter::notifies),
        linux.seccomp().as_ref(),
    )?;
    let cgroups_path = match linux.cgroups_path() {
        Some(path) if !path.as_os_str().is_empty() => path.clone(),
        _ => Path::new("/skep").join(creation.id),
    };
    let cgroup = Cgroup::create(&cgroups_path)?;
    let made = create_in(creation, linux, &namespaces, &cgroup, filter.as_ref());
    if made.is_err() {
        // Told to the asker is the first error, not what cleaning up met.
        let _ = cgroup.destroy(std::time::Duration::from_secs(1));
    }
    made.map(|pid| (pid, cgroup.paths().clone()))
}

fn validate(spec: &Spec) -> Result<&oci_spec::runtime::Process, CreateError> {
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| CreateError::Config("process property must not be empty".into()))?;
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(CreateError::Config("args must not be empty".into()));
    }
    if !process.cwd().is_absolute() {
        return Err(CreateError::Config("Cwd must be an absolute path".into()));
    }
    if spec.root().is_none() {
        return Err(CreateError::Config(
            "root property must not be empty".into(),
        ));
    }
    Ok(process)
}

fn create_in(
    creation: &Creation<'_>,
    linux: &Linux,
    namespaces: &Namespaces,
    cgroup: &Cgroup,
    filter: Option<&Filter>,
) -> Result<i32, CreateError> {
    if let Some(resources) = linux.resources() {
        cgroup.apply(resources)?;
    }
    namespaces.enter_existing()?;
    let (ours, theirs) = socket::pair().context(|| "socketpair".into())?;
    let flags = namespaces.new
        | if creation.is_sibling {
            libc::CLONE_PARENT as u64
        } else {
            0
        };
    // SAFETY: one thread, by this function's contract; only namespaces are new.
    let pid = match unsafe { clone::clone3(flags) }.context(|| "clone".into())? {
        Side::Child => {
            drop(ours);
            init::run(&Init {
                creation,
                linux,
                namespaces,
                cgroup: cgroup.paths(),
                filter,
                creator: theirs,
            });
        }
        Side::Parent(pid) => pid,
    };
    drop(theirs);
    let profile = linux
        .seccomp()
        .as_ref()
        .filter(|_| filter.is_some_and(Filter::notifies));
    let done = settle(creation, namespaces, cgroup, pid, &ours).and_then(|()| match profile {
        Some(profile) => {
            let state = (
                creation.spec.version().as_str(),
                &*creation.state("creating", pid),
            );
            listener::pass_on(&ours, pid, profile, state)
        }
        None => Ok(()),
    });
    if done.is_err() {
        let _ = clone::kill(pid, libc::SIGKILL);
        if !creation.is_sibling {
            let _ = clone::wait_for(pid);
        }
    }
    done.map(|()| pid)
}

/// What only this side of the clone may do for the init.
fn settle(
    creation: &Creation<'_>,
    namespaces: &Namespaces,
    cgroup: &Cgroup,
    pid: i32,
    init: &OwnedFd,
) -> Result<(), CreateError> {
    let pid_report = Report::Pid {
        pid,
        cgroup: cgroup.paths().clone(),
    };
    report::send(creation.report, &pid_report, None).context(|| "report".into())?;
    if let Some(user) = &namespaces.user {
        write_id_maps(pid, user)?;
    }
    cgroup.add(pid)?;
    let mounts = creation.spec.mounts().iter().flatten();
    for mount in mounts.filter(|mount| idmap::is_mapped(mount)) {
        let tree = idmap::tree(mount, creation.spec, creation.bundle)?;
        socket::send(init.as_fd(), b"tree", Some(tree.as_fd()))
            .context(|| "pass a mount to the init".into())?;
    }
    socket::send(init.as_fd(), b"go", None).context(|| "let the init go".into())?;
    let Some(hooks) = creation.spec.hooks() else {
        return Ok(());
    };
    if hooks_before_pivot(creation.spec) {
        // Mounted, not yet pivoted. The end of the connection means that the init has reported why.
        let mut buffer = [0; 16];
        if socket::receive(init, &mut buffer)
            .context(|| "wait for the init".into())?
            .0
            > 0
        {
            let state = creation.state("creating", pid);
            super::hooks::run("prestart", hooks.prestart().as_deref(), &state)?;
            super::hooks::run("createRuntime", hooks.create_runtime().as_deref(), &state)?;
            socket::send(init.as_fd(), b"go", None).context(|| "let the init go".into())?;
        }
    }
    Ok(())
}

/// Whether the init has to wait for this side before it pivots.
pub(super) fn hooks_before_pivot(spec: &Spec) -> bool {
    let any = |hooks: &Option<Vec<oci_spec::runtime::Hook>>| {
        hooks.as_ref().is_some_and(|h| !h.is_empty())
    };
    spec.hooks()
        .as_ref()
        .is_some_and(|h| any(h.prestart()) || any(h.create_runtime()))
}
