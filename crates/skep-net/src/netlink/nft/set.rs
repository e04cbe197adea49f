//! Sets and maps, and what is in them.

use std::net::IpAddr;

use super::expr::{JUMP, put_data, put_verdict};
use super::typeof_data::{remark, remark_on_interfaces};
use crate::netlink::wire::Message;

/// A field of a key or value: its type as `nft` prints it, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A transport protocol.
    Proto,
    /// A port.
    Port,
    /// A number in host order. To `nft` it is a mark: its plain integers have no length, on which
    /// it fails where they are part of a key.
    Number,
    /// An interface name.
    Ifname,
}

impl Field {
    /// `nft`'s number of the type.
    fn code(self) -> u32 {
        match self {
            Field::Ipv4 => 7,
            Field::Ipv6 => 8,
            Field::Proto => 12,
            Field::Port => 13,
            Field::Number => 19,
            Field::Ifname => 41,
        }
    }

    fn bytes(self) -> u32 {
        match self {
            Field::Proto => 1,
            Field::Port => 2,
            Field::Ipv4 | Field::Number => 4,
            Field::Ipv6 | Field::Ifname => 16,
        }
    }

    /// The field of an address family.
    pub fn address(v4: bool) -> Field {
        if v4 { Field::Ipv4 } else { Field::Ipv6 }
    }
}

/// What a key or value is made of; several fields are concatenated, each padded to four bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    bytes: Vec<u8>,
}

impl Value {
    /// An address alone.
    pub fn ip(ip: IpAddr) -> Value {
        Value::default().and_ip(ip)
    }

    /// A number in host order.
    pub fn number(n: u32) -> Value {
        Value {
            bytes: n.to_ne_bytes().to_vec(),
        }
    }

    /// An interface name.
    pub fn ifname(name: &str) -> Value {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(16, 0);
        Value { bytes }
    }

    /// A transport protocol, to be followed by more.
    pub fn proto(number: u8) -> Value {
        Value {
            bytes: vec![number],
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Followed by an address.
    #[must_use]
    pub fn and_ip(mut self, ip: IpAddr) -> Value {
        self.pad();
        match ip {
            IpAddr::V4(a) => self.bytes.extend(a.octets()),
            IpAddr::V6(a) => self.bytes.extend(a.octets()),
        }
        self
    }

    /// Followed by a port. A concatenation is padded as a whole.
    #[must_use]
    pub fn and_port(mut self, port: u16) -> Value {
        self.pad();
        self.bytes.extend(port.to_be_bytes());
        self.pad();
        self
    }

    /// Followed by a number in host order.
    #[must_use]
    pub fn and_number(mut self, n: u32) -> Value {
        self.pad();
        self.bytes.extend(n.to_ne_bytes());
        self
    }

    /// A value read from the kernel.
    pub(super) fn read(bytes: &[u8]) -> Value {
        Value {
            bytes: bytes.to_vec(),
        }
    }

    /// The bytes as the kernel has them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Nothing: it is a set.
    None,
    /// Fields.
    Fields(Vec<Field>),
    /// A verdict.
    Verdict,
}

/// A set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub(super) name: String,
    pub(super) key: Vec<Field>,
    pub(super) target: Target,
    /// Filled by rules; elements leave after so many milliseconds.
    pub(super) dynamic: Option<u64>,
    pub(super) size: Option<u32>,
}

impl Set {
    /// A named set.
    pub fn plain(name: &str, key: &[Field]) -> Set {
        Set {
            name: name.into(),
            key: key.to_vec(),
            target: Target::None,
            dynamic: None,
            size: None,
        }
    }

    /// A named map.
    pub fn map(name: &str, key: &[Field], to: &[Field]) -> Set {
        Set {
            target: Target::Fields(to.to_vec()),
            ..Set::plain(name, key)
        }
    }

    /// A named verdict map.
    pub fn vmap(name: &str, key: &[Field]) -> Set {
        Set {
            target: Target::Verdict,
            ..Set::plain(name, key)
        }
    }

    /// A set that rules fill; elements leave after `timeout_ms`.
    pub fn dynamic(name: &str, key: &[Field], timeout_ms: u64, size: u32) -> Set {
        Set {
            dynamic: Some(timeout_ms),
            size: Some(size),
            ..Set::plain(name, key)
        }
    }

    pub(super) fn put(&self, m: &mut Message, table: &str, id: u32) {
        const MAP: u32 = 8;
        const TIMEOUT: u32 = 16;
        const EVAL: u32 = 32;
        m.put_str(1, table);
        m.put_str(2, &self.name);
        let mut flags = 0;
        if self.target != Target::None {
            flags |= MAP;
        }
        if self.dynamic.is_some() {
            flags |= TIMEOUT | EVAL;
        }
        m.put_u32_be(3, flags);
        m.put_u32_be(4, type_code(&self.key));
        m.put_u32_be(5, length(&self.key));
        match &self.target {
            Target::None => {}
            Target::Verdict => m.put_u32_be(6, 0xffff_ff00),
            Target::Fields(fields) => {
                m.put_u32_be(6, type_code(fields));
                m.put_u32_be(7, length(fields));
            }
        }
        if let Some(size) = self.size {
            m.nest(9, |m| m.put_u32_be(1, size));
        }
        m.put_u32_be(10, id);
        if let Target::Fields(value) = &self.target
            && self.key.len() > 1
            && self.key.contains(&Field::Number)
        {
            m.put(13, &remark(&self.key, value));
        } else if self.key == [Field::Ifname] {
            m.put(13, &remark_on_interfaces());
        }
        if let Some(timeout_ms) = self.dynamic {
            m.put(11, &timeout_ms.to_be_bytes());
        }
    }
}

fn type_code(fields: &[Field]) -> u32 {
    fields
        .iter()
        .fold(0, |code, field| (code << 6) | field.code())
}

fn length(fields: &[Field]) -> u32 {
    match fields {
        [one] => one.bytes(),
        many => many.iter().map(|f| f.bytes().next_multiple_of(4)).sum(),
    }
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    key: Value,
    data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Data {
    None,
    Value(Value),
    /// Jump to a chain.
    Jump(String),
}

impl Element {
    /// An element of a set; also enough to delete one from a map.
    pub fn key(key: Value) -> Element {
        Element {
            key,
            data: Data::None,
        }
    }

    /// An element of a map.
    pub fn pair(key: Value, value: Value) -> Element {
        Element {
            key,
            data: Data::Value(value),
        }
    }

    /// An element of a verdict map: jump to a chain.
    pub fn jump(key: Value, chain: &str) -> Element {
        Element {
            key,
            data: Data::Jump(chain.into()),
        }
    }

    pub(super) fn put(&self, m: &mut Message) {
        m.nest(1, |m| {
            m.nest(1, |m| put_data(m, self.key.bytes()));
            match &self.data {
                Data::None => {}
                Data::Value(value) => m.nest(2, |m| put_data(m, value.bytes())),
                Data::Jump(chain) => m.nest(2, |m| put_verdict(m, JUMP, Some(chain))),
            }
        });
    }
}
