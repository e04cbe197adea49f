//! The wire format: a 16-byte header, a fixed part, and type-length-value attributes aligned to
//! four bytes, which nest.
//!
//! ```text
//!  0       4     6      8     12    16
//!  | len32 | type | flags | seq | pid | fixed part | attr | attr | ...
//!                                             attr = | len16 | type16 | value | padding to 4 |
//! ```
//! Host byte order throughout; values that the protocol wants in network order say so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::NetlinkError;

/// Length of a message header.
pub(super) const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
/// Type bits of an attribute; the others are flags.
const TYPE_MASK: u16 = 0x3fff;

/// A request being written.
#[derive(Debug, Clone)]
pub struct Message {
    buf: Vec<u8>,
    /// Length of an attribute that did not fit its 16 bits.
    overflow: Option<usize>,
}

impl Message {
    /// A message of a kind, with flags beside `NLM_F_REQUEST`.
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut buf = vec![0; HEADER];
        buf[4..6].copy_from_slice(&kind.to_ne_bytes());
        buf[6..8].copy_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        Self {
            buf,
            overflow: None,
        }
    }

    /// Appends bytes of the fixed part.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.buf.extend_from_slice(bytes);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.buf.resize(self.buf.len().next_multiple_of(4), 0);
    }

    /// Appends an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let len = value.len() + 4;
        match u16::try_from(len) {
            Ok(short) => self.buf.extend_from_slice(&short.to_ne_bytes()),
            Err(_) => {
                self.overflow = Some(len);
                return;
            }
        }
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(value);
        self.pad();
    }

    /// Appends a string with its terminating zero.
    pub fn put_str(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes);
    }

    /// Appends a byte.
    pub fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    /// Appends 16 bits in network order.
    pub fn put_u16_be(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Appends 32 bits in host order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Appends 32 bits in network order.
    pub fn put_u32_be(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Appends an IP address.
    pub fn put_ip(&mut self, kind: u16, value: IpAddr) {
        match value {
            IpAddr::V4(a) => self.put(kind, &a.octets()),
            IpAddr::V6(a) => self.put(kind, &a.octets()),
        }
    }

    /// Appends an attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        self.nest_raw(kind | NESTED, fill);
    }

    /// As [`Message::nest`], without the flag that old parts of rtnetlink do not know.
    pub fn nest_raw(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0, 0]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let len = self.buf.len() - start;
        match u16::try_from(len) {
            Ok(short) => self.buf[start..start + 2].copy_from_slice(&short.to_ne_bytes()),
            Err(_) => self.overflow = Some(len),
        }
    }

    /// Appends raw bytes inside a nest (a fixed part within an attribute).
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
        self.pad();
    }

    pub(super) fn add_flags(&mut self, flags: u16) {
        let old = u16::from_ne_bytes([self.buf[6], self.buf[7]]);
        self.buf[6..8].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    /// The finished bytes, numbered.
    pub(super) fn finish(mut self, seq: u32) -> Result<Vec<u8>, NetlinkError> {
        if let Some(bytes) = self.overflow {
            return Err(NetlinkError::TooLong { bytes });
        }
        let len = self.buf.len();
        let long = u32::try_from(len).map_err(|_| NetlinkError::TooLong { bytes: len })?;
        self.buf[0..4].copy_from_slice(&long.to_ne_bytes());
        self.buf[8..12].copy_from_slice(&seq.to_ne_bytes());
        Ok(self.buf)
    }
}

/// Header flags (`linux/netlink.h`).
pub mod flag {
    /// It is a request.
    pub const REQUEST: u16 = 0x1;
    /// An answer is wanted.
    pub const ACK: u16 = 0x4;
    /// The whole table.
    pub const DUMP: u16 = 0x300;
    /// Replace an existing object.
    pub const REPLACE: u16 = 0x100;
    /// Fail if the object exists.
    pub const EXCL: u16 = 0x200;
    /// Create the object if it does not exist.
    pub const CREATE: u16 = 0x400;
    /// Append to the list.
    pub const APPEND: u16 = 0x800;
    /// The table changed during a dump.
    pub const DUMP_INTR: u16 = 0x10;
}

