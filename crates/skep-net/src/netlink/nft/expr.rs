//! Expressions: single steps of a rule over the kernel's registers.

use super::Family;
use crate::netlink::wire::Message;

// Verdicts
pub(super) const DROP: i32 = 0;
pub(super) const ACCEPT: i32 = 1;
pub(super) const JUMP: i32 = -3;
pub(super) const GOTO: i32 = -4;
pub(super) const RETURN: i32 = -5;

// Registers
pub(super) const VERDICT: u32 = 0;
pub(super) const REG1: u32 = 1;
/// The first 32-bit register, the same memory as `REG1`.
pub(super) const REG32: u32 = 8;

// nft_meta_keys
pub(super) const PRIORITY: u32 = 2;
pub(super) const MARK: u32 = 3;
pub(super) const IIFNAME: u32 = 6;
pub(super) const OIFNAME: u32 = 7;
pub(super) const L4PROTO: u32 = 16;
// nft_ct_keys
pub(super) const CT_STATE: u32 = 0;
pub(super) const CT_DIRECTION: u32 = 1;
pub(super) const CT_STATUS: u32 = 2;
pub(super) const CT_MARK: u32 = 3;
pub(super) const CT_ZONE: u32 = 17;
/// `IPS_DST_NAT`.
pub(super) const STATUS_DNAT: u32 = 1 << 5;
/// Established and related.
pub(super) const STATE_KNOWN: u32 = 0b110;
// Payload bases
pub(super) const LINK: u32 = 0;
pub(super) const NETWORK: u32 = 1;
pub(super) const TRANSPORT: u32 = 2;
/// `RTN_LOCAL`.
pub(super) const LOCAL: u32 = 2;

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Meta {
        key: u32,
        reg: u32,
    },
    SetMeta {
        key: u32,
        reg: u32,
    },
    Ct {
        key: u32,
        reg: u32,
    },
    SetCtMark {
        reg: u32,
    },
    /// Of the original direction alone.
    SetCtZone {
        reg: u32,
    },
    Payload {
        base: u32,
        offset: u32,
        len: u32,
        reg: u32,
    },
    SetPayload {
        base: u32,
        offset: u32,
        len: u32,
        reg: u32,
        csum: Option<u32>,
    },
    Cmp {
        equal: bool,
        value: Vec<u8>,
    },
    Bitwise {
        mask: Vec<u8>,
    },
    Lookup {
        set: String,
        map_reg: Option<u32>,
        reg: u32,
    },
    NumGen {
        modulus: u32,
        /// Or else one after the other.
        random: bool,
        reg: u32,
    },
    Immediate {
        reg: u32,
        value: Vec<u8>,
    },
    Verdict {
        code: i32,
        chain: Option<String>,
    },
    Dnat {
        family: Family,
        addr: u32,
        port: Option<u32>,
    },
    Masquerade,
    /// To this host.
    Redirect {
        port: u32,
    },
    /// With a TCP reset, or else with ICMP's "port unreachable" of the family.
    Reject {
        family: Family,
        reset: bool,
    },
    FibType {
        source: bool,
    },
    DynSet {
        set: String,
        reg: u32,
    },
}

pub(super) fn put_data(m: &mut Message, value: &[u8]) {
    m.put(1, value);
}

pub(super) fn put_verdict(m: &mut Message, code: i32, chain: Option<&str>) {
    m.nest(2, |m| {
        m.put_u32_be(1, code.cast_unsigned());
        if let Some(chain) = chain {
            m.put_str(2, chain);
        }
    });
}

