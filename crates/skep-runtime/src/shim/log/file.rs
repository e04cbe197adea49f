//! Docker's `json-file`, with rotation.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","attrs":{…},"time":"2026-11-23T07:00:00.123456789Z"}
//! ```
//!
//! An entry whose text ends without a line feed was cut there, or the stream ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Stream;
use crate::shim::spec::LogFile;
use crate::shim::time::Stamp;
use crate::sys::clone::{self, Side};

/// One log file and those rotated out of it.
#[derive(Debug)]
pub(super) struct FileLog {
    spec: LogFile,
    file: File,
    size: u64,
    attrs: String,
    stamp: Stamp,
    /// Time of the entries being made.
    time: String,
    /// Entries not written yet.
    out: Vec<u8>,
    /// The disk refused; said once.
    has_complained: bool,
    /// The process that compresses the last rotated file.
    compressor: Option<i32>,
}

impl FileLog {
    pub(super) fn open(spec: LogFile) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.path)?;
        let size = file.metadata()?.len();
        let attrs = if spec.attrs.is_empty() {
            String::new()
        } else {
            format!(r#","attrs":{}"#, serde_json::to_string(&spec.attrs)?)
        };
        Ok(Self {
            spec,
            file,
            size,
            attrs,
            stamp: Stamp::default(),
            time: String::new(),
            out: Vec::new(),
            has_complained: false,
            compressor: None,
        })
    }

    /// Entries follow, of about so many bytes, all of one moment.
    pub(super) fn begin(&mut self, now_ns: i64, bytes: usize) {
        self.time = self.stamp.at(now_ns);
        self.out = Vec::with_capacity(bytes + bytes / 4 + 128);
    }

    /// Writes the entries; the memory that they took is given back.
    pub(super) fn end(&mut self) {
        let out = std::mem::take(&mut self.out);
        self.put(&out);
    }

    /// Adds a line, or a part of one.
    pub(super) fn entry(&mut self, stream: Stream, text: &[u8]) {
        let pending = u64::try_from(self.out.len()).unwrap_or(u64::MAX);
        if self
            .spec
            .max_size_bytes
            .is_some_and(|max| self.size + pending >= max)
        {
            self.end();
            if let Err(e) = self.rotate() {
                self.complain("rotate", &e);
            }
        }
        let out = &mut self.out;
        out.extend_from_slice(br#"{"log":""#);
        escape(text, out);
        out.extend_from_slice(match stream {
            Stream::Stdout => br#"","stream":"stdout""#,
            Stream::Stderr => br#"","stream":"stderr""#,
        });
        out.extend_from_slice(self.attrs.as_bytes());
        out.extend_from_slice(br#","time":""#);
        out.extend_from_slice(self.time.as_bytes());
        out.extend_from_slice(b"\"}\n");
    }

    /// A full disk costs log entries, never the container.
    fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.file.write_all(bytes) {
            Ok(()) => self.size += u64::try_from(bytes.len()).unwrap_or(0),
            Err(e) => self.complain("write", &e),
        }
    }

    fn complain(&mut self, op: &str, error: &io::Error) {
        if !self.has_complained {
            eprintln!(
                "{op} {}: {error}; log entries are lost",
                self.spec.path.display()
            );
            self.has_complained = true;
        }
    }

    /// Begins a new file in any case: where something keeps the old ones from moving, or has taken the
    /// log away, entries must not go to a file without a name for ever.
    fn rotate(&mut self) -> io::Result<()> {
        let moved = self.move_on();
        let path = &self.spec.path;
        self.file = OpenOptions::new().create(true).append(true).open(path)?;
        self.size = 0;
        moved
    }

    /// Gives the files their next names.
    fn move_on(&mut self) -> io::Result<()> {
        if let Some(pid) = self.compressor.take() {
            // It names its file by the number it had. Gone already is as well.
            let _ = clone::wait_for(pid);
        }
        let path = &self.spec.path;
        for n in (1..self.spec.max_files.saturating_sub(1)).rev() {
            for suffix in ["", ".gz"] {
                ignore_missing(fs::rename(
                    numbered(path, n, suffix),
                    numbered(path, n + 1, suffix),
                ))?;
            }
        }
        if self.spec.max_files > 1 {
            let moved = fs::rename(path, numbered(path, 1, ""));
            if self.spec.compress && moved.is_ok() {
                self.compressor = compress(path)?;
            }
            ignore_missing(moved)
        } else {
            ignore_missing(fs::remove_file(path))
        }
    }
}

/// In a process of its own: the container goes on meanwhile, and the memory is given back.
fn compress(path: &Path) -> io::Result<Option<i32>> {
    let (from, to, tmp) = (
        numbered(path, 1, ""),
        numbered(path, 1, ".gz"),
        numbered(path, 1, ".gz.tmp"),
    );
    // SAFETY: the shim has one thread.
    match unsafe { clone::fork() }? {
        Side::Parent(pid) => Ok(Some(pid)),
        Side::Child => {
            let go = || -> io::Result<()> {
                let mut encoder = flate2::write::GzEncoder::new(
                    File::create(&tmp)?,
                    flate2::Compression::default(),
                );
                io::copy(&mut File::open(&from)?, &mut encoder)?;
                encoder.finish()?;
                fs::rename(&tmp, &to)?;
                fs::remove_file(&from)
            };
            if let Err(e) = go() {
                // Uncompressed it is as good a log.
                eprintln!("compress {}: {e}", from.display());
                let _ = fs::remove_file(&tmp);
            }
            clone::exit_now(0)
        }
    }
}

fn numbered(path: &Path, n: u32, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}{suffix}"));
    name.into()
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// As Go writes a JSON string: HTML's characters and the line separators escaped, bytes that are not
/// UTF-8 replaced.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        escape_str(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            // Go replaces byte by byte.
            for _ in chunk.invalid() {
                out.extend_from_slice(br"\ufffd");
            }
        }
    }
}

fn escape_str(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let replacement: &[u8] = match byte {
            b'"' => br#"\""#,
            b'\\' => br"\\",
            b'\n' => br"\n",
            b'\r' => br"\r",
            b'\t' => br"\t",
            0..0x20 | b'<' | b'>' | b'&' => {
                out.extend_from_slice(&bytes[start..at]);
                out.extend_from_slice(br"\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                start = at + 1;
                continue;
            }
            // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
            0xa8 | 0xa9 if at >= 2 && bytes[at - 2..at] == [0xe2, 0x80] => {
                out.extend_from_slice(&bytes[start..at - 2]);
                out.extend_from_slice(if *byte == 0xa8 {
                    br"\u2028"
                } else {
                    br"\u2029"
                });
                start = at + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[start..at]);
        out.extend_from_slice(replacement);
        start = at + 1;
    }
    out.extend_from_slice(&bytes[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_escape(text: &[u8], expect: &str) {
        let mut out = Vec::new();
        escape(text, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn text_is_escaped_as_go_does() {
        check_escape(b"a\"b\\c\n\r\t\x01", r#"a\"b\\c\n\r\t\u0001"#);
        check_escape(b"<a href=\"x\">&", r#"\u003ca href=\"x\"\u003e\u0026"#);
        check_escape("é\u{2028}z".as_bytes(), r"é\u2028z");
        check_escape(b"\xff\xfeok", r"\ufffd\ufffdok");
    }
}
