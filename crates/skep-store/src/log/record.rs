//! What a frame of the log holds: records, one behind the other.
//!
//! ```text
//! record:  kind u8 | length u32 LE | body (protobuf)
//!   1 entry       raftpb.Entry; an index that is there already replaces it and all that follow
//!   2 hard state  raftpb.HardState: term, vote, commit
//!   3 identity    docker.swarmkit.v1.RaftMember: who this member is
//!   4 snapshot    raftpb.SnapshotMetadata: what the file of that term and index holds
//! ```
//!
//! A kind above 127 may be skipped by a program that does not know it; any other may not.

use prost::Message;
use skep_objects::raftpb::{Entry, HardState, SnapshotMetadata};
use skep_objects::swarmkit::RaftMember;

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const IDENTITY: u8 = 3;
const SNAPSHOT: u8 = 4;
/// Kinds from here on may be skipped.
const OPTIONAL: u8 = 128;

/// Who the member is whose log this is.
pub(crate) type Identity = RaftMember;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Entry(Entry),
    HardState(HardState),
    Identity(Identity),
    Snapshot(SnapshotMetadata),
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put(out, ENTRY, entry);
}

pub(crate) fn put_hard_state(out: &mut Vec<u8>, state: &HardState) {
    put(out, HARD_STATE, state);
}

pub(crate) fn put_identity(out: &mut Vec<u8>, identity: &Identity) {
    put(out, IDENTITY, identity);
}

pub(crate) fn put_snapshot(out: &mut Vec<u8>, snapshot: &SnapshotMetadata) {
    put(out, SNAPSHOT, snapshot);
}

fn put(out: &mut Vec<u8>, kind: u8, body: &impl Message) {
    out.push(kind);
    let length = u32::try_from(body.encoded_len()).expect("a record is smaller than a frame");
    out.extend_from_slice(&length.to_le_bytes());
    body.encode_raw(out);
}

/// Reads all records of a frame; the error says what is wrong with the first bad one.
pub(crate) fn parse(mut bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let [kind, length @ ..] = *head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let body = rest
            .get(..length)
            .ok_or("a record is longer than its frame")?;
        bytes = &rest[length..];
        let record = match kind {
            ENTRY => Entry::decode(body).map(Record::Entry),
            HARD_STATE => HardState::decode(body).map(Record::HardState),
            IDENTITY => Identity::decode(body).map(Record::Identity),
            SNAPSHOT => SnapshotMetadata::decode(body).map(Record::Snapshot),
            OPTIONAL.. => continue,
            _ => return Err(format!("record of unknown kind {kind}")),
        };
        records.push(record.map_err(|error| format!("record of kind {kind}: {error}"))?);
    }
    if bytes.is_empty() {
        Ok(records)
    } else {
        Err("a record's head is cut off".to_owned())
    }
}
