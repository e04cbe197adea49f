//! Values of flags: durations, sizes, CPUs.

/// A Go duration (`1h15m30.918s`, `-1.5s`, `300ms`, `0`), in nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, String> {
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

/// A size: `64m`, `1.5GiB`, `100`; units are powers of 1024.
pub fn parse_bytes(text: &str) -> Result<i64, String> {
    let bad = || format!("invalid size: '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let number: f64 = lower[..digits].parse().map_err(|_| bad())?;
    let unit = lower[digits..].trim_start();
    let power = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    let bytes = number * 1024f64.powi(power);
    if bytes >= i64::MAX as f64 {
        return Err(bad());
    }
    #[allow(clippy::cast_possible_truncation)]
    // within range; parts of a byte are dropped, as Docker does
    Ok(bytes as i64)
}

/// Decimal CPUs, in billionths.
pub fn parse_cpus(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse {text} as a rational number");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let number = |digits: &str| -> Result<i64, String> {
        if digits.is_empty() {
            Ok(0)
        } else {
            digits.parse().map_err(|_| bad())
        }
    };
    if whole.is_empty() && part.is_empty() {
        return Err(bad());
    }
    let nano = number(&format!("{part:0<9}"))?;
    number(whole)?
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(nano))
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(parse_duration("1h1m1.5s"), Ok(3_661_500_000_000));
        assert_eq!(parse_duration("300ms"), Ok(300_000_000));
        assert_eq!(parse_duration("-2s"), Ok(-2_000_000_000));
        assert_eq!(parse_duration("0"), Ok(0));
        assert_eq!(
            parse_duration("5"),
            Err("time: missing unit in duration \"5\"".into())
        );
        assert_eq!(
            parse_duration("5x"),
            Err("time: unknown unit \"x\" in duration \"5x\"".into())
        );
        assert_eq!(
            parse_duration(""),
            Err("time: invalid duration \"\"".into())
        );
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_bytes("64m"), Ok(64 << 20));
        assert_eq!(parse_bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("100"), Ok(100));
        assert_eq!(parse_bytes("10q"), Err("invalid suffix: 'q'".into()));
    }

    #[test]
    fn cpus_are_billionths() {
        assert_eq!(parse_cpus("0.5"), Ok(500_000_000));
        assert_eq!(parse_cpus("2"), Ok(2_000_000_000));
        assert_eq!(parse_cpus(".25"), Ok(250_000_000));
        assert!(parse_cpus("x").is_err());
    }
}
