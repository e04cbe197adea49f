//! A value with what Go knows of its type.

use serde_json::Value;

use super::types::{ANY, Form, form};
use super::values::{Absent, absent};

/// What is known of a value's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// A type of Go's.
    Go(&'static str),
    /// Whatever JSON says: missing fields are mistakes.
    Raw,
    /// A field of this name, guessed by it what it is.
    Guess(String),
    /// A row of a list; what its type is called.
    Row(String),
    /// Nothing at all, not even nil.
    Nothing,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) value: Value,
    pub(super) shape: Shape,
}

impl Held {
    pub(super) fn new(value: Value, of: &'static str) -> Self {
        Self {
            value,
            shape: Shape::Go(of),
        }
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::new(Value::from(text.into()), "string")
    }

    pub(super) fn number(value: impl Into<Value>) -> Self {
        Self::new(value.into(), "int")
    }

    pub(super) fn bool(value: bool) -> Self {
        Self::new(value.into(), "bool")
    }

    pub(super) fn nothing() -> Self {
        Self {
            value: Value::Null,
            shape: Shape::Nothing,
        }
    }

    /// What it is made of, as far as it is known.
    pub(super) fn form(&self) -> Form {
        match self.shape {
            Shape::Go(of) => form(of),
            _ => Form::Any,
        }
    }

    /// Behind pointers; nothing where one is nil.
    pub(super) fn pointed(self) -> Self {
        match self.form() {
            Form::Pointer(inner) => match self.value {
                Value::Null => Self::nothing(),
                value => Self::new(value, inner).pointed(),
            },
            Form::Any if self.value.is_null() && self.shape == Shape::Raw => Self::nothing(),
            _ => self,
        }
    }

    /// The type as messages name it.
    pub(super) fn type_name(&self) -> String {
        match &self.shape {
            Shape::Go(of) if *of != ANY => (*of).to_owned(),
            Shape::Row(kind) => kind.trim_start_matches('*').to_owned(),
            shape => match &self.value {
                Value::Null => "nil",
                Value::Bool(_) => "bool",
                Value::Number(_) if *shape == Shape::Raw => "json.Number",
                Value::Number(_) => "int",
                Value::String(_) => "string",
                Value::Array(_) => "[]interface {}",
                Value::Object(_) => "map[string]interface {}",
            }
            .to_owned(),
        }
    }

    /// Go's truth: not zero, not empty.
    pub(super) fn is_true(&self) -> bool {
        match (&self.value, self.form()) {
            (_, Form::Struct(_)) => true,
            (value, Form::Pointer(_)) => !value.is_null(),
            (Value::Null, _) => false,
            (Value::Bool(value), _) => *value,
            (Value::Number(number), _) => number.as_f64() != Some(0.0),
            (Value::String(text), _) => !text.is_empty(),
            (Value::Array(items), _) => !items.is_empty(),
            (Value::Object(fields), _) => !fields.is_empty(),
        }
    }

