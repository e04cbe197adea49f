//! Pause: `freezer` of version 1, `cgroup.freeze` of version 2.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{CgroupError, CgroupPaths, read, v2, write};

/// A process in uninterruptible sleep keeps the freezer waiting; past this it is an error.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn freeze(paths: &CgroupPaths) -> Result<(), CgroupError> {
    let done = match place(paths)? {
        Place::V1(dir) => settle(|| {
            // Written again each time: processes that fork meanwhile are missed by the first.
            write(&dir.join("freezer.state"), "FROZEN")?;
            Ok(read(&dir.join("freezer.state"))? == "FROZEN")
        }),
        Place::V2(dir) => {
            write(&dir.join("cgroup.freeze"), "1")?;
            settle(|| v2::is_frozen(dir))
        }
    };
    if done? {
        return Ok(());
    }
    // Half frozen is neither; give it back.
    thaw(paths)?;
    let path = match place(paths)? {
        Place::V1(dir) | Place::V2(dir) => dir.to_owned(),
    };
    Err(CgroupError::NotFrozen {
        path,
        state: "FREEZING".into(),
    })
}

pub(super) fn thaw(paths: &CgroupPaths) -> Result<(), CgroupError> {
    match place(paths)? {
        Place::V1(dir) => write(&dir.join("freezer.state"), "THAWED"),
        Place::V2(dir) => write(&dir.join("cgroup.freeze"), "0"),
    }
}

pub(super) fn is_frozen(paths: &CgroupPaths) -> bool {
    match place(paths) {
        Ok(Place::V1(dir)) => {
            read(&dir.join("freezer.state")).is_ok_and(|s| s == "FROZEN" || s == "FREEZING")
        }
        Ok(Place::V2(dir)) => read(&dir.join("cgroup.freeze")).is_ok_and(|s| s == "1"),
        Err(_) => false,
    }
}

enum Place<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

fn place(paths: &CgroupPaths) -> Result<Place<'_>, CgroupError> {
    match (paths.controller("freezer"), &paths.unified) {
        (Some(dir), _) => Ok(Place::V1(dir)),
        (None, Some(dir)) => Ok(Place::V2(dir)),
        (None, None) => Err(CgroupError::NoController("freezer")),
    }
}

fn settle(mut is_done: impl FnMut() -> Result<bool, CgroupError>) -> Result<bool, CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(200);
    while !is_done()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(true)
}
