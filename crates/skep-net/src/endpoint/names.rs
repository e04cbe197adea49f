//! Names of host interfaces, derived from endpoint ids so that a restarted daemon finds them again.

/// The host's (or overlay's) end of an endpoint's veth pair: `veth` and seven digits.
pub(crate) fn peer_name(instance: &str, endpoint_id: &str) -> String {
    let hash = fnv1a(instance.bytes().chain(*b"/").chain(endpoint_id.bytes()));
    format!("veth{:07x}", hash & 0x0fff_ffff)
}

/// What marks a host interface as ours.
pub(crate) fn alias(instance: &str, id: &str) -> String {
    let id = id.get(..64).unwrap_or(id);
    format!("skep:{instance}:{id}")
}

/// What an interface is called until it has its mark, which the kernel takes only once it is there: what
/// bears this name was left by a daemon that was killed in between.
pub(crate) fn unmarked_name(instance: &str) -> String {
    format!("new-{instance}")
}

/// Whether such a mark is some daemon's.
pub(crate) fn is_of_a_daemon(alias: &str) -> bool {
    alias.starts_with("skep:")
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}
