//! Transactions: what is applied whole or not at all.

use super::rule::Rule;
use super::set::{Element, Set};
use super::{
    BATCH_BEGIN, BATCH_END, DELCHAIN, DELRULE, DELSET, DELSETELEM, DELTABLE, Family, NEWCHAIN,
    NEWRULE, NEWSET, NEWSETELEM, NEWTABLE, genmsg,
};
use crate::netlink::wire::{Message, flag};

/// Elements in one message: an attribute is 64 KB at most.
const CHUNK: usize = 500;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
}

impl Table {
    /// A table.
    pub fn new(family: Family, name: impl Into<String>) -> Table {
        Table {
            family,
            name: name.into(),
        }
    }

    /// A rule for this table.
    pub fn rule(&self) -> Rule {
        Rule::new(self.family)
    }
}

/// What a base chain does with packets that no rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They pass.
    Accept,
    /// They are dropped.
    Drop,
}

/// Where a base chain is hooked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    kind: &'static str,
    number: u32,
    priority: i32,
    device: Option<String>,
}

const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
const EGRESS: u32 = 1;

impl Hook {
    const fn new(kind: &'static str, number: u32, priority: i32) -> Hook {
        Hook {
            kind,
            number,
            priority,
            device: None,
        }
    }

    /// `type nat hook prerouting priority dstnat`.
    pub const DNAT: Hook = Hook::new("nat", PREROUTING, -100);
    /// `type nat hook output priority -100`.
    pub const DNAT_OUTPUT: Hook = Hook::new("nat", OUTPUT, -100);
    /// `type nat hook input priority srcnat`.
    pub const SNAT_INPUT: Hook = Hook::new("nat", INPUT, 100);
    /// `type nat hook postrouting priority srcnat`.
    pub const SNAT: Hook = Hook::new("nat", POSTROUTING, 100);
    /// `type filter hook prerouting priority raw`.
    pub const RAW: Hook = Hook::new("filter", PREROUTING, -300);
    /// `type filter hook prerouting priority mangle`.
    pub const MANGLE: Hook = Hook::new("filter", PREROUTING, -150);
    /// `type filter hook output`, before connection tracking.
    pub const RAW_OUTPUT: Hook = Hook::new("filter", OUTPUT, -350);
    /// `type route hook output priority mangle`: a changed mark is routed again.
    pub const ROUTE_OUTPUT: Hook = Hook::new("route", OUTPUT, -150);
    /// `type filter hook forward priority filter`.
    pub const FORWARD: Hook = Hook::new("filter", FORWARD, 0);
    /// `type filter hook input priority filter`.
    pub const INPUT: Hook = Hook::new("filter", INPUT, 0);
    /// `type filter hook output priority filter`.
    pub const OUTPUT: Hook = Hook::new("filter", OUTPUT, 0);
    /// `type filter hook postrouting priority mangle`.
    pub const MANGLE_POST: Hook = Hook::new("filter", POSTROUTING, -150);

    /// `type filter hook egress device DEVICE priority 0`.
    pub fn egress(device: &str) -> Hook {
        Hook {
            device: Some(device.into()),
            ..Hook::new("filter", EGRESS, 0)
        }
    }
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    name: String,
    hook: Option<(Hook, Policy)>,
}

impl Chain {
    /// A chain that others jump to.
    pub fn regular(name: &str) -> Chain {
        Chain {
            name: name.into(),
            hook: None,
        }
    }

    /// A base chain that accepts what its rules do not decide.
    pub fn base(name: &str, hook: Hook) -> Chain {
        Chain {
            name: name.into(),
            hook: Some((hook, Policy::Accept)),
        }
    }
}

/// Changes in the order in which they are applied.
#[derive(Debug, Default, Clone)]
pub struct Transaction {
    messages: Vec<Message>,
    set_id: u32,
}

impl Transaction {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn push(
        &mut self,
        kind: u16,
        flags: u16,
        table: &Table,
        fill: impl FnOnce(&mut Message),
    ) -> &mut Self {
        let mut m = Message::new(kind, flags).fixed(&genmsg(table.family.number(), 0));
        fill(&mut m);
        self.messages.push(m);
        self
    }

    /// Adds a table or keeps it.
    pub fn add_table(&mut self, table: &Table) -> &mut Self {
        self.push(NEWTABLE, flag::CREATE, table, |m| m.put_str(1, &table.name))
    }

    /// Deletes a table, which must exist: [`Transaction::reset_table`] does not need it to.
    pub fn delete_table(&mut self, table: &Table) -> &mut Self {
        self.push(DELTABLE, 0, table, |m| m.put_str(1, &table.name))
    }

    /// Makes a table empty, whether it existed or not.
    pub fn reset_table(&mut self, table: &Table) -> &mut Self {
        self.add_table(table).delete_table(table).add_table(table)
    }

    /// Removes a table, whether it existed or not.
    pub fn remove_table(&mut self, table: &Table) -> &mut Self {
        self.add_table(table).delete_table(table)
    }

