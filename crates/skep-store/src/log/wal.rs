//! The log: numbered segments of frames, the newest of which is written.
//!
//! A process never writes to a segment of an earlier one: each start begins a new segment, so a
//! cut tail is never written again under the same nonces. Each segment begins with everything that
//! is not entries (identity, hard state, snapshot), so that older ones can go when their entries are
//! no longer needed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use skep_objects::raftpb::{Entry, HardState, SnapshotMetadata};

use super::LogError;
use super::frame::{FileKind, HEADER_LEN, SALT_LEN, Seal};
use super::record::{self, Identity, Record};
use super::segment::{self, Segment, corrupt};
use crate::disk::{Disk, DiskFile};
use crate::seal::{Dek, DekSet};

/// Unless set otherwise.
const WRITE_AHEAD_BYTES: u64 = 1 << 20;
/// A frame longer than this is followed by another.
const FRAME_BYTES: usize = 8 << 20;
/// A segment beyond this length is followed by a new one.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Draws the random bytes that each file's nonces start with.
pub(crate) type Salts = Box<dyn FnMut() -> [u8; SALT_LEN] + Send>;

/// The log of one member, open for appending.
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    keys: DekSet,
    salts: Salts,
    /// Zeros written ahead, so that a frame overwrites and a sync need not wait for the file system's
    /// journal: three to five times faster on ext4.
    write_ahead_bytes: u64,
    current: Option<Current>,
    /// Segments by sequence number, with the highest index of an entry in each.
    segments: BTreeMap<u64, u64>,
}

/// The segment that is written.
#[derive(Debug)]
struct Current {
    sequence: u64,
    file: Box<dyn DiskFile>,
    seal: Seal,
    /// Where the next frame goes.
    end: u64,
    /// Where the zeros written ahead end, and how many to write at once.
    allocated: u64,
    write_ahead_bytes: u64,
    /// The number of the last frame.
    number: u64,
}

/// What a segment begins with.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) identity: Identity,
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotMetadata>,
}

/// What the log says after a restart.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Recovered {
    pub(crate) identity: Option<Identity>,
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotMetadata>,
    pub(crate) entries: Vec<Entry>,
}

/// Why a frame could not be appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// No room. The log is as it was; the same frame may be tried again later.
    #[error("{0}")]
    Full(LogError),
    /// The disk does not work, and what it holds is not known.
    #[error(transparent)]
    Broken(LogError),
}

impl Log {
    /// Reads what is there, cutting the torn tail of the last segment. [`Log::roll`] comes next.
    pub(crate) fn recover(
        disk: Arc<dyn Disk>,
        keys: DekSet,
        salts: Salts,
    ) -> Result<(Log, Recovered), LogError> {
        let names = disk.list().map_err(disk_error(disk.as_ref(), "list", ""))?;
        let names: Vec<&String> = names
            .iter()
            .filter(|name| sequence_of(name).is_some())
            .collect();
        let mut recovered = Recovered::default();
        let mut segments = BTreeMap::new();
        for (n, name) in names.iter().enumerate() {
            let bytes = disk
                .read(name)
                .map_err(disk_error(disk.as_ref(), "read", name))?;
            let path = disk.describe(name);
            let is_last = n + 1 == names.len();
            let Some(segment) = segment::read(&path, FileKind::Log, &bytes, &keys)? else {
                if !is_last {
                    return Err(corrupt(&path, 0, "it has no header"));
                }
                disk.remove(name)
                    .map_err(disk_error(disk.as_ref(), "remove", name))?;
                continue;
            };
            if Some(segment.sequence) != sequence_of(name) {
                return Err(corrupt(&path, 16, "its number is not that of its name"));
            }
            if segment.torn && !is_last {
                return Err(corrupt(
                    &path,
                    segment.len,
                    "it is torn, and later segments exist",
                ));
            }
            if bytes.len() > segment.len {
                let len = segment.len as u64;
                disk.truncate(name, len)
                    .map_err(disk_error(disk.as_ref(), "truncate", name))?;
            }
            let highest = recovered.replay(&path, &segment)?;
            segments.insert(segment.sequence, highest);
        }
        Ok((
            Log {
                disk,
                keys,
                salts,
                write_ahead_bytes: WRITE_AHEAD_BYTES,
                current: None,
                segments,
            },
            recovered,
        ))
    }

