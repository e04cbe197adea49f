//! What one packet of a connection tells the next: marks, zones, remembered flows.

use std::net::IpAddr;

use super::Rule;
use crate::netlink::nft::expr::{CT_MARK, Expr, LINK, MARK, NETWORK, REG1, REG32};
use crate::netlink::nft::{Family, Value};

impl Rule {
    /// `ct mark set` the last four bytes of the source hardware address, raw.
    #[must_use]
    pub fn ct_mark_from_source_mac(self) -> Rule {
        self.with(Expr::Payload {
            base: LINK,
            offset: 8,
            len: 4,
            reg: REG1,
        })
        .with(Expr::SetCtMark { reg: REG1 })
    }

    /// `ct original zone set` the last two bytes of the source hardware address, raw.
    #[must_use]
    pub fn ct_zone_from_source_mac(self) -> Rule {
        self.with(Expr::Payload {
            base: LINK,
            offset: 10,
            len: 2,
            reg: REG1,
        })
        .with(Expr::SetCtZone { reg: REG1 })
    }

    /// `meta mark set ct mark`.
    #[must_use]
    pub fn mark_from_ct(self) -> Rule {
        self.with(Expr::Ct {
            key: CT_MARK,
            reg: REG1,
        })
        .with(Expr::SetMeta {
            key: MARK,
            reg: REG1,
        })
    }

    /// The last four bytes of the destination hardware address become the packet's mark.
    #[must_use]
    pub fn destination_mac_from_mark(self) -> Rule {
        self.with(Expr::Meta {
            key: MARK,
            reg: REG1,
        })
        .with(Expr::SetPayload {
            base: LINK,
            offset: 2,
            len: 4,
            reg: REG1,
            csum: None,
        })
    }

    fn flow(self, source: bool) -> Rule {
        let words = self.words();
        let address = self.addr_expr(source, REG32);
        let (near, far) = (REG32 + words, REG32 + words + 1);
        self.with(address)
            .with(Self::port_expr(source, near))
            .with(Self::port_expr(!source, far))
    }

    /// `update @SET { ip saddr . sport . dport }`.
    #[must_use]
    pub fn remember_flow(self, set: &str) -> Rule {
        self.flow(true).with(Expr::DynSet {
            set: set.into(),
            reg: REG32,
        })
    }

    /// `ip daddr . dport . sport @SET`: an answer to a remembered flow.
    #[must_use]
    pub fn answers_flow(self, set: &str) -> Rule {
        self.flow(false).with(Expr::Lookup {
            set: set.into(),
            map_reg: None,
            reg: REG32,
        })
    }

    /// `ip saddr set ADDR`, with its checksums (UDP's too).
    #[must_use]
    pub fn set_saddr(self, ip: IpAddr) -> Rule {
        let (offset, len) = if self.family == Family::Ip6 {
            (8, 16)
        } else {
            (12, 4)
        };
        // IPv6 has no header checksum; the pseudo header's is mended either way.
        let csum = if self.family == Family::Ip6 {
            None
        } else {
            Some(10)
        };
        self.with(Expr::Immediate {
            reg: REG1,
            value: Value::ip(ip).bytes().to_vec(),
        })
        .with(Expr::SetPayload {
            base: NETWORK,
            offset,
            len,
            reg: REG1,
            csum,
        })
    }
}
