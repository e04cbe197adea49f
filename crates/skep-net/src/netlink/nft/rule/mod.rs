//! Rules: lists of expressions over the kernel's registers.
//!
//! Matches load a field into register 1 and compare; concatenated keys fill 32-bit registers from
//! the first one on. Only what skep's rulesets use is here.

mod balance;
mod carry;
mod matching;
mod translate;

pub use balance::{Key, Turn};

use super::Family;
use super::expr::{ACCEPT, DROP, Expr, GOTO, JUMP, NETWORK, RETURN, TRANSPORT};
use crate::netlink::wire::Message;

/// A rule being written, in the order in which it will be evaluated.
#[derive(Debug, Clone)]
pub struct Rule {
    family: Family,
    exprs: Vec<Expr>,
}

impl Rule {
    /// A rule for a table of a family.
    pub fn new(family: Family) -> Rule {
        Rule {
            family,
            exprs: Vec::new(),
        }
    }

    fn with(mut self, expr: Expr) -> Rule {
        self.exprs.push(expr);
        self
    }

    fn words(&self) -> u32 {
        if self.family == Family::Ip6 { 4 } else { 1 }
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

    fn port_expr(source: bool, reg: u32) -> Expr {
        Expr::Payload {
            base: TRANSPORT,
            offset: if source { 0 } else { 2 },
            len: 2,
            reg,
        }
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

    /// Writes the expressions.
    pub(super) fn put(&self, m: &mut Message) {
        for expr in &self.exprs {
            m.nest(1, |m| {
                m.put_str(1, expr.name());
                m.nest(2, |m| expr.put(m));
            });
        }
    }
}
