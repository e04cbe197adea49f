//! Addresses as skep writes them: an address with its prefix length, and a MAC.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address with its prefix length, as in `10.0.1.3/24`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// The address; its host bits are kept.
    pub addr: IpAddr,
    /// The number of leading bits that name the network.
    pub prefix: u8,
}

/// A text that is not an address with a prefix length, or not a MAC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what}: {text}")]
pub struct AddrError {
    what: &'static str,
    text: String,
}

impl Cidr {
    /// An address in a network of `prefix` bits; longer prefixes than the family has are cut.
    pub fn new(addr: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(Self::bits(addr));
        Self { addr, prefix }
    }

    /// The address alone: `/32` or `/128`.
    pub fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            prefix: Self::bits(addr),
        }
    }

    fn bits(addr: IpAddr) -> u8 {
        if addr.is_ipv4() { 32 } else { 128 }
    }

    /// Whether this is an IPv4 address.
    pub fn is_ipv4(&self) -> bool {
        self.addr.is_ipv4()
    }

    /// The network: the address with its host bits cleared.
    pub fn network(&self) -> Cidr {
        let addr = match self.addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a) & self.mask_v4())),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a) & self.mask_v6())),
        };
        Cidr {
            addr,
            prefix: self.prefix,
        }
    }

    fn mask_v4(&self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.prefix.min(32)))
            .unwrap_or(0)
    }

    fn mask_v6(&self) -> u128 {
        u128::MAX
            .checked_shl(128 - u32::from(self.prefix.min(128)))
            .unwrap_or(0)
    }

    /// The netmask in network byte order.
    pub fn mask(&self) -> Vec<u8> {
        match self.addr {
            IpAddr::V4(_) => self.mask_v4().to_be_bytes().to_vec(),
            IpAddr::V6(_) => self.mask_v6().to_be_bytes().to_vec(),
        }
    }

    /// Whether `addr` is inside this network.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.addr.is_ipv4() == addr.is_ipv4()
            && Cidr::new(addr, self.prefix).network() == self.network()
    }

    /// Whether the two networks share an address.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.contains(other.network().addr) || other.contains(self.network().addr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cidr {
    type Err = AddrError;

    /// Reads `address/prefix`, or an address alone as a host.
    fn from_str(text: &str) -> Result<Self, AddrError> {
        let bad = || AddrError {
            what: "CIDR address",
            text: text.to_owned(),
        };
        let Some((addr, prefix)) = text.split_once('/') else {
            return text.parse().map(Cidr::host).map_err(|_| bad());
        };
        let addr: IpAddr = addr.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > Self::bits(addr) {
            return Err(bad());
        }
        Ok(Cidr { addr, prefix })
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of an endpoint with this IP: `02:42` and the four bytes of an IPv4 address, as
    /// Docker has it; the ingress reply path reads the node's address back from it. For IPv6 the
    /// last four bytes.
    pub fn from_ip(addr: IpAddr) -> Mac {
        let tail: [u8; 4] = match addr {
            IpAddr::V4(a) => a.octets(),
            IpAddr::V6(a) => {
                let o = a.octets();
                [o[12], o[13], o[14], o[15]]
            }
        };
        Mac([0x02, 0x42, tail[0], tail[1], tail[2], tail[3]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let bad = || AddrError {
            what: "MAC address",
            text: text.to_owned(),
        };
        let mut out = [0_u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut out {
            let part = parts.next().ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Mac(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(s: &str) -> Cidr {
        s.parse().unwrap()
    }

    #[test]
    fn network_clears_host_bits() {
        assert_eq!(cidr("10.0.1.77/24").network(), cidr("10.0.1.0/24"));
        assert_eq!(cidr("10.0.1.77/0").network(), cidr("0.0.0.0/0"));
        assert_eq!(cidr("fd00::1:2/112").network(), cidr("fd00::1:0/112"));
    }

    #[test]
    fn overlap_is_symmetric() {
        assert!(cidr("10.0.0.0/8").overlaps(&cidr("10.3.0.0/16")));
        assert!(cidr("10.3.0.0/16").overlaps(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.3.0.0/16").overlaps(&cidr("10.4.0.0/16")));
        assert!(!cidr("10.3.0.0/16").overlaps(&cidr("::/0")));
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "x/8", "10.0.0.1/", "::1/129"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        for text in ["", "02:42", "02:42:0a:00:00:02:03", "zz:42:0a:00:00:02"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn mac_follows_the_address() {
        assert_eq!(
            Mac::from_ip("10.10.19.4".parse().unwrap()).to_string(),
            "02:42:0a:0a:13:04"
        );
        assert_eq!(
            "02:42:0a:0a:13:04".parse(),
            Ok(Mac([2, 0x42, 10, 10, 19, 4]))
        );
    }
}
