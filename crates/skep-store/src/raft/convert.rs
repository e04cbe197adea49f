//! Between our messages and those of the raft crate, field by field.
//!
//! Numbers agree except for configuration changes (see `docs/design/raft-on-disk.md` and
//! [`conf_change`]). Fields of the raft crate that SwarmKit's managers do not have are left at
//! their defaults, which are not sent.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb as raw;
use skep_objects::raftpb as own;

/// Marks an entry of a configuration change that the raft crate takes for an ordinary one.
const HIDDEN_CONF_CHANGE: &[u8] = b"conf";

/// The entry to propose for a configuration change.
///
/// The crate decodes the change, and knows etcd's type 3 (a learner) by another number. So it is not
/// shown that one; what it is told when the change is applied is right: see [`conf_change`].
pub(super) fn conf_entry(change: &own::ConfChange) -> raw::Entry {
    let mut entry = raw::Entry {
        entry_type: raw::EntryType::EntryConfChange,
        data: change.encode_to_vec().into(),
        ..raw::Entry::default()
    };
    if change.r#type() == own::ConfChangeType::AddLearnerNode {
        entry.entry_type = raw::EntryType::EntryNormal;
        entry.context = Bytes::from_static(HIDDEN_CONF_CHANGE);
    }
    entry
}

pub(super) fn entry_out(entry: raw::Entry) -> own::Entry {
    let kind = match entry.entry_type {
        raw::EntryType::EntryNormal if entry.context == HIDDEN_CONF_CHANGE => {
            own::EntryType::ConfChange
        }
        raw::EntryType::EntryNormal => own::EntryType::Normal,
        raw::EntryType::EntryConfChange => own::EntryType::ConfChange,
        raw::EntryType::EntryConfChangeV2 => own::EntryType::ConfChangeV2,
    };
    own::Entry {
        r#type: Some(kind as i32),
        term: Some(entry.term),
        index: Some(entry.index),
        // A new leader's empty entry has no data, not data of no bytes: Go tells the two apart.
        data: Some(entry.data).filter(|data| !data.is_empty()),
    }
}

pub(super) fn entry_in(entry: own::Entry) -> raw::Entry {
    let kind = match own::EntryType::try_from(entry.r#type.unwrap_or_default()) {
        Ok(own::EntryType::ConfChange) => raw::EntryType::EntryConfChange,
        Ok(own::EntryType::ConfChangeV2) => raw::EntryType::EntryConfChangeV2,
        Ok(own::EntryType::Normal) | Err(_) => raw::EntryType::EntryNormal,
    };
    raw::Entry {
        entry_type: kind,
        term: entry.term(),
        index: entry.index(),
        data: entry.data.unwrap_or_default(),
        ..raw::Entry::default()
    }
}

pub(super) fn message_out(mut message: raw::Message) -> own::Message {
    use raw::MessageType as Raw;
    let snapshot = message.snapshot.take();
    own::Message {
        r#type: Some(message.msg_type as i32),
        to: Some(message.to),
        from: Some(message.from),
        term: Some(message.term),
        log_term: Some(message.log_term),
        index: Some(message.index),
        entries: message.take_entries().into_iter().map(entry_out).collect(),
        // In votes the raft crate carries the commit for a shortcut of its own.
        commit: Some(match message.msg_type {
            Raw::MsgRequestVote | Raw::MsgRequestPreVote => 0,
            _ => message.commit,
        }),
        // Go always writes the field, empty or not.
        snapshot: Some(snapshot.map(snapshot_out).unwrap_or_default()),
        reject: Some(message.reject),
        reject_hint: Some(message.reject_hint),
        context: Some(message.context.to_vec()).filter(|context| !context.is_empty()),
    }
}

