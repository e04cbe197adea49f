//! Values of flags: durations, sizes, CPUs.

pub use skep_objects::go_duration::parse as parse_duration;

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
