//! `eq`, `lt` and their like.

use std::cmp::Ordering;

use serde_json::Value;

use super::held::Held;
use super::types::Form;
use super::values::print;

/// What values are alike in, so that they can be compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nil,
    Bool,
    Int,
    Float,
    Text,
    Other,
}

fn kind_of(held: &Held) -> Kind {
    match (&held.value, held.form()) {
        (Value::Null, _) => Kind::Nil,
        (_, Form::Struct(_) | Form::List(_) | Form::Map(_)) => Kind::Other,
        (Value::Bool(_), _) => Kind::Bool,
        (Value::Number(number), _) => {
            match number.is_f64() || held.type_name().starts_with("float") {
                true => Kind::Float,
                false => Kind::Int,
            }
        }
        (Value::String(_), _) => Kind::Text,
        _ => Kind::Other,
    }
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// Whether the first of some values is equal to one of the others.
pub(super) fn equals_any(args: &[Held]) -> Result<bool, String> {
    let Some((first, others)) = args.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err("missing argument for comparison".to_owned());
    };
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether two values are equal.
pub(super) fn equal(a: &Held, b: &Held) -> Result<bool, String> {
    let (a, b) = (a.clone().pointed(), b.clone().pointed());
    match (kind_of(&a), kind_of(&b)) {
        (Kind::Nil, other) | (other, Kind::Nil) => Ok(other == Kind::Nil),
        (Kind::Other, Kind::Other) => {
            let (shown, of) = (print(&b), b.type_name());
            Err(format!("non-comparable type {shown}: {of}"))
        }
        (first, second) if first != second => Err(INCOMPATIBLE.to_owned()),
        (kind, _) => Ok(order(kind, &a, &b).is_eq()),
    }
}

/// How two values follow each other.
pub(super) fn compare(a: &Held, b: &Held) -> Result<Ordering, String> {
    let (a, b) = (a.clone().pointed(), b.clone().pointed());
    let (first, second) = (kind_of(&a), kind_of(&b));
    let has_order = |kind| matches!(kind, Kind::Int | Kind::Float | Kind::Text);
    match has_order(first) && has_order(second) {
        false => Err("invalid type for comparison".to_owned()),
        true if first != second => Err(INCOMPATIBLE.to_owned()),
        true => Ok(order(first, &a, &b)),
    }
}

fn order(kind: Kind, a: &Held, b: &Held) -> Ordering {
    let whole = |held: &Held| {
        let number = held.value.as_i64().map(i128::from);
        number.or_else(|| held.value.as_u64().map(i128::from))
    };
    match kind {
        Kind::Int => whole(a).cmp(&whole(b)),
        Kind::Float => {
            let (a, b) = (a.value.as_f64(), b.value.as_f64());
            a.partial_cmp(&b).unwrap_or(Ordering::Equal)
        }
        _ => print(a).cmp(&print(b)),
    }
}
