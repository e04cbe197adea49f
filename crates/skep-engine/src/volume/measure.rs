//! How much a directory holds.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of the regular files below `dir`, hard links counted once; what cannot be read counts nothing.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let mut sum = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.is_file() && (meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino())))
            {
                sum += meta.len();
            }
        }
    }
    sum
}
