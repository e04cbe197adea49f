//! Making snapshots beside the work, sending them, and starting over from one.

use std::sync::Arc;

use bytes::Bytes;
use skep_objects::raftpb::{Entry, Snapshot, SnapshotMetadata};
use tokio::sync::oneshot;

use super::{Base, Replica};
use crate::codec::{decode_snapshot, encode_snapshot};
use crate::disk::Disk;
use crate::log::{AppendError, LogError, snapshot_file};
use crate::metrics;
use crate::raft::membership::Membership;
use crate::seal::{Dek, DekSet};
use crate::view::View;

/// What was applied since the last snapshot.
#[derive(Debug, Default)]
pub(super) struct Since {
    entries: u64,
    bytes: u64,
    /// Size of the last snapshot made here.
    last_bytes: u64,
}

impl Since {
    pub(super) fn count(&mut self, entry: &Entry) {
        self.entries += 1;
        self.bytes += entry.data().len() as u64;
    }
}

/// A snapshot to be made. It holds an immutable view, so that writes go on meanwhile.
#[derive(Debug)]
pub(crate) struct SnapshotJob {
    disk: Arc<dyn Disk>,
    key: Dek,
    salt: [u8; 16],
    metadata: SnapshotMetadata,
    view: View,
    membership: Membership,
}

/// How making a snapshot went.
#[derive(Debug)]
pub(crate) struct SnapshotDone {
    result: Result<(SnapshotMetadata, u64), LogError>,
    key: Dek,
}

impl SnapshotJob {
    /// Encodes, seals, writes and syncs: takes a while.
    pub(crate) fn run(self) -> SnapshotDone {
        let SnapshotJob {
            disk,
            key,
            salt,
            metadata,
            view,
            membership,
        } = self;
        let mut bytes = 0;
        let written = snapshot_file::write(&disk, &key, salt, &metadata, |put| {
            encode_snapshot(&view, &membership, snapshot_file::PIECE, |piece| {
                bytes += piece.len() as u64;
                put(piece)
            })
        });
        SnapshotDone {
            result: written.map(|()| (metadata, bytes)),
            key,
        }
    }
}

/// Reads a snapshot's data for sending it, beside the work.
#[derive(Debug)]
pub(crate) struct SnapshotReader {
    disk: Arc<dyn Disk>,
    keys: DekSet,
}

impl SnapshotReader {
    /// The data of the snapshot of an index and term, as the protocol carries it.
    pub(crate) fn read(&self, index: u64, term: u64) -> Result<Bytes, LogError> {
        let (_, data) = snapshot_file::read(&self.disk, &self.keys, index, term)?;
        Ok(data.into())
    }
}

impl Replica {
    /// What reads snapshots for sending.
    pub(crate) fn snapshot_reader(&self) -> SnapshotReader {
        SnapshotReader {
            disk: self.log.disk().clone(),
            keys: self.log.keys().clone(),
        }
    }

    /// Begins a snapshot when enough has happened, or somebody needs one.
    pub(super) fn begin_snapshot(&mut self) {
        self.job_wanted |= self.core.wants_snapshot();
        let due = self.since_snapshot.entries >= self.config.snapshot_interval
            || self.since_snapshot.bytes
                >= self
                    .config
                    .snapshot_bytes
                    .max(self.since_snapshot.last_bytes);
        let newer = self
            .snapshot
            .as_ref()
            .is_none_or(|last| last.index() < self.applied)
            || !self.rotations.is_empty();
        let is_begun = self.applied > 0 && self.leaving.is_none();
        if self.job_running || !(due || self.job_wanted) || !newer || !is_begun {
            return;
        }
        self.job_running = true;
        self.job_wanted = false;
        let last_bytes = self.since_snapshot.last_bytes;
        self.since_snapshot = Since {
            last_bytes,
            ..Since::default()
        };
        let metadata = SnapshotMetadata {
            conf_state: Some(self.conf_state()),
            index: Some(self.applied),
            term: Some(self.term_at(self.applied)),
        };
        self.out.job = Some(SnapshotJob {
            disk: self.log.disk().clone(),
            key: self.log.keys().current().clone(),
            salt: self.log.salt(),
            metadata,
            view: self.store.view(),
            membership: self.membership.clone(),
        });
    }

