//! Which edges of the code an input went over.
//!
//! `cargo xtask fuzz` has skep's crates compiled so that each edge counts in a byte of its own; the
//! compiler's constructors tell of where the bytes are, before `main`. In an ordinary build, that of the
//! tests, there are none, and inputs are found without knowing where they led.

#![allow(unsafe_code)] // the counters are the compiler's: all that is known of them is an address

use std::sync::{Mutex, PoisonError};

/// Beginning and end of each range of counters.
static RANGES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by every compiled unit; they were linked together, so that all tell of the same range.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let range = (start.expose_provenance(), stop.expose_provenance());
    let mut ranges = RANGES.lock().unwrap_or_else(PoisonError::into_inner);
    if range.0 < range.1 && !ranges.contains(&range) {
        ranges.push(range);
    }
}

/// What all inputs so far went over.
#[derive(Debug)]
pub struct Coverage {
    ranges: Vec<(usize, usize)>,
    /// The counters as they are, for a look.
    now: Vec<u8>,
    /// For each counter a bit for each class of counts that it had.
    seen: Vec<u8>,
    edges: usize,
}

impl Coverage {
    /// None in a build that does not count.
    pub fn new() -> Option<Self> {
        let ranges = RANGES.lock().unwrap_or_else(PoisonError::into_inner);
        let count = ranges.iter().map(|(start, stop)| stop - start).sum();
        (count > 0).then(|| Self {
            ranges: ranges.clone(),
            now: vec![0; count],
            seen: vec![0; count],
            edges: 0,
        })
    }

    /// Forgets what was counted since.
    pub fn reset(&self) {
        for (start, stop) in &self.ranges {
            let counters = std::ptr::with_exposed_provenance_mut::<u8>(*start);
            // SAFETY: the compiler's own range of bytes, there for as long as the program, to which no
            // reference is ever made.
            unsafe { counters.write_bytes(0, stop - start) };
        }
    }

    /// Whether an edge was gone over that none was before, or much more often.
    pub fn is_new(&mut self) -> bool {
        let mut at = 0;
        for (start, stop) in &self.ranges {
            let counters = std::ptr::with_exposed_provenance::<u8>(*start);
            let part = &mut self.now[at..at + (stop - start)];
            // SAFETY: as in `reset`; `part` is as long, and is another's memory.
            unsafe { counters.copy_to_nonoverlapping(part.as_mut_ptr(), part.len()) };
            at += part.len();
        }
        self.look()
    }

    fn look(&mut self) -> bool {
        const STEP: usize = 64;
        let mut is_new = false;
        for (now, seen) in self.now.chunks(STEP).zip(self.seen.chunks_mut(STEP)) {
            // Nearly all of the program is nowhere near.
            if now.iter().fold(0, |all, count| all | count) == 0 {
                continue;
            }
            for (count, seen) in now.iter().zip(seen).filter(|(count, _)| **count > 0) {
                let class = class(*count);
                if *seen & class == 0 {
                    self.edges += usize::from(*seen == 0);
                    *seen |= class;
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// How many edges were gone over at all.
    pub fn edges(&self) -> usize {
        self.edges
    }
}

/// A loop that ran once, twice, thrice, or in the next power of two of times.
fn class(count: u8) -> u8 {
    match count {
        0..=3 => 1 << count.saturating_sub(1),
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128..=255 => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_new_once_and_again_when_it_is_gone_over_more_often() {
        let mut coverage = Coverage {
            ranges: Vec::new(),
            now: vec![0; 100],
            seen: vec![0; 100],
            edges: 0,
        };
        let mut counted = |at: usize, count: u8| {
            coverage.now[at] = count;
            (coverage.look(), coverage.edges())
        };
        assert_eq!(counted(2, 0), (false, 0));
        assert_eq!(counted(2, 1), (true, 1));
        assert_eq!(counted(2, 1), (false, 1));
        assert_eq!(counted(2, 9), (true, 1));
        assert_eq!(counted(99, 1), (true, 2));
    }
}
