//! Renders a tree for an object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::TemplateError;
use super::functions::{call, is_true, print};
use super::parse::{Node, Pipe, Term};

pub(super) fn render(nodes: &[Node], object: &Value) -> Result<String, TemplateError> {
    let mut scope = Scope {
        root: object,
        variables: BTreeMap::new(),
        out: String::new(),
    };
    scope.nodes(nodes, object)?;
    Ok(scope.out)
}

struct Scope<'a> {
    root: &'a Value,
    variables: BTreeMap<String, Value>,
    out: String,
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.out.push_str(&print(&value));
            }
            Node::Set(name, pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.variables.insert(name.clone(), value);
            }
            Node::If(pipe, body, otherwise) => {
                let taken = is_true(&self.pipe(pipe, dot)?);
                self.nodes(if taken { body } else { otherwise }, dot)?;
            }
            Node::With(pipe, body, otherwise) => {
                let value = self.pipe(pipe, dot)?;
                if is_true(&value) {
                    self.nodes(body, &value)?
                } else {
                    self.nodes(otherwise, dot)?
                }
            }
            Node::Range(names, pipe, body, otherwise) => {
                let value = self.pipe(pipe, dot)?;
                let items: Vec<(Value, &Value)> = match &value {
                    Value::Array(items) => items
                        .iter()
                        .enumerate()
                        .map(|(at, item)| (Value::from(at), item))
                        .collect(),
                    Value::Object(fields) => {
                        let mut items: Vec<_> = fields.iter().collect();
                        items.sort_by_key(|(name, _)| *name);
                        items
                            .into_iter()
                            .map(|(name, item)| (Value::from(name.as_str()), item))
                            .collect()
                    }
                    Value::Null => Vec::new(),
                    other => {
                        return Err(TemplateError(format!(
                            "range can't iterate over {}",
                            print(other)
                        )));
                    }
                };
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (key, item) in items {
                    if let [only] = names.as_slice() {
                        self.variables.insert(only.clone(), item.clone());
                    } else if let [first, second] = names.as_slice() {
                        self.variables.insert(first.clone(), key);
                        self.variables.insert(second.clone(), item.clone());
                    }
                    self.nodes(body, item)?;
                }
            }
        }
        Ok(())
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in pipe {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Null))
    }

    fn command(
        &self,
        command: &[Term],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, TemplateError> {
        match command.split_first() {
            Some((Term::Name(name), rest)) => {
                let mut args = rest
                    .iter()
                    .map(|term| self.term(term, dot))
                    .collect::<Result<Vec<_>, _>>()?;
                args.extend(last);
                call(name, &args)
            }
            Some((term, [])) if last.is_none() => self.term(term, dot),
            Some((Term::Field(fields), _)) => Err(TemplateError(format!(
                "{} has arguments but cannot be invoked as function",
                fields.join(".")
            ))),
            _ => Err(TemplateError(
                "can't give argument to non-function".to_owned(),
            )),
        }
    }

    fn term(&self, term: &Term, dot: &Value) -> Result<Value, TemplateError> {
        Ok(match term {
            Term::Field(fields) => field(dot, fields)?,
            Term::Variable(name, fields) if name.is_empty() => field(self.root, fields)?,
            Term::Variable(name, fields) => {
                let value = self.variables.get(name);
                field(
                    value
                        .ok_or_else(|| TemplateError(format!("undefined variable \"${name}\"")))?,
                    fields,
                )?
            }
            Term::Text(text) => Value::from(text.as_str()),
            Term::Number(number) => number_value(*number),
            Term::Bool(value) => Value::Bool(*value),
            Term::Nested(pipe, fields) => field(&self.pipe(pipe, dot)?, fields)?,
            Term::Name(name) => call(name, &[])?,
        })
    }
}

/// Whole numbers stay whole.
pub(super) fn number_value(number: f64) -> Value {
    #[allow(clippy::cast_possible_truncation)] // checked to be whole and small
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// A field of a field; Go's structs have every field, so an absent one is an empty value.
fn field(value: &Value, fields: &[String]) -> Result<Value, TemplateError> {
    let mut value = value;
    for name in fields {
        value = match value {
            Value::Object(object) => match object.get(name) {
                Some(value) => value,
                None => object
                    .iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(name))
                    .map_or(&Value::Null, |(_, value)| value),
            },
            Value::Null => &Value::Null,
            other => {
                return Err(TemplateError(format!(
                    "can't evaluate field {name} in type {}",
                    kind(other)
                )));
            }
        };
    }
    Ok(value.clone())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
