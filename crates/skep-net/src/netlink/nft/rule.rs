//! Rules: lists of expressions over the kernel's registers.
//!
//! Matches load a field into register 1 and compare; concatenated keys fill 32-bit registers from
//! the first one on. Only what skep's rulesets use is here.

use std::net::IpAddr;

use super::expr::{
    ACCEPT, CT_DIRECTION, CT_MARK, CT_STATE, CT_STATUS, DROP, Expr, GOTO, IIFNAME, JUMP, L4PROTO,
    LINK, LOCAL, MARK, NETWORK, OIFNAME, REG1, REG32, RETURN, STATE_KNOWN, STATUS_DNAT, TRANSPORT,
    VERDICT,
};
use super::set::{Field, Set, Value};
use super::{Element, Family};
use crate::addr::Cidr;
use crate::netlink::wire::Message;

const TCP: u8 = 6;

/// A rule being written, in the order in which it will be evaluated.
#[derive(Debug, Clone)]
pub struct Rule {
    family: Family,
    exprs: Vec<Expr>,
    /// Anonymous maps, which the transaction makes beside the rule.
    pub(super) maps: Vec<(Set, Vec<Element>)>,
}

impl Rule {
    /// A rule for a table of a family.
    pub fn new(family: Family) -> Rule {
        Rule {
            family,
            exprs: Vec::new(),
            maps: Vec::new(),
        }
    }

    fn with(mut self, expr: Expr) -> Rule {
        self.exprs.push(expr);
        self
    }

    fn meta(self, key: u32, equal: bool, value: Vec<u8>) -> Rule {
        self.with(Expr::Meta { key, reg: REG1 })
            .with(Expr::Cmp { equal, value })
    }

    /// `iifname NAME` or `iifname != NAME`.
    #[must_use]
    pub fn iifname(self, equal: bool, name: &str) -> Rule {
        self.meta(IIFNAME, equal, Value::ifname(name).bytes().to_vec())
    }

    /// `oifname NAME` or `oifname != NAME`.
    #[must_use]
    pub fn oifname(self, equal: bool, name: &str) -> Rule {
        self.meta(OIFNAME, equal, Value::ifname(name).bytes().to_vec())
    }

    /// `iifname @SET`.
    #[must_use]
    pub fn iifname_in(self, set: &str) -> Rule {
        self.with(Expr::Meta {
            key: IIFNAME,
            reg: REG1,
        })
        .lookup(set)
    }

    /// `oifname @SET`.
    #[must_use]
    pub fn oifname_in(self, set: &str) -> Rule {
        self.with(Expr::Meta {
            key: OIFNAME,
            reg: REG1,
        })
        .lookup(set)
    }

    /// `iifname vmap @MAP`.
    #[must_use]
    pub fn iifname_vmap(self, map: &str) -> Rule {
        self.with(Expr::Meta {
            key: IIFNAME,
            reg: REG1,
        })
        .vmap(map)
    }

    /// `oifname vmap @MAP`.
    #[must_use]
    pub fn oifname_vmap(self, map: &str) -> Rule {
        self.with(Expr::Meta {
            key: OIFNAME,
            reg: REG1,
        })
        .vmap(map)
    }

    fn lookup(self, set: &str) -> Rule {
        self.with(Expr::Lookup {
            set: set.into(),
            id: None,
            map_reg: None,
            reg: REG1,
        })
    }

    fn vmap(self, map: &str) -> Rule {
        self.with(Expr::Lookup {
            set: map.into(),
            id: None,
            map_reg: Some(VERDICT),
            reg: REG1,
        })
    }

    /// `meta l4proto N`.
    #[must_use]
    pub fn l4proto(self, number: u8) -> Rule {
        self.meta(L4PROTO, true, vec![number])
    }

    /// `meta mark N` or `meta mark != N`; the number in host order.
    #[must_use]
    pub fn mark(self, equal: bool, mark: u32) -> Rule {
        self.meta(MARK, equal, mark.to_ne_bytes().to_vec())
    }

