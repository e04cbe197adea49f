//! Watches what is typed for the keys that detach.

use crate::error::{EngineError, Result};

/// `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [16, 17];

/// The keys, and how many of them were typed.
#[derive(Debug, Clone)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`, `a,b`; empty is the default.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self {
                keys: DEFAULT.to_vec(),
                typed: 0,
            });
        }
        let bad = || EngineError::invalid(format!("invalid detach keys ({text}) provided"));
        let key = |word: &str| match word.strip_prefix("ctrl-") {
            Some(letter) if letter.len() == 1 => match letter.as_bytes()[0].to_ascii_lowercase() {
                byte @ b'a'..=b'z' => Ok(byte - b'a' + 1),
                b'@' => Ok(0),
                b'[' => Ok(27),
                b'\\' => Ok(28),
                b']' => Ok(29),
                b'^' => Ok(30),
                b'_' => Ok(31),
                _ => Err(bad()),
            },
            None if word.len() == 1 => Ok(word.as_bytes()[0]),
            _ => Err(bad()),
        };
        let keys = text.split(',').map(key).collect::<Result<Vec<u8>>>()?;
        Ok(Self { keys, typed: 0 })
    }

    /// What is to be passed on of `input`, and whether the keys are complete. Keys typed so far are
    /// held back, and passed on when another key follows.
    pub(crate) fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(input.len());
        for &byte in input {
            if self.keys.get(self.typed) == Some(&byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.typed]);
            self.typed = 0;
            if self.keys.first() == Some(&byte) {
                self.typed = 1;
            } else {
                out.push(byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_detach_even_when_they_come_apart() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"\x11x"), (vec![], true));
    }

    #[test]
    fn keys_not_completed_are_passed_on() {
        let mut keys = DetachKeys::parse("ctrl-a,x").unwrap();
        assert_eq!(keys.filter(b"\x01y\x01"), (b"\x01y".to_vec(), false));
        assert_eq!(keys.filter(b"\x01x"), (b"\x01".to_vec(), true));
        assert!(DetachKeys::parse("ctrl-é").is_err());
    }
}
