//! Decodes JSON as Go's `encoding/json` does: keys match whatever their case, the last of several
//! equal keys wins, unknown keys are ignored and `null` leaves the zero value.
//!
//! Works on types with derived `Deserialize` and `#[serde(default)]`. `#[serde(flatten)]` and
//! `#[serde(untagged)]` buffer their content before the field names are known, so they see keys as
//! sent: do not use them in body types.

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde_json::{Error, Map, Value};

/// Why a body could not be decoded. The texts are those the engine answers with.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Nothing was sent.
    #[error("invalid JSON: got EOF while reading request body")]
    Empty,
    /// Not JSON, or JSON of another shape.
    #[error("invalid JSON: {0}")]
    Invalid(#[source] Error),
}

/// Decodes `body` with Go's rules.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let value: Value = serde_json::from_slice(body).map_err(DecodeError::Invalid)?;
    from_value(value).map_err(DecodeError::Invalid)
}

/// Decodes an already parsed value with Go's rules.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Folded(value))
}

/// A value whose objects are matched to struct fields without regard to case.
struct Folded(Value);

impl Folded {
    /// The fields of `object` under the names that the struct expects; the last of equals wins.
    fn fields(
        object: Map<String, Value>,
        fields: &'static [&'static str],
    ) -> Vec<(&'static str, Value)> {
        let mut known: Vec<(&'static str, Value)> = Vec::with_capacity(object.len());
        for (key, value) in object {
            let exact = fields.iter().find(|field| **field == key);
            let Some(name) = exact.or_else(|| fields.iter().find(|f| f.eq_ignore_ascii_case(&key)))
            else {
                continue;
            };
            if value.is_null() {
                continue;
            }
            match known.iter_mut().find(|(seen, _)| seen == name) {
                Some(slot) => slot.1 = value,
                None => known.push((name, value)),
            }
        }
        known
    }
}

/// Serves the fields of a struct, or the entries of a map, one after the other.
struct Entries<K, I: Iterator<Item = (K, Value)>> {
    entries: I,
    value: Option<Value>,
}

impl<'de, K, I> de::MapAccess<'de> for Entries<K, I>
where
    K: IntoDeserializer<'de, Error>,
    I: Iterator<Item = (K, Value)>,
{
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Folded(self.value.take().unwrap_or(Value::Null)))
    }
}

struct Items(std::vec::IntoIter<Value>);

impl<'de> de::SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        self.0
            .next()
            .map(|value| seed.deserialize(Folded(value)))
            .transpose()
    }
}

/// Methods for a scalar: `null` is its zero value, as in Go.
macro_rules! scalars {
    ($($method:ident: $zero:expr => $visit:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                Value::Null => visitor.$visit($zero),
                value => de::Deserializer::$method(value, visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Folded {
    type Error = Error;

    scalars! {
        deserialize_bool: false => visit_bool,
        deserialize_i8: 0 => visit_i8,
        deserialize_i16: 0 => visit_i16,
        deserialize_i32: 0 => visit_i32,
        deserialize_i64: 0 => visit_i64,
        deserialize_u8: 0 => visit_u8,
        deserialize_u16: 0 => visit_u16,
        deserialize_u32: 0 => visit_u32,
        deserialize_u64: 0 => visit_u64,
        deserialize_f32: 0.0 => visit_f32,
        deserialize_f64: 0.0 => visit_f64,
        deserialize_str: "" => visit_str,
        deserialize_string: "" => visit_str,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
            value => de::Deserializer::deserialize_any(value, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_seq(Items(Vec::new().into_iter())),
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            value => de::Deserializer::deserialize_seq(value, visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries {
                entries: std::iter::empty::<(String, Value)>(),
                value: None,
            }),
            Value::Object(object) => visitor.visit_map(Entries {
                entries: object.into_iter(),
                value: None,
            }),
            value => de::Deserializer::deserialize_map(value, visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let object = match self.0 {
            Value::Null => Map::new(),
            Value::Object(object) => object,
            // A list of the fields' values is serde's idea, not Go's.
            Value::Array(_) => {
                let got = de::Unexpected::Seq;
                return Err(de::Error::invalid_type(got, &"a JSON object"));
            }
            value => return de::Deserializer::deserialize_struct(value, name, fields, visitor),
        };
        let known = Folded::fields(object, fields);
        visitor.visit_map(Entries {
            entries: known.into_iter(),
            value: None,
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct identifier ignored_any }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Outer {
        name: String,
        count: i64,
        inner: Option<Inner>,
        list: Vec<Inner>,
        labels: BTreeMap<String, String>,
        args: Option<Vec<String>>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        #[serde(rename = "NanoCPUs")]
        nano_cpus: i64,
    }

    fn check(json: &str, expect: Outer) {
        let got: Outer = from_json(json.as_bytes()).expect(json);
        assert_eq!(got, expect, "{json}");
    }

    #[test]
    fn keys_match_in_any_case_at_every_depth() {
        check(
            r#"{"NAME":"a","inner":{"nanocpus":5},"list":[{"NanoCpus":6}]}"#,
            Outer {
                name: "a".into(),
                inner: Some(Inner { nano_cpus: 5 }),
                list: vec![Inner { nano_cpus: 6 }],
                ..Outer::default()
            },
        );
    }

    #[test]
    fn keys_of_maps_keep_their_case() {
        check(
            r#"{"labels":{"Name":"x","name":"y"}}"#,
            Outer {
                labels: [("Name".into(), "x".into()), ("name".into(), "y".into())].into(),
                ..Outer::default()
            },
        );
    }

    #[test]
    fn null_is_the_zero_value() {
        check(
            r#"{"Name":null,"Count":null,"Inner":null,"List":null,"Labels":null,"Args":null}"#,
            Outer::default(),
        );
        check(
            r#"{"List":[null],"Labels":{"a":null}}"#,
            Outer {
                list: vec![Inner::default()],
                labels: [("a".into(), String::new())].into(),
                ..Outer::default()
            },
        );
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        check(
            r#"{"name":"a","Name":"b"}"#,
            Outer {
                name: "b".into(),
                ..Outer::default()
            },
        );
    }

    #[test]
    fn unknown_keys_are_ignored() {
        check(r#"{"Nope":{"x":[1]}}"#, Outer::default());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in [
            "{",
            "[]x",
            "",
            "  ",
            r#"{"Count":"a"}"#,
            r#"{"Name":3}"#,
            "[1]",
        ] {
            assert!(from_json::<Outer>(body.as_bytes()).is_err(), "{body}");
        }
    }
}