    /// `meta mark & MASK == N`; both in host order.
    #[must_use]
    pub fn mark_within(self, value: u32, mask: u32) -> Rule {
        self.with(Expr::Meta {
            key: MARK,
            reg: REG1,
        })
        .with(Expr::Bitwise {
            mask: mask.to_ne_bytes().to_vec(),
        })
        .with(Expr::Cmp {
            equal: true,
            value: value.to_ne_bytes().to_vec(),
        })
    }

    /// `ct mark != 0`.
    #[must_use]
    pub fn ct_marked(self) -> Rule {
        self.with(Expr::Ct {
            key: CT_MARK,
            reg: REG1,
        })
        .with(Expr::Cmp {
            equal: false,
            value: vec![0; 4],
        })
    }

    /// `ct direction original` or `reply`.
    #[must_use]
    pub fn ct_reply(self, reply: bool) -> Rule {
        self.with(Expr::Ct {
            key: CT_DIRECTION,
            reg: REG1,
        })
        .with(Expr::Cmp {
            equal: true,
            value: vec![u8::from(reply)],
        })
    }

    /// `ct status dnat`.
    #[must_use]
    pub fn ct_dnat(self) -> Rule {
        self.ct_bits(CT_STATUS, STATUS_DNAT)
    }

    /// `ct state established,related`.
    #[must_use]
    pub fn ct_known(self) -> Rule {
        self.ct_bits(CT_STATE, STATE_KNOWN)
    }

    fn ct_bits(self, key: u32, bits: u32) -> Rule {
        self.with(Expr::Ct { key, reg: REG1 })
            .with(Expr::Bitwise {
                mask: bits.to_ne_bytes().to_vec(),
            })
            .with(Expr::Cmp {
                equal: false,
                value: vec![0; 4],
            })
    }

    /// `fib daddr type local`.
    #[must_use]
    pub fn daddr_is_local(self) -> Rule {
        self.fib(false)
    }

    /// `fib saddr type local`.
    #[must_use]
    pub fn saddr_is_local(self) -> Rule {
        self.fib(true)
    }

    fn fib(self, source: bool) -> Rule {
        self.with(Expr::FibType { source }).with(Expr::Cmp {
            equal: true,
            value: LOCAL.to_ne_bytes().to_vec(),
        })
    }

    fn addr_expr(&self, source: bool, reg: u32) -> Expr {
        let (offset, len) = match (self.family, source) {
            (Family::Ip6, true) => (8, 16),
            (Family::Ip6, false) => (24, 16),
            (_, true) => (12, 4),
            (_, false) => (16, 4),
        };
        Expr::Payload {
            base: NETWORK,
            offset,
            len,
            reg,
        }
    }

    fn address(self, source: bool, equal: bool, net: Cidr) -> Rule {
        let load = self.addr_expr(source, REG1);
        let value = Value::ip(net.network().addr).bytes().to_vec();
        self.with(load)
            .with(Expr::Bitwise { mask: net.mask() })
            .with(Expr::Cmp { equal, value })
    }

    /// `ip saddr NET` or `!=`.
    #[must_use]
    pub fn saddr(self, equal: bool, net: Cidr) -> Rule {
        self.address(true, equal, net)
    }

    /// `ip daddr NET` or `!=`.
    #[must_use]
    pub fn daddr(self, equal: bool, net: Cidr) -> Rule {
        self.address(false, equal, net)
    }

    /// `ip daddr vmap @MAP`.
    #[must_use]
    pub fn daddr_vmap(self, map: &str) -> Rule {
        let load = self.addr_expr(false, REG1);
        self.with(load).vmap(map)
    }

    fn port_expr(source: bool, reg: u32) -> Expr {
        Expr::Payload {
            base: TRANSPORT,
            offset: if source { 0 } else { 2 },
            len: 2,
            reg,
        }
    }

    /// `th dport PORT`.
    #[must_use]
    pub fn dport(self, port: u16) -> Rule {
        self.with(Self::port_expr(false, REG1)).with(Expr::Cmp {
            equal: true,
            value: port.to_be_bytes().to_vec(),
        })
    }

    /// `meta l4proto . th dport vmap @MAP`.
    #[must_use]
    pub fn service_vmap(self, map: &str) -> Rule {
        self.service(map, Some(VERDICT))
    }

    /// `meta l4proto . th dport @SET`.
    #[must_use]
    pub fn service_in(self, set: &str) -> Rule {
        self.service(set, None)
    }