/// A message that came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Message type.
    pub kind: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    /// Port of the socket whose request it is about.
    pub(super) port: u32,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Reply {
    /// The attributes after a fixed part of `fixed` bytes.
    pub fn attrs(&self, fixed: usize) -> Attrs<'_> {
        Attrs {
            rest: self
                .body
                .get(fixed.next_multiple_of(4)..)
                .unwrap_or_default(),
        }
    }

    /// 32 bits in host order at an offset of the fixed part.
    pub fn u32_at(&self, at: usize) -> Option<u32> {
        let bytes = self.body.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// 16 bits in host order at an offset of the fixed part.
    pub fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = self.body.get(at..at + 2)?;
        Some(u16::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// A byte of the fixed part.
    pub fn u8_at(&self, at: usize) -> Option<u8> {
        self.body.get(at).copied()
    }
}

/// Splits a datagram into messages; a torn tail is an error.
pub(super) fn split(mut data: &[u8]) -> Result<Vec<Reply>, NetlinkError> {
    let mut out = Vec::new();
    while data.len() >= HEADER {
        let len = u32::from_ne_bytes([data[0], data[1], data[2], data[3]]) as usize;
        if len < HEADER || len > data.len() {
            return Err(NetlinkError::Malformed);
        }
        out.push(Reply {
            kind: u16::from_ne_bytes([data[4], data[5]]),
            flags: u16::from_ne_bytes([data[6], data[7]]),
            seq: u32::from_ne_bytes([data[8], data[9], data[10], data[11]]),
            port: u32::from_ne_bytes([data[12], data[13], data[14], data[15]]),
            body: data[HEADER..len].to_vec(),
        });
        data = data.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(out)
}

/// Attributes one after the other; stops at the first malformed one.
#[derive(Debug, Clone, Copy)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attr<'a> {
    /// Its type, without flags.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attrs<'a> {
    /// The attributes in these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first attribute of a type.
    pub fn find(self, kind: u16) -> Option<Attr<'a>> {
        Iterator::find(&mut { self }, |a| a.kind == kind)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let len = usize::from(u16::from_ne_bytes(self.rest.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.rest.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        if len < 4 {
            return None;
        }
        let value = self.rest.get(4..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Attr { kind, value })
    }
}

impl<'a> Attr<'a> {
    /// The attributes inside.
    pub fn nested(&self) -> Attrs<'a> {
        Attrs::new(self.value)
    }

    /// 16 bits in host order.
    pub fn u16(&self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// 32 bits in host order.
    pub fn u32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.get(0..4)?.try_into().ok()?))
    }

    /// 32 bits in network order.
    pub fn u32_be(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.get(0..4)?.try_into().ok()?))
    }

    /// 16 bits in network order.
    pub fn u16_be(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.value.get(0..2)?.try_into().ok()?))
    }

    /// A byte.
    pub fn u8(&self) -> Option<u8> {
        self.value.first().copied()
    }

    /// A string up to its terminating zero.
    pub fn string(&self) -> String {
        let end = self
            .value
            .iter()
            .position(|b| *b == 0)
            .unwrap_or(self.value.len());
        String::from_utf8_lossy(&self.value[..end]).into_owned()
    }

    /// An IP address by its length.
    pub fn ip(&self) -> Option<IpAddr> {
        if let Ok(v4) = <[u8; 4]>::try_from(self.value) {
            return Some(IpAddr::V4(Ipv4Addr::from(v4)));
        }
        <[u8; 16]>::try_from(self.value)
            .ok()
            .map(|v6| IpAddr::V6(Ipv6Addr::from(v6)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut m = Message::new(16, flag::ACK).fixed(&[1, 2, 3]);
        m.put_str(3, "eth0");
        m.nest(18, |m| m.put_u32(1, 7));
        let bytes = m.finish(5).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let replies = split(&bytes).unwrap();
        assert_eq!((replies.len(), replies[0].kind, replies[0].seq), (1, 16, 5));
        let attrs: Vec<Attr<'_>> = replies[0].attrs(3).collect();
        assert_eq!(attrs[0].string(), "eth0");
        assert_eq!(attrs[1].kind, 18);
        assert_eq!(attrs[1].nested().find(1).and_then(|a| a.u32()), Some(7));
    }

    #[test]
    fn an_attribute_too_long_is_refused() {
        let mut m = Message::new(1, 0);
        m.nest(1, |m| {
            for _ in 0..40 {
                m.put(2, &[0; 2000]);
            }
        });
        assert!(matches!(m.finish(1), Err(NetlinkError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_from_the_kernel_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(replies) = split(&bytes) {
                for reply in replies {
                    for attr in reply.attrs(4) {
                        let _ = (attr.string(), attr.ip(), attr.u32(), attr.nested().count());
                    }
                }
            }
        }
    }
}
