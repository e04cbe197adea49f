//! A snapshot in one file: frame 1 is `raftpb.SnapshotMetadata`, then pieces of
//! `docker.swarmkit.v1.Snapshot`, then an empty frame that says it is whole.
//!
//! It is written beside, synced and renamed: a file of this name is whole or damaged, never torn.

use std::sync::Arc;

use prost::Message;
use skep_objects::raftpb::SnapshotMetadata;

use super::LogError;
use super::frame::{FileKind, SALT_LEN, Seal};
use super::segment::{self, corrupt};
use super::wal::disk_error;
use crate::disk::Disk;
use crate::seal::{Dek, DekSet};

/// Bytes of a piece, about.
pub(crate) const PIECE: usize = 1 << 20;

/// End of the name under which a snapshot is made until it is whole. Each has a name of its own: one
/// made here and one that comes from the leader may be written at the same time.
const UNFINISHED: &str = ".tmp";

/// Writes a snapshot; when this returns it is durable. `fill` hands over the pieces.
pub(crate) fn write(
    disk: &Arc<dyn Disk>,
    key: &Dek,
    salt: [u8; SALT_LEN],
    metadata: &SnapshotMetadata,
    fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), LogError>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let seal = Seal::new(key.clone(), salt);
    let name = name_of(metadata.index(), metadata.term());
    let unfinished = format!("{name}{UNFINISHED}");
    let failed = |action| disk_error(disk.as_ref(), action, &unfinished);
    let mut file = disk.create(&unfinished).map_err(failed("create"))?;
    let header = seal.header(FileKind::Snapshot, metadata.index());
    let mut at = header.len() as u64;
    let mut number = 0;
    file.write_at(0, &header).map_err(failed("write"))?;
    let mut put = |piece: &[u8]| {
        number += 1;
        let frame = seal.frame(number, piece);
        file.write_at(at, &frame).map_err(failed("write"))?;
        at += frame.len() as u64;
        Ok(())
    };
    put(&metadata.encode_to_vec())?;
    // An empty piece would be taken for the end.
    fill(&mut |piece| if piece.is_empty() { Ok(()) } else { put(piece) })?;
    put(&[])?;
    file.sync().map_err(failed("sync"))?;
    disk.rename(&unfinished, &name).map_err(failed("rename"))?;
    disk.sync_names().map_err(failed("sync the directory of"))
}

/// Reads the snapshot of an index and term.
pub(crate) fn read(
    disk: &Arc<dyn Disk>,
    keys: &DekSet,
    index: u64,
    term: u64,
) -> Result<(SnapshotMetadata, Vec<u8>), LogError> {
    let name = name_of(index, term);
    let path = disk.describe(&name);
    let bytes = disk
        .read(&name)
        .map_err(disk_error(disk.as_ref(), "read", &name))?;
    let segment = segment::read(&path, FileKind::Snapshot, &bytes, keys)?;
    let segment = segment.ok_or_else(|| corrupt(&path, 0, "its header is broken"))?;
    let end = segment.len;
    drop(bytes);
    let mut payloads = segment.payloads.into_iter();
    let head = payloads
        .next()
        .ok_or_else(|| corrupt(&path, end, "it is cut off"))?;
    let metadata = SnapshotMetadata::decode(head.records.as_slice())
        .map_err(|error| corrupt(&path, 64, format!("its metadata: {error}")))?;
    let mut data = Vec::new();
    let mut whole = false;
    for payload in payloads {
        whole = payload.records.is_empty();
        data.extend_from_slice(&payload.records);
    }
    if !whole {
        return Err(corrupt(&path, end, "it is cut off"));
    }
    Ok((metadata, data))
}

/// Removes what a crash left half written. For the start, when nothing is being written.
pub(crate) fn remove_unfinished(disk: &Arc<dyn Disk>) -> Result<(), LogError> {
    let names = disk.list().map_err(disk_error(disk.as_ref(), "list", ""))?;
    for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        disk.remove(name)
            .map_err(disk_error(disk.as_ref(), "remove", name))?;
    }
    Ok(())
}

/// Index and term of the newest snapshot there.
pub(crate) fn newest(disk: &Arc<dyn Disk>) -> Result<Option<(u64, u64)>, LogError> {
    Ok(list(disk)?.into_iter().max())
}

/// Removes all snapshots older than that of an index and term, but the newest so many of them, and
/// what is not of its line.
pub(crate) fn keep_only(
    disk: &Arc<dyn Disk>,
    index: u64,
    term: u64,
    older: u64,
) -> Result<(), LogError> {
    let mut old: Vec<_> = list(disk)?;
    old.retain(|snapshot| *snapshot != (index, term));
    old.sort_unstable();
    let kept = usize::try_from(older).unwrap_or(usize::MAX);
    let removed = old.len().saturating_sub(kept);
    for (old_index, old_term) in &old[..removed] {
        let name = name_of(*old_index, *old_term);
        disk.remove(&name)
            .map_err(disk_error(disk.as_ref(), "remove", &name))?;
    }
    Ok(())
}

fn list(disk: &Arc<dyn Disk>) -> Result<Vec<(u64, u64)>, LogError> {
    let names = disk.list().map_err(disk_error(disk.as_ref(), "list", ""))?;
    Ok(names
        .iter()
        .filter_map(|name| index_and_term(name))
        .collect())
}

/// Its file's name.
pub(crate) fn name_of(index: u64, term: u64) -> String {
    format!("snapshot-{index:016x}-{term:016x}")
}

fn index_and_term(name: &str) -> Option<(u64, u64)> {
    let (index, term) = name.strip_prefix("snapshot-")?.split_once('-')?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    Some((number(index)?, number(term)?))
}
