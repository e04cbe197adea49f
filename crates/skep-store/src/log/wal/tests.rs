//! What survives, what is cut, and what is refused.

use std::sync::Arc;

use skep_objects::raftpb::{Entry, HardState, SnapshotMetadata};

use super::*;
use crate::disk::SimDisk;

fn keys() -> DekSet {
    DekSet::new(Dek::new([1; 32]))
}

fn salts() -> Salts {
    let mut salt = 0u128;
    Box::new(move || {
        salt += 1;
        salt.to_le_bytes()
    })
}

fn recover(disk: &SimDisk) -> Result<(Log, Recovered), LogError> {
    Log::recover(Arc::new(disk.clone()), keys(), salts())
}

fn base() -> Base {
    let identity = Identity {
        raft_id: 1,
        node_id: "n".into(),
        ..Identity::default()
    };
    Base {
        identity,
        hard_state: hard_state(1, 0),
        snapshot: None,
    }
}

fn hard_state(term: u64, commit: u64) -> HardState {
    HardState {
        term: Some(term),
        vote: Some(1),
        commit: Some(commit),
    }
}

fn entry(index: u64, term: u64, data: &str) -> Entry {
    Entry {
        r#type: Some(0),
        term: Some(term),
        index: Some(index),
        data: Some(data.as_bytes().to_vec().into()),
    }
}

fn entries(from: u64, to: u64) -> Vec<Entry> {
    (from..=to)
        .map(|index| entry(index, 1, &format!("entry {index}")))
        .collect()
}

/// A log with a frame for each of ten entries.
fn ten(disk: &SimDisk) {
    let (mut log, _) = recover(disk).unwrap();
    log.roll(&base(), &[]).unwrap();
    for entry in entries(1, 10) {
        log.append(&[entry], None).unwrap();
    }
}

fn segment_bytes(disk: &SimDisk) -> Vec<u8> {
    disk.read("log-0000000000000001").unwrap()
}

/// Where each frame begins, and where the last one ends.
fn frame_offsets(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![HEADER_LEN];
    while let Some(frame) = super::super::frame::parse_frame(&bytes[offsets[offsets.len() - 1]..]) {
        offsets.push(offsets[offsets.len() - 1] + frame.len());
    }
    offsets
}

#[test]
fn what_was_appended_is_found_again() {
    let disk = SimDisk::new();
    ten(&disk);
    let (mut log, recovered) = recover(&disk).unwrap();
    assert_eq!(recovered.entries, entries(1, 10));
    assert_eq!(recovered.identity.as_ref().unwrap().node_id, "n");
    log.roll(&base(), &[]).unwrap();
    log.append(&entries(11, 12), Some(&hard_state(3, 11)))
        .unwrap();
    let (_, recovered) = recover(&disk).unwrap();
    assert_eq!(recovered.entries, entries(1, 12));
    assert_eq!(recovered.hard_state, hard_state(3, 11));
}

#[test]
fn later_entries_replace_earlier_ones_and_all_behind_them() {
    let disk = SimDisk::new();
    ten(&disk);
    let (mut log, _) = recover(&disk).unwrap();
    log.roll(&base(), &[]).unwrap();
    log.append(&[entry(5, 2, "other")], None).unwrap();
    let (_, recovered) = recover(&disk).unwrap();
    let mut expect = entries(1, 4);
    expect.push(entry(5, 2, "other"));
    assert_eq!(recovered.entries, expect);
}

#[test]
fn a_frame_that_was_being_written_is_cut() {
    let full = SimDisk::new();
    ten(&full);
    let bytes = segment_bytes(&full);
    let offsets = frame_offsets(&bytes);
    let (last, end) = (offsets[10], offsets[11]);
    for cut in last + 1..end {
        let disk = SimDisk::new();
        let mut file = disk.create("log-0000000000000001").unwrap();
        file.write_at(0, &bytes[..cut]).unwrap();
        let (_, recovered) = recover(&disk).unwrap();
        assert_eq!(recovered.entries, entries(1, 9), "cut at {cut}");
        assert_eq!(segment_bytes(&disk).len(), last, "cut at {cut}");
    }
}

