//! Big-endian bytes to lower-case base 36 and back, for digests and secrets in tokens.

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Writes a big-endian number in base 36, left-padded with `0` to `width`.
pub(super) fn encode(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut out = Vec::with_capacity(width);
    while number.iter().any(|b| *b != 0) {
        let mut rest = 0u32;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 36).unwrap_or(u8::MAX);
            rest = value % 36;
        }
        out.push(DIGITS[rest as usize]);
    }
    while out.len() < width {
        out.push(b'0');
    }
    out.iter().rev().map(|b| char::from(*b)).collect()
}

/// Reads base 36 into exactly `len` bytes; `None` for other digits or a number too large.
pub(super) fn decode(text: &str, len: usize) -> Option<Vec<u8>> {
    let mut number = vec![0u8; len];
    for c in text.bytes() {
        let mut carry = match c {
            b'0'..=b'9' => u32::from(c - b'0'),
            b'a'..=b'z' => u32::from(c - b'a') + 10,
            _ => return None,
        };
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 36 + carry;
            *byte = value.to_le_bytes()[0];
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_undoes_encoding() {
        let bytes = [0u8, 1, 2, 250, 255, 0, 9];
        assert_eq!(decode(&encode(&bytes, 20), 7).unwrap(), bytes);
    }

    #[test]
    fn a_number_too_large_for_its_bytes_is_refused() {
        assert_eq!(decode("zzzzzzzz", 2), None);
        assert_eq!(decode("A", 2), None);
    }
}