impl Expr {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Expr::Meta { .. } | Expr::SetMeta { .. } => "meta",
            Expr::Ct { .. } | Expr::SetCtMark { .. } | Expr::SetCtZone { .. } => "ct",
            Expr::Payload { .. } | Expr::SetPayload { .. } => "payload",
            Expr::Cmp { .. } => "cmp",
            Expr::Bitwise { .. } => "bitwise",
            Expr::Lookup { .. } => "lookup",
            Expr::NumGen { .. } => "numgen",
            Expr::Immediate { .. } | Expr::Verdict { .. } => "immediate",
            Expr::Dnat { .. } => "nat",
            Expr::Masquerade => "masq",
            Expr::Redirect { .. } => "redir",
            Expr::Reject { .. } => "reject",
            Expr::FibType { .. } => "fib",
            Expr::DynSet { .. } => "dynset",
        }
    }

    pub(super) fn put(&self, m: &mut Message) {
        match self {
            Expr::Meta { key, reg } => numbers(m, &[(1, *reg), (2, *key)]),
            Expr::SetMeta { key, reg } => numbers(m, &[(2, *key), (3, *reg)]),
            Expr::Ct { key, reg } => numbers(m, &[(1, *reg), (2, *key)]),
            Expr::SetCtMark { reg } => numbers(m, &[(2, CT_MARK), (4, *reg)]),
            Expr::SetCtZone { reg } => {
                numbers(m, &[(2, CT_ZONE)]);
                m.put_u8(3, 0);
                numbers(m, &[(4, *reg)]);
            }
            Expr::Payload {
                base,
                offset,
                len,
                reg,
            } => {
                numbers(m, &[(1, *reg), (2, *base), (3, *offset), (4, *len)]);
            }
            Expr::SetPayload {
                base,
                offset,
                len,
                reg,
                csum,
            } => {
                numbers(m, &[(5, *reg), (2, *base), (3, *offset), (4, *len)]);
                if *base == NETWORK {
                    // 1: an internet checksum at the offset; flag 1: the transport's pseudo header.
                    let kind = u32::from(csum.is_some());
                    numbers(m, &[(6, kind), (7, csum.unwrap_or(0)), (8, 1)]);
                }
            }
            Expr::Cmp { equal, value } => {
                numbers(m, &[(1, REG1), (2, u32::from(!equal))]);
                m.nest(3, |m| put_data(m, value));
            }
            Expr::Bitwise { mask } => {
                let len = u32::try_from(mask.len()).unwrap_or(0);
                numbers(m, &[(1, REG1), (2, REG1), (3, len)]);
                m.nest(4, |m| put_data(m, mask));
                m.nest(5, |m| put_data(m, &vec![0; mask.len()]));
            }
            Expr::Lookup { set, map_reg, reg } => {
                m.put_str(1, set);
                m.put_u32_be(2, *reg);
                if let Some(to) = map_reg {
                    m.put_u32_be(3, *to);
                }
            }
            Expr::NumGen {
                modulus,
                random,
                reg,
            } => {
                let kind = u32::from(*random);
                numbers(m, &[(1, *reg), (2, *modulus), (3, kind), (4, 0)]);
            }
            Expr::Immediate { reg, value } => {
                m.put_u32_be(1, *reg);
                m.nest(2, |m| put_data(m, value));
            }
            Expr::Verdict { code, chain } => {
                m.put_u32_be(1, VERDICT);
                m.nest(2, |m| put_verdict(m, *code, chain.as_deref()));
            }
            Expr::Dnat { family, addr, port } => {
                numbers(m, &[(1, 1), (2, u32::from(family.number())), (3, *addr)]);
                if let Some(port) = port {
                    m.put_u32_be(5, *port);
                }
            }
            Expr::Masquerade => {}
            Expr::Redirect { port } => numbers(m, &[(1, *port)]),
            Expr::Reject { reset: true, .. } => numbers(m, &[(1, 1)]),
            Expr::Reject { family, .. } => {
                // Type 0: ICMP unreachable, with the code of its family.
                m.put_u32_be(1, 0);
                m.put(2, &[if *family == Family::Ip6 { 4 } else { 3 }]);
            }
            Expr::FibType { source } => {
                // Result 3: address type; flag 1: source, 2: destination.
                numbers(m, &[(1, REG1), (2, 3), (3, if *source { 1 } else { 2 })]);
            }
            Expr::DynSet { set, reg } => {
                m.put_str(1, set);
                // 1: update.
                numbers(m, &[(3, 1), (4, *reg)]);
            }
        }
    }
}

fn numbers(m: &mut Message, attrs: &[(u16, u32)]) {
    for (kind, value) in attrs {
        m.put_u32_be(*kind, *value);
    }
}
