//! What the kernel mounts for a volume with a device: tmpfs, nfs, a bind, any file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One mount, as an OCI configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelMount {
    pub kind: String,
    pub source: PathBuf,
    pub options: Vec<String>,
}

/// The mount behind a volume with these options; none where its own directory is the content.
///
/// It is made in each container's mount namespace and nowhere else, so nothing can be left in the
/// host's. A tmpfs volume is therefore not shared between containers.
pub(crate) fn kernel_mount(options: &BTreeMap<String, String>, data: &Path) -> Option<KernelMount> {
    let get = |key: &str| options.get(key).map_or("", String::as_str);
    let device = get("device");
    if device.is_empty() {
        return None;
    }
    let mut list: Vec<String> = get("o")
        .split(',')
        .filter(|o| !o.is_empty())
        .map(str::to_owned)
        .collect();
    let bind = list
        .iter()
        .any(|option| matches!(option.as_str(), "bind" | "rbind"));
    let kind = if bind { "bind" } else { get("type") };
    if kind == "none" || bind {
        if !bind {
            list.push("rbind".to_owned());
        }
        return Some(KernelMount {
            kind: "bind".to_owned(),
            source: PathBuf::from(device),
            options: list,
        });
    }
    let source = match (
        kind,
        list.iter().position(|option| option.starts_with("addr=")),
    ) {
        // mount(2) wants the server's address where mount.nfs takes its name.
        ("nfs" | "nfs4", Some(at)) if device.starts_with(':') => {
            PathBuf::from(format!("{}{device}", &list[at]["addr=".len()..]))
        }
        ("", _) => data.to_owned(),
        _ => PathBuf::from(device),
    };
    Some(KernelMount {
        kind: kind.to_owned(),
        source,
        options: list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[(&str, &str)], expect: Option<(&str, &str, &[&str])>) {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let got = kernel_mount(&options, Path::new("/data"));
        let expect = expect.map(|(kind, source, list)| KernelMount {
            kind: kind.to_owned(),
            source: PathBuf::from(source),
            options: list.iter().map(|o| (*o).to_owned()).collect(),
        });
        assert_eq!(got, expect);
    }

    #[test]
    fn a_device_is_mounted_and_a_plain_volume_is_its_directory() {
        check(&[], None);
        check(
            &[
                ("type", "tmpfs"),
                ("device", "tmpfs"),
                ("o", "size=1m,uid=7"),
            ],
            Some(("tmpfs", "tmpfs", &["size=1m", "uid=7"])),
        );
        check(
            &[("type", "none"), ("device", "/srv"), ("o", "bind")],
            Some(("bind", "/srv", &["bind"])),
        );
        check(
            &[
                ("type", "nfs"),
                ("device", ":/export"),
                ("o", "addr=10.0.0.1,rw"),
            ],
            Some(("nfs", "10.0.0.1:/export", &["addr=10.0.0.1", "rw"])),
        );
    }
}
