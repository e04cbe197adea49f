//! The kernel's answers, or what looks like them, through everything that reads them.

use super::{conntrack, nft, route, wire};

/// A datagram.
pub(crate) fn answer(bytes: &[u8]) {
    let Ok(replies) = wire::split(bytes) else {
        return;
    };
    for reply in &replies {
        route::parse_any(reply);
        let _ = nft::heard(reply);
        let _ = (
            conntrack::parse(reply, true),
            conntrack::parse(reply, false),
        );
        for attr in reply.attrs(4) {
            let _ = (attr.u16(), attr.u32(), attr.u32_be(), attr.u16_be());
            let _ = (attr.u8(), attr.string(), attr.ip(), attr.nested().count());
        }
    }
}
