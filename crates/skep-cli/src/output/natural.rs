//! Order in which numbers within names count as numbers.

use std::cmp::Ordering;

/// `web2` before `web10`.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len());
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (left, rest_a) = number(a);
            let (right, rest_b) = number(b);
            match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
                Ordering::Equal => (a, b) = (rest_a, rest_b),
                other => return other,
            }
        } else if x == y {
            (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
        } else {
            return x.cmp(&y);
        }
    }
}

/// The number at the beginning, without leading zeros, and what follows it.
fn number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["web10", "web2", "web", "db1", "web02x"];
        names.sort_by(|a, b| natural_cmp(a, b));
        assert_eq!(names, ["db1", "web", "web2", "web02x", "web10"]);
    }
}
