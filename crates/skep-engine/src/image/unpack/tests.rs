use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use tar::{Builder, EntryType, Header};

use super::*;

fn entry(
    tar: &mut Builder<Vec<u8>>,
    kind: EntryType,
    path: &str,
    link: Option<&str>,
    content: &[u8],
) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_000_000);
    header.set_size(content.len() as u64);
    if let Some(link) = link {
        header.set_link_name_literal(link).unwrap();
    }
    // The name goes in as it is: `set_path` would refuse what these tests need.
    let name = &mut header.as_gnu_mut().unwrap().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn applied(tar: Builder<Vec<u8>>) -> (tempfile::TempDir, Result<u64, ImageError>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let result = apply(&root, &mut Cursor::new(tar.into_inner().unwrap()));
    (dir, result)
}

#[test]
fn owner_mode_and_time_are_kept() {
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, EntryType::Directory, "d/", None, b"");
    entry(&mut tar, EntryType::Regular, "d/f", None, b"hello");
    let (dir, result) = applied(tar);
    assert_eq!(result.unwrap(), 5);
    for name in ["root/d", "root/d/f"] {
        let meta = fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.mtime()),
            (7, 8, 0o4755, 1_000_000)
        );
    }
}

#[test]
fn whiteouts_become_overlay_marks() {
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, EntryType::Regular, "d/.wh.gone", None, b"");
    entry(&mut tar, EntryType::Regular, "d/.wh..wh..opq", None, b"");
    let (dir, result) = applied(tar);
    result.unwrap();
    let gone = fs::symlink_metadata(dir.path().join("root/d/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0; 4];
    let count = rfs::getxattr(
        dir.path().join("root/d"),
        "trusted.overlay.opaque",
        &mut value,
    )
    .unwrap();
    assert_eq!(&value[..count], b"y");
}

#[test]
fn nothing_is_written_outside_the_root() {
    let outside = |dir: &tempfile::TempDir| dir.path().join("owned").exists();
    let mut dots = Builder::new(Vec::new());
    entry(&mut dots, EntryType::Regular, "../owned", None, b"x");
    let (dir, result) = applied(dots);
    assert!(result.unwrap_err().to_string().contains("leaves its root"));
    assert!(!outside(&dir));

    let mut link = Builder::new(Vec::new());
    entry(&mut link, EntryType::Symlink, "up", Some("../.."), b"");
    entry(&mut link, EntryType::Regular, "up/owned", None, b"x");
    let (dir, result) = applied(link);
    result.unwrap();
    assert!(!outside(&dir));
    assert!(dir.path().join("root/owned").exists());

    let mut hard = Builder::new(Vec::new());
    entry(
        &mut hard,
        EntryType::Link,
        "passwd",
        Some("../../../../etc/passwd"),
        b"",
    );
    assert!(applied(hard).1.is_err());

    let mut absolute = Builder::new(Vec::new());
    entry(&mut absolute, EntryType::Symlink, "etc", Some("/etc"), b"");
    entry(
        &mut absolute,
        EntryType::Regular,
        "etc/skep-was-here",
        None,
        b"x",
    );
    applied(absolute).1.unwrap_err();
    assert!(!Path::new("/etc/skep-was-here").exists());
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, EntryType::Directory, "a/", None, b"");
    entry(&mut tar, EntryType::Regular, "a/x", None, b"1");
    entry(&mut tar, EntryType::Regular, "a", None, b"22");
    let (dir, result) = applied(tar);
    result.unwrap();
    let path = dir.path().join("root/a");
    assert_eq!(fs::read(&path).unwrap(), b"22");
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o7777,
        0o4755
    );
}

#[test]
fn fifos_and_devices_are_made() {
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, EntryType::Fifo, "pipe", None, b"");
    let (dir, result) = applied(tar);
    result.unwrap();
    assert!(
        fs::metadata(dir.path().join("root/pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn any_bytes_give_an_error_not_a_panic() {
    use rand::{Rng, SeedableRng};
    for seed in 0..300 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut tar = Builder::new(Vec::new());
        entry(&mut tar, EntryType::Regular, "f", None, b"hello");
        let mut bytes = tar.into_inner().unwrap();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        let dir = tempfile::tempdir().unwrap();
        let _ = apply(dir.path(), &mut Cursor::new(bytes));
    }
}
