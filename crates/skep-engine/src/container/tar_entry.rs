//! One file as an entry of a tar stream, under a name that is written as it is.
//!
//! The tar crate makes names tidy: `./a` becomes `a`, and `/a` is refused. Docker's command line tells
//! by just these where in its target a copy goes, so names are put into headers here.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tar::{Builder, EntryType, Header};

/// Room for a name in a header; a longer one gets an entry of its own before it.
const NAME_BYTES: usize = 100;

/// Appends what is at `path`; of a directory, only itself.
pub(super) fn append<W: Write>(tar: &mut Builder<W>, path: &Path, name: &[u8]) -> io::Result<()> {
    let meta = std::fs::symlink_metadata(path)?;
    let file = meta.is_file().then(|| File::open(path)).transpose()?;
    let mut header = Header::new_gnu();
    header.set_metadata(&meta);
    if meta.file_type().is_symlink() {
        let target = std::fs::read_link(path)?;
        set_link(tar, &mut header, target.as_os_str().as_bytes())?;
    }
    set_device(&mut header, &meta)?;
    set_name(tar, &mut header, name)?;
    header.set_cksum();
    match file {
        // As long as the header says, though it may be written to meanwhile.
        Some(file) => {
            let padding = io::repeat(0);
            let content = io::Read::chain(file, padding);
            tar.append(&header, io::Read::take(content, meta.len()))
        }
        None => tar.append(&header, io::empty()),
    }
}

fn set_device(header: &mut Header, meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return Ok(());
    }
    header.set_size(0);
    header.set_device_major(rustix::fs::major(meta.rdev()))?;
    header.set_device_minor(rustix::fs::minor(meta.rdev()))
}

fn set_name<W: Write>(tar: &mut Builder<W>, header: &mut Header, name: &[u8]) -> io::Result<()> {
    if name.len() > NAME_BYTES {
        append_long(tar, EntryType::GNULongName, name)?;
    }
    fill(&mut header.as_old_mut().name, name);
    Ok(())
}

fn set_link<W: Write>(tar: &mut Builder<W>, header: &mut Header, target: &[u8]) -> io::Result<()> {
    header.set_size(0);
    if target.len() > NAME_BYTES {
        append_long(tar, EntryType::GNULongLink, target)?;
    }
    fill(&mut header.as_old_mut().linkname, target);
    Ok(())
}

fn fill(field: &mut [u8; NAME_BYTES], bytes: &[u8]) {
    let count = bytes.len().min(NAME_BYTES);
    field[..count].copy_from_slice(&bytes[..count]);
}

/// The entry before another whose name, or target, has no room in its header.
fn append_long<W: Write>(tar: &mut Builder<W>, kind: EntryType, text: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    fill(&mut header.as_old_mut().name, b"././@LongLink");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    // With the zero byte at its end, which old readers want.
    header.set_size(text.len() as u64 + 1);
    header.set_entry_type(kind);
    header.set_cksum();
    tar.append(
        &header,
        io::Read::chain(text, io::Read::take(io::repeat(0), 1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_are_and_long_ones_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "text").unwrap();
        let long = "x".repeat(150);
        std::os::unix::fs::symlink(&long, &link).unwrap();
        let mut tar = Builder::new(Vec::new());
        let names = ["./", "./sub/f", "/abs", &format!("./{long}/f"), "link"];
        let paths = [dir.path(), &file, &file, &file, &link];
        for (name, path) in names.iter().zip(paths) {
            append(&mut tar, path, name.as_bytes()).unwrap();
        }
        let bytes = tar.into_inner().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let target = entry.link_name_bytes().map(|t| t.into_owned());
                (entry.path_bytes().into_owned(), entry.size(), target)
            })
            .collect();
        for (name, entry) in names.iter().zip(&entries) {
            assert_eq!(entry.0, name.as_bytes());
        }
        assert_eq!(
            entries.iter().map(|e| e.1).collect::<Vec<_>>(),
            [0, 4, 4, 4, 0]
        );
        assert_eq!(entries[4].2.as_deref(), Some(long.as_bytes()));
    }
}
