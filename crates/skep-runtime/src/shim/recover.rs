//! After a shim was killed: the container is ended, for nobody holds its log or its exit code.

use std::path::Path;
use std::time::Duration;

use super::ShimError;
use super::spec::files;
use super::state::{ExitRecord, ShimState};
use super::time::now_ns;
use crate::cgroup::Cgroup;
use crate::sys::clone;

/// Puts in order what a killed shim left: ends the container's processes, removes its cgroups and
/// writes `exit.json`. Idempotent. Blocks until the processes are gone.
pub fn recover(dir: &Path) -> Result<ExitRecord, ShimError> {
    if let Some(exit) = ExitRecord::load(dir)? {
        return Ok(exit);
    }
    let state = ShimState::load(dir)?;
    let mut oom_killed = false;
    if let Some(state) = &state {
        if state.has_shim() {
            // It holds on but answers nobody.
            let _ = clone::kill(state.shim_pid, libc::SIGKILL);
        }
        if state.is_alive() {
            let _ = clone::kill(state.pid, libc::SIGKILL);
        }
        let cgroup = Cgroup::open(state.cgroup.clone());
        oom_killed = cgroup.oom_kills() > 0;
        cgroup
            .destroy(Duration::from_secs(10))
            .map_err(|e| ShimError::File {
                op: "end",
                path: dir.into(),
                source: std::io::Error::other(e),
            })?;
    }
    let exit = ExitRecord {
        code: 137,
        signal: Some(libc::SIGKILL),
        oom_killed,
        finished_at: now_ns(),
        error: Some("the shim of this container was lost".into()),
    };
    exit.save(dir)?;
    let _ = std::fs::remove_file(dir.join(files::SOCKET));
    Ok(exit)
}
