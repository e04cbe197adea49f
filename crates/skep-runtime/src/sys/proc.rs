//! Reading `/proc`.

/// Start time of a process in clock ticks since boot, `None` when it is gone or a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from the last one.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// One line of `/proc/self/mountinfo`, the parts that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountInfo {
    /// The directory of the file system that is mounted.
    pub root: String,
    /// Where.
    pub target: std::path::PathBuf,
    /// File system type.
    pub fs_type: String,
    /// Options of the super block.
    pub super_options: String,
    /// `shared:N` is among the optional fields.
    pub shared: bool,
}

/// The mounts of this process.
pub(crate) fn mounts() -> std::io::Result<Vec<MountInfo>> {
    Ok(std::fs::read_to_string("/proc/self/mountinfo")?
        .lines()
        .filter_map(parse_mount)
        .collect())
}

fn parse_mount(line: &str) -> Option<MountInfo> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let root = left.nth(3)?;
    let target = left.next()?;
    let shared = left.skip(1).any(|f| f.starts_with("shared:"));
    let mut right = right.split(' ');
    Some(MountInfo {
        root: unescape(root),
        target: unescape(target).into(),
        fs_type: right.next()?.into(),
        super_options: right.nth(1)?.into(),
        shared,
    })
}

/// The kernel writes blanks as `\040` and so on.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                out.push(byte.into());
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_read() {
        let line = "36 35 98:0 /a\\040b /mnt/x\\134y rw,noatime master:1 shared:7 - cgroup cgroup rw,cpu,cpuacct";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.root, "/a b");
        assert_eq!(mount.target.to_str(), Some("/mnt/x\\y"));
        assert_eq!(
            (mount.fs_type.as_str(), mount.super_options.as_str()),
            ("cgroup", "rw,cpu,cpuacct")
        );
        assert!(mount.shared);
    }

    #[test]
    fn a_process_has_a_start_time_while_it_lives() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).is_some());
        assert_eq!(start_time(i32::MAX), None);
    }
}