    /// A snapshot was made, or could not be: lets go of the log that it stands for.
    pub(crate) fn snapshot_done(&mut self, done: SnapshotDone) {
        self.job_running = false;
        if !self.is_running() || self.leaving.is_some() {
            return;
        }
        let (metadata, bytes) = match done.result {
            Ok(made) => made,
            Err(error) => {
                // The log has everything; the next attempt comes with the next interval.
                tracing::warn!(%error, "snapshot not made");
                return;
            }
        };
        if self
            .snapshot
            .as_ref()
            .is_some_and(|last| last.index() > metadata.index())
        {
            return; // One from the leader overtook it.
        }
        self.since_snapshot.last_bytes = bytes;
        let (index, term) = (metadata.index(), metadata.term());
        let conf_state = metadata.conf_state.clone().unwrap_or_default();
        self.core.set_snapshot(index, term, conf_state);
        self.snapshot = Some(metadata);
        let rotating = !self.rotations.is_empty();
        let kept = if rotating {
            self.core.entries()
        } else {
            Vec::new()
        };
        let rolled = self.log.roll(&self.base(), &kept);
        let begun = rolled.is_ok();
        self.note_roll(rolled);
        if begun {
            self.forget_before(index, term, rotating);
        }
        if !rotating {
            return;
        }
        if begun && done.key == *self.log.keys().current() {
            for waiting in self.rotations.drain(..) {
                // Who asked may not care any more.
                let _ = waiting.send(());
            }
        } else {
            self.job_wanted = true;
        }
    }

    /// Lets go of entries, segments and snapshots that the snapshot of `index` stands for.
    fn forget_before(&mut self, index: u64, term: u64, all_segments: bool) {
        let last_forgotten = index.saturating_sub(self.config.keep_entries);
        self.core.compact(last_forgotten);
        // Older ones are sealed with an older key when one is being done away with.
        let older = if all_segments {
            0
        } else {
            self.config.keep_snapshots
        };
        let removed = self
            .log
            .compact(if all_segments {
                u64::MAX
            } else {
                last_forgotten
            })
            .and_then(|()| snapshot_file::keep_only(self.log.disk(), index, term, older));
        if let Err(error) = removed {
            // Only room is lost; the next snapshot tries again.
            tracing::warn!(%error, "old raft files not removed");
        }
    }

    /// Makes a leader's snapshot durable, and the log begin behind it.
    pub(super) fn persist_snapshot(
        &mut self,
        snapshot: &Snapshot,
        entries: &[Entry],
    ) -> Result<(), AppendError> {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let salt = self.log.salt();
        let key = self.log.keys().current().clone();
        let written = snapshot_file::write(self.log.disk(), &key, salt, &metadata, |put| {
            snapshot
                .data()
                .chunks(snapshot_file::PIECE)
                .try_for_each(put)
        });
        written.map_err(|error| match error {
            LogError::Disk { ref source, .. } if crate::log::is_full(source) => {
                AppendError::Full(error)
            }
            error => AppendError::Broken(error),
        })?;
        let base = Base {
            snapshot: Some(metadata),
            ..self.base()
        };
        self.log.roll(&base, entries)
    }

    /// Starts over from a leader's snapshot that is durable.
    pub(super) fn install(&mut self, snapshot: Snapshot) {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let index = metadata.index();
        let (view, mut membership) = match decode_snapshot(snapshot.data(), index) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.fail(format!("the leader's snapshot of entry {index}: {error}"));
                return;
            }
        };
        tracing::info!(
            raft.index = index,
            "store restored from the leader's snapshot"
        );
        metrics::count(&self.counters.snapshots_received);
        self.store.shared.state().restore(view);
        let conf_state = metadata.conf_state.as_ref();
        membership.set_learners(conf_state.map_or(&[], |state| &state.learners));
        self.membership = membership;
        self.applied = index;
        self.since_snapshot = Since {
            last_bytes: snapshot.data().len() as u64,
            ..Since::default()
        };
        self.out.members_changed = true;
        let term = metadata.term();
        self.snapshot = Some(metadata);
        let removed = self
            .log
            .compact(index)
            .and_then(|()| snapshot_file::keep_only(self.log.disk(), index, term, 0));
        if let Err(error) = removed {
            tracing::warn!(%error, "old raft files not removed");
        }
    }

    /// Seals everything from now on with another key; answered when nothing is left that is sealed
    /// with an older one.
    pub(crate) fn rotate_key(&mut self, key: Dek, reply: oneshot::Sender<()>) {
        if !self.is_running() || self.leaving.is_some() {
            return;
        }
        self.log.rotate(key);
        let rolled = self.log.roll(&self.base(), &self.core.entries());
        if rolled.is_ok()
            && let Err(error) = self.log.compact(u64::MAX)
        {
            tracing::warn!(%error, "log segments sealed with an older key not removed");
        }
        self.note_roll(rolled);
        self.rotations.push(reply);
        self.job_wanted = true;
        self.advance();
    }
}
