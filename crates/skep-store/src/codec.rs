//! Log entries and snapshots as bytes: SwarmKit's `InternalRaftRequest` and `Snapshot`.
//!
//! Objects are shared with the tables and are encoded where they are, without a copy; so the two
//! messages that hold them are put together here field by field.

use std::sync::Arc;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use skep_objects::swarmkit::{
    ClusterSnapshot, InternalRaftRequest, Snapshot, StoreActionKind, snapshot, store_action,
};

use crate::event::Event;
use crate::object::{Kind, Object, StoreObject};
use crate::raft::Membership;
use crate::share::Exemplars;
use crate::table::Tables;
use crate::view::View;

/// The largest log entry, as SwarmKit's. A transaction that takes more is refused.
pub const MAX_ENTRY_BYTES: usize = 1_572_864;

/// Why bytes that raft agreed on cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are no such message.
    #[error("decode {what}: {source}")]
    Malformed {
        /// Which message it should be.
        what: &'static str,
        /// What is wrong with it.
        source: prost::DecodeError,
    },
    /// A snapshot of a version from the future.
    #[error("snapshot version {0} is not known")]
    SnapshotVersion(i32),
    /// A change of nothing, or of a kind of object that this program does not know.
    #[error("store action {index} of entry has kind {kind} and {}", if *.target { "a target" } else { "no known target" })]
    UnknownAction {
        /// Its place in the entry.
        index: usize,
        /// Create, update or remove, as a number.
        kind: i32,
        /// Whether it has an object.
        target: bool,
    },
}

/// Field of an object in a `StoreAction`.
const fn action_field(kind: Kind) -> u32 {
    match kind {
        Kind::Node => 2,
        Kind::Service => 3,
        Kind::Task => 4,
        Kind::Network => 5,
        Kind::Cluster => 6,
        Kind::Secret => 7,
        Kind::Resource => 8,
        Kind::Extension => 9,
        Kind::Config => 10,
        Kind::Volume => 11,
    }
}

/// Encodes a transaction's changes as `InternalRaftRequest{1 id, 2 repeated StoreAction}`.
pub(crate) fn encode_request(id: u64, events: &[Event]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + events.len() * 256);
    prost::encoding::uint64::encode(1, &id, &mut out);
    for event in events {
        let (kind, object) = match event {
            Event::Created(object) => (StoreActionKind::StoreActionCreate, object),
            Event::Updated { new, .. } => (StoreActionKind::StoreActionUpdate, new),
            Event::Removed(object) => (StoreActionKind::StoreActionRemove, object),
            Event::Committed(_) => continue,
        };
        encode_action(kind, object, &mut out);
    }
    out
}

/// Bytes that a change of this object takes in a log entry.
pub(crate) fn change_len(object: &Object) -> usize {
    /// Of the two keys, the two lengths and the kind of the change.
    const FRAME: usize = 12;
    FRAME + encoded_len(object)
}

/// `StoreAction{1 kind, n object}` as field 2 of the request.
fn encode_action(kind: StoreActionKind, object: &Object, out: &mut Vec<u8>) {
    let kind = kind as i32;
    let object_len = encoded_len(object);
    let field = action_field(object.kind());
    let action_len = prost::encoding::int32::encoded_len(1, &kind)
        + key_len(field)
        + encoded_len_varint(object_len as u64)
        + object_len;
    encode_key(2, WireType::LengthDelimited, out);
    encode_varint(action_len as u64, out);
    prost::encoding::int32::encode(1, &kind, out);
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(object_len as u64, out);
    encode(object, out);
}

macro_rules! each_object {
    ($object:expr, $message:ident => $body:expr) => {
        match $object {
            Object::Node($message) => $body,
            Object::Service($message) => $body,
            Object::Network($message) => $body,
            Object::Task($message) => $body,
            Object::Cluster($message) => $body,
            Object::Secret($message) => $body,
            Object::Resource($message) => $body,
            Object::Extension($message) => $body,
            Object::Config($message) => $body,
            Object::Volume($message) => $body,
        }
    };
}

fn encoded_len(object: &Object) -> usize {
    each_object!(object, message => message.encoded_len())
}

fn encode(object: &Object, out: &mut Vec<u8>) {
    each_object!(object, message => message.encode_raw(out));
}

/// The id of a request, without decoding its objects: it is the first field.
pub(crate) fn request_id(data: &[u8]) -> u64 {
    const ID_KEY: u8 = 1 << 3;
    match data.split_first() {
        Some((&ID_KEY, mut rest)) => prost::encoding::decode_varint(&mut rest).unwrap_or_default(),
        _ => 0,
    }
}

/// Decodes a request into the changes that it makes to `tables`.
pub(crate) fn decode_request(data: &[u8], tables: &Tables) -> Result<Vec<Event>, CodecError> {
    let request = InternalRaftRequest::decode(data).map_err(|source| CodecError::Malformed {
        what: "log entry",
        source,
    })?;
    let mut tables = tables.clone();
    let mut events = Vec::with_capacity(request.action.len());
    for (index, action) in request.action.into_iter().enumerate() {
        let kind = action.action;
        let unknown = |target| CodecError::UnknownAction {
            index,
            kind,
            target,
        };
        let target = action.target.ok_or_else(|| unknown(false))?;
        let removes = kind == StoreActionKind::StoreActionRemove as i32;
        let writes = kind == StoreActionKind::StoreActionCreate as i32
            || kind == StoreActionKind::StoreActionUpdate as i32;
        if !removes && !writes {
            return Err(unknown(true));
        }
        let event = event_of(removes, object_of(target, &tables), &tables);
        if let Some(event) = event {
            event.apply(&mut tables);
            events.push(event);
        }
    }
    Ok(events)
}

