//! Applies a layer's tar stream to a directory, as overlayfs wants it.
//!
//! Every path is resolved by the kernel below the directory (`openat2` with `RESOLVE_IN_ROOT`), so
//! neither `..` nor symbolic links of the archive lead out. Whiteouts become overlayfs's own marks.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    self as rfs, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use tar::{Archive, Entry, EntryType};

use super::ImageError;
use super::header_guard::HeaderGuard;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
const PAX_XATTR: &str = "SCHILY.xattr.";
/// Overlayfs's own marks: an archive that brings them could show other layers' files as its own.
const OVERLAY_XATTRS: [&str; 2] = ["trusted.overlay.", "user.overlay."];
/// The holes of a sparse file cost its archive nothing, and its reader time.
const MAX_SPARSE_BYTES: u64 = 64 << 30;

/// Applies the stream; gives the bytes of file content.
pub(super) fn apply(root: &Path, stream: &mut impl Read) -> Result<u64, ImageError> {
    let root_fd = rfs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| ImageError::io("open", root)(error.into()))?;
    let mut target = Target {
        root: root_fd,
        parent: None,
        late_times: BTreeMap::new(),
    };
    let mut size_bytes = 0;
    let mut archive = Archive::new(HeaderGuard::new(stream));
    let entries = archive.entries().map_err(|source| ImageError::Stream {
        what: "read layer",
        source,
    })?;
    for entry in entries {
        let mut entry = entry.map_err(|source| ImageError::Stream {
            what: "read layer",
            source,
        })?;
        let path = entry
            .path()
            .map_err(|source| ImageError::Stream {
                what: "read layer",
                source,
            })?
            .into_owned();
        size_bytes += target
            .apply(&mut entry, &path)
            .map_err(|error| match error {
                Refused::Because(why) => {
                    ImageError::BadLayer(format!("layer entry {}: {why}", path.display()))
                }
                Refused::Io(source) => ImageError::io("unpack", &path)(source),
            })?;
    }
    // Entries written into a directory change its times, so directories come last.
    while let Some((path, times)) = target.late_times.pop_last() {
        let dir = match target.open_beneath(&path) {
            Ok(dir) => dir,
            // A later entry took the directory's place.
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(ImageError::io("open", &path)(error.into())),
        };
        rfs::futimens(&dir, &times)
            .map_err(|error| ImageError::io("set times of", &path)(error.into()))?;
    }
    Ok(size_bytes)
}

