//! Mounts in memory: `--tmpfs` and `--mount type=tmpfs`.

use skep_objects::api::container::{Mount, MountPoint};

use super::{Planned, clean};
use crate::container::record::MountRecord;
use crate::error::{EngineError, Result};

/// Switches that a mount can have.
const FLAGS: [&str; 24] = [
    "async",
    "atime",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
    "sync",
    "remount",
    "bind",
];

/// Options of the file system itself, which have values.
const VALUES: [&str; 7] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];

const TMPFS: [&str; 3] = ["noexec", "nosuid", "nodev"];

/// One `--mount type=tmpfs`.
pub(super) fn explicit(mount: &Mount, target: &str) -> Result<Planned> {
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    if options.size_bytes < 0 {
        return Err(EngineError::invalid(
            "invalid mount config for type \"tmpfs\": size must not be negative",
        ));
    }
    let given = options.options.iter().flatten();
    for words in given.clone() {
        if !matches!(words.join("=").as_str(), "exec" | "noexec") {
            return Err(EngineError::invalid(format!(
                "invalid mount config for type \"tmpfs\": invalid option: {}",
                words.first().map_or("", String::as_str)
            )));
        }
    }
    let mut list: Vec<String> = TMPFS.iter().map(|option| (*option).to_owned()).collect();
    if options.size_bytes > 0 {
        list.push(format!("size={}", options.size_bytes));
    }
    if options.mode != 0 {
        list.push(format!("mode={:o}", options.mode));
    }
    list.extend(given.map(|words| words.join("=")));
    if mount.read_only {
        list.push("ro".to_owned());
    }
    let point = MountPoint {
        kind: "tmpfs".to_owned(),
        destination: target.to_owned(),
        rw: !mount.read_only,
        ..MountPoint::default()
    };
    Ok(Planned {
        record: MountRecord {
            point,
            options: list,
            ..MountRecord::default()
        },
        ..Planned::default()
    })
}

/// One `--tmpfs`, which `inspect` does not list among the mounts.
pub(super) fn plan(target: &str, options: &str) -> Result<Planned> {
    let clean_target = clean(target);
    if clean_target == "/" {
        return Err(EngineError::invalid(
            "invalid specification: destination can't be '/'",
        ));
    }
    if !target.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let mut list: Vec<String> = TMPFS.iter().map(|option| (*option).to_owned()).collect();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        known(option)?;
        let opposite = match option {
            "exec" => "noexec",
            "suid" => "nosuid",
            "dev" => "nodev",
            _ => "",
        };
        list.retain(|have| have != opposite && have != option);
        list.push(option.to_owned());
    }
    let rw = !list.iter().any(|option| option == "ro");
    let point = MountPoint {
        kind: "tmpfs".to_owned(),
        destination: clean_target,
        rw,
        ..MountPoint::default()
    };
    Ok(Planned {
        record: MountRecord {
            point,
            options: list,
            unlisted: true,
            ..MountRecord::default()
        },
        ..Planned::default()
    })
}

/// Refuses an option that means nothing to a tmpfs, with Docker's text.
fn known(option: &str) -> Result<()> {
    let (key, value) = option
        .split_once('=')
        .map_or((option, None), |(key, value)| (key, Some(value)));
    let is_known = match value {
        None => FLAGS.contains(&key),
        Some(_) => VALUES.contains(&key),
    };
    if is_known {
        return Ok(());
    }
    let words: Vec<String> = std::iter::once(key)
        .chain(value)
        .map(|word| format!("{word:?}"))
        .collect();
    Err(EngineError::invalid(format!(
        "invalid tmpfs option [{}]",
        words.join(" ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_options_undo_the_defaults() {
        let planned = plan("/tmp/", "exec,size=1m").unwrap();
        assert_eq!(
            planned.record.options,
            ["nosuid", "nodev", "exec", "size=1m"]
        );
        assert_eq!(planned.record.point.destination, "/tmp");
    }

    #[test]
    fn what_means_nothing_to_a_tmpfs_is_refused() {
        let check = |target: &str, options: &str, expect: &str| {
            let error = plan(target, options).expect_err(options).to_string();
            assert_eq!(error, expect);
        };
        check("/a", "wat", r#"invalid tmpfs option ["wat"]"#);
        check("/a", "ro,x=1", r#"invalid tmpfs option ["x" "1"]"#);
        check("/", "", "invalid specification: destination can't be '/'");
        check(
            "a",
            "",
            "invalid mount path: 'a' mount path must be absolute",
        );
    }
}