/// None for a type that only etcd's raft knows.
pub(super) fn message_in(message: own::Message) -> Option<raw::Message> {
    let msg_type = message_type(message.r#type())?;
    let mut raw = raw::Message {
        msg_type,
        to: message.to(),
        from: message.from(),
        term: message.term(),
        log_term: message.log_term(),
        index: message.index(),
        commit: message.commit(),
        reject: message.reject(),
        reject_hint: message.reject_hint(),
        ..raw::Message::default()
    };
    if let Some(context) = message.context {
        raw.context = context.into();
    }
    raw.set_entries(
        message
            .entries
            .into_iter()
            .map(entry_in)
            .collect::<Vec<_>>()
            .into(),
    );
    if msg_type == raw::MessageType::MsgSnapshot {
        raw.set_snapshot(snapshot_in(message.snapshot.unwrap_or_default()));
    }
    Some(raw)
}

fn message_type(kind: own::MessageType) -> Option<raw::MessageType> {
    use own::MessageType as Own;
    use raw::MessageType as Raw;
    Some(match kind {
        Own::Hup => Raw::MsgHup,
        Own::Beat => Raw::MsgBeat,
        Own::Prop => Raw::MsgPropose,
        Own::App => Raw::MsgAppend,
        Own::AppResp => Raw::MsgAppendResponse,
        Own::Vote => Raw::MsgRequestVote,
        Own::VoteResp => Raw::MsgRequestVoteResponse,
        Own::Snap => Raw::MsgSnapshot,
        Own::Heartbeat => Raw::MsgHeartbeat,
        Own::HeartbeatResp => Raw::MsgHeartbeatResponse,
        Own::Unreachable => Raw::MsgUnreachable,
        Own::SnapStatus => Raw::MsgSnapStatus,
        Own::CheckQuorum => Raw::MsgCheckQuorum,
        Own::TransferLeader => Raw::MsgTransferLeader,
        Own::TimeoutNow => Raw::MsgTimeoutNow,
        Own::ReadIndex => Raw::MsgReadIndex,
        Own::ReadIndexResp => Raw::MsgReadIndexResp,
        Own::PreVote => Raw::MsgRequestPreVote,
        Own::PreVoteResp => Raw::MsgRequestPreVoteResponse,
        Own::ForgetLeader => return None,
    })
}

pub(super) fn snapshot_out(mut snapshot: raw::Snapshot) -> own::Snapshot {
    let mut metadata = snapshot.take_metadata();
    own::Snapshot {
        data: Some(snapshot.data).filter(|data| !data.is_empty()),
        metadata: Some(own::SnapshotMetadata {
            conf_state: Some(conf_state_out(metadata.take_conf_state())),
            index: Some(metadata.index),
            term: Some(metadata.term),
        }),
    }
}

fn snapshot_in(snapshot: own::Snapshot) -> raw::Snapshot {
    let metadata = snapshot.metadata.unwrap_or_default();
    let (index, term) = (metadata.index(), metadata.term());
    let conf_state = conf_state_in(metadata.conf_state.unwrap_or_default());
    snapshot_of(index, term, conf_state, snapshot.data.unwrap_or_default())
}

pub(super) fn snapshot_of(
    index: u64,
    term: u64,
    conf_state: raw::ConfState,
    data: Bytes,
) -> raw::Snapshot {
    let mut raw = raw::Snapshot {
        data,
        ..raw::Snapshot::default()
    };
    let metadata = raw.mut_metadata();
    metadata.index = index;
    metadata.term = term;
    metadata.set_conf_state(conf_state);
    raw
}

pub(super) fn conf_state_out(state: raw::ConfState) -> own::ConfState {
    own::ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: Some(state.auto_leave),
    }
}

pub(super) fn conf_state_in(state: own::ConfState) -> raw::ConfState {
    raw::ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave.unwrap_or_default(),
        ..raw::ConfState::default()
    }
}

pub(super) fn hard_state_out(state: &raw::HardState) -> own::HardState {
    own::HardState {
        term: Some(state.term),
        vote: Some(state.vote),
        commit: Some(state.commit),
    }
}

pub(super) fn hard_state_in(state: &own::HardState) -> raw::HardState {
    raw::HardState {
        term: state.term(),
        vote: state.vote(),
        commit: state.commit(),
        ..raw::HardState::default()
    }
}

/// A change of the quorum for the raft crate; none for one that only changes an address.
///
/// The crate's type 2 adds a learner where etcd's updates a node, so types never pass as numbers.
pub(super) fn conf_change(change: &own::ConfChange) -> Option<raw::ConfChange> {
    let change_type = match change.r#type() {
        own::ConfChangeType::AddNode => raw::ConfChangeType::AddNode,
        own::ConfChangeType::RemoveNode => raw::ConfChangeType::RemoveNode,
        own::ConfChangeType::AddLearnerNode => raw::ConfChangeType::AddLearnerNode,
        own::ConfChangeType::UpdateNode => return None,
    };
    let node_id = change.node_id();
    Some(raw::ConfChange {
        change_type,
        node_id,
        ..raw::ConfChange::default()
    })
}