enum Refused {
    Because(String),
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Refused {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

struct Target {
    root: OwnedFd,
    /// The directory of the last entry: archives are mostly in order of directories.
    parent: Option<(PathBuf, OwnedFd)>,
    /// By path: what repeats an entry costs an archive nothing, and must not cost memory.
    late_times: BTreeMap<PathBuf, Timestamps>,
}

/// What an entry's header says, apart from its kind.
struct Attributes {
    mode: Mode,
    uid: Uid,
    gid: Gid,
    times: Timestamps,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Target {
    /// Applies one entry; gives the bytes of its content.
    fn apply<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &Path) -> Result<u64, Refused> {
        let path = clean(path)?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(0);
        }
        let Some(name) = path.file_name().map(|name| name.to_owned()) else {
            return self.apply_root(entry);
        };
        let dir_path = path.parent().unwrap_or(Path::new("")).to_owned();
        self.enter(&dir_path)?;
        let Some((_, dir)) = &self.parent else {
            return Ok(0);
        };
        if let Some(hidden) = name.to_str().and_then(|name| name.strip_prefix(WHITEOUT)) {
            if name == OPAQUE {
                rfs::fsetxattr(dir, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
            } else if hidden.is_empty() || hidden == "." || hidden == ".." || hidden.contains('/') {
                return Err(Refused::Because("is no whiteout".to_owned()));
            } else {
                remove_if_there(dir, Path::new(hidden))?;
                rfs::mknodat(dir, hidden, FileType::CharacterDevice, Mode::empty(), 0)?;
            }
            return Ok(0);
        }
        let attributes = attributes(entry)?;
        let name = Path::new(&name);
        let mut size = 0;
        match kind {
            EntryType::Directory => return self.make_directory(&path, &attributes).map(|()| 0),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                remove_if_there(dir, name)?;
                size = write_file(dir, name, entry, &attributes)?;
                return Ok(size);
            }
            EntryType::Symlink => {
                let target = link_target(entry)?;
                remove_if_there(dir, name)?;
                rfs::symlinkat(&target, dir, name)?;
            }
            EntryType::Link => {
                let target = clean(&link_target(entry)?)?;
                let source = self.open_parent_of(&target)?;
                let source_name = target
                    .file_name()
                    .ok_or_else(|| Refused::Because("links to the root".to_owned()))?;
                remove_if_there(dir, name)?;
                rfs::linkat(&source, source_name, dir, name, AtFlags::empty())?;
                return Ok(0);
            }
            EntryType::Char | EntryType::Block => {
                let header = entry.header();
                let device = rfs::makedev(
                    header.device_major()?.unwrap_or(0),
                    header.device_minor()?.unwrap_or(0),
                );
                let node = if kind == EntryType::Char {
                    FileType::CharacterDevice
                } else {
                    FileType::BlockDevice
                };
                remove_if_there(dir, name)?;
                rfs::mknodat(dir, name, node, attributes.mode, device)?;
            }
            EntryType::Fifo => {
                remove_if_there(dir, name)?;
                rfs::mknodat(dir, name, FileType::Fifo, attributes.mode, 0)?;
            }
            other => {
                return Err(Refused::Because(format!(
                    "has unknown type {:?}",
                    other.as_byte() as char
                )));
            }
        }
        set_attributes(dir, name, &attributes, kind == EntryType::Symlink)?;
        Ok(size)
    }

    fn apply_root<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<u64, Refused> {
        if entry.header().entry_type() == EntryType::Directory {
            let attributes = attributes(entry)?;
            rfs::fchown(&self.root, Some(attributes.uid), Some(attributes.gid))?;
            rfs::fchmod(&self.root, attributes.mode)?;
            self.late_times.insert(PathBuf::new(), attributes.times);
        }
        Ok(0)
    }

    fn make_directory(&mut self, path: &Path, attributes: &Attributes) -> Result<(), Refused> {
        let Some((_, dir)) = &self.parent else {
            return Ok(());
        };
        let name = path.file_name().unwrap_or_default();
        match rfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Ok(_) => {
                rfs::unlinkat(dir, name, AtFlags::empty())?;
                rfs::mkdirat(dir, name, Mode::RWXU)?;
            }
            Err(_) => rfs::mkdirat(dir, name, Mode::RWXU)?,
        }
        set_attributes(dir, Path::new(name), attributes, false)?;
        self.late_times
            .insert(path.to_owned(), attributes.times.clone());
        Ok(())
    }

    /// Makes `path` the current directory of the walk, creating what is missing.
    fn enter(&mut self, path: &Path) -> Result<(), Refused> {
        if self
            .parent
            .as_ref()
            .is_some_and(|(current, _)| current == path)
        {
            return Ok(());
        }
        let dir = self.open_dir(path, true)?;
        self.parent = Some((path.to_owned(), dir));
        Ok(())
    }

    fn open_parent_of(&self, path: &Path) -> Result<OwnedFd, Refused> {
        Ok(self.open_dir(path.parent().unwrap_or(Path::new("")), false)?)
    }

    fn open_dir(&self, path: &Path, create: bool) -> io::Result<OwnedFd> {
        match self.open_beneath(path) {
            Err(rustix::io::Errno::NOENT) if create => {}
            result => return Ok(result?),
        }
        let mut made = PathBuf::new();
        for part in path.components() {
            let above = self.open_beneath(&made)?;
            match rfs::mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => made.push(part),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.open_beneath(path)?)
    }

    fn open_beneath(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        rfs::openat2(
            &self.root,
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }
}

/// Drops `/` and `.`; refuses `..`, which no honest layer has.
fn clean(path: &Path) -> Result<PathBuf, Refused> {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Refused::Because(
                    "has a path that leaves its root".to_owned(),
                ));
            }
        }
    }
    Ok(cleaned)
}

fn link_target<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, Refused> {
    match entry.link_name()? {
        Some(target) => Ok(target.into_owned()),
        None => Err(Refused::Because("is a link to nothing".to_owned())),
    }
}

fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<Attributes, Refused> {
    let mut xattrs = Vec::new();
    let mut mtime = None;
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions.flatten() {
            let Ok(key) = extension.key() else { continue };
            if let Some(name) = key.strip_prefix(PAX_XATTR) {
                if OVERLAY_XATTRS.iter().any(|own| name.starts_with(own)) {
                    continue;
                }
                xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
            } else if key == "mtime" {
                mtime = extension.value().ok().and_then(parse_time);
            }
        }
    }
    let header = entry.header();
    let number = |value: u64, what: &str| {
        u32::try_from(value)
            .map_err(|_| Refused::Because(format!("has {what} {value} out of range")))
    };
    let seconds = header.mtime().unwrap_or(0);
    let time = mtime.unwrap_or(Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(0),
        tv_nsec: 0,
    });
    Ok(Attributes {
        mode: Mode::from_raw_mode(header.mode()? & 0o7777),
        uid: Uid::from_raw(number(header.uid()?, "owner")?),
        gid: Gid::from_raw(number(header.gid()?, "group")?),
        times: Timestamps {
            last_access: time,
            last_modification: time,
        },
        xattrs,
    })
}

/// `seconds[.fraction]`.
fn parse_time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    Some(Timespec {
        tv_sec: seconds.parse().ok()?,
        tv_nsec: nanos.parse().ok()?,
    })
}

fn write_file<R: Read>(
    dir: &OwnedFd,
    name: &Path,
    entry: &mut Entry<'_, R>,
    attributes: &Attributes,
) -> Result<u64, Refused> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rfs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut file = std::fs::File::from(file);
    let size = if entry.header().entry_type() == EntryType::GNUSparse {
        copy_sparse(entry, &mut file)?
    } else {
        io::copy(entry, &mut file)?
    };
    // The owner first: a change of owner clears setuid bits and capabilities.
    rfs::fchown(&file, Some(attributes.uid), Some(attributes.gid))?;
    rfs::fchmod(&file, attributes.mode)?;
    for (name, value) in &attributes.xattrs {
        rfs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty())?;
    }
    rfs::futimens(&file, &attributes.times)?;
    Ok(size)
}

/// Leaves holes where the content is zero.
fn copy_sparse<R: Read>(
    entry: &mut Entry<'_, R>,
    file: &mut std::fs::File,
) -> Result<u64, Refused> {
    if entry.size() > MAX_SPARSE_BYTES {
        return Err(Refused::Because(format!(
            "is a sparse file of {} bytes",
            entry.size()
        )));
    }
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let count = entry.read(&mut buffer)?;
        if count == 0 {
            file.set_len(size)?;
            return Ok(size);
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            std::os::unix::fs::FileExt::write_all_at(file, &buffer[..count], size)?;
        }
        size += count as u64;
    }
}

fn set_attributes(
    dir: &OwnedFd,
    name: &Path,
    attributes: &Attributes,
    is_symlink: bool,
) -> Result<(), Refused> {
    rfs::chownat(
        dir,
        name,
        Some(attributes.uid),
        Some(attributes.gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if !is_symlink {
        rfs::chmodat(dir, name, attributes.mode, AtFlags::empty())?;
    }
    if !attributes.xattrs.is_empty() && !is_symlink {
        let opened = rfs::openat(
            dir,
            name,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
            Mode::empty(),
        )?;
        for (name, value) in &attributes.xattrs {
            rfs::fsetxattr(&opened, name.as_str(), value, XattrFlags::empty())?;
        }
    }
    rfs::utimensat(dir, name, &attributes.times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// A later entry of the same name takes the place of an earlier one, directories included.
fn remove_if_there(dir: &OwnedFd, name: &Path) -> Result<(), Refused> {
    match rfs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ISDIR) => {
            remove_tree(dir, name)?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn remove_tree(dir: &OwnedFd, name: &Path) -> rustix::io::Result<()> {
    let inner = rfs::openat(
        dir,
        name,
        OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for entry in rfs::Dir::read_from(&inner)? {
        let entry = entry?;
        let child = entry.file_name();
        if child == c"." || child == c".." {
            continue;
        }
        match rfs::unlinkat(&inner, child, AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR) => {
                let name = std::os::unix::ffi::OsStrExt::from_bytes(child.to_bytes());
                remove_tree(&inner, Path::new::<std::ffi::OsStr>(name))?;
            }
            result => result?,
        }
    }
    rfs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests;
