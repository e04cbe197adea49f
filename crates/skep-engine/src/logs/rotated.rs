//! Files that a log was rotated into. They are held open: their names change under whoever reads them,
//! as `log.1` becomes `log.2` or `log.1.gz`.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{EngineError, Result};

/// The longest first line that is looked at: an entry of 16 KiB of text, escaped, and what is around it.
const LONGEST: u64 = 160 << 10;

/// One such file, or the log itself.
pub(super) struct Rotated {
    file: File,
    path: PathBuf,
    inode: u64,
    is_compressed: bool,
    /// Lines at its beginning that are not wanted.
    pub(super) skip: usize,
}

impl Rotated {
    /// The log itself, to be compared.
    fn log(file: &File, path: &Path) -> Result<Self> {
        let open = || {
            Ok(Self {
                inode: file.metadata()?.ino(),
                file: file.try_clone()?,
                path: path.to_owned(),
                is_compressed: false,
                skip: 0,
            })
        };
        open().map_err(EngineError::io("read", path))
    }

    /// Its lines, but for those to skip.
    pub(super) fn lines(mut self) -> Result<Box<dyn BufRead + Send>> {
        let mut source = self.source()?;
        let mut line = Vec::new();
        for _ in 0..self.skip {
            line.clear();
            source
                .read_until(b'\n', &mut line)
                .map_err(EngineError::io("read", &self.path))?;
        }
        Ok(source)
    }

    pub(super) fn count_lines(&mut self) -> Result<usize> {
        let mut source = self.source()?;
        let mut count = 0;
        loop {
            let part = source
                .fill_buf()
                .map_err(EngineError::io("read", &self.path))?;
            if part.is_empty() {
                return Ok(count);
            }
            count += part.iter().filter(|byte| **byte == b'\n').count();
            let length = part.len();
            source.consume(length);
        }
    }

    /// Its text from the beginning.
    fn source(&mut self) -> Result<Box<dyn BufRead + Send>> {
        let fail = EngineError::io("read", &self.path);
        let rewound = self.file.rewind().and_then(|()| self.file.try_clone());
        let file = BufReader::new(rewound.map_err(fail)?);
        Ok(match self.is_compressed {
            true => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))),
            false => Box::new(file),
        })
    }

    /// Whether both are one file, whatever it was called when it was opened. Compressing makes another
    /// file of the same lines.
    fn is_same(&mut self, other: &mut Self) -> Result<bool> {
        if self.inode == other.inode || self.is_compressed == other.is_compressed {
            return Ok(self.inode == other.inode);
        }
        Ok(self.first_line()? == other.first_line()?)
    }

    fn first_line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        if self.is_compressed {
            let source = std::io::Read::take(self.source()?, LONGEST);
            BufReader::new(source).read_until(b'\n', &mut line)
        } else {
            // Somebody may be reading on from where the file stands.
            let from_start = FromStart(&self.file, 0);
            BufReader::new(std::io::Read::take(from_start, LONGEST)).read_until(b'\n', &mut line)
        }
        .map_err(EngineError::io("read", &self.path))?;
        Ok(line)
    }

    /// When its first line was written.
    fn began(&mut self) -> Result<Option<SystemTime>> {
        Ok(super::read::parse(&self.first_line()?).map(|line| line.time))
    }
}

/// Reads without moving the place from which others read.
struct FromStart<'f>(&'f File, u64);

impl std::io::Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read_at(buffer, self.1)?;
        self.1 += n as u64;
        Ok(n)
    }
}

/// The log at `path` and the files rotated out of it, newest first. A rotation meanwhile shows a file
/// again under its next name, so the log itself is opened before the others.
pub(super) fn open_all(path: &Path) -> Result<(Option<File>, Vec<Rotated>)> {
    let current = match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(EngineError::io("open", path)(error)),
    };
    let mut log = current
        .as_ref()
        .map(|file| Rotated::log(file, path))
        .transpose()?;
    let mut found: Vec<Rotated> = Vec::new();
    let mut is_gap = false;
    for n in 1.. {
        let Some(mut file) = open_one(path, n)? else {
            // In the midst of a rotation one number is nobody's.
            if std::mem::replace(&mut is_gap, true) {
                break;
            }
            continue;
        };
        is_gap = false;
        let seen = match found.last_mut().or(log.as_mut()) {
            Some(last) => last.is_same(&mut file)?,
            None => false,
        };
        if !seen {
            found.push(file);
        }
    }
    Ok((current, found))
}

/// The log at `path` as it is now, and the files between it and `known`, oldest first. `known` was the
/// log before and has been read; what is older than that is no news.
pub(super) fn after(path: &Path, known: &File) -> Result<(Option<File>, Vec<Rotated>)> {
    let mut known = Rotated::log(known, path)?;
    let began = known.began()?;
    let (current, all) = open_all(path)?;
    let mut newer = Vec::new();
    for mut file in all {
        if file.is_same(&mut known)? || file.began()? < began {
            break;
        }
        newer.push(file);
    }
    newer.reverse();
    Ok((current, newer))
}

/// The file of a number. It may be compressed between the two looks.
fn open_one(path: &Path, n: u32) -> Result<Option<Rotated>> {
    for suffix in ["", ".gz"] {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}{suffix}"));
        let path = PathBuf::from(name);
        let opened = File::open(&path).and_then(|file| {
            let inode = file.metadata()?.ino();
            Ok(Rotated {
                file,
                inode,
                is_compressed: !suffix.is_empty(),
                path: path.clone(),
                skip: 0,
            })
        });
        match opened {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(EngineError::io("open", &path)(error)),
        }
    }
    Ok(None)
}
