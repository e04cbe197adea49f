//! The words of a mount's `options`.

use std::path::PathBuf;

use crate::sys::mount::{MountAttr, attributes};

/// Options, sorted by what they mean to the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// `MS_…` of a new file system.
    pub flags: u64,
    /// Attributes named, as `mount_setattr` takes them; for binds.
    pub set: u64,
    /// Attributes named in the negative.
    pub clear: u64,
    /// Attributes for the whole tree (`rro` and its kin).
    pub recursive_set: u64,
    pub recursive_clear: u64,
    /// `MS_PRIVATE`, … with `MS_REC` where asked.
    pub propagation: Vec<u64>,
    /// `bind` or `rbind`.
    pub is_bind: bool,
    pub is_recursive: bool,
    /// `tmpcopyup`: a tmpfs starts with what it covers.
    pub copies_up: bool,
    /// Only what is there of the source, looked up within it: a link cannot lead out of it.
    pub subpath: Option<PathBuf>,
    /// What the file system itself reads.
    pub data: Vec<String>,
}

/// A word of ours, as `tmpcopyup` is one of runc's; the path follows.
pub(crate) const SUBPATH: &str = "x-skep.subpath=";

impl MountOptions {
    pub(crate) fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        match option {
            // The last two are told by `idmap`.
            "" | "defaults" | "idmap" | "ridmap" => {}
            "bind" => self.is_bind = true,
            "rbind" => (self.is_bind, self.is_recursive) = (true, true),
            "tmpcopyup" => self.copies_up = true,
            "remount" => self.flags |= libc::MS_REMOUNT,
            _ => {
                if let Some(path) = option.strip_prefix(SUBPATH) {
                    self.subpath = Some(path.into());
                } else if let Some(propagation) = propagation(option) {
                    self.propagation.push(propagation);
                } else if let Some((flag, attribute, is_set)) = flag(option) {
                    self.set_flag(flag, is_set);
                    self.set_attribute(attribute, is_set);
                } else if let Some((_, attribute, is_set)) = option.strip_prefix('r').and_then(flag)
                {
                    let (set, clear) = (&mut self.recursive_set, &mut self.recursive_clear);
                    merge(set, clear, attribute, is_set);
                } else {
                    self.data.push(option.into());
                }
            }
        }
    }

    fn set_flag(&mut self, flag: u64, is_set: bool) {
        if is_set {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    fn set_attribute(&mut self, attribute: u64, is_set: bool) {
        merge(&mut self.set, &mut self.clear, attribute, is_set);
    }

    /// What a bind mount changes on its own mount, if anything.
    pub(crate) fn bind_attributes(&self) -> Option<MountAttr> {
        attr(self.set, self.clear)
    }

    /// What a bind mount changes on its whole tree, if anything.
    pub(crate) fn tree_attributes(&self) -> Option<MountAttr> {
        attr(self.recursive_set, self.recursive_clear)
    }
}

fn merge(set: &mut u64, clear: &mut u64, attribute: u64, is_set: bool) {
    let (to, from) = if is_set { (set, clear) } else { (clear, set) };
    *to |= attribute;
    *from &= !attribute;
}

fn attr(set: u64, clear: u64) -> Option<MountAttr> {
    // The kernel wants the whole access-time field cleared when any of it is set.
    let clear = if set & libc::MOUNT_ATTR__ATIME != 0 {
        clear | libc::MOUNT_ATTR__ATIME
    } else {
        clear
    };
    (set | clear != 0).then(|| attributes(set, clear, 0))
}

/// How a mount passes on what is mounted below it; with `r` before it, for the whole tree.
pub(crate) const PROPAGATION_WORDS: [&str; 4] = ["private", "shared", "slave", "unbindable"];

pub(crate) fn propagation(word: &str) -> Option<u64> {
    let (kind, recursive) = match word.strip_prefix('r') {
        Some(rest) => (rest, libc::MS_REC),
        None => (word, 0),
    };
    let kind = match kind {
        "private" => libc::MS_PRIVATE,
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some(kind | recursive)
}

/// The words of [`flag`].
pub(crate) const FLAG_WORDS: &[&str] = &[
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "noatime",
    "atime",
    "nodiratime",
    "diratime",
    "strictatime",
    "relatime",
    "norelatime",
    "nostrictatime",
    "nosymfollow",
    "symfollow",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "iversion",
    "noiversion",
    "silent",
    "loud",
    "lazytime",
    "nolazytime",
];

/// The old flag, the attribute, and whether the word sets or clears.
fn flag(word: &str) -> Option<(u64, u64, bool)> {
    Some(match word {
        "ro" => (libc::MS_RDONLY, libc::MOUNT_ATTR_RDONLY, true),
        "rw" => (libc::MS_RDONLY, libc::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (libc::MS_NOSUID, libc::MOUNT_ATTR_NOSUID, true),
        "suid" => (libc::MS_NOSUID, libc::MOUNT_ATTR_NOSUID, false),
        "nodev" => (libc::MS_NODEV, libc::MOUNT_ATTR_NODEV, true),
        "dev" => (libc::MS_NODEV, libc::MOUNT_ATTR_NODEV, false),
        "noexec" => (libc::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC, true),
        "exec" => (libc::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC, false),
        "noatime" => (libc::MS_NOATIME, libc::MOUNT_ATTR_NOATIME, true),
        "atime" => (libc::MS_NOATIME, libc::MOUNT_ATTR_NOATIME, false),
        "nodiratime" => (libc::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (libc::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME, false),
        "strictatime" => (libc::MS_STRICTATIME, libc::MOUNT_ATTR_STRICTATIME, true),
        // Relative access times are attribute 0: the default.
        "relatime" => (libc::MS_RELATIME, 0, true),
        "norelatime" => (libc::MS_RELATIME, 0, false),
        "nostrictatime" => (libc::MS_STRICTATIME, 0, false),
        "nosymfollow" => (0, libc::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (0, libc::MOUNT_ATTR_NOSYMFOLLOW, false),
        "sync" => (libc::MS_SYNCHRONOUS, 0, true),
        "async" => (libc::MS_SYNCHRONOUS, 0, false),
        "dirsync" => (libc::MS_DIRSYNC, 0, true),
        "mand" => (libc::MS_MANDLOCK, 0, true),
        "nomand" => (libc::MS_MANDLOCK, 0, false),
        "iversion" => (libc::MS_I_VERSION, 0, true),
        "noiversion" => (libc::MS_I_VERSION, 0, false),
        "silent" => (libc::MS_SILENT, 0, true),
        "loud" => (libc::MS_SILENT, 0, false),
        "lazytime" => (1 << 25, 0, true),
        "nolazytime" => (1 << 25, 0, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_to_be_known_is_known() {
        assert!(FLAG_WORDS.iter().all(|word| flag(word).is_some()));
        assert!(
            PROPAGATION_WORDS
                .iter()
                .all(|word| propagation(word).is_some())
        );
    }

    #[test]
    fn dockers_usual_options_are_understood() {
        let shm = MountOptions::parse(["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]);
        assert_eq!(
            shm.flags,
            libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV
        );
        assert_eq!(shm.data, ["mode=1777", "size=67108864"]);
        let bind = MountOptions::parse(["rbind", "ro", "rprivate"]);
        assert!(bind.is_bind && bind.is_recursive);
        assert_eq!(bind.propagation, [libc::MS_PRIVATE | libc::MS_REC]);
        assert_eq!(
            bind.bind_attributes(),
            Some(attributes(libc::MOUNT_ATTR_RDONLY, 0, 0))
        );
        assert_eq!(bind.tree_attributes(), None);
    }

    #[test]
    fn recursive_attributes_are_not_taken_for_data() {
        let rro = MountOptions::parse(["rbind", "rro"]);
        assert_eq!(
            rro.tree_attributes(),
            Some(attributes(libc::MOUNT_ATTR_RDONLY, 0, 0))
        );
        assert!(rro.data.is_empty());
        // These begin with the same letter.
        let plain = MountOptions::parse(["relatime", "rw", "remount"]);
        assert!(plain.data.is_empty());
        assert_eq!(plain.tree_attributes(), None);
    }

    #[test]
    fn the_later_word_wins() {
        assert_eq!(MountOptions::parse(["ro", "rw"]).flags & libc::MS_RDONLY, 0);
        assert_eq!(
            MountOptions::parse(["ro", "rw"]).bind_attributes(),
            Some(attributes(0, libc::MOUNT_ATTR_RDONLY, 0))
        );
    }
}
