//! Identifiers: 25 base-36 characters for swarm objects, 64 hexadecimal ones for containers.

use rand::RngCore;

/// Length of a swarm object's id.
pub const ID_LEN: usize = 25;

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A new random id for a swarm object (node, service, task, network, session, ...).
pub fn new_id() -> String {
    let mut bytes = [0u8; 17];
    rand::rng().fill_bytes(&mut bytes);
    id_from_bytes(bytes)
}

/// The id that 17 random bytes stand for.
///
/// The top bit is set so that the number always has at least 26 digits; the first digit, being
/// far from uniform, is dropped.
pub fn id_from_bytes(mut bytes: [u8; 17]) -> String {
    bytes[0] |= 0x80;
    let digits = base36(&bytes);
    digits[1..=ID_LEN].to_owned()
}

/// A big-endian number in lower-case base 36, without leading zeros ("0" for zero).
pub fn base36(number: &[u8]) -> String {
    let mut rest: Vec<u8> = number.to_vec();
    let mut digits = Vec::with_capacity(number.len() * 8 / 5 + 1);
    while rest.iter().any(|byte| *byte != 0) {
        let mut remainder = 0u32;
        for byte in &mut rest {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = (value / 36).to_le_bytes()[0];
            remainder = value % 36;
        }
        digits.push(DIGITS[remainder as usize]);
    }
    if digits.is_empty() {
        digits.push(b'0');
    }
    digits
        .iter()
        .rev()
        .map(|digit| char::from(*digit))
        .collect()
}

/// Whether `id` has the form of a swarm object's id.
pub fn is_id(id: &str) -> bool {
    id.len() == ID_LEN && id.bytes().all(|byte| DIGITS.contains(&byte))
}

/// A new random 64-digit hexadecimal id, as containers, images' layers and sandboxes have.
///
/// Never all decimal in its first twelve digits: as a host name such an id would be a number.
pub fn new_hex_id() -> String {
    loop {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if id[..12].bytes().any(|byte| byte.is_ascii_lowercase()) {
            return id;
        }
    }
}

/// The first twelve characters of a hexadecimal id, as Docker prints it.
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_25_base36_characters() {
        for _ in 0..1000 {
            let id = new_id();
            assert!(is_id(&id), "{id}");
        }
        assert_eq!(id_from_bytes([0; 17]).len(), ID_LEN);
        assert_eq!(id_from_bytes([0xff; 17]).len(), ID_LEN);
    }

    #[test]
    fn base36_is_the_usual_positional_notation() {
        let check = |number: &[u8], expect: &str| assert_eq!(base36(number), expect);
        check(&[], "0");
        check(&[0, 0], "0");
        check(&[35], "z");
        check(&[36], "10");
        check(&[1, 0], "74");
        check(&[0xff, 0xff, 0xff, 0xff], "1z141z3");
    }

    #[test]
    fn a_hex_id_is_no_number_when_shortened() {
        for _ in 0..100 {
            let id = new_hex_id();
            assert_eq!(id.len(), 64);
            assert!(short_id(&id).parse::<u64>().is_err());
        }
    }
}
