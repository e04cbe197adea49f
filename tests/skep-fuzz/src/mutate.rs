//! Inputs out of valid ones: bytes changed, cut, doubled, joined; and tokens that parsers look for.

/// xorshift64: the same inputs from the same seed everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

const TOKENS: [&[u8]; 18] = [
    b"null",
    b"{}",
    b"[]",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775807",
    b"\"\"",
    b"\\u0000",
    b"../",
    b"/",
    b":",
    b"@sha256:",
    b"${",
    b"<<: *a",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\n",
];

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from((self.next() >> 11) % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

/// One input.
pub fn input(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    // Bytes of no sense at all now and then.
    if seeds.is_empty() || random.below(16) == 0 {
        let length = random.below(300);
        return (0..length).map(|_| random.byte()).collect();
    }
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        change(random, &mut bytes, seeds);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(40)).min(bytes.len());
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        3 => {
            let token = TOKENS[random.below(TOKENS.len())];
            bytes.splice(at..at, token.iter().copied());
        }
        4 => {
            let token = TOKENS[random.below(TOKENS.len())];
            bytes.splice(at..end, token.iter().copied());
        }
        5 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        6 => bytes.insert(at, random.byte()),
        _ => {
            for _ in 0..=random.below(4) {
                let place = random.below(bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}
