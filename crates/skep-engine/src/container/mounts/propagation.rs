//! A mount that is to be seen on the host, or to see what is mounted there later, needs a source whose
//! own mount lets that through.

use std::path::{Path, PathBuf};

use crate::error::{EngineError, Result};

/// Refuses a propagation that the kernel would take and never do, with Docker's texts.
pub(crate) fn check(source: &Path, propagation: &str) -> Result<()> {
    if !propagation.ends_with("shared") && !propagation.ends_with("slave") {
        return Ok(());
    }
    let Ok(table) = std::fs::read_to_string("/proc/self/mountinfo") else {
        return Ok(());
    };
    let real = std::fs::canonicalize(source).unwrap_or_else(|_| source.to_owned());
    let Some(mount) = holding(&table, &real) else {
        return Ok(());
    };
    let (good, what) = if propagation.ends_with("shared") {
        (mount.shared, "shared")
    } else {
        (mount.shared || mount.slave, "shared or slave")
    };
    if good {
        return Ok(());
    }
    Err(EngineError::Start(format!(
        "path {} is mounted on {} but it is not a {what} mount",
        source.display(),
        mount.point.display()
    )))
}

#[derive(Debug, PartialEq)]
struct Mounted {
    point: PathBuf,
    shared: bool,
    slave: bool,
}

/// The innermost mount that holds a path; of several on one place the last is the one that is seen.
fn holding(table: &str, path: &Path) -> Option<Mounted> {
    let mounts = table.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let point = PathBuf::from(words.nth(4)?.replace("\\040", " "));
        let tags: Vec<&str> = words.skip(1).take_while(|word| *word != "-").collect();
        let has = |kind: &str| tags.iter().any(|tag| tag.starts_with(kind));
        path.starts_with(&point).then(|| Mounted {
            shared: has("shared:"),
            slave: has("master:"),
            point,
        })
    });
    mounts.max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_decides() {
        let table = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                     30 22 0:5 / /srv rw shared:7 - tmpfs tmpfs rw\n\
                     31 30 0:6 / /srv/a rw master:7 propagate_from:2 - tmpfs tmpfs rw\n";
        let check = |path: &str, expect: (&str, bool, bool)| {
            let (point, shared, slave) = expect;
            let expect = Mounted {
                point: point.into(),
                shared,
                slave,
            };
            assert_eq!(holding(table, Path::new(path)), Some(expect), "{path}");
        };
        check("/etc", ("/", false, false));
        check("/srvx", ("/", false, false));
        check("/srv/b", ("/srv", true, false));
        check("/srv/a/x", ("/srv/a", false, true));
    }
}
