//! What a container changed of its image: the writable layer read by the rules of overlayfs.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use skep_objects::api::container::Change;

use super::layered::{Layered, is_opaque};
use crate::core::Core;
use crate::error::Result;

const MODIFIED: u8 = 0;
const ADDED: u8 = 1;
const DELETED: u8 = 2;

/// What the runtime itself puts there for its mounts.
const OWN: [&str; 13] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/mtab",
    "/.dockerenv",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/sbin/docker-init",
];

impl Core {
    pub(crate) async fn changes(self: &Arc<Self>, reference: &str) -> Result<Vec<Change>> {
        let begun = Instant::now();
        let container = self.containers.find(reference)?;
        container.refuse_going(reference, || container.removal_in_progress())?;
        let mut layers = self.layers(&container)?;
        let upper = layers.remove(0);
        let found = self
            .blocking(move || changes(&upper, &Layered::new(layers)))
            .await?;
        self.metrics.containers.changes.since(begun);
        Ok(found)
    }
}

/// Paths that differ, parents before children.
pub(super) fn changes(upper: &Path, lower: &Layered) -> Vec<Change> {
    let mut found = Vec::new();
    walk(upper, "", lower, &mut found);
    found
}

/// Paths that, where they are, are there for a mount of the runtime and nothing else.
pub(super) fn own(lower: &Layered) -> Vec<&'static str> {
    let own = OWN.iter().filter(|path| lower.lookup(path).is_none());
    own.copied().collect()
}

fn walk(dir: &Path, at: &str, lower: &Layered, found: &mut Vec<Change>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Some(name) = path.file_name() else {
            continue;
        };
        let inside = format!("{at}/{}", name.to_string_lossy());
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            found.push(Change {
                path: inside,
                kind: DELETED,
            });
            continue;
        }
        let before = lower.lookup_no_follow(&inside);
        if before.is_none() && OWN.contains(&inside.as_str()) {
            continue;
        }
        let place = found.len();
        if meta.is_dir() {
            if is_opaque(&path) {
                hidden_by(&path, before.as_deref(), &inside, found);
            }
            walk(&path, &inside, lower, found);
        }
        // A directory that was only passed through to make a mount point has not changed.
        let untouched = meta.is_dir()
            && found.len() == place
            && before
                .as_deref()
                .is_some_and(|before| same_attributes(before, &meta));
        if !untouched {
            let kind = if before.is_some() { MODIFIED } else { ADDED };
            found.insert(place, Change { path: inside, kind });
        }
    }
}

/// What an opaque directory hides of the one below.
fn hidden_by(upper: &Path, before: Option<&Path>, inside: &str, found: &mut Vec<Change>) {
    let Some(entries) = before.and_then(|before| std::fs::read_dir(before).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        if !upper.join(entry.file_name()).exists() {
            let path = format!("{inside}/{}", entry.file_name().to_string_lossy());
            found.push(Change {
                path,
                kind: DELETED,
            });
        }
    }
}

fn same_attributes(before: &Path, now: &std::fs::Metadata) -> bool {
    std::fs::symlink_metadata(before).is_ok_and(|before| {
        before.mode() == now.mode() && before.uid() == now.uid() && before.gid() == now.gid()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_modified_and_the_runtime_s_own() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, lower) = (dir.path().join("u"), dir.path().join("l"));
        for path in [
            "l/etc",
            "l/var/lib",
            "u/etc",
            "u/var/lib/new",
            "u/dev",
            "u/proc",
        ] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::fs::write(lower.join("var/old"), "").unwrap();
        std::fs::write(upper.join("var/old"), "x").unwrap();
        std::fs::write(upper.join("etc/hosts"), "").unwrap();
        let found = changes(&upper, &Layered::new([lower]));
        let text: Vec<String> = found
            .iter()
            .map(|change| {
                format!(
                    "{}{}",
                    ["C", "A", "D"][usize::from(change.kind)],
                    change.path
                )
            })
            .collect();
        assert_eq!(text, ["C/var", "C/var/lib", "A/var/lib/new", "C/var/old"]);
    }
}
