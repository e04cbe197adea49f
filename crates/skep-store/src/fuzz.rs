//! What fuzzing calls; no interface for anybody else.

use crate::codec;
use crate::log::{frame, record};
use crate::table::Tables;

/// Bytes of a log file: frames, and records without their seal.
pub fn wal_record(bytes: &[u8]) {
    if let Some(frame) = frame::parse_frame(bytes) {
        assert!(frame.len() <= bytes.len(), "a frame ends within its bytes");
    }
    let _ = record::parse(bytes);
}

/// A raft entry's content.
pub fn raft_entry(bytes: &[u8]) {
    let _ = codec::request_id(bytes);
    let _ = codec::decode_request(bytes, &Tables::default());
}

/// A snapshot, from a disk or from another manager.
pub fn snapshot(bytes: &[u8]) {
    let _ = codec::decode_snapshot(bytes, 1);
}