/// The change that an action makes; none when it removes what is not there.
///
/// No checks of versions and names: the leader made them, and what it wrote holds.
fn event_of(removes: bool, object: Object, tables: &Tables) -> Option<Event> {
    let old = object.stored_in(tables);
    match (removes, old) {
        (true, old) => old.map(Event::Removed),
        (false, None) => Some(Event::Created(object)),
        (false, Some(old)) => Some(Event::Updated { old, new: object }),
    }
}

/// The object of an action, sharing with the tables what it has in common with them.
fn object_of(target: store_action::Target, tables: &Tables) -> Object {
    use store_action::Target;
    fn shared<T: StoreObject>(mut object: T, tables: &Tables) -> Object {
        object.share(tables);
        Arc::new(object).into_object()
    }
    match target {
        Target::Node(object) => shared(object, tables),
        Target::Service(object) => shared(object, tables),
        Target::Task(object) => shared(object, tables),
        Target::Network(object) => shared(object, tables),
        Target::Cluster(object) => shared(object, tables),
        Target::Secret(object) => shared(object, tables),
        Target::Resource(object) => shared(object, tables),
        Target::Extension(object) => shared(object, tables),
        Target::Config(object) => shared(object, tables),
        Target::Volume(object) => shared(object, tables),
    }
}

/// Encodes `Snapshot{1 version, 2 membership, 3 store}` in pieces of about `piece` bytes, so that
/// a large store is never in memory twice.
pub(crate) fn encode_snapshot<E>(
    view: &View,
    membership: &Membership,
    piece: usize,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let membership = membership.to_message();
    let mut out = Vec::with_capacity(piece + piece / 4);
    prost::encoding::message::encode(2, &membership, &mut out);
    let mut store_len = 0;
    each_stored(&view.tables, |field, object| {
        let len = encoded_len(&object);
        store_len += key_len(field) + encoded_len_varint(len as u64) + len;
        Ok::<(), E>(())
    })?;
    encode_key(3, WireType::LengthDelimited, &mut out);
    encode_varint(store_len as u64, &mut out);
    each_stored(&view.tables, |field, object| {
        encode_key(field, WireType::LengthDelimited, &mut out);
        encode_varint(encoded_len(&object) as u64, &mut out);
        encode(&object, &mut out);
        if out.len() >= piece {
            write(&out)?;
            out.clear();
        }
        Ok(())
    })?;
    write(&out)
}

/// Every object with its field in `StoreSnapshot`, in the order of the fields.
fn each_stored<E>(
    tables: &Tables,
    mut visit: impl FnMut(u32, Object) -> Result<(), E>,
) -> Result<(), E> {
    tables
        .nodes
        .iter()
        .try_for_each(|object| visit(1, object.clone().into()))?;
    tables
        .services
        .iter()
        .try_for_each(|object| visit(2, object.clone().into()))?;
    tables
        .networks
        .iter()
        .try_for_each(|object| visit(3, object.clone().into()))?;
    tables
        .tasks
        .iter()
        .try_for_each(|object| visit(4, object.clone().into()))?;
    tables
        .clusters
        .iter()
        .try_for_each(|object| visit(5, object.clone().into()))?;
    tables
        .secrets
        .iter()
        .try_for_each(|object| visit(6, object.clone().into()))?;
    tables
        .resources
        .iter()
        .try_for_each(|object| visit(7, object.clone().into()))?;
    tables
        .extensions
        .iter()
        .try_for_each(|object| visit(8, object.clone().into()))?;
    tables
        .configs
        .iter()
        .try_for_each(|object| visit(9, object.clone().into()))?;
    tables
        .volumes
        .iter()
        .try_for_each(|object| visit(10, object.clone().into()))
}

/// Decodes a snapshot into the store that it holds, at `index`, and the members.
pub(crate) fn decode_snapshot(data: &[u8], index: u64) -> Result<(View, Membership), CodecError> {
    let snapshot = Snapshot::decode(data).map_err(|source| CodecError::Malformed {
        what: "snapshot",
        source,
    })?;
    if snapshot.version != snapshot::Version::V0 as i32 {
        return Err(CodecError::SnapshotVersion(snapshot.version));
    }
    let mut tables = Tables::default();
    let store = snapshot.store.unwrap_or_default();
    // Networks and services before what shares with them.
    insert_all(store.networks, &mut tables);
    insert_all(store.services, &mut tables);
    insert_all(store.nodes, &mut tables);
    let mut exemplars = Exemplars::default();
    for task in store.tasks {
        let task = exemplars.shared(task, &tables);
        tables.tasks.insert(task);
    }
    insert_all(store.clusters, &mut tables);
    insert_all(store.secrets, &mut tables);
    insert_all(store.resources, &mut tables);
    insert_all(store.extensions, &mut tables);
    insert_all(store.configs, &mut tables);
    insert_all(store.volumes, &mut tables);
    let membership = snapshot.membership.unwrap_or_else(ClusterSnapshot::default);
    Ok((
        View {
            tables: Arc::new(tables),
            version: index,
        },
        Membership::from_message(membership),
    ))
}

fn insert_all<T: StoreObject>(objects: Vec<T>, tables: &mut Tables) {
    for mut object in objects {
        object.share(tables);
        T::table_mut(tables).insert(Arc::new(object));
    }
}

#[cfg(test)]
mod tests;
