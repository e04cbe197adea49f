//! A container's output on its way to where it is kept: a file, and what listens beyond it.
//!
//! Streams are cut into lines here, once. A line longer than 16 KiB becomes several entries, only
//! the last of which ends in a line feed. The file is written in place; whatever may wait for
//! somebody else (`syslog`, `journald`, `fluentd`) is behind [`forward::Forward`].

mod driver;
mod file;
mod forward;

use std::io;
use std::os::fd::BorrowedFd;

use super::spec::LogSpec;
use super::time::now_ns;
use file::FileLog;
use forward::Forward;

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
    file: Option<FileLog>,
    forward: Option<Forward>,
    partial: [Vec<u8>; 2],
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("open the log: {0}")]
    File(#[source] io::Error),
    /// The text is Docker's.
    #[error("failed to create task for container: failed to initialize logging driver: {0}")]
    Driver(String),
}

impl Log {
    /// Opens what the specification names; none where nothing is kept.
    pub(super) fn open(spec: &LogSpec) -> Result<Option<Self>, LogError> {
        let (file, forward) = match spec {
            LogSpec::None => return Ok(None),
            LogSpec::JsonFile(file) => (Some(file), None),
            LogSpec::Remote(remote) => {
                let forward = Forward::open(remote).map_err(LogError::Driver)?;
                (remote.cache.as_ref(), Some(forward))
            }
        };
        let file = file.map(|file| FileLog::open(file.clone())).transpose();
        Ok(Some(Self {
            file: file.map_err(LogError::File)?,
            forward,
            partial: [const { Vec::new() }; 2],
        }))
    }

    /// Takes what was read from a stream.
    pub(super) fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        let now = self.begin(bytes.len());
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
            let is_part = newline.is_none();
            if partial.is_empty() {
                self.entry(stream, line, now, is_part);
            } else {
                partial.extend_from_slice(line);
                self.entry(stream, &partial, now, is_part);
                partial.clear();
            }
        }
        if partial.is_empty() {
            // Gives back what a long line took.
            partial = Vec::new();
        }
        self.partial[stream as usize] = partial;
        self.end();
    }

    /// The streams have ended: what is left of them becomes entries too.
    pub(super) fn finish(&mut self) {
        let now = self.begin(0);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.partial[stream as usize]);
            if !rest.is_empty() {
                self.entry(stream, &rest, now, false);
            }
        }
        self.end();
    }

    fn begin(&mut self, bytes: usize) -> i64 {
        let now = now_ns();
        if let Some(file) = &mut self.file {
            file.begin(now, bytes);
        }
        now
    }

    fn end(&mut self) {
        if let Some(file) = &mut self.file {
            file.end();
        }
        self.flush();
    }

    fn entry(&mut self, stream: Stream, text: &[u8], now: i64, is_part: bool) {
        if let Some(file) = &mut self.file {
            file.entry(stream, text);
        }
        if let Some(forward) = &mut self.forward {
            forward.push(stream, text, now, is_part);
        }
    }

    /// Moves on what waits for a driver, as far as that takes it.
    pub(super) fn flush(&mut self) {
        if let Some(forward) = &mut self.forward {
            forward.flush();
        }
    }

    /// The driver lags, and the user wants the container to wait rather than to lose lines.
    pub(super) fn is_full(&self) -> bool {
        self.forward.as_ref().is_some_and(Forward::is_full)
    }

    /// What to wait for before [`Log::flush`] has something to do.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.forward.as_ref().and_then(Forward::waits_for)
    }
}

#[cfg(test)]
mod tests;
