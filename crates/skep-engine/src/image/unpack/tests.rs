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

/// A hostile layer: each archive tries to reach `outside`, which lies beside the root.
#[test]
fn links_in_every_place_lead_nowhere_outside() {
    type Step<'a> = (EntryType, &'a str, Option<&'a str>, &'a [u8]);
    let cases: &[(&str, &[Step<'_>])] = &[
        (
            "a link as the last part is replaced, not followed",
            &[
                (EntryType::Symlink, "f", Some("../outside/kept"), b""),
                (EntryType::Regular, "f", None, b"overwritten"),
            ],
        ),
        (
            "a hard link through a symbolic one",
            &[
                (EntryType::Symlink, "d", Some("../outside"), b""),
                (EntryType::Link, "g", Some("d/kept"), b""),
            ],
        ),
        (
            "a hard link to a symbolic one, and a file over it",
            &[
                (EntryType::Symlink, "s", Some("../outside/kept"), b""),
                (EntryType::Link, "h", Some("s"), b""),
                (EntryType::Regular, "h", None, b"overwritten"),
            ],
        ),
        (
            "a whiteout through a link",
            &[
                (EntryType::Symlink, "d", Some("../outside"), b""),
                (EntryType::Regular, "d/.wh.kept", None, b""),
            ],
        ),
        (
            "an opaque mark through a link",
            &[
                (EntryType::Symlink, "d", Some("../outside"), b""),
                (EntryType::Regular, "d/.wh..wh..opq", None, b""),
            ],
        ),
        (
            "a whiteout of what is above",
            &[(EntryType::Regular, ".wh...", None, b"")],
        ),
        (
            "a directory over a link, and a file in it",
            &[
                (EntryType::Symlink, "d", Some("../outside"), b""),
                (EntryType::Directory, "d/", None, b""),
                (EntryType::Regular, "d/kept", None, b"overwritten"),
            ],
        ),
        (
            "a magic link of the kernel's",
            &[
                (EntryType::Symlink, "p", Some("/proc/self/root"), b""),
                (EntryType::Regular, "p/tmp/outside", None, b"x"),
            ],
        ),
        (
            "a fifo and a device through a link",
            &[
                (EntryType::Symlink, "d", Some("../outside"), b""),
                (EntryType::Fifo, "d/kept", None, b""),
                (EntryType::Char, "d/device", None, b""),
            ],
        ),
        (
            "an absolute name",
            &[(EntryType::Regular, "/../outside/kept", None, b"x")],
        ),
    ];
    for (what, steps) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        for path in [&root, &outside] {
            fs::create_dir(path).unwrap();
        }
        fs::write(outside.join("kept"), b"kept").unwrap();
        let mut tar = Builder::new(Vec::new());
        for (kind, path, link, content) in *steps {
            entry(&mut tar, *kind, path, *link, content);
        }
        // It may be refused or done below the root.
        let _ = apply(&root, &mut Cursor::new(tar.into_inner().unwrap()));
        let inside: Vec<_> = fs::read_dir(&outside).unwrap().collect();
        assert_eq!(inside.len(), 1, "{what}");
        let meta = fs::metadata(outside.join("kept")).unwrap();
        assert_eq!((meta.nlink(), meta.uid()), (1, 0), "{what}");
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept", "{what}");
        let opaque = rfs::getxattr(&outside, "trusted.overlay.opaque", &mut [0; 4][..]);
        assert!(opaque.is_err(), "{what}");
        let above: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(above.len(), 2, "{what}");
    }
}

#[test]
fn marks_of_overlayfs_come_from_whiteouts_only() {
    let mut tar = Builder::new(Vec::new());
    let marks: [(&str, &[u8]); 2] = [
        ("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..]),
        ("SCHILY.xattr.user.kept", b"1"),
    ];
    tar.append_pax_extensions(marks).unwrap();
    entry(&mut tar, EntryType::Directory, "d/", None, b"");
    let (dir, result) = applied(tar);
    result.unwrap();
    let path = dir.path().join("root/d");
    let mut value = [0; 8];
    assert!(rfs::getxattr(&path, "trusted.overlay.redirect", &mut value[..]).is_err());
    assert_eq!(rfs::getxattr(&path, "user.kept", &mut value[..]), Ok(1));
}

#[test]
fn sizes_that_lie_are_refused_in_little_time_and_memory() {
    // An entry that says more than the archive has.
    let mut header = Header::new_gnu();
    header.set_path("f").unwrap();
    header.set_mode(0o644);
    header.set_size(1 << 50);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let dir = tempfile::tempdir().unwrap();
    let short = [header.as_bytes().as_slice(), b"little"].concat();
    let size = apply(dir.path(), &mut Cursor::new(short));
    assert!(size.is_err() || dir.path().join("f").metadata().unwrap().len() == 6);

    // A sparse file of which the archive holds nothing.
    let sparse = |real: u64| {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_path("hole").unwrap();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.realsize
            .copy_from_slice(format!("{real:011o}\0").as_bytes());
        gnu.sparse[0]
            .offset
            .copy_from_slice(format!("{real:011o}\0").as_bytes());
        gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
        header.set_cksum();
        let dir = tempfile::tempdir().unwrap();
        let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        let result = apply(dir.path(), &mut Cursor::new(bytes));
        (dir, result)
    };
    let (dir, result) = sparse(64 << 20);
    assert_eq!(result.unwrap(), 64 << 20);
    let meta = fs::metadata(dir.path().join("hole")).unwrap();
    assert_eq!((meta.len(), meta.blocks()), (64 << 20, 0), "it is a hole");
}

#[test]
fn a_tree_as_deep_as_names_allow_is_made_and_removed() {
    let mut tar = Builder::new(Vec::new());
    let deep = "d/".repeat(1500);
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    tar.append_data(&mut header, &deep, std::io::empty())
        .unwrap();
    entry(&mut tar, EntryType::Regular, "d", None, b"file");
    let (dir, result) = applied(tar);
    result.unwrap();
    assert_eq!(fs::read(dir.path().join("root/d")).unwrap(), b"file");
}
