//! Reads log files: rotated ones first, from the beginning or the last so many lines. Blocks.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;

use super::rotated::{Rotated, after, open_all};
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
    /// Files to read before the current one, oldest first.
    older: VecDeque<Rotated>,
    /// The file to read after those; what is at `path` then when there is none.
    current: Option<File>,
    /// How much of it to skip, in bytes.
    start: u64,
    /// What is read now.
    open: Option<Source>,
}

enum Source {
    Older(Box<dyn BufRead + Send>),
    Current {
        file: BufReader<File>,
        inode: u64,
        partial: Vec<u8>,
        /// Nothing is added to it any more.
        is_rotated: bool,
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
        let (mut current, rotated) = open_all(&path)?;
        let (mut older, mut start) = (VecDeque::new(), 0);
        match wanted.tail {
            None => older.extend(rotated.into_iter().rev()),
            Some(tail) => {
                let mut missing = tail;
                if let Some(file) = &mut current {
                    (start, missing) =
                        tail_offset(file, tail).map_err(EngineError::io("read", &path))?;
                }
                for mut file in rotated {
                    if missing == 0 {
                        break;
                    }
                    let lines = file.count_lines()?;
                    file.skip = lines.saturating_sub(missing);
                    older.push_front(file);
                    missing = missing.saturating_sub(lines);
                }
            }
        }
        Ok(Self {
            path,
            wanted,
            older,
            current,
            start,
            open: None,
        })
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
            let path = &self.path;
            match &mut self.open {
                Some(Source::Older(source)) => {
                    let read = source.read_until(b'\n', line);
                    if read.map_err(EngineError::io("read", path))? > 0 {
                        return Ok(true);
                    }
                    self.open = None;
                }
                Some(Source::Current {
                    file,
                    inode,
                    partial,
                    is_rotated,
                }) => {
                    let read = file.read_until(b'\n', partial);
                    if read.map_err(EngineError::io("read", path))? > 0 && partial.ends_with(b"\n")
                    {
                        std::mem::swap(line, partial);
                        partial.clear();
                        return Ok(true);
                    }
                    if *is_rotated {
                        let (current, newer) = after(path, file.get_ref())?;
                        (self.current, self.older) = (current, newer.into());
                        self.open = None;
                        continue;
                    }
                    *is_rotated = std::fs::metadata(path).is_ok_and(|meta| meta.ino() != *inode);
                    if !*is_rotated {
                        return Ok(false);
                    }
                    // Once more to its end: lines may have come between the two looks.
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
        if let Some(older) = self.older.pop_front() {
            self.open = Some(Source::Older(older.lines()?));
            return Ok(true);
        }
        let mut file = match self
            .current
            .take()
            .map_or_else(|| File::open(&self.path), Ok)
        {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(EngineError::io("open", &self.path)(error)),
        };
        let inode = file
            .metadata()
            .map_err(EngineError::io("stat", &self.path))?
            .ino();
        file.seek(SeekFrom::Start(std::mem::take(&mut self.start)))
            .map_err(EngineError::io("seek", &self.path))?;
        self.open = Some(Source::Current {
            file: BufReader::new(file),
            inode,
            partial: Vec::new(),
            is_rotated: false,
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

/// Where the last `tail` lines begin, and how many of them are not in this file.
fn tail_offset(file: &mut File, tail: usize) -> std::io::Result<(u64, usize)> {
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
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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

    #[test]
    fn files_are_read_that_get_other_names_meanwhile() {
        for tail in [None, Some(9)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let at = |name: &str| dir.path().join(name);
            write(&at("log.2"), 0..3);
            write(&at("log.1"), 3..6);
            write(&path, 6..10);
            let mut reader = LogReader::open(path.clone(), LogOptions { tail, ..both() }).unwrap();
            // Two rotations; the oldest file is gone, another is compressed.
            std::fs::remove_file(at("log.2")).unwrap();
            compress(&at("log.1"), &at("log.3.gz"));
            std::fs::rename(&path, at("log.2")).unwrap();
            write(&at("log.1"), 10..12);
            write(&path, 12..15);
            let batch = reader.next_batch().unwrap();
            let expect: Vec<String> = (tail.map_or(0, |tail| 10 - tail)..15)
                .map(|n| format!("line {n}"))
                .collect();
            assert_eq!(texts(&batch), expect, "{tail:?}");
        }
    }

    #[test]
    fn who_follows_reads_every_file_that_came_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let at = |name: &str| dir.path().join(name);
        write(&at("log.1"), 0..1);
        write(&path, 1..3);
        let mut reader = LogReader::open(path.clone(), both()).unwrap();
        assert_eq!(reader.next_batch().unwrap().records.len(), 3);
        // More was written before the log was rotated, three times, and compressed.
        append(&path, 3..4);
        compress(&path, &at("log.3.gz"));
        std::fs::rename(at("log.1"), at("log.4")).unwrap();
        write(&at("log.2"), 4..6);
        write(&at("log.1"), 6..7);
        write(&path, 7..9);
        let batch = reader.next_batch().unwrap();
        let expect: Vec<String> = (3..9).map(|n| format!("line {n}")).collect();
        assert_eq!(texts(&batch), expect);
    }

    #[test]
    fn a_number_that_is_nobodys_now_hides_no_older_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&dir.path().join("log.2"), 0..3);
        write(&path, 3..5);
        assert_eq!(read(&path, both()).len(), 5);
    }

    fn texts(batch: &Batch) -> Vec<String> {
        let text = |record: &LogRecord| String::from_utf8_lossy(&record.bytes).trim().to_owned();
        batch.records.iter().map(text).collect()
    }

    fn append(path: &Path, numbers: std::ops::Range<usize>) {
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        let text: String = numbers.map(line).collect();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    /// Another file, as the shim makes it, and the old one gone.
    fn compress(from: &Path, to: &Path) {
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(to).unwrap(),
            flate2::Compression::default(),
        );
        std::io::copy(&mut File::open(from).unwrap(), &mut encoder).unwrap();
        encoder.finish().unwrap();
        std::fs::remove_file(from).unwrap();
    }
}
