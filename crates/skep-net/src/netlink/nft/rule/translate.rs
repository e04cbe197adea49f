//! Translation and refusal.

use std::net::IpAddr;

use super::Rule;
use crate::netlink::nft::Value;
use crate::netlink::nft::expr::{Expr, L4PROTO, REG1, REG32};

const TCP: u8 = 6;

impl Rule {
    /// `dnat to meta l4proto . th dport map @MAP`, or with `. ip daddr .` in the middle; the map
    /// leads to `address . port`. No match: the next rule.
    #[must_use]
    pub fn dnat_to_mapped(self, with_daddr: bool, map: &str) -> Rule {
        let words = self.words();
        let mut rule = self.with(Expr::Meta {
            key: L4PROTO,
            reg: REG32,
        });
        let mut next = REG32 + 1;
        if with_daddr {
            let load = rule.addr_expr(false, next);
            rule = rule.with(load);
            next += words;
        }
        let family = rule.family;
        rule.with(Self::port_expr(false, next))
            .with(Expr::Lookup {
                set: map.into(),
                map_reg: Some(REG32),
                reg: REG32,
            })
            .with(Expr::Dnat {
                family,
                addr: REG32,
                port: Some(REG32 + words),
            })
    }

    /// `redirect to :0`: to this host itself, where nobody is.
    #[must_use]
    pub fn redirect_to_nobody(self) -> Rule {
        self.with(Expr::Immediate {
            reg: REG1,
            value: vec![0; 2],
        })
        .with(Expr::Redirect { port: REG1 })
    }

    /// `dnat to ADDR : PORT`.
    #[must_use]
    pub fn dnat_to(self, ip: IpAddr, port: u16) -> Rule {
        let family = self.family;
        self.with(Expr::Immediate {
            reg: REG1,
            value: Value::ip(ip).bytes().to_vec(),
        })
        .with(Expr::Immediate {
            reg: 2,
            value: port.to_be_bytes().to_vec(),
        })
        .with(Expr::Dnat {
            family,
            addr: REG1,
            port: Some(2),
        })
    }

    /// `meta l4proto tcp reject with tcp reset`. In a chain of type nat, connection tracking must
    /// be on by another rule.
    #[must_use]
    pub fn reset_tcp(self) -> Rule {
        let family = self.family;
        self.l4proto(TCP).with(Expr::Reject {
            family,
            reset: true,
        })
    }

    /// `reject with icmp port-unreachable`, or its like of IPv6.
    #[must_use]
    pub fn unreachable(self) -> Rule {
        let family = self.family;
        self.with(Expr::Reject {
            family,
            reset: false,
        })
    }

    /// `masquerade`.
    #[must_use]
    pub fn masquerade(self) -> Rule {
        self.with(Expr::Masquerade)
    }
}
