//! Files of frames: a header, then frames, each as large as what one fsync acknowledges.
//!
//! ```text
//! header (64 bytes)                              frame
//!  0  magic "SKEPLOG\0" or "SKEPSNP\0"            0  magic "FRAM"
//!  8  format version                u32 LE        4  length of the sealed payload   u32 LE
//! 12  zero                          u32           8  number: 1, 2, 3 ... in a file  u64 LE
//! 16  sequence number of the file   u64 LE       16  CRC-32 of bytes 0-16 + payload u32 LE
//! 24  fingerprint of the DEK        8 bytes      20  payload: secretbox(records)
//! 32  salt                         16 bytes          nonce = salt, number LE
//! 48  zero                         12 bytes
//! 60  CRC-32 of bytes 0-60          u32 LE
//! ```
//!
//! The checksum tells damage without a key; the secretbox tells malice, and a frame in the wrong
//! place, since its number is in the nonce. The salt is new for each file, so a nonce never comes twice.

use crate::seal::{Dek, DekSet, NONCE_LEN, TAG_LEN};

use super::LogError;

/// Format version written.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a file's header.
pub(crate) const HEADER_LEN: usize = 64;
/// Bytes before a frame's payload.
pub(crate) const FRAME_HEAD_LEN: usize = 20;
/// The longest payload; what claims to be longer is damage, and not worth the memory.
pub(crate) const MAX_PAYLOAD: usize = 256 << 20;
/// Random bytes that each file's nonces start with.
pub(crate) const SALT_LEN: usize = 16;

const FRAME_MAGIC: [u8; 4] = *b"FRAM";

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Log,
    Snapshot,
}

impl FileKind {
    fn magic(self) -> [u8; 8] {
        match self {
            FileKind::Log => *b"SKEPLOG\0",
            FileKind::Snapshot => *b"SKEPSNP\0",
        }
    }
}

/// What a file's frames are sealed with.
#[derive(Debug, Clone)]
pub(crate) struct Seal {
    key: Dek,
    salt: [u8; SALT_LEN],
}

/// A file's header as read.
#[derive(Debug)]
pub(crate) enum Header {
    /// A file that can be read.
    Good { sequence: u64, seal: Seal },
    /// Not a whole header: a file that was being made when the power went.
    Torn,
}

impl Seal {
    pub(crate) fn new(key: Dek, salt: [u8; SALT_LEN]) -> Self {
        Seal { key, salt }
    }

    fn nonce(&self, number: u64) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        nonce[..SALT_LEN].copy_from_slice(&self.salt);
        nonce[SALT_LEN..].copy_from_slice(&number.to_le_bytes());
        nonce
    }

    /// A file's first bytes.
    pub(crate) fn header(&self, kind: FileKind, sequence: u64) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(&kind.magic());
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&sequence.to_le_bytes());
        header[24..32].copy_from_slice(&self.key.fingerprint());
        header[32..48].copy_from_slice(&self.salt);
        let crc = crc32fast::hash(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Seals records into a frame.
    pub(crate) fn frame(&self, number: u64, records: &[u8]) -> Vec<u8> {
        let length = records.len() + TAG_LEN;
        let mut frame = Vec::with_capacity(FRAME_HEAD_LEN + length);
        frame.extend_from_slice(&FRAME_MAGIC);
        let length = u32::try_from(length).expect("a frame is smaller than MAX_PAYLOAD");
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&number.to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(records);
        self.key
            .seal_tail(&self.nonce(number), &mut frame, FRAME_HEAD_LEN);
        let crc = checksum(&frame[..16], &frame[FRAME_HEAD_LEN..]);
        frame[16..FRAME_HEAD_LEN].copy_from_slice(&crc.to_le_bytes());
        frame
    }

    /// Opens a frame's payload.
    pub(crate) fn open(&self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        self.key.open(&self.nonce(frame.number), frame.payload).ok()
    }
}

/// Reads a file's header. Errors are those that no crash explains.
pub(crate) fn read_header(
    file: &str,
    kind: FileKind,
    bytes: &[u8],
    keys: &DekSet,
) -> Result<Header, LogError> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Ok(Header::Torn);
    };
    let crc = u32_at(header, 60);
    if crc32fast::hash(&header[..60]) != crc || header[..8] != kind.magic() {
        return Ok(Header::Torn);
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        return Err(LogError::Version {
            file: file.to_owned(),
            version,
            known: VERSION,
        });
    }
    let mut fingerprint = [0; 8];
    fingerprint.copy_from_slice(&header[24..32]);
    let mut salt = [0; SALT_LEN];
    salt.copy_from_slice(&header[32..48]);
    let key = keys.find(fingerprint);
    let key = key.ok_or_else(|| LogError::WrongKey {
        file: file.to_owned(),
    })?;
    Ok(Header::Good {
        sequence: u64_at(header, 16),
        seal: Seal::new(key.clone(), salt),
    })
}

/// A frame whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) number: u64,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes it takes in the file.
    pub(crate) fn len(&self) -> usize {
        FRAME_HEAD_LEN + self.payload.len()
    }
}

/// The frame at the start of `bytes`, if there is a whole one.
pub(crate) fn parse_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let head = bytes.first_chunk::<FRAME_HEAD_LEN>()?;
    if head[..4] != FRAME_MAGIC {
        return None;
    }
    let length = usize::try_from(u32_at(head, 4)).ok()?;
    if !(TAG_LEN..=MAX_PAYLOAD).contains(&length) {
        return None;
    }
    let payload = bytes.get(FRAME_HEAD_LEN..FRAME_HEAD_LEN + length)?;
    let right = checksum(&head[..16], payload) == u32_at(head, 16);
    right.then(|| Frame {
        number: u64_at(head, 8),
        payload,
    })
}

/// Where, after a place that is no frame, a later frame of the same file begins.
///
/// A frame is only written when the one before it was synced. So a whole frame behind a broken one
/// means that the broken one was acknowledged: damage, and not the torn end of a crash.
pub(crate) fn later_frame(bytes: &[u8], after: u64, seal: &Seal) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], &FRAME_MAGIC) {
        let at = from + at;
        if let Some(frame) = parse_frame(&bytes[at..])
            && frame.number > after
            && seal.open(&frame).is_some()
        {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn find(bytes: &[u8], what: &[u8; 4]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
