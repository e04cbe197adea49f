//! Inputs that were found once and led where the valid ones do not: `corpus/<target>`, a line each, in
//! the escapes of a Rust byte string.

use std::path::PathBuf;

use crate::targets::Target;

/// What is worth keeping in the project.
const LARGEST: usize = 1 << 10;
const MOST: usize = 24;

fn path(target: &Target) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    dir.join(target.name)
}

impl Target {
    /// The valid inputs, and those that were found.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let kept = std::fs::read_to_string(path(self)).unwrap_or_default();
        let kept = kept.lines().filter_map(unescaped);
        (self.seeds)().into_iter().chain(kept).collect()
    }

    /// Puts the few of `found` that are worth it in the place of what was kept; returns how many.
    ///
    /// # Errors
    /// The project's directory cannot be written.
    pub fn keep(&self, found: Vec<Vec<u8>>) -> std::io::Result<usize> {
        let all = self.corpus().into_iter().chain(found);
        let small = all.filter(|bytes| bytes.len() <= LARGEST).collect();
        let mut few = crate::drive::distilled(self, small);
        few.truncate(MOST);
        let lines: String = few
            .iter()
            .map(|bytes| format!("{}\n", bytes.escape_ascii()))
            .collect();
        std::fs::write(path(self), lines)?;
        Ok(few.len())
    }
}

/// The reverse of [`slice::escape_ascii`].
fn unescaped(line: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => other,
            },
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_from_its_line() {
        let all: Vec<u8> = (0..=255).collect();
        let line = all.escape_ascii().to_string();
        assert!(!line.contains('\n'));
        assert_eq!(unescaped(&line), Some(all));
        assert_eq!(unescaped("\\x"), None);
    }
}