    /// The items of a list or of a map, with their keys; nothing for what has none.
    pub(super) fn items(&self) -> Option<Vec<(Self, Self)>> {
        let shape = match (self.form(), &self.shape) {
            (Form::List(item) | Form::Map(item), _) => Shape::Go(item),
            (Form::Bytes, _) => Shape::Go("uint8"),
            (Form::Any, Shape::Go(_)) => Shape::Raw,
            (Form::Any, Shape::Guess(_)) => Shape::Guess(String::new()),
            (Form::Any, Shape::Raw) => Shape::Raw,
            _ => return (self.shape == Shape::Nothing).then(Vec::new),
        };
        let held = |value: &Value| Self {
            value: value.clone(),
            shape: shape.clone(),
        };
        match (&self.value, self.form()) {
            (Value::Array(items), _) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| (Self::number(at), held(item)))
                    .collect(),
            ),
            (Value::Object(fields), _) => {
                let mut all: Vec<_> = fields.iter().collect();
                all.sort_by_key(|(name, _)| *name);
                let pairs = all.into_iter();
                Some(
                    pairs
                        .map(|(name, item)| (Self::text(name.as_str()), held(item)))
                        .collect(),
                )
            }
            (Value::Null, _) => Some(Vec::new()),
            _ => None,
        }
    }

    /// A field by its name.
    pub(super) fn field(&self, name: &str) -> Result<Self, String> {
        let unknown = |of: &str| Err(format!("can't evaluate field {name} in type {of}"));
        match self.form() {
            Form::Pointer(of) => {
                if self.value.is_null() {
                    return Err(format!("nil pointer evaluating *{of}.{name}"));
                }
                let inner = Self::new(self.value.clone(), of);
                let found = inner.field(name);
                found.or_else(|_| unknown(&format!("*{of}")))
            }
            Form::Struct(_) => match self.known_field(name) {
                Some(found) => Ok(found),
                None => unknown(&self.type_name()),
            },
            Form::Map(item) => Ok(match self.value.get(name) {
                Some(value) => Self::new(value.clone(), item),
                None => Self::nothing(),
            }),
            Form::Any => self.loose_field(name),
            Form::List(_) | Form::Bytes | Form::Text | Form::Number | Form::Bool => {
                unknown(&self.type_name())
            }
        }
    }

    /// Of a structure, or of one within.
    fn known_field(&self, name: &str) -> Option<Self> {
        let Form::Struct(fields) = self.form() else {
            return None;
        };
        let direct = fields.iter().find(|field| field.name == name);
        if let Some(field) = direct {
            let own = match field.is_embedded {
                true => Some(&self.value),
                false => self.value.get(field.json),
            };
            return Some(Self::new(own.cloned().unwrap_or_default(), field.of).filled());
        }
        let embedded = fields.iter().filter(|field| field.is_embedded);
        embedded
            .map(|field| Self::new(self.value.clone(), field.of))
            .find_map(|inner| inner.known_field(name))
    }

    /// What is absent is empty.
    fn filled(mut self) -> Self {
        if self.value.is_null() {
            self.value = match self.form() {
                Form::Text => Value::from(""),
                Form::Number => Value::from(0),
                Form::Bool => Value::from(false),
                Form::Struct(_) => Value::Object(serde_json::Map::new()),
                _ => Value::Null,
            };
        }
        self
    }

    fn loose_field(&self, name: &str) -> Result<Self, String> {
        let no_entry = || format!("map has no entry for key {name:?}");
        let Value::Object(fields) = &self.value else {
            return Err(match (&self.shape, &self.value) {
                (Shape::Nothing, _) => return Ok(Self::nothing()),
                (_, Value::Null) => {
                    format!("nil pointer evaluating interface {{}}.{name}")
                }
                (Shape::Guess(_), _) => {
                    format!("can't evaluate field {name} in type {}", self.type_name())
                }
                _ => format!("can't evaluate field {name} in type {ANY}"),
            });
        };
        let shape = match &self.shape {
            Shape::Guess(_) => Shape::Guess(name.to_owned()),
            Shape::Row(_) if fields.get(name).is_some_and(Value::is_string) => Shape::Go("string"),
            Shape::Row(_) => Shape::Guess(name.to_owned()),
            _ => Shape::Raw,
        };
        let held = |value: Value| Self { value, shape };
        match (fields.get(name), &self.shape) {
            (Some(value), _) => Ok(held(value.clone())),
            (None, Shape::Row(kind)) => Err(format!("can't evaluate field {name} in type {kind}")),
            (None, Shape::Guess(_)) => match absent(name) {
                Some(zero) => Ok(held(zero_value(zero))),
                None => Err(no_entry()),
            },
            (None, Shape::Go(_)) => Ok(Self::nothing()),
            (None, _) => Err(no_entry()),
        }
    }
}

fn zero_value(zero: Absent) -> Value {
    match zero {
        Absent::Text => Value::from(""),
        Absent::Number => Value::from(0),
        Absent::Bool => Value::Bool(false),
        Absent::List | Absent::Map | Absent::Pointer => Value::Null,
    }
}
