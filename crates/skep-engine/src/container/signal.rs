//! Signals by name and number.

use crate::error::{EngineError, Result};

const NAMES: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// SIGKILL.
pub(crate) const KILL: i32 = 9;
/// SIGTERM.
pub(crate) const TERM: i32 = 15;

/// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let bad = || EngineError::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(bad())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let real_time = |rest: &str, base: i32, sign: i32| {
        let offset = if rest.is_empty() {
            Some(0)
        } else {
            rest[1..].parse::<i32>().ok()
        };
        offset
            .map(|offset| base + sign * offset)
            .filter(|n| (34..=64).contains(n))
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => real_time(rest, 34, 1),
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => real_time(rest, 64, -1),
        _ => None,
    };
    number.ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_with_or_without_sig_and_in_any_case() {
        for (text, number) in [
            ("TERM", 15),
            ("sigterm", 15),
            ("SIGKILL", 9),
            ("3", 3),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(parse(text).unwrap(), number);
        }
        for text in ["", "0", "65", "SIGFOO", "RTMIN+40"] {
            assert_eq!(
                parse(text).unwrap_err().to_string(),
                format!("invalid signal: {text}")
            );
        }
    }
}
