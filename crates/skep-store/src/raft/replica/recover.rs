//! From what is on disk, or from nothing, to a member's first state.

use std::sync::Arc;

use prost::Message as _;
use skep_objects::raftpb::{
    ConfChange, ConfChangeType, Entry, EntryType, HardState, SnapshotMetadata,
};

use super::Salts;
use crate::codec::decode_snapshot;
use crate::disk::Disk;
use crate::log::{AppendError, Base, Identity, Log, LogError, Recovered, snapshot_file};
use crate::raft::config::{RaftConfig, Start};
use crate::raft::core::CoreError;
use crate::raft::membership::{Member, Membership, removal};
use crate::raft::raft_rs::CoreStart;
use crate::view::View;

/// Why a member cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is on disk cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A snapshot or entry does not make sense.
    #[error("{file}: {source}")]
    Codec {
        /// Where it is.
        file: String,
        /// What is wrong with it.
        source: crate::codec::CodecError,
    },
    /// The log's parts do not fit together.
    #[error("{place}: {what}; remove the directory and join again, or restore it from a backup")]
    Inconsistent {
        /// The directory.
        place: String,
        /// What does not fit.
        what: String,
    },
    /// Raft refuses what it is given.
    #[error("begin raft: {0}")]
    Core(String),
}

impl From<CoreError> for OpenError {
    fn from(error: CoreError) -> Self {
        OpenError::Core(error.to_string())
    }
}

/// A member's first state.
pub(super) struct Opened {
    pub(super) identity: Identity,
    pub(super) log: Log,
    pub(super) view: View,
    pub(super) membership: Membership,
    pub(super) snapshot: Option<SnapshotMetadata>,
    pub(super) core: CoreStart,
    /// Why no segment could be begun: the disk is full. All that was there is read.
    pub(super) full: Option<LogError>,
}

/// Reads the disk, or begins as the configuration says; the log is open for appending afterwards.
pub(super) fn open(
    config: &RaftConfig,
    disk: Arc<dyn Disk>,
    salts: Salts,
) -> Result<Opened, OpenError> {
    let (mut log, recovered) = Log::recover(disk, config.keys.clone(), salts)?;
    log.set_write_ahead(config.write_ahead_bytes);
    let fresh = recovered == Recovered::default();
    let mut opened = if fresh {
        begin(config, log)
    } else {
        restart(config, log, recovered)?
    };
    let forced = if config.force_new_cluster {
        force_alone(&mut opened)?
    } else {
        Vec::new()
    };
    let mut entries = if fresh {
        opened.core.entries.clone()
    } else {
        Vec::new()
    };
    entries.extend(forced);
    let base = Base {
        identity: opened.identity.clone(),
        hard_state: opened.core.hard_state,
        snapshot: opened.snapshot.clone(),
    };
    match opened.log.roll(&base, &entries) {
        Ok(()) => {}
        Err(AppendError::Full(error)) if entries.is_empty() => opened.full = Some(error),
        Err(AppendError::Full(error) | AppendError::Broken(error)) => return Err(error.into()),
    }
    Ok(opened)
}

/// A member without a past.
fn begin(config: &RaftConfig, log: Log) -> Opened {
    let identity = |raft_id| Identity {
        raft_id,
        node_id: config.node_id.clone(),
        addr: config.addr.clone(),
        status: None,
    };
    let (identity, membership, core) = match &config.start {
        Start::Bootstrap { raft_id } => {
            let identity = identity(*raft_id);
            // The first entry of every cluster adds its first member.
            let add = Member::from_message(identity.clone()).change(ConfChangeType::AddNode, 0);
            let core = CoreStart {
                hard_state: HardState {
                    term: Some(1),
                    vote: Some(0),
                    commit: Some(1),
                },
                entries: vec![conf_entry(1, 1, &add)],
                ..CoreStart::default()
            };
            (identity, Membership::default(), core)
        }
        Start::Join { raft_id, .. } => (
            identity(*raft_id),
            Membership::default(),
            CoreStart::default(),
        ),
    };
    Opened {
        identity,
        log,
        view: View::default(),
        membership,
        snapshot: None,
        core,
        full: None,
    }
}

/// A member with a past.
fn restart(config: &RaftConfig, log: Log, recovered: Recovered) -> Result<Opened, OpenError> {
    let disk = log.disk().clone();
    let place = disk.describe("");
    let inconsistent = |what: String| OpenError::Inconsistent {
        place: place.clone(),
        what,
    };
    let identity = recovered
        .identity
        .ok_or_else(|| inconsistent("the log has no owner".into()))?;
    if identity.node_id != config.node_id {
        return Err(inconsistent(format!(
            "the log belongs to node {}",
            identity.node_id
        )));
    }
    snapshot_file::remove_unfinished(&disk)?;
    let newest = snapshot_file::newest(&disk)?;
    let marked = recovered
        .snapshot
        .as_ref()
        .map(|mark| (mark.index(), mark.term()));
    if marked > newest {
        let (index, term) = marked.unwrap_or_default();
        return Err(LogError::Missing {
            file: disk.describe(&snapshot_file::name_of(index, term)),
            needed_by: "the log".to_owned(),
        }
        .into());
    }
    let (mut view, mut membership, mut snapshot) = (View::default(), Membership::default(), None);
    if let Some((index, term)) = newest {
        let (metadata, data) = snapshot_file::read(&disk, log.keys(), index, term)?;
        let decoded = decode_snapshot(&data, index);
        let file = || disk.describe(&snapshot_file::name_of(index, term));
        (view, membership) = decoded.map_err(|source| OpenError::Codec {
            file: file(),
            source,
        })?;
        let conf_state = metadata.conf_state.as_ref();
        membership.set_learners(conf_state.map_or(&[], |state| &state.learners));
        snapshot = Some(metadata);
    }
    let mut core = core_start(recovered.hard_state, recovered.entries, snapshot.as_ref())
        .map_err(inconsistent)?;
    if was_always_alone(&membership, &core, identity.raft_id) {
        let last = core.entries.last().map_or(core.before.0, Entry::index);
        core.hard_state.commit = Some(last.max(core.hard_state.commit()));
    }
    Ok(Opened {
        identity,
        log,
        view,
        membership,
        snapshot,
        core,
        full: None,
    })
}

