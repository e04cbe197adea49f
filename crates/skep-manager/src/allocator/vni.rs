//! VXLAN network identifiers, one for each IPv4 subnet of an overlay network.

use std::collections::BTreeSet;

/// Option of a network that names its VNIs, a comma between two.
pub const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";

/// As in dockerd: the ingress network, made first, has this one, and users' networks begin at 4097.
const FIRST: u32 = 4096;
const LAST: u32 = (1 << 24) - 1;

/// Which VNIs are taken.
#[derive(Debug, Clone)]
pub struct VniPool {
    used: BTreeSet<u32>,
    next: u32,
}

impl Default for VniPool {
    fn default() -> Self {
        Self {
            used: BTreeSet::new(),
            next: FIRST,
        }
    }
}

impl VniPool {
    /// Marks a stored or wished VNI as taken.
    pub fn take(&mut self, vni: u32) {
        self.used.insert(vni);
        if (self.next..LAST).contains(&vni) {
            self.next = vni + 1;
        }
    }

    /// The next free VNI in sequence.
    pub fn take_next(&mut self) -> Option<u32> {
        let vni = (self.next..=LAST)
            .chain(FIRST..self.next)
            .find(|vni| !self.used.contains(vni))?;
        self.used.insert(vni);
        self.next = if vni == LAST { FIRST } else { vni + 1 };
        Some(vni)
    }

    /// Gives one back.
    pub fn release(&mut self, vni: u32) {
        self.used.remove(&vni);
    }
}

/// The VNIs that an option's value lists.
pub fn parse_list(list: &str) -> impl Iterator<Item = u32> + '_ {
    list.split(',').filter_map(|vni| vni.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vnis_start_at_4096_and_follow_each_other() {
        let mut pool = VniPool::default();
        assert_eq!(pool.take_next(), Some(4096));
        pool.release(4096);
        assert_eq!(pool.take_next(), Some(4097));
        pool.take(9000);
        assert_eq!(pool.take_next(), Some(9001));
        pool.take(257);
        assert_eq!(pool.take_next(), Some(9002));
    }
}