    /// Writes so many zeros ahead in the segments to come.
    pub(crate) fn set_write_ahead(&mut self, bytes: u64) {
        self.write_ahead_bytes = bytes.max(1);
    }

    /// Begins a new segment with `base` and entries that no older segment needs to hold.
    pub(crate) fn roll(&mut self, base: &Base, entries: &[Entry]) -> Result<(), AppendError> {
        let sequence = self
            .segments
            .last_key_value()
            .map_or(1, |(last, _)| last + 1);
        let name = name_of(sequence);
        let seal = Seal::new(self.keys.current().clone(), (self.salts)());
        let made = self.create(&name, &seal, sequence).and_then(|file| {
            let (end, allocated) = (HEADER_LEN as u64, HEADER_LEN as u64);
            let mut current = Current {
                write_ahead_bytes: self.write_ahead_bytes,
                sequence,
                file,
                seal,
                end,
                allocated,
                number: 0,
            };
            let mut records = Vec::new();
            record::put_identity(&mut records, &base.identity);
            if let Some(snapshot) = &base.snapshot {
                record::put_snapshot(&mut records, snapshot);
            }
            current
                .append_all(records, entries, Some(&base.hard_state))
                .map(|()| current)
        });
        match made {
            Ok(current) => {
                self.current = Some(current);
                self.segments.insert(sequence, highest(entries));
                Ok(())
            }
            Err(error) => {
                // The old segment goes on. A half-made one would be taken for damage later.
                let removed = self
                    .disk
                    .remove(&name)
                    .and_then(|()| self.disk.sync_names());
                let error = removed.err().unwrap_or(error);
                Err(self.append_error("begin", &name, error))
            }
        }
    }

    fn create(&self, name: &str, seal: &Seal, sequence: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut file = self.disk.create(name)?;
        file.write_at(0, &seal.header(FileKind::Log, sequence))?;
        file.sync()?;
        self.disk.sync_names()?;
        Ok(file)
    }

    /// Appends entries and a hard state, as one frame and with one sync unless they are very many.
    /// When this returns, all are durable.
    pub(crate) fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), AppendError> {
        let current = self
            .current
            .as_mut()
            .expect("the log is rolled when it is opened");
        let sequence = current.sequence;
        current
            .append_all(Vec::new(), entries, hard_state)
            .map_err(|error| self.append_error("append to", &name_of(sequence), error))?;
        let highest_here = self.segments.entry(sequence).or_default();
        *highest_here = highest(entries).max(*highest_here);
        Ok(())
    }

    /// Whether it is time for a new segment.
    pub(crate) fn is_long(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.end > SEGMENT_BYTES)
    }

    /// Removes the oldest segments, as long as they have no entry from `first_needed` on.
    ///
    /// Only from the oldest on: a segment in the middle may be what cuts an older one's entries.
    pub(crate) fn compact(&mut self, first_needed: u64) -> Result<(), LogError> {
        let current = self.current.as_ref().map(|current| current.sequence);
        while let Some(oldest) = self.segments.first_entry() {
            if Some(*oldest.key()) == current || *oldest.get() >= first_needed {
                break;
            }
            let name = name_of(*oldest.key());
            let disk = self.disk.as_ref();
            disk.remove(&name)
                .map_err(disk_error(disk, "remove", &name))?;
            oldest.remove();
        }
        let disk = self.disk.as_ref();
        disk.sync_names()
            .map_err(disk_error(disk, "sync the directory of", "the log"))
    }

    /// Takes another key for everything written from the next segment on.
    pub(crate) fn rotate(&mut self, key: Dek) {
        self.keys.rotate(key);
    }

    pub(crate) fn keys(&self) -> &DekSet {
        &self.keys
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Random bytes for another file.
    pub(crate) fn salt(&mut self) -> [u8; SALT_LEN] {
        (self.salts)()
    }

    fn append_error(&self, action: &'static str, name: &str, error: io::Error) -> AppendError {
        let full = is_full(&error);
        let error = disk_error(self.disk.as_ref(), action, name)(error);
        if full {
            AppendError::Full(error)
        } else {
            AppendError::Broken(error)
        }
    }
}

