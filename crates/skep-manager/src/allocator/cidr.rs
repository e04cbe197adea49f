//! Address blocks, of either family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address with a prefix length, `10.0.0.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    v6: bool,
    address: u128,
    prefix: u8,
}

/// What was read is not an address block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct CidrError(pub String);

impl Cidr {
    /// An address with a prefix length; `None` when the prefix is too long.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (v6, address) = match address {
            IpAddr::V4(address) => (false, u128::from(u32::from(address))),
            IpAddr::V6(address) => (true, u128::from(address)),
        };
        let cidr = Self {
            v6,
            address,
            prefix,
        };
        (prefix <= cidr.width()).then_some(cidr)
    }

    fn width(&self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    fn host_mask(&self) -> u128 {
        match self.width() - self.prefix {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }

    /// Whether this is IPv6.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        self.v6
    }

    /// The prefix length.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The address as a number.
    #[must_use]
    pub fn number(&self) -> u128 {
        self.address
    }

    /// The address alone.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        if self.v6 {
            IpAddr::V6(Ipv6Addr::from(self.address))
        } else {
            IpAddr::V4(Ipv4Addr::from(u32::try_from(self.address).unwrap_or(0)))
        }
    }

    /// The block: host bits cleared.
    #[must_use]
    pub fn network(&self) -> Self {
        Self {
            address: self.first(),
            ..*self
        }
    }

    /// The same block's address with that number.
    #[must_use]
    pub fn with_number(&self, number: u128) -> Self {
        Self {
            address: number,
            ..*self
        }
    }

    /// The lowest address of the block.
    #[must_use]
    pub fn first(&self) -> u128 {
        self.address & !self.host_mask()
    }

    /// The highest address of the block.
    #[must_use]
    pub fn last(&self) -> u128 {
        self.address | self.host_mask()
    }

    /// Whether the blocks share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.v6 == other.v6 && self.first() <= other.last() && other.first() <= self.last()
    }

    /// The blocks of length `prefix` in this one, in order.
    pub fn split(&self, prefix: u8) -> impl Iterator<Item = Self> + use<> {
        let prefix = prefix.clamp(self.prefix, self.width());
        let step = 1_u128
            .checked_shl(u32::from(self.width() - prefix))
            .unwrap_or(0);
        let (last, v6) = (self.last(), self.v6);
        let next = move |at: &u128| at.checked_add(step).filter(|at| step > 0 && *at <= last);
        std::iter::successors(Some(self.first()), next).map(move |address| Self {
            v6,
            address,
            prefix,
        })
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.prefix)
    }
}
