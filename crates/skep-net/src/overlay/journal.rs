//! The endpoint tables on disk: what the managers said last serves until they say more, also after
//! a crash of the daemon while no manager can be reached.
//!
//! ```text
//! "skep endpoints 1\n"
//! record: u32 length, u32 CRC-32 of the message (both little-endian), EndpointsMessage
//! record: ...
//! ```
//! Messages are appended as they come, changes as changes: an event costs its own size. A file that
//! has grown to twice what the tables need is written anew and renamed into place. Reading ends at
//! the first record that is torn. It need not survive the machine, only the daemon: nothing is
//! synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use skep_objects::skep_v1::EndpointsMessage;

const MAGIC: &[u8] = b"skep endpoints 1\n";
/// A file smaller than this is not worth writing anew.
const SMALL_BYTES: u64 = 256 << 10;

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// Bytes in the file, and right after it was last written anew.
    size_bytes: u64,
    compact_bytes: u64,
}

impl Journal {
    /// Opens the journal in a directory; answers what was said before.
    pub fn open(dir: &Path) -> (Self, Vec<EndpointsMessage>) {
        let path = dir.join("endpoints");
        let bytes = fs::read(&path).unwrap_or_default();
        let messages = parse(&bytes);
        let journal = Self {
            path,
            file: None,
            size_bytes: u64::MAX,
            compact_bytes: 0,
        };
        (journal, messages)
    }

    /// Notes a message. `whole` makes the messages that say all of the tables.
    pub fn note(
        &mut self,
        message: &EndpointsMessage,
        whole: impl FnOnce() -> EndpointsMessage,
    ) -> io::Result<()> {
        let limit = SMALL_BYTES.max(self.compact_bytes.saturating_mul(2));
        if self.size_bytes > limit || self.file.is_none() {
            return self.rewrite(&whole());
        }
        let record = record(message);
        let written = match &mut self.file {
            Some(file) => file.write_all(&record),
            None => Ok(()),
        };
        self.size_bytes += record.len() as u64;
        if written.is_err() {
            // What follows a torn record is not read: the next message writes all anew.
            self.file = None;
        }
        written
    }

    fn rewrite(&mut self, whole: &EndpointsMessage) -> io::Result<()> {
        self.file = None;
        let new = self.path.with_extension("new");
        let mut bytes = MAGIC.to_vec();
        bytes.extend(record(whole));
        fs::write(&new, &bytes)?;
        fs::rename(&new, &self.path)?;
        self.file = Some(File::options().append(true).open(&self.path)?);
        self.size_bytes = bytes.len() as u64;
        self.compact_bytes = self.size_bytes;
        Ok(())
    }

    /// Forgets everything: this node is no member any more.
    pub fn remove(&mut self) -> io::Result<()> {
        self.file = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn record(message: &EndpointsMessage) -> Vec<u8> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut out = length.to_le_bytes().to_vec();
    out.extend(crc32fast::hash(&body).to_le_bytes());
    out.extend(body);
    out
}

fn parse(bytes: &[u8]) -> Vec<EndpointsMessage> {
    let mut rest = bytes.strip_prefix(MAGIC).unwrap_or_default();
    let mut messages = Vec::new();
    while let Some((message, after)) = parse_one(rest) {
        messages.push(message);
        rest = after;
    }
    messages
}

fn parse_one(bytes: &[u8]) -> Option<(EndpointsMessage, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (body, after) = rest.split_at_checked(length)?;
    let is_whole = crc32fast::hash(body) == u32::from_le_bytes(*sum);
    let message = is_whole.then(|| EndpointsMessage::decode(body).ok())??;
    Some((message, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64) -> EndpointsMessage {
        EndpointsMessage {
            sequence,
            ..EndpointsMessage::default()
        }
    }

    fn sequences(messages: &[EndpointsMessage]) -> Vec<u64> {
        messages.iter().map(|m| m.sequence).collect()
    }

    #[test]
    fn what_was_said_is_read_again_up_to_the_first_damage() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, said) = Journal::open(dir.path());
        assert!(said.is_empty());
        for n in 1..=3 {
            journal.note(&message(n), || message(n)).unwrap();
        }
        let (_, said) = Journal::open(dir.path());
        assert_eq!(sequences(&said), [1, 2, 3]);
        let path = dir.path().join("endpoints");
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(sequences(&Journal::open(dir.path()).1), [1, 2]);
        fs::write(&path, &bytes[..end - 3]).unwrap();
        assert_eq!(sequences(&Journal::open(dir.path()).1), [1, 2]);
        fs::write(&path, b"something else").unwrap();
        assert!(Journal::open(dir.path()).1.is_empty());
    }

    #[test]
    fn a_new_run_and_a_grown_file_begin_with_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path());
        journal.note(&message(1), || message(100)).unwrap();
        journal.note(&message(2), || message(200)).unwrap();
        journal.size_bytes = SMALL_BYTES + 1;
        journal.note(&message(3), || message(300)).unwrap();
        assert_eq!(sequences(&Journal::open(dir.path()).1), [300]);
        journal.remove().unwrap();
        journal.remove().unwrap();
        assert!(Journal::open(dir.path()).1.is_empty());
    }
}
