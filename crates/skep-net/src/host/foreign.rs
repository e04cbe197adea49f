//! Other programs' firewalls. A packet must be accepted by every table, so where another program
//! drops forwarded packets by policy, its own chain has to let ours pass. `iptables` chains are
//! complemented, as Docker's manual tells its users to; of others the caller is told.

use std::collections::BTreeSet;

use crate::netlink::NetlinkError;
use crate::netlink::nft::{Family, NftSocket, Policy, Table, Transaction};

/// Number of the forward hook.
const FORWARD: u32 = 2;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Chains that drop our packets and were left alone.
    pub droppers: BTreeSet<String>,
}

/// Lets packets of these interfaces pass `iptables`' FORWARD chain where its policy is to drop.
pub(crate) fn admit(
    nft: &mut NftSocket,
    own_table: &str,
    interfaces: &[&str],
) -> Result<Foreign, NetlinkError> {
    let mut foreign = Foreign::default();
    for family in [Family::Ip, Family::Ip6, Family::Inet] {
        for chain in nft.base_chains(family)? {
            let drops = chain.hook == FORWARD && chain.policy == Policy::Drop;
            if !drops || chain.table == own_table {
                continue;
            }
            if chain.table == "filter" && chain.name == "FORWARD" && family != Family::Inet {
                let table = Table::new(family, "filter");
                let names = nft.chains(&table)?;
                let user = names.iter().any(|n| n == "DOCKER-USER");
                let into = if user { "DOCKER-USER" } else { "FORWARD" };
                complement(nft, &table, into, own_table, interfaces)?;
            } else {
                foreign
                    .droppers
                    .insert(format!("{}/{}", chain.table, chain.name));
            }
        }
    }
    Ok(foreign)
}

/// Replaces our rules in somebody else's chain; they are known by their comment.
fn complement(
    nft: &mut NftSocket,
    table: &Table,
    chain: &str,
    comment: &str,
    interfaces: &[&str],
) -> Result<(), NetlinkError> {
    let mut tx = Transaction::new();
    for handle in nft.rules_with_comment(table, chain, comment)? {
        tx.delete_rule(table, chain, handle);
    }
    for interface in interfaces {
        tx.insert_rule(
            table,
            chain,
            &table.rule().iifname(true, interface).accept(),
            comment,
        );
        tx.insert_rule(
            table,
            chain,
            &table.rule().oifname(true, interface).accept(),
            comment,
        );
    }
    nft.commit(tx)
}