/// Fits hard state, entries and snapshot together. The snapshot may be newer than the log knows, by
/// a crash between the two; what it holds is committed in any case.
fn core_start(
    mut hard_state: HardState,
    mut entries: Vec<Entry>,
    snapshot: Option<&SnapshotMetadata>,
) -> Result<CoreStart, String> {
    let (applied, snapshot_term) =
        snapshot.map_or((0, 0), |snapshot| (snapshot.index(), snapshot.term()));
    let leads_up = entries
        .iter()
        .any(|entry| entry.index() == applied && entry.term() == snapshot_term);
    let follows_on = entries
        .first()
        .is_some_and(|first| first.index() == applied + 1);
    let mut before = (applied, snapshot_term);
    if leads_up {
        // The entry before the first is known by its term only.
        let first = entries.remove(0);
        before = (first.index(), first.term());
    } else if !follows_on {
        let first = entries.first().map_or(0, Entry::index);
        if first > applied + 1 {
            return Err(format!(
                "the log begins at entry {first}, the snapshot ends at {applied}"
            ));
        }
        entries.clear();
    }
    let last = entries
        .last()
        .map_or(before, |entry| (entry.index(), entry.term()));
    if hard_state.commit() > last.0.max(applied) {
        let commit = hard_state.commit();
        return Err(format!(
            "entry {commit} was committed and the log ends at {}",
            last.0
        ));
    }
    let term = last.1.max(snapshot_term);
    if hard_state.term() < term {
        hard_state = HardState {
            term: Some(term),
            vote: Some(0),
            commit: hard_state.commit,
        };
    }
    hard_state.commit = Some(hard_state.commit().max(applied));
    let conf_state = snapshot
        .and_then(|snapshot| snapshot.conf_state.clone())
        .unwrap_or_default();
    Ok(CoreStart {
        hard_state,
        conf_state,
        applied,
        before,
        entries,
    })
}

/// Makes this member the only one: appends the removal of everybody else, and takes all that the
/// log has for committed. What of it was not cannot be told any more, and whoever asked for it was
/// not told that it failed. Answers the entries appended.
fn force_alone(opened: &mut Opened) -> Result<Vec<Entry>, OpenError> {
    let core = &mut opened.core;
    let last = core.entries.last().map_or(core.before.0, Entry::index);
    let me = Member::from_message(opened.identity.clone());
    let members = members_after(&opened.membership, core);
    if members.is_removed(me.raft_id) {
        return Err(OpenError::Inconsistent {
            place: opened.log.disk().describe(""),
            what: "this manager was removed from the swarm, it cannot become a new one".into(),
        });
    }
    let others = members
        .members()
        .filter(|member| member.raft_id != me.raft_id);
    let mut changes: Vec<ConfChange> = others.map(|member| removal(member.raft_id, 0)).collect();
    if members.get(me.raft_id).is_none() || members.is_learner(me.raft_id) {
        changes.insert(0, me.change(ConfChangeType::AddNode, 0));
    }
    let term = core.hard_state.term().max(1);
    let forced: Vec<Entry> = changes
        .iter()
        .zip(last + 1..)
        .map(|(change, index)| conf_entry(index, term, change))
        .collect();
    core.entries.extend(forced.iter().cloned());
    let commit = last + forced.len() as u64;
    core.hard_state = HardState {
        term: Some(term),
        vote: Some(0),
        commit: Some(commit),
    };
    tracing::warn!(
        removed = forced.len(),
        "new cluster forced: this manager is the only member"
    );
    Ok(forced)
}

/// The members once all entries of the log are applied.
fn members_after(members: &Membership, core: &CoreStart) -> Membership {
    let last = configurations(members, core).last();
    last.unwrap_or_else(|| members.clone())
}

/// The members as of each configuration change of the log.
fn configurations<'a>(
    members: &Membership,
    core: &'a CoreStart,
) -> impl Iterator<Item = Membership> + use<'a> {
    let mut members = members.clone();
    let entries = core.entries.iter();
    let changes = entries.filter(|entry| entry.index() > core.applied);
    let changes = changes.filter(|entry| entry.r#type() == EntryType::ConfChange);
    changes.filter_map(move |entry| {
        let change = ConfChange::decode(entry.data()).ok()?;
        members.apply(&members.check(&change).ok()?);
        Some(members.clone())
    })
}

/// Whether nobody else had a vote when any entry of the log was written: then what is on this disk
/// is committed, all of it.
fn was_always_alone(members: &Membership, core: &CoreStart, raft_id: u64) -> bool {
    let alone = |members: &Membership| members.voters().all(|voter| voter.raft_id == raft_id);
    let last = members_after(members, core);
    alone(members)
        && configurations(members, core).all(|members| alone(&members))
        && last.is_only_voter(raft_id)
}

fn conf_entry(index: u64, term: u64, change: &ConfChange) -> Entry {
    Entry {
        r#type: Some(EntryType::ConfChange as i32),
        term: Some(term),
        index: Some(index),
        data: Some(change.encode_to_vec().into()),
    }
}