    /// Adds a chain or keeps it with its rules.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain) -> &mut Self {
        self.push(NEWCHAIN, flag::CREATE, table, |m| {
            m.put_str(1, &table.name);
            m.put_str(3, &chain.name);
            let Some((hook, policy)) = &chain.hook else {
                return;
            };
            m.nest(4, |m| {
                m.put_u32_be(1, hook.number);
                m.put_u32_be(2, hook.priority.cast_unsigned());
                if let Some(device) = &hook.device {
                    m.put_str(3, device);
                }
            });
            m.put_u32_be(5, u32::from(*policy == Policy::Accept));
            m.put_str(7, hook.kind);
        })
    }

    /// Adds a chain with exactly these rules, whether it existed or not.
    pub fn set_chain(
        &mut self,
        table: &Table,
        chain: &Chain,
        rules: impl IntoIterator<Item = Rule>,
    ) -> &mut Self {
        self.add_chain(table, chain).flush_chain(table, &chain.name);
        for rule in rules {
            self.add_rule(table, &chain.name, &rule);
        }
        self
    }

    /// Deletes the rules of a chain.
    pub fn flush_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        self.push(DELRULE, 0, table, |m| {
            m.put_str(1, &table.name);
            m.put_str(2, chain);
        })
    }

    /// Deletes a chain that nothing jumps to.
    pub fn delete_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        self.flush_chain(table, chain)
            .push(DELCHAIN, 0, table, |m| {
                m.put_str(1, &table.name);
                m.put_str(3, chain);
            })
    }

    /// Appends a rule.
    pub fn add_rule(&mut self, table: &Table, chain: &str, rule: &Rule) -> &mut Self {
        self.put_rule(table, chain, rule, flag::APPEND, None)
    }

    /// Puts a rule before all others of a chain, with a comment by which it is found again.
    pub fn insert_rule(
        &mut self,
        table: &Table,
        chain: &str,
        rule: &Rule,
        comment: &str,
    ) -> &mut Self {
        self.put_rule(table, chain, rule, 0, Some(comment))
    }

    fn put_rule(
        &mut self,
        table: &Table,
        chain: &str,
        rule: &Rule,
        flags: u16,
        comment: Option<&str>,
    ) -> &mut Self {
        self.push(NEWRULE, flag::CREATE | flags, table, |m| {
            m.put_str(1, &table.name);
            m.put_str(2, chain);
            m.nest(4, |m| rule.put(m));
            if let Some(comment) = comment {
                m.put(7, &comment_data(comment));
            }
        })
    }

    /// Deletes a rule by its handle.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) -> &mut Self {
        self.push(DELRULE, 0, table, |m| {
            m.put_str(1, &table.name);
            m.put_str(2, chain);
            m.put(3, &handle.to_be_bytes());
        })
    }

    /// Adds a set or map, or keeps it with its elements.
    pub fn add_set(&mut self, table: &Table, set: &Set) -> &mut Self {
        self.set_id += 1;
        let id = self.set_id;
        self.push(NEWSET, flag::CREATE, table, |m| set.put(m, &table.name, id))
    }

    /// Deletes a set that no rule uses.
    pub fn delete_set(&mut self, table: &Table, name: &str) -> &mut Self {
        self.push(DELSET, 0, table, |m| {
            m.put_str(1, &table.name);
            m.put_str(2, name);
        })
    }

    /// Deletes all elements of a set.
    pub fn flush_set(&mut self, table: &Table, name: &str) -> &mut Self {
        self.push(DELSETELEM, 0, table, |m| {
            m.put_str(1, &table.name);
            m.put_str(2, name);
        })
    }

    /// Adds elements; those that are there with the same value are kept.
    pub fn add_elements(&mut self, table: &Table, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(NEWSETELEM, flag::CREATE, table, set, elements)
    }

    /// Deletes elements that must be there.
    pub fn delete_elements(&mut self, table: &Table, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(DELSETELEM, 0, table, set, elements)
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        table: &Table,
        set: &str,
        elements: &[Element],
    ) -> &mut Self {
        for chunk in elements.chunks(CHUNK) {
            self.push(kind, flags, table, |m| {
                m.put_str(1, &table.name);
                m.put_str(2, set);
                m.nest(3, |m| chunk.iter().for_each(|e| e.put(m)));
            });
        }
        self
    }

    /// The messages with the marks of a batch around them; the last change asks for the verdict.
    pub(super) fn into_messages(mut self) -> Option<Vec<Message>> {
        self.messages.last_mut()?.add_flags(flag::ACK);
        let mark = |kind| Message::new(kind, 0).fixed(&genmsg(0, 10));
        let mut out = vec![mark(BATCH_BEGIN)];
        out.append(&mut self.messages);
        out.push(mark(BATCH_END));
        Some(out)
    }
}

/// A comment as the `nft` program stores it: type 0, length, text with its zero.
fn comment_data(comment: &str) -> Vec<u8> {
    let text = comment.as_bytes();
    let text = &text[..text.len().min(126)];
    let mut out = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    out.extend(text);
    out.push(0);
    out
}
