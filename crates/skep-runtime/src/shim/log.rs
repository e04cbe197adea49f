//! The container's log: Docker's `json-file`, with rotation.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","attrs":{…},"time":"2026-11-23T07:00:00.123456789Z"}
//! ```
//!
//! A line longer than 16 KiB becomes several entries, only the last of which ends in a line feed.
//! An entry whose text ends without one was cut there, or the stream ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::spec::LogFile;
use super::time::Stamp;
use crate::sys::clone::{self, Side};

/// Docker cuts lines here.
const MAX_LINE: usize = 16 * 1024;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Writes the log of one container.
#[derive(Debug)]
pub(super) struct Log {
    spec: LogFile,
    file: File,
    size: u64,
    attrs: String,
    partial: [Vec<u8>; 2],
    stamp: Stamp,
    /// The disk refused; said once.
    has_complained: bool,
    /// The process that compresses the last rotated file.
    compressor: Option<i32>,
}

impl Log {
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
            partial: [const { Vec::new() }; 2],
            stamp: Stamp::default(),
            has_complained: false,
            compressor: None,
        })
    }

    /// Takes what was read from a stream.
    pub(super) fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4 + 128);
        let time = self.stamp.now();
        let mut partial = std::mem::take(&mut self.partial[stream as usize]);
        while !bytes.is_empty() {
            let room = MAX_LINE - partial.len();
            let window = &bytes[..bytes.len().min(room)];
            let newline = window.iter().position(|b| *b == b'\n');
            let taken = newline.map_or(window.len(), |at| at + 1);
            let (line, rest) = bytes.split_at(taken);
            bytes = rest;
            if newline.is_none() && partial.len() + line.len() < MAX_LINE {
                partial.extend_from_slice(line);
                break;
            }
            if partial.is_empty() {
                self.entry(&mut out, stream, line, &time);
            } else {
                partial.extend_from_slice(line);
                self.entry(&mut out, stream, &partial, &time);
                partial.clear();
            }
        }
        if partial.is_empty() {
            // Gives back what a long line took.
            partial = Vec::new();
        }
        self.partial[stream as usize] = partial;
        self.put(&out);
    }

    /// The streams have ended: what is left of them becomes entries too.
    pub(super) fn finish(&mut self) {
        let time = self.stamp.now();
        let mut out = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.partial[stream as usize]);
            if !rest.is_empty() {
                self.entry(&mut out, stream, &rest, &time);
            }
        }
        self.put(&out);
    }

    fn entry(&mut self, out: &mut Vec<u8>, stream: Stream, text: &[u8], time: &str) {
        let pending = u64::try_from(out.len()).unwrap_or(u64::MAX);
        if self
            .spec
            .max_size_bytes
            .is_some_and(|max| self.size + pending >= max)
        {
            self.put(out);
            out.clear();
            if let Err(e) = self.rotate() {
                self.complain("rotate", &e);
            }
        }
        out.extend_from_slice(br#"{"log":""#);
        escape(text, out);
        out.extend_from_slice(match stream {
            Stream::Stdout => br#"","stream":"stdout""#,
            Stream::Stderr => br#"","stream":"stderr""#,
        });
        out.extend_from_slice(self.attrs.as_bytes());
        out.extend_from_slice(br#","time":""#);
        out.extend_from_slice(time.as_bytes());
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

    fn rotate(&mut self) -> io::Result<()> {
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
            fs::rename(path, numbered(path, 1, ""))?;
            if self.spec.compress {
                self.compressor = compress(path)?;
            }
        } else {
            fs::remove_file(path)?;
        }
        self.file = OpenOptions::new().create(true).append(true).open(path)?;
        self.size = 0;
        Ok(())
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

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("skep-log-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn log(&self, max_size_bytes: Option<u64>, max_files: u32) -> Log {
            let path = self.0.join("log");
            Log::open(LogFile {
                path,
                max_size_bytes,
                max_files,
                compress: false,
                attrs: Default::default(),
            })
            .unwrap()
        }

        fn lines(&self, name: &str) -> Vec<serde_json::Value> {
            let text = fs::read_to_string(self.0.join(name)).unwrap();
            text.lines()
                .map(|l| serde_json::from_str(l).unwrap())
                .collect()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_are_joined_across_reads() {
        let place = Place::new("join");
        let mut log = place.log(None, 1);
        log.write(Stream::Stdout, b"hel");
        log.write(Stream::Stderr, b"oops\n");
        log.write(Stream::Stdout, b"lo\nwor");
        log.finish();
        let got: Vec<_> = place
            .lines("log")
            .iter()
            .map(|l| (l["stream"].to_string(), l["log"].to_string()))
            .collect();
        let want = [
            ("stderr", r"oops\n"),
            ("stdout", r"hello\n"),
            ("stdout", "wor"),
        ];
        assert_eq!(
            got,
            want.map(|(s, t)| (format!("\"{s}\""), format!("\"{t}\"")))
        );
    }

    #[test]
    fn long_lines_are_cut_at_16_kib() {
        let place = Place::new("long");
        let mut log = place.log(None, 1);
        let mut text = vec![b'x'; MAX_LINE * 2 + 5];
        text.push(b'\n');
        for part in text.chunks(10_000) {
            log.write(Stream::Stdout, part);
        }
        let lengths: Vec<usize> = place
            .lines("log")
            .iter()
            .map(|l| l["log"].as_str().unwrap().len())
            .collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, 6]);
    }

    #[test]
    fn rotation_keeps_so_many_files() {
        let place = Place::new("rotate");
        let mut log = place.log(Some(200), 3);
        for n in 0..20 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        }
        let mut names: Vec<_> = fs::read_dir(&place.0)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        assert_eq!(place.lines("log").last().unwrap()["log"], "line 19\n");
        let last_of_older = place.lines("log.1").last().unwrap()["log"].clone();
        let first_of_newer = place.lines("log")[0]["log"].clone();
        let n = |v: &serde_json::Value| {
            v.as_str()
                .unwrap()
                .trim()
                .rsplit(' ')
                .next()
                .unwrap()
                .parse::<u32>()
                .unwrap()
        };
        assert_eq!(n(&last_of_older) + 1, n(&first_of_newer));
    }

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