impl Current {
    /// Appends records in frames of bounded length. The hard state comes last: it may say that the
    /// entries are committed.
    fn append_all(
        &mut self,
        mut records: Vec<u8>,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> io::Result<()> {
        for entry in entries {
            if records.len() > FRAME_BYTES {
                self.append(&records)?;
                records.clear();
            }
            record::put_entry(&mut records, entry);
        }
        if let Some(state) = hard_state {
            record::put_hard_state(&mut records, state);
        }
        self.append(&records)
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let frame = self.seal.frame(self.number + 1, records);
        self.file.write_at(self.end, &frame)?;
        let end = self.end + frame.len() as u64;
        if end > self.allocated {
            let allocated = end.next_multiple_of(self.write_ahead_bytes);
            let zeros = vec![0; usize::try_from(allocated - end).unwrap_or_default()];
            // Writing ahead only saves time: a disk too full for it still took the frame.
            match self.file.write_at(end, &zeros) {
                Ok(()) => self.allocated = allocated,
                Err(error) if is_full(&error) => self.allocated = end,
                Err(error) => return Err(error),
            }
        }
        self.file.sync()?;
        self.end = end;
        self.number += 1;
        Ok(())
    }
}

impl Recovered {
    /// Takes in a segment's records; answers the highest index of an entry among them.
    fn replay(&mut self, file: &str, segment: &Segment) -> Result<u64, LogError> {
        let mut highest = 0;
        for payload in &segment.payloads {
            let at = usize::try_from(payload.offset).unwrap_or_default();
            let records =
                record::parse(&payload.records).map_err(|what| corrupt(file, at, what))?;
            for record in records {
                if let Record::Entry(entry) = &record {
                    highest = highest.max(entry.index());
                }
                self.take(record).map_err(|what| corrupt(file, at, what))?;
            }
        }
        Ok(highest)
    }

    fn take(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Entry(entry) => {
                let kept = self
                    .entries
                    .partition_point(|old| old.index() < entry.index());
                self.entries.truncate(kept);
                let last = self.entries.last().map(Entry::index);
                if last.is_some_and(|last| last + 1 != entry.index()) {
                    return Err(format!("entry {} follows entry {last:?}", entry.index()));
                }
                self.entries.push(entry);
            }
            Record::HardState(state) => self.hard_state = state,
            Record::Identity(identity) => self.identity = Some(identity),
            Record::Snapshot(snapshot) => {
                self.fit(&snapshot);
                self.snapshot = Some(snapshot);
            }
        }
        Ok(())
    }
}

impl Recovered {
    /// Drops the entries that a snapshot contradicts: it came from the leader, in their place. One
    /// that was made here contradicts nothing, and entries behind it may lie in older segments, of
    /// which the first may be gone by now.
    fn fit(&mut self, snapshot: &SnapshotMetadata) {
        let (index, term) = (snapshot.index(), snapshot.term());
        let own = self.entries.iter().find(|entry| entry.index() == index);
        let is_replaced = match own {
            Some(entry) => entry.term() != term,
            None => self.entries.last().is_some_and(|last| last.index() < index),
        };
        if is_replaced {
            self.entries.clear();
        }
        // Terms never fall along a log.
        let is_stale = |entry: &Entry| entry.index() > index && entry.term() < term;
        if let Some(place) = self.entries.iter().position(is_stale) {
            self.entries.truncate(place);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("disk", &self.disk)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

fn highest(entries: &[Entry]) -> u64 {
    entries.last().map_or(0, Entry::index)
}

fn name_of(sequence: u64) -> String {
    format!("log-{sequence:016x}")
}

fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?;
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|_| digits.len() == 16)
}

/// Whether the error means that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

pub(crate) fn disk_error<'a>(
    disk: &'a dyn Disk,
    action: &'static str,
    name: &'a str,
) -> impl FnOnce(io::Error) -> LogError + 'a {
    move |source| LogError::Disk {
        action,
        file: disk.describe(name),
        source,
    }
}

#[cfg(test)]
#[path = "wal/tests.rs"]
mod tests;
