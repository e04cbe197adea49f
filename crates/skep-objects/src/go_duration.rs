//! Durations as Go writes and reads them, which is how Docker's flags and filters have them.

use std::time::Duration;

/// A Go duration (`1h15m30.918s`, `-1.5s`, `300ms`, `0`), in nanoseconds.
///
/// # Errors
/// Anything else, with Go's text.
pub fn parse(text: &str) -> Result<i64, String> {
    let bad = || format!("time: invalid duration \"{text}\"");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = &rest[..letters];
        rest = &rest[letters..];
        total += number
            * match unit {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                "" => return Err(format!("time: missing unit in duration \"{text}\"")),
                other => {
                    return Err(format!(
                        "time: unknown unit \"{other}\" in duration \"{text}\""
                    ));
                }
            };
    }
    if total >= i64::MAX as f64 {
        return Err(bad());
    }
    #[allow(clippy::cast_possible_truncation)]
    // it is within range, and nanoseconds have no fractions
    let total = total.round() as i64;
    Ok(if negative { -total } else { total })
}

/// A Go duration that is not negative; none for anything else.
#[must_use]
pub fn parse_length(text: &str) -> Option<Duration> {
    let nanoseconds = u64::try_from(parse(text).ok()?).ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Go's notation of a duration: `1m30s`, `500ms`, `1.5µs`.
pub fn print(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    // With as many digits behind the point as it needs.
    let parts = |of: u64| {
        let digits = of.to_string().len() - 1;
        let rest = format!("{:0digits$}", size % of);
        match rest.trim_end_matches('0') {
            "" => String::new(),
            rest => format!(".{rest}"),
        }
    };
    let text = match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{size}ns"),
        1_000..1_000_000 => format!("{}{}µs", size / 1_000, parts(1_000)),
        1_000_000..1_000_000_000 => format!("{}{}ms", size / 1_000_000, parts(1_000_000)),
        _ => {
            let seconds = size / 1_000_000_000;
            let rest = parts(1_000_000_000);
            match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
                (0, 0, s) => format!("{s}{rest}s"),
                (0, m, s) => format!("{m}m{s}{rest}s"),
                (h, m, s) => format!("{h}h{m}m{s}{rest}s"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(parse("1h1m1.5s"), Ok(3_661_500_000_000));
        assert_eq!(parse("300ms"), Ok(300_000_000));
        assert_eq!(parse("-2s"), Ok(-2_000_000_000));
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(
            parse("5"),
            Err("time: missing unit in duration \"5\"".into())
        );
        assert_eq!(
            parse("5x"),
            Err("time: unknown unit \"x\" in duration \"5x\"".into())
        );
        assert_eq!(parse(""), Err("time: invalid duration \"\"".into()));
    }

    #[test]
    fn lengths_are_not_negative() {
        assert_eq!(parse_length("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_length("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(parse_length("500ms"), Some(Duration::from_millis(500)));
        for other in ["-1s", "2026-01-01", "1795414622", "soon", ""] {
            assert_eq!(parse_length(other), None, "{other}");
        }
    }
}
