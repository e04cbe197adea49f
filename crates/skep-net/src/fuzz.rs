//! What fuzzing calls; no interface for anybody else.

use std::net::IpAddr;

use crate::dns::{Decision, Lookup, decide, encode};

struct Nobody;

impl Lookup for Nobody {
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        name.starts_with('a').then(|| vec![[10, 0, 0, 1].into()])
    }

    fn reverse(&self, _: IpAddr) -> Option<String> {
        None
    }
}

/// What came over a netlink socket.
pub fn netlink_answer(bytes: &[u8]) {
    crate::netlink::fuzz::answer(bytes);
}

/// A packet to the DNS server, and what it answers.
pub fn dns_packet(bytes: &[u8]) {
    if let Decision::Reply(reply) = decide(bytes, &Nobody) {
        let _ = encode(&reply, 512);
    }
}
