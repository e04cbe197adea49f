//! Reading nf_tables back.

use super::transaction::Policy;
use super::{Family, GETCHAIN, GETRULE, GETSETELEM, GETTABLE, NftSocket, Table, Value, genmsg};
use crate::netlink::NetlinkError;
use crate::netlink::wire::{Attrs, Message};

/// A base chain of anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Hook number (2 is forward).
    pub hook: u32,
    /// Its policy.
    pub policy: Policy,
}

/// An element of a set or map as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elem {
    /// Its key.
    pub key: Value,
    /// What it leads to; empty for sets and verdicts.
    pub value: Value,
}

impl NftSocket {
    /// Names of the tables of a family.
    pub fn tables(&mut self, family: Family) -> Result<Vec<String>, NetlinkError> {
        let m = Message::new(GETTABLE, 0).fixed(&genmsg(family.number(), 0));
        let replies = self.socket.dump(m)?;
        Ok(replies
            .iter()
            .filter_map(|r| r.attrs(4).find(1))
            .map(|a| a.string())
            .collect())
    }

    fn chain_replies(
        &mut self,
        family: Family,
    ) -> Result<Vec<crate::netlink::Reply>, NetlinkError> {
        self.socket
            .dump(Message::new(GETCHAIN, 0).fixed(&genmsg(family.number(), 0)))
    }

    /// Names of the chains of a table.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<String>, NetlinkError> {
        let replies = self.chain_replies(table.family)?;
        let mine = |r: &&crate::netlink::Reply| {
            r.attrs(4).find(1).is_some_and(|a| a.string() == table.name)
        };
        let names = replies
            .iter()
            .filter(mine)
            .filter_map(|r| r.attrs(4).find(3));
        Ok(names.map(|a| a.string()).collect())
    }

    /// The base chains of a family.
    pub fn base_chains(&mut self, family: Family) -> Result<Vec<BaseChain>, NetlinkError> {
        let replies = self.chain_replies(family)?;
        let parse = |r: &crate::netlink::Reply| {
            let attrs = r.attrs(4);
            let hook = attrs.find(4)?.nested().find(1)?.u32_be()?;
            let accept = attrs.find(5).and_then(|a| a.u32_be()) == Some(1);
            Some(BaseChain {
                table: attrs.find(1)?.string(),
                name: attrs.find(3)?.string(),
                hook,
                policy: if accept { Policy::Accept } else { Policy::Drop },
            })
        };
        Ok(replies.iter().filter_map(parse).collect())
    }

    /// The elements of a set.
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<Elem>, NetlinkError> {
        let mut m = Message::new(GETSETELEM, 0).fixed(&genmsg(table.family.number(), 0));
        m.put_str(1, &table.name);
        m.put_str(2, set);
        let mut out = Vec::new();
        for reply in self.socket.dump(m)? {
            let Some(list) = reply.attrs(4).find(3) else {
                continue;
            };
            out.extend(list.nested().filter_map(|elem| element(elem.nested())));
        }
        Ok(out)
    }

    /// Handles of the rules of a chain whose comment starts with a text.
    pub fn rules_with_comment(
        &mut self,
        table: &Table,
        chain: &str,
        comment: &str,
    ) -> Result<Vec<u64>, NetlinkError> {
        let mut m = Message::new(GETRULE, 0).fixed(&genmsg(table.family.number(), 0));
        m.put_str(1, &table.name);
        m.put_str(2, chain);
        let replies = self.socket.dump(m)?;
        let handle = |r: &crate::netlink::Reply| {
            let data = r.attrs(4).find(7)?;
            let text = data.value.get(2..)?;
            if !text.starts_with(comment.as_bytes()) {
                return None;
            }
            let bytes = r.attrs(4).find(3)?.value.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        Ok(replies.iter().filter_map(handle).collect())
    }
}

fn element(attrs: Attrs<'_>) -> Option<Elem> {
    let key = attrs.find(1)?.nested().find(1)?;
    let value = attrs.find(2).and_then(|d| d.nested().find(1));
    Some(Elem {
        key: Value::read(key.value),
        value: value.map(|v| Value::read(v.value)).unwrap_or_default(),
    })
}
