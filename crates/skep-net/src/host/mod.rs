//! The rules in the host's namespace: one table an address family, named after the instance.
//!
//! ```text
//! table ip skep-1a2b {
//!   set loopback-guard ...
//!   map publish      { meta l4proto . ip daddr . th dport : address . port }   one host address
//!   map publish-any  { meta l4proto . th dport : address . port }              every local address
//!   map from, to     { bridge : jump chain }
//!   chain raw          127.0.0.0/8 from outside is dropped (guards route_localnet)
//!   chain prerouting   DNAT of published ports
//!   chain output       the same for the host itself
//!   chain postrouting  masquerade
//!   chain forward      isolation; from-BRIDGE and to-BRIDGE
//! }
//! ```
//! Chains are written anew as a whole at each change, in one transaction; maps change by element,
//! so that a daemon that restarts finds its published ports still served.
//!
//! Another program may take the tables away (`nft flush ruleset`). The kernel tells ([`minder`]), and
//! they are written whole again ([`restore`]); a change that comes before that fails on what is
//! missing, and is made by writing them whole itself.

mod foreign;
mod minder;
mod restore;
mod rules;

pub(crate) use foreign::admit;
pub(crate) use minder::RulesMinder;
pub(crate) use rules::{HostRules, OPEN, PUBLISH, PUBLISH_ANY};
