//! Reads log files: rotated ones first, from the beginning or the last so many lines. Blocks.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;

use crate::engine::{LogOptions, LogRecord, StreamKind};
use crate::error::{EngineError, Result};
use crate::timestamp;

/// Bytes read at once when looking for the last lines.
const STEP: u64 = 64 << 10;
/// Lines handed over at once.
const BATCH: usize = 256;

/// One line on disk.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    #[serde(default)]
    stream: &'a str,
    time: &'a str,
    #[serde(default)]
    attrs: std::collections::BTreeMap<String, String>,
}

/// A position in a container's log.
pub(super) struct LogReader {
    path: PathBuf,
    wanted: LogOptions,
    /// Rotated files to read before the current one, each with how many lines to skip.
    older: VecDeque<(PathBuf, usize)>,
    /// What is read now.
    open: Option<Source>,
    /// How many lines of the current file to skip, as bytes.
    start: u64,
    begun: bool,
}

enum Source {
    Older(Box<dyn BufRead + Send>),
    Current {
        file: BufReader<File>,
        inode: u64,
        partial: Vec<u8>,
    },
}

/// Some lines, and whether more may be had at once.
pub(super) struct Batch {
    pub records: Vec<LogRecord>,
    /// The end of what is written so far.
    pub at_end: bool,
    /// Past the time asked for: nothing more will be wanted.
    pub done: bool,
}

impl LogReader {
    pub(super) fn open(path: PathBuf, wanted: LogOptions) -> Result<Self> {
        let rotated = rotated(&path);
        let mut reader = Self {
            path,
            wanted,
            older: VecDeque::new(),
            open: None,
            start: 0,
            begun: false,
        };
        let Some(tail) = reader.wanted.tail else {
            reader.older = rotated.into_iter().map(|path| (path, 0)).collect();
            return Ok(reader);
        };
        let (offset, mut missing) = tail_offset(&reader.path, tail)?;
        reader.start = offset;
        for path in rotated.into_iter().rev() {
            if missing == 0 {
                break;
            }
            let lines = count_lines(&path)?;
            reader
                .older
                .push_front((path, lines.saturating_sub(missing)));
            missing = missing.saturating_sub(lines);
        }
        Ok(reader)
    }

    /// The next lines.
    pub(super) fn next_batch(&mut self) -> Result<Batch> {
        let mut batch = Batch {
            records: Vec::new(),
            at_end: false,
            done: false,
        };
        let mut line = Vec::new();
        while batch.records.len() < BATCH {
            line.clear();
            match self.next_line(&mut line)? {
                true => {}
                false => {
                    batch.at_end = true;
                    break;
                }
            }
            let Some(record) = parse(&line) else { continue };
            if self.wanted.until.is_some_and(|until| record.time > until) {
                batch.done = true;
                break;
            }
            let early = self.wanted.since.is_some_and(|since| record.time < since);
            let stream = match record.stream {
                StreamKind::Stderr => self.wanted.stderr,
                StreamKind::Stdout | StreamKind::Stdin => self.wanted.stdout,
            };
            if !early && stream {
                batch.records.push(record);
            }
        }
        Ok(batch)
    }

    /// Reads one whole line; false at the end of what is written.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        loop {
            let path = self.path.clone();
            match &mut self.open {
                Some(Source::Older(source)) => {
                    if source
                        .read_until(b'\n', line)
                        .map_err(EngineError::io("read", &path))?
                        > 0
                    {
                        return Ok(true);
                    }
                    self.open = None;
                }
                Some(Source::Current {
                    file,
                    inode,
                    partial,
                }) => {
                    if file
                        .read_until(b'\n', partial)
                        .map_err(EngineError::io("read", &path))?
                        > 0
                        && partial.ends_with(b"\n")
                    {
                        std::mem::swap(line, partial);
                        partial.clear();
                        return Ok(true);
                    }
                    // Rotated under our hands: what was the current file has been read to its end.
                    let rotated = std::fs::metadata(&path).is_ok_and(|meta| meta.ino() != *inode);
                    if !rotated {
                        return Ok(false);
                    }
                    self.open = None;
                    self.start = 0;
                }
                None => {
                    if !self.open_next()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn open_next(&mut self) -> Result<bool> {
        if let Some((path, skip)) = self.older.pop_front() {
            // One may be rotated away between the look and the reading.
            if let Ok(mut source) = open_older(&path) {
                let mut line = Vec::new();
                for _ in 0..skip {
                    line.clear();
                    source
                        .read_until(b'\n', &mut line)
                        .map_err(EngineError::io("read", &path))?;
                }
                self.open = Some(Source::Older(source));
            }
            return Ok(true);
        }
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(EngineError::io("open", &self.path)(error)),
        };
        let inode = file
            .metadata()
            .map_err(EngineError::io("stat", &self.path))?
            .ino();
        if !self.begun {
            file.seek(SeekFrom::Start(self.start))
                .map_err(EngineError::io("seek", &self.path))?;
            self.begun = true;
        }
        self.open = Some(Source::Current {
            file: BufReader::new(file),
            inode,
            partial: Vec::new(),
        });
        Ok(true)
    }
}

/// A line of a log file.
pub(crate) fn parse(line: &[u8]) -> Option<LogRecord> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let time = timestamp::parse(line.time).unwrap_or(SystemTime::UNIX_EPOCH);
    let stream = if line.stream == "stderr" {
        StreamKind::Stderr
    } else {
        StreamKind::Stdout
    };
    Some(LogRecord {
        stream,
        time,
        bytes: Bytes::copy_from_slice(line.log.as_bytes()),
        attributes: line.attrs.into_iter().collect(),
    })
}

