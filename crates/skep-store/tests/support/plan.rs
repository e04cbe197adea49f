//! What a simulation is like: how many members, and what goes wrong how often. A seed decides it
//! all, so that each run is of another kind.

use super::random::Random;

/// What may go wrong: once in so many steps, or never with 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Links are cut, one way or both, or heal; loss, doubling and delay change.
    pub network: u64,
    /// A member loses power, in the middle of its writes; or all do.
    pub crash: u64,
    /// A disk fails for good, until its member starts again.
    pub broken_disk: u64,
    /// A disk fills up, and has room again later.
    pub full_disk: u64,
    /// A member joins, leaves, or moves to another address.
    pub membership: u64,
    /// Leadership is handed over.
    pub transfer: u64,
    /// A member stands still, and then finds everything at once.
    pub pause: u64,
    /// A clock jumps by hours.
    pub clock: u64,
    /// A member seals its log with another key.
    pub rotation: u64,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub members: u64,
    pub steps: u64,
    pub faults: Faults,
    pub pre_vote: bool,
    pub learners: bool,
    pub snapshot_interval: u64,
    pub keep_entries: u64,
    /// Whether clocks tick at different rates.
    pub is_skewed: bool,
}

impl Faults {
    pub const NONE: Faults = Faults {
        network: 0,
        crash: 0,
        broken_disk: 0,
        full_disk: 0,
        membership: 0,
        transfer: 0,
        pause: 0,
        clock: 0,
        rotation: 0,
    };
}

impl Plan {
    /// A run without faults, to be made worse.
    pub fn calm(seed: u64, members: u64, steps: u64) -> Self {
        Plan {
            seed,
            members,
            steps,
            faults: Faults::NONE,
            pre_vote: true,
            learners: true,
            snapshot_interval: 40,
            keep_entries: 10,
            is_skewed: true,
        }
    }

    /// A run of which everything is decided by the seed: which faults there are, and how often.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x9d5f);
        let mut rate = |often: u64| match random.below(3) {
            0 => 0,
            _ => often + random.below(3 * often),
        };
        let faults = Faults {
            network: rate(40),
            crash: rate(60),
            broken_disk: rate(200),
            full_disk: rate(100),
            membership: rate(80),
            transfer: rate(60),
            pause: rate(80),
            clock: rate(60),
            rotation: rate(200),
        };
        Plan {
            seed,
            members: *random.pick(&[1, 2, 3, 3, 3, 3, 5, 5]),
            steps: 300 + random.below(900),
            faults,
            pre_vote: !random.once_in(4),
            learners: !random.once_in(4),
            snapshot_interval: *random.pick(&[5, 15, 40, 1000]),
            keep_entries: *random.pick(&[0, 3, 10]),
            is_skewed: random.once_in(2),
        }
    }
}
