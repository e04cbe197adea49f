//! Bounds what a tar archive may make its reader hold in memory.
//!
//! Long names and PAX extensions are entries whose whole content is read at once; a few kilobytes of
//! gzip can hold gigabytes of them. The guard looks at each header that passes and refuses such an
//! entry before its content is read. It follows the archive as the `tar` crate does: sizes of PAX
//! headers override those of the entry that follows, sparse entries have further headers.

use std::io::{self, Read};

use tar::{EntryType, Header};

/// Longer names, links and extensions than this no file system could take.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
const BLOCK: usize = 512;
/// Where a further sparse header says whether another follows.
const SPARSE_CONTINUES: usize = 504;

/// A reader of tar archives, in front of another reader.
#[derive(Debug)]
pub(super) struct HeaderGuard<R> {
    inner: R,
    place: Place,
    block: Vec<u8>,
    /// Content of the PAX header that is about the next entry.
    extensions: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Gathers a block: a header.
    Header,
    /// Gathers a block: a further header of a sparse entry, with so much content after the last.
    Sparse { content: u64 },
    /// Gathers PAX extensions: so much is left, and then padding.
    Extensions { left: u64, padding: u64 },
    /// Content passes.
    Content { left: u64 },
    /// The end, or something that the `tar` crate refuses: nothing is looked at any more.
    Over,
}

impl<R: Read> HeaderGuard<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            place: Place::Header,
            block: Vec::with_capacity(BLOCK),
            extensions: Vec::new(),
        }
    }

    fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.place {
                Place::Over => return Ok(()),
                Place::Header | Place::Sparse { .. } => {
                    let missing = (BLOCK - self.block.len()).min(bytes.len());
                    self.block.extend_from_slice(&bytes[..missing]);
                    bytes = &bytes[missing..];
                    if self.block.len() == BLOCK {
                        self.place = self.next_place()?;
                        self.block.clear();
                    }
                }
                Place::Extensions { left, padding } => {
                    let (taken, left) = take(left, bytes.len());
                    self.extensions.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    self.place = match left {
                        0 => passing(padding),
                        left => Place::Extensions { left, padding },
                    };
                }
                Place::Content { left } => {
                    let (taken, left) = take(left, bytes.len());
                    bytes = &bytes[taken..];
                    self.place = passing(left);
                }
            }
        }
        Ok(())
    }

    /// What follows the block that is complete.
    fn next_place(&mut self) -> io::Result<Place> {
        if let Place::Sparse { content } = self.place {
            return Ok(match self.block[SPARSE_CONTINUES] {
                1 => self.place,
                _ => passing(content),
            });
        }
        if self.block.iter().all(|byte| *byte == 0) {
            return Ok(Place::Over);
        }
        let header = Header::from_byte_slice(&self.block);
        let Ok(size) = header.entry_size() else {
            return Ok(Place::Over);
        };
        let kind = header.entry_type();
        let extends = matches!(
            kind,
            EntryType::GNULongName
                | EntryType::GNULongLink
                | EntryType::XHeader
                | EntryType::XGlobalHeader
        );
        if extends && size > MAX_EXTENSION_BYTES {
            let what = format!("an archive with a name or extension of {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if kind == EntryType::XHeader {
            self.extensions.clear();
            let padding = padded(size) - size;
            return Ok(match size {
                0 => Place::Header,
                left => Place::Extensions { left, padding },
            });
        }
        if extends {
            return Ok(passing(padded(size)));
        }
        let size = pax_size(&self.extensions).unwrap_or(size);
        self.extensions.clear();
        let continues = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        if kind == EntryType::GNUSparse && continues {
            return Ok(Place::Sparse {
                content: padded(size),
            });
        }
        Ok(passing(padded(size)))
    }
}

impl<R: Read> Read for HeaderGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.follow(&buffer[..count])?;
        Ok(count)
    }
}

fn passing(left: u64) -> Place {
    match left {
        0 => Place::Header,
        left => Place::Content { left },
    }
}

/// How much of `left` is here, and what is left then.
fn take(left: u64, here: usize) -> (usize, u64) {
    match usize::try_from(left) {
        Ok(left) if left <= here => (left, 0),
        _ => (here, left - here as u64),
    }
}

fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK as u64).unwrap_or(size)
}

fn pax_size(extensions: &[u8]) -> Option<u64> {
    let mut records = tar::PaxExtensions::new(extensions).flatten();
    let found = records.find(|record| record.key() == Ok("size"))?;
    found.value().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tar: &mut tar::Builder<Vec<u8>>, kind: EntryType, name: &str, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_path(name).unwrap();
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }

    fn names(bytes: &[u8]) -> io::Result<Vec<String>> {
        let mut archive = tar::Archive::new(HeaderGuard::new(bytes));
        let name = |entry: io::Result<tar::Entry<'_, _>>| {
            Ok(entry?.path()?.to_string_lossy().into_owned())
        };
        archive.entries()?.map(name).collect()
    }

    #[test]
    fn ordinary_archives_pass_whole() {
        let mut tar = tar::Builder::new(Vec::new());
        entry(&mut tar, EntryType::Regular, "a", &[1; 1300]);
        let long = "x/".repeat(200) + "end";
        let mut header = Header::new_gnu();
        header.set_size(3);
        tar.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        tar.append_pax_extensions([("size", &b"5"[..])]).unwrap();
        entry(&mut tar, EntryType::Regular, "b", b"12345");
        entry(&mut tar, EntryType::Regular, "c", b"");
        let bytes = tar.into_inner().unwrap();
        assert_eq!(names(&bytes).unwrap(), ["a", long.as_str(), "b", "c"]);
    }

    #[test]
    fn names_and_extensions_without_end_are_refused_before_they_are_read() {
        for kind in [
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XHeader,
        ] {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(1 << 40);
            header.set_cksum();
            let endless = header.as_bytes().as_slice().chain(io::repeat(b'x'));
            let mut archive = tar::Archive::new(HeaderGuard::new(endless));
            let first = archive.entries().unwrap().next().unwrap();
            assert!(first.is_err_and(|error| error.to_string().contains("1099511627776 bytes")));
        }
    }
}
