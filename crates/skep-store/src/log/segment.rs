//! Reading a file of frames: where it ends well, where it was torn, and where it is damaged.

use super::LogError;
use super::frame::{FileKind, HEADER_LEN, Header, Seal, later_frame, parse_frame, read_header};
use crate::seal::DekSet;

/// A file's frames, opened.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    /// What each frame holds.
    pub(crate) payloads: Vec<Payload>,
    /// Bytes up to the end of the last good frame.
    pub(crate) len: usize,
    /// Whether anything but zeros comes after that.
    pub(crate) torn: bool,
}

/// One frame's records, and where it lies.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) offset: u64,
    pub(crate) records: Vec<u8>,
}

/// Reads a file; none when not even its header is whole.
pub(crate) fn read(
    file: &str,
    kind: FileKind,
    bytes: &[u8],
    keys: &DekSet,
) -> Result<Option<Segment>, LogError> {
    let (sequence, seal) = match read_header(file, kind, bytes, keys)? {
        Header::Good { sequence, seal } => (sequence, seal),
        Header::Torn if has_frame(bytes) => {
            return Err(corrupt(file, 0, "its header is broken and frames follow"));
        }
        Header::Torn => return Ok(None),
    };
    let mut payloads = Vec::new();
    let mut at = HEADER_LEN;
    while let Some(frame) = parse_frame(&bytes[at..]) {
        let expected = payloads.len() as u64 + 1;
        if frame.number != expected {
            let what = format!("frame {} where frame {expected} belongs", frame.number);
            return Err(corrupt(file, at, what));
        }
        let records = seal.open(&frame);
        let records = records.ok_or_else(|| corrupt(file, at, "the seal is broken"))?;
        payloads.push(Payload {
            offset: at as u64,
            records,
        });
        at += frame.len();
    }
    let torn = bytes[at..].iter().any(|byte| *byte != 0);
    if torn {
        check_tail(file, &bytes[at..], at, payloads.len() as u64, &seal)?;
    }
    Ok(Some(Segment {
        sequence,
        payloads,
        len: at,
        torn,
    }))
}

/// Refuses a broken frame that is not the last one.
fn check_tail(file: &str, tail: &[u8], at: usize, good: u64, seal: &Seal) -> Result<(), LogError> {
    match later_frame(tail, good, seal) {
        Some(later) => {
            let what = format!(
                "frame {} is broken and a good one follows at {}",
                good + 1,
                at + later
            );
            Err(corrupt(file, at, what))
        }
        None => Ok(()),
    }
}

fn has_frame(bytes: &[u8]) -> bool {
    bytes
        .get(HEADER_LEN..)
        .is_some_and(|rest| parse_frame(rest).is_some())
}

pub(crate) fn corrupt(file: &str, offset: usize, what: impl Into<String>) -> LogError {
    LogError::Corrupt {
        file: file.to_owned(),
        offset: offset as u64,
        what: what.into(),
    }
}
