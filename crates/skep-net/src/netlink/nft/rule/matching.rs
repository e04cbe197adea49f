//! What a packet must be like.

use super::{Key, Rule};
use crate::addr::Cidr;
use crate::netlink::nft::Value;
use crate::netlink::nft::expr::{
    CT_DIRECTION, CT_MARK, CT_STATE, CT_STATUS, Expr, IIFNAME, L4PROTO, LOCAL, MARK, OIFNAME, REG1,
    REG32, STATE_KNOWN, STATUS_DNAT, VERDICT,
};

impl Rule {
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
            map_reg: None,
            reg: REG1,
        })
    }

    fn vmap(self, map: &str) -> Rule {
        self.with(Expr::Lookup {
            set: map.into(),
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

    /// `th dport PORT`.
    #[must_use]
    pub fn dport(self, port: u16) -> Rule {
        self.with(Self::port_expr(false, REG1)).with(Expr::Cmp {
            equal: true,
            value: port.to_be_bytes().to_vec(),
        })
    }

    /// `meta l4proto . th dport @SET`.
    #[must_use]
    pub fn service_in(self, set: &str) -> Rule {
        self.key(Key::Port).with(Expr::Lookup {
            set: set.into(),
            map_reg: None,
            reg: REG32,
        })
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
                map_reg: None,
                reg: REG32,
            })
    }
}