/// Rotated files, oldest first.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let numbered = |n: u32, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}{suffix}"));
        PathBuf::from(name)
    };
    let mut found = Vec::new();
    for n in 1.. {
        let candidates = [numbered(n, ""), numbered(n, ".gz")];
        match candidates.into_iter().find(|path| path.exists()) {
            Some(path) => found.push(path),
            None => break,
        }
    }
    found.reverse();
    found
}

fn open_older(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(EngineError::io("open", path))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(
            file,
        ))));
    }
    Ok(Box::new(BufReader::new(file)))
}

fn count_lines(path: &Path) -> Result<usize> {
    let mut source = open_older(path)?;
    let mut count = 0;
    loop {
        let part = source.fill_buf().map_err(EngineError::io("read", path))?;
        if part.is_empty() {
            return Ok(count);
        }
        count += part.iter().filter(|byte| **byte == b'\n').count();
        let length = part.len();
        source.consume(length);
    }
}

/// Where the last `tail` lines begin, and how many of them are not in this file.
fn tail_offset(path: &Path, tail: usize) -> Result<(u64, usize)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, tail)),
        Err(error) => return Err(EngineError::io("open", path)(error)),
    };
    let fail = EngineError::io("read", path);
    let mut read = || -> std::io::Result<(u64, usize)> {
        let mut end = file.seek(SeekFrom::End(0))?;
        let mut lines = 0;
        let mut buffer = Vec::new();
        while end > 0 {
            let begin = end.saturating_sub(STEP);
            buffer.resize(usize::try_from(end - begin).unwrap_or(0), 0);
            file.seek(SeekFrom::Start(begin))?;
            file.read_exact(&mut buffer)?;
            for (at, byte) in buffer.iter().enumerate().rev() {
                if *byte == b'\n' {
                    // The line feed before the wanted lines is one more than there are lines.
                    if lines == tail {
                        return Ok((begin + at as u64 + 1, 0));
                    }
                    lines += 1;
                }
            }
            end = begin;
        }
        Ok((0, tail - lines))
    };
    read().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> String {
        format!(
            "{{\"log\":\"line {n}\\n\",\"stream\":\"{}\",\"time\":\"2026-01-01T00:00:{n:02}Z\"}}\n",
            if n.is_multiple_of(2) {
                "stdout"
            } else {
                "stderr"
            }
        )
    }

    fn write(path: &Path, numbers: std::ops::Range<usize>) {
        std::fs::write(path, numbers.map(line).collect::<String>()).unwrap();
    }

    fn read(path: &Path, options: LogOptions) -> Vec<String> {
        let mut reader = LogReader::open(path.to_owned(), options).unwrap();
        let mut all = Vec::new();
        loop {
            let batch = reader.next_batch().unwrap();
            all.extend(
                batch
                    .records
                    .iter()
                    .map(|record| String::from_utf8_lossy(&record.bytes).trim().to_owned()),
            );
            if batch.at_end || batch.done {
                return all;
            }
        }
    }

    fn both() -> LogOptions {
        LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        }
    }

    #[test]
    fn rotated_files_come_first_and_the_tail_reaches_into_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&dir.path().join("log.2"), 0..3);
        write(&dir.path().join("log.1"), 3..6);
        write(&path, 6..8);
        assert_eq!(read(&path, both()).len(), 8);
        let tail = |n| {
            read(
                &path,
                LogOptions {
                    tail: Some(n),
                    ..both()
                },
            )
        };
        assert_eq!(tail(0), Vec::<String>::new());
        assert_eq!(tail(1), ["line 7"]);
        assert_eq!(tail(4), ["line 4", "line 5", "line 6", "line 7"]);
        assert_eq!(tail(99).len(), 8);
    }

    #[test]
    fn streams_and_times_are_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&path, 0..10);
        let stderr = LogOptions {
            stderr: true,
            ..LogOptions::default()
        };
        assert_eq!(read(&path, stderr).len(), 5);
        let at = |n: u64| {
            timestamp::parse("2026-01-01T00:00:00Z").map(|t| t + std::time::Duration::from_secs(n))
        };
        let between = LogOptions {
            since: at(2),
            until: at(4),
            ..both()
        };
        assert_eq!(read(&path, between), ["line 2", "line 3", "line 4"]);
    }

    #[test]
    fn a_line_half_written_waits_for_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let whole = line(0);
        std::fs::write(&path, &whole[..20]).unwrap();
        let mut reader = LogReader::open(path.clone(), both()).unwrap();
        assert!(reader.next_batch().unwrap().records.is_empty());
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(reader.next_batch().unwrap().records.len(), 1);
    }

    #[test]
    fn a_rotation_while_reading_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&path, 0..2);
        let mut reader = LogReader::open(path.clone(), both()).unwrap();
        assert_eq!(reader.next_batch().unwrap().records.len(), 2);
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        write(&path, 2..5);
        assert_eq!(reader.next_batch().unwrap().records.len(), 3);
    }
}