    /// `meta l4proto . ip daddr . th dport @SET`.
    #[must_use]
    pub fn service_at(self, set: &str) -> Rule {
        let words = self.words();
        let rule = self.with(Expr::Meta {
            key: L4PROTO,
            reg: REG32,
        });
        let load = rule.addr_expr(false, REG32 + 1);
        rule.with(load)
            .with(Self::port_expr(false, REG32 + 1 + words))
            .with(Expr::Lookup {
                set: set.into(),
                id: None,
                map_reg: None,
                reg: REG32,
            })
    }

    fn service(self, set: &str, map_reg: Option<u32>) -> Rule {
        self.with(Expr::Meta {
            key: L4PROTO,
            reg: REG32,
        })
        .with(Self::port_expr(false, REG32 + 1))
        .with(Expr::Lookup {
            set: set.into(),
            id: None,
            map_reg,
            reg: REG32,
        })
    }

    fn words(&self) -> u32 {
        if self.family == Family::Ip6 { 4 } else { 1 }
    }

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
                id: None,
                map_reg: Some(REG32),
                reg: REG32,
            })
            .with(Expr::Dnat {
                family,
                addr: REG32,
                port: Some(REG32 + words),
            })
    }

    /// `dnat to numgen inc mod N map { 0 : A, 1 : B } [: PORT]`; for one backend at least.
    #[must_use]
    pub fn dnat_round_robin(mut self, backends: &[IpAddr], port: Option<u16>) -> Rule {
        let (modulus, family) = (
            u32::try_from(backends.len()).unwrap_or(u32::MAX),
            self.family,
        );
        let v4 = family != Family::Ip6;
        let elements = (0..modulus).zip(backends);
        let elements = elements.map(|(i, ip)| Element::pair(Value::integer(i), Value::ip(*ip)));
        let set = Set::anonymous_map(&[Field::Integer], &[Field::address(v4)]);
        self.maps.push((set, elements.collect()));
        let mut rule = self.with(Expr::NumGen { modulus }).with(Expr::Lookup {
            set: "__map%d".into(),
            id: Some(0),
            map_reg: Some(REG1),
            reg: REG1,
        });
        let mut port_reg = None;
        if let Some(port) = port {
            let reg = 2;
            rule = rule.with(Expr::Immediate {
                reg,
                value: port.to_be_bytes().to_vec(),
            });
            port_reg = Some(reg);
        }
        rule.with(Expr::Dnat {
            family,
            addr: REG1,
            port: port_reg,
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
        .with(Expr::SetMark { reg: REG1 })
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
            id: None,
            reg: REG32,
        })
    }

    /// `ip daddr . dport . sport @SET`: an answer to a remembered flow.
    #[must_use]
    pub fn answers_flow(self, set: &str) -> Rule {
        self.flow(false).with(Expr::Lookup {
            set: set.into(),
            id: None,
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

    fn verdict(self, code: i32, chain: Option<&str>) -> Rule {
        self.with(Expr::Verdict {
            code,
            chain: chain.map(str::to_owned),
        })
    }

    /// `accept`.
    #[must_use]
    pub fn accept(self) -> Rule {
        self.verdict(ACCEPT, None)
    }

    /// `drop`.
    #[must_use]
    pub fn drop(self) -> Rule {
        self.verdict(DROP, None)
    }

    /// `return`.
    #[must_use]
    pub fn ret(self) -> Rule {
        self.verdict(RETURN, None)
    }

    /// `jump CHAIN`.
    #[must_use]
    pub fn jump(self, chain: &str) -> Rule {
        self.verdict(JUMP, Some(chain))
    }

    /// `goto CHAIN`.
    #[must_use]
    pub fn goto(self, chain: &str) -> Rule {
        self.verdict(GOTO, Some(chain))
    }

    /// Writes the expressions; anonymous maps have the ids from `first_set_id` on.
    pub(super) fn put(&self, m: &mut Message, first_set_id: u32) {
        for expr in &self.exprs {
            m.nest(1, |m| {
                m.put_str(1, expr.name());
                m.nest(2, |m| expr.put(m, first_set_id));
            });
        }
    }
}
