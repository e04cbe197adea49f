//! What the `nft` program needs to know to print a map whose key has a number in it: it fails on
//! the map, and on all of a ruleset, where it is not told by which expressions the map is asked.
//!
//! The kernel keeps it as it is: type, length, value, each nested in the next, in host order.

use super::Field;

const KEY_BYTE_ORDER: u8 = 0;
const VALUE_BYTE_ORDER: u8 = 1;
const KEY_TYPEOF: u8 = 3;
const VALUE_TYPEOF: u8 = 4;
const UNKNOWN_ORDER: u32 = 0;
const HOST_ORDER: u32 = 1;
// Expressions of `nft`.
const PAYLOAD: u32 = 7;
const META: u32 = 9;
const CONCATENATION: u32 = 13;
const NUMGEN: u32 = 23;

/// The remark for a map.
pub(super) fn remark(key: &[Field], value: &[Field]) -> Vec<u8> {
    let mut out = number(KEY_BYTE_ORDER, UNKNOWN_ORDER);
    out.extend(number(VALUE_BYTE_ORDER, UNKNOWN_ORDER));
    out.extend(nested(KEY_TYPEOF, &all(key)));
    out.extend(nested(VALUE_TYPEOF, &all(value)));
    out
}

/// The remark for a map by interface, whose names are printed as empty ones without it.
pub(super) fn remark_on_interfaces() -> Vec<u8> {
    number(KEY_BYTE_ORDER, HOST_ORDER)
}

fn nested(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, u8::try_from(value.len()).unwrap_or(u8::MAX)];
    out.extend(value);
    out
}

fn number(kind: u8, value: u32) -> Vec<u8> {
    nested(kind, &value.to_ne_bytes())
}

fn expression(number_of_it: u32, data: &[u8]) -> Vec<u8> {
    [number(0, number_of_it), nested(1, data)].concat()
}

fn all(fields: &[Field]) -> Vec<u8> {
    match fields {
        [one] => of(*one),
        many => {
            let parts = (0..).zip(many).map(|(i, field)| nested(i, &of(*field)));
            expression(CONCATENATION, &parts.collect::<Vec<_>>().concat())
        }
    }
}

/// An expression that makes such a field. It may stand for others: they are printed alike.
fn of(field: Field) -> Vec<u8> {
    let pair = |a, b| [number(0, a), number(1, b)].concat();
    match field {
        // A header and a field of it: the destination.
        Field::Ipv4 => expression(PAYLOAD, &pair(12, 12)),
        Field::Ipv6 => expression(PAYLOAD, &pair(13, 9)),
        Field::Port => expression(PAYLOAD, &pair(11, 2)),
        Field::Proto => expression(META, &number(0, 16)),
        Field::Ifname => expression(META, &number(0, 6)),
        // One after the other, modulus, offset.
        Field::Number => expression(NUMGEN, &[pair(0, 2), number(2, 0)].concat()),
    }
}
