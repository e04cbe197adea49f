//! Sharing connections among backends by maps, so that rules need not know the backends.

use super::Rule;
use crate::netlink::nft::expr::{Expr, L4PROTO, PRIORITY, REG1, REG32, VERDICT};
use crate::netlink::nft::{Family, Field};

/// By what of a packet a service is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `ip daddr`.
    Address,
    /// `meta l4proto . th dport`.
    Port,
}

impl Key {
    /// The fields of a key, in a table of this family.
    pub fn fields(self, v4: bool) -> Vec<Field> {
        match self {
            Key::Address => vec![Field::address(v4)],
            Key::Port => vec![Field::Proto, Field::Port],
        }
    }

    /// 32-bit registers that it fills.
    fn words(self, family: Family) -> u32 {
        match (self, family) {
            (Key::Address, Family::Ip6) => 4,
            (Key::Address, _) => 1,
            (Key::Port, _) => 2,
        }
    }
}

/// In which order backends are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// One after the other: the rule counts.
    Next,
    /// As chance has it.
    Random,
}

impl Rule {
    /// Fills the first 32-bit registers with the key.
    pub(super) fn key(self, key: Key) -> Rule {
        match key {
            Key::Address => {
                let load = self.addr_expr(false, REG32);
                self.with(load)
            }
            Key::Port => self
                .with(Expr::Meta {
                    key: L4PROTO,
                    reg: REG32,
                })
                .with(Self::port_expr(false, REG32 + 1)),
        }
    }

    /// `meta priority set KEY map @LANES meta priority vmap @CHAINS`: a number by the key, a chain
    /// by the number. A register would do to carry it, but `nft` cannot print such a rule, and
    /// fails. The chain takes the number away again.
    #[must_use]
    pub fn key_to_chain(self, key: Key, lanes: &str, chains: &str) -> Rule {
        self.key(key)
            .with(Expr::Lookup {
                set: lanes.into(),
                map_reg: Some(REG1),
                reg: REG32,
            })
            .with(Expr::SetMeta {
                key: PRIORITY,
                reg: REG1,
            })
            .with(Expr::Meta {
                key: PRIORITY,
                reg: REG1,
            })
            .with(Expr::Lookup {
                set: chains.into(),
                map_reg: Some(VERDICT),
                reg: REG1,
            })
    }

    /// `meta priority set 0`.
    #[must_use]
    pub fn no_priority(self) -> Rule {
        self.with(Expr::Immediate {
            reg: REG1,
            value: vec![0; 4],
        })
        .with(Expr::SetMeta {
            key: PRIORITY,
            reg: REG1,
        })
    }

    /// `meta priority set 0 dnat to KEY . numgen inc mod SIZE map @BACKENDS`, or `numgen random`. The map leads to an
    /// address, or with `to_port` to `address . port`.
    #[must_use]
    pub fn dnat_in_turn(self, key: Key, turn: Turn, size: u32, map: &str, to_port: bool) -> Rule {
        let (family, words) = (self.family, self.words());
        let slot = REG32 + key.words(family);
        self.no_priority()
            .key(key)
            .with(Expr::NumGen {
                modulus: size,
                random: turn == Turn::Random,
                reg: slot,
            })
            .with(Expr::Lookup {
                set: map.into(),
                map_reg: Some(REG32),
                reg: REG32,
            })
            .with(Expr::Dnat {
                family,
                addr: REG32,
                port: to_port.then_some(REG32 + words),
            })
    }
}