#[test]
fn a_damaged_frame_with_a_good_one_behind_it_is_refused_by_place() {
    let full = SimDisk::new();
    ten(&full);
    let offsets = frame_offsets(&segment_bytes(&full));
    for (n, at) in offsets[..offsets.len() - 2].iter().enumerate() {
        for within in [0, 5, 9, 17, 30] {
            let disk = SimDisk::new();
            ten(&disk);
            disk.flip("log-0000000000000001", at + within);
            let error = recover(&disk).unwrap_err();
            let LogError::Corrupt { file, offset, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(file, "sim:log-0000000000000001");
            assert_eq!(*offset, *at as u64, "frame {n}");
            assert!(error.to_string().contains("join again"));
        }
    }
}

#[test]
fn a_damaged_header_is_refused_and_a_torn_one_is_not() {
    let disk = SimDisk::new();
    ten(&disk);
    disk.flip("log-0000000000000001", 20);
    assert!(matches!(recover(&disk), Err(LogError::Corrupt { .. })));
    let disk = SimDisk::new();
    ten(&disk);
    disk.create("log-0000000000000002")
        .unwrap()
        .write_at(0, b"SKEPLO")
        .unwrap();
    assert_eq!(recover(&disk).unwrap().1.entries.len(), 10);
    assert_eq!(disk.list().unwrap(), ["log-0000000000000001"]);
}

#[test]
fn a_wrong_key_is_not_taken_for_damage() {
    let disk = SimDisk::new();
    ten(&disk);
    let other = DekSet::new(Dek::new([2; 32]));
    let error = Log::recover(Arc::new(disk.clone()), other, salts()).unwrap_err();
    assert!(matches!(error, LogError::WrongKey { .. }));
    let both = DekSet::new(Dek::new([2; 32])).with_older(Dek::new([1; 32]));
    assert!(Log::recover(Arc::new(disk), both, salts()).is_ok());
}

#[test]
fn a_frame_that_does_not_fit_can_be_tried_again() {
    let disk = SimDisk::new();
    let (mut log, _) = recover(&disk).unwrap();
    disk.set_room(Some(300));
    log.roll(&base(), &[]).unwrap();
    let error = log.append(&entries(1, 30), None).unwrap_err();
    assert!(matches!(error, AppendError::Full(_)));
    disk.set_room(None);
    log.append(&entries(1, 30), None).unwrap();
    assert_eq!(recover(&disk).unwrap().1.entries, entries(1, 30));
}

#[test]
fn the_leaders_snapshot_replaces_entries_and_its_mention_does_not() {
    let disk = SimDisk::new();
    ten(&disk);
    let metadata = SnapshotMetadata {
        index: Some(20),
        term: Some(1),
        ..SnapshotMetadata::default()
    };
    let behind = Base {
        snapshot: Some(metadata),
        ..base()
    };
    let (mut log, _) = recover(&disk).unwrap();
    log.roll(&behind, &[]).unwrap();
    assert!(recover(&disk).unwrap().1.entries.is_empty());
    log.append(&entries(21, 25), None).unwrap();
    // Each start mentions the snapshot again.
    let (mut log, _) = recover(&disk).unwrap();
    log.roll(&behind, &[]).unwrap();
    assert_eq!(recover(&disk).unwrap().1.entries, entries(21, 25));
}

#[test]
fn segments_go_from_the_oldest_on_only() {
    let disk = SimDisk::new();
    ten(&disk);
    let (mut log, _) = recover(&disk).unwrap();
    // What cuts the first segment's entries must not go before it.
    log.roll(&base(), &[entry(5, 2, "other")]).unwrap();
    log.roll(&base(), &[]).unwrap();
    log.compact(8).unwrap();
    assert_eq!(
        recover(&disk).unwrap().1.entries.last(),
        Some(&entry(5, 2, "other"))
    );
    log.compact(11).unwrap();
    assert_eq!(disk.list().unwrap(), ["log-0000000000000003"]);
}

mod parser {
    use super::*;
    use crate::log::frame::{MAX_PAYLOAD, Seal, parse_frame};
    use crate::log::{record, segment};
    use proptest::prelude::*;

    fn seal() -> Seal {
        Seal::new(Dek::new([1; 32]), [3; 16])
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse_frame(&bytes);
            let _ = record::parse(&bytes);
            let _ = segment::read("f", FileKind::Log, &bytes, &keys());
        }

        #[test]
        fn any_bytes_behind_a_header_are_cut_or_refused(
            tail in proptest::collection::vec(any::<u8>(), 0..400),
            claimed in any::<u32>(),
        ) {
            let mut bytes = seal().header(FileKind::Log, 1).to_vec();
            bytes.extend(seal().frame(1, b""));
            let good = bytes.len();
            // A head that claims a length, to reach behind the magic.
            bytes.extend(b"FRAM");
            bytes.extend(claimed.to_le_bytes());
            bytes.extend(&tail);
            let read = segment::read("f", FileKind::Log, &bytes, &keys()).unwrap().unwrap();
            prop_assert_eq!(read.len, good);
            prop_assert_eq!(read.payloads.len(), 1);
        }

        #[test]
        fn a_flipped_bit_never_changes_what_is_read(
            lengths in proptest::collection::vec(0usize..200, 1..6),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = seal().header(FileKind::Log, 1).to_vec();
            for (n, length) in lengths.iter().enumerate() {
                bytes.extend(seal().frame(n as u64 + 1, &vec![7; *length]));
            }
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(Some(read)) = segment::read("f", FileKind::Log, &bytes, &keys()) {
                for (payload, length) in read.payloads.iter().zip(&lengths) {
                    prop_assert_eq!(&payload.records, &vec![7; *length]);
                }
                prop_assert!(read.payloads.len() + 1 >= lengths.len());
            }
        }
    }

    #[test]
    fn a_claimed_length_costs_no_memory() {
        let mut bytes = b"FRAM".to_vec();
        bytes.extend(u32::try_from(MAX_PAYLOAD + 1).unwrap().to_le_bytes());
        bytes.extend([0; 64]);
        assert_eq!(parse_frame(&bytes), None);
    }
}
