//! Renders a tree for an object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Mistake;
use super::functions::call;
use super::parse::{Command, Node, Pipe, Term};
use super::values::{Absent, LABELS, absent, is_true, kind_of, print, print_named};

pub(super) fn render(
    nodes: &[Node],
    source: &str,
    object: &Value,
    kind: Option<&str>,
    heads: bool,
) -> Result<String, Mistake> {
    let mut scope = Scope {
        source,
        root: object,
        kind,
        heads,
        variables: BTreeMap::new(),
        out: String::new(),
    };
    scope.nodes(nodes, object)?;
    Ok(scope.out)
}

struct Scope<'a> {
    source: &'a str,
    root: &'a Value,
    /// The type of the root, where all its fields are known.
    kind: Option<&'a str>,
    /// Whether the values are heads of a table, which functions leave alone.
    heads: bool,
    variables: BTreeMap<String, Value>,
    out: String,
}

/// What comes after a node.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Mistake> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Mistake> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                let text = match last_field(pipe) {
                    Some(name) => print_named(name, &value),
                    None => print(&value),
                };
                self.out.push_str(&text);
            }
            Node::Set(name, pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.variables.insert(name.clone(), value);
            }
            Node::If(pipe, body, otherwise) => {
                let taken = is_true(&self.pipe(pipe, dot)?);
                return self.nodes(if taken { body } else { otherwise }, dot);
            }
            Node::With(pipe, body, otherwise) => {
                let value = self.pipe(pipe, dot)?;
                return if is_true(&value) {
                    self.nodes(body, &value)
                } else {
                    self.nodes(otherwise, dot)
                };
            }
            Node::Range(names, pipe, body, otherwise) => {
                return self.range(names, pipe, body, otherwise, dot);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        names: &[String],
        pipe: &Pipe,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, Mistake> {
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
                let pairs = items.into_iter();
                pairs
                    .map(|(name, item)| (Value::from(name.as_str()), item))
                    .collect()
            }
            Value::Null => Vec::new(),
            _ if self.heads => Vec::new(),
            other => {
                let command = &pipe[pipe.len() - 1];
                return Err(self.at(
                    command,
                    format!("range can't iterate over {}", print(other)),
                ));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            if let [only] = names {
                self.variables.insert(only.clone(), item.clone());
            } else if let [first, second] = names {
                self.variables.insert(first.clone(), key);
                self.variables.insert(second.clone(), item.clone());
            }
            if self.nodes(body, item)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, Mistake> {
        let mut last = None;
        for command in pipe {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Null))
    }

    fn command(
        &self,
        command: &Command,
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Mistake> {
        match command.terms.split_first() {
            Some((Term::Name(name), rest)) => {
                let mut args = rest
                    .iter()
                    .map(|term| self.term(term, dot))
                    .collect::<Result<Vec<_>, _>>()?;
                args.extend(last);
                if self.heads && leaves_heads(name) {
                    return Ok(args
                        .into_iter()
                        .find(Value::is_string)
                        .unwrap_or(Value::Null));
                }
                call(name, &args).map_err(|why| self.at(command, why))
            }
            Some((Term::Field(fields, _), [key])) if last.is_none() && *fields == ["Label"] => {
                let key = print(&self.term(key, dot)?);
                let label = dot.get(LABELS).and_then(|labels| labels.get(&key));
                Ok(match dot.get("Label") {
                    // The head of such a column.
                    Some(_) if self.heads => Value::from(key.replace(['-', '_', '.'], " ")),
                    _ => label.cloned().unwrap_or_else(|| Value::from("")),
                })
            }
            Some((term, [])) if last.is_none() => self.term(term, dot),
            Some((Term::Field(fields, _), _)) => Err(self.at(
                command,
                format!(
                    "{} has arguments but cannot be invoked as function",
                    fields.join(".")
                ),
            )),
            _ => Err(self.at(command, "can't give argument to non-function".to_owned())),
        }
    }

    /// A mistake in a command, with the command's own text.
    fn at(&self, command: &Command, why: String) -> Mistake {
        let text = self
            .source
            .get(command.start..command.end)
            .unwrap_or_default();
        Mistake::new(format!("at <{text}>: {why}"), command.start)
    }

    fn term(&self, term: &Term, dot: &Value) -> Result<Value, Mistake> {
        Ok(match term {
            Term::Field(fields, at) => self.field(dot, fields, *at)?,
            Term::Variable(name, fields, at) if name.is_empty() => {
                self.field(self.root, fields, *at)?
            }
            Term::Variable(name, fields, at) => {
                let value = self.variables.get(name).ok_or_else(|| {
                    Mistake::new(format!("at <${name}>: undefined variable: ${name}"), *at)
                })?;
                self.field(value, fields, *at)?
            }
            Term::Text(text) => Value::from(text.as_str()),
            Term::Number(number) => number_value(*number),
            Term::Bool(value) => Value::Bool(*value),
            Term::Nil => Value::Null,
            Term::Nested(pipe, fields, at) => {
                let value = self.pipe(pipe, dot)?;
                self.field(&value, fields, *at)?
            }
            Term::Name(name) => {
                call(name, &[]).map_err(|why| Mistake::new(format!("at <{name}>: {why}"), 0))?
            }
        })
    }

    /// A field of a field. What an object of the API leaves out because it is empty is empty; a name
    /// that it never has is a mistake.
    fn field(&self, value: &Value, fields: &[String], start: usize) -> Result<Value, Mistake> {
        let mut value = value;
        let mut at = start;
        for (number, name) in fields.iter().enumerate() {
            let wrong =
                |why: String| Mistake::new(format!("at <.{}>: {why}", fields.join(".")), at);
            let Value::Object(object) = value else {
                return Err(wrong(match value {
                    Value::Null => format!("nil pointer evaluating interface {{}}.{name}"),
                    other => format!("can't evaluate field {name} in type {}", kind_of(other)),
                }));
            };
            let is_last = number + 1 == fields.len();
            value = match (object.get(name), self.kind) {
                (Some(value), _) => value,
                (None, Some(kind)) if std::ptr::eq(value, self.root) => {
                    return Err(wrong(format!("can't evaluate field {name} in type {kind}")));
                }
                (None, _) => match absent(name) {
                    Some(zero) if is_last => return Ok(zero_value(zero)),
                    _ => return Err(wrong(format!("map has no entry for key {name:?}"))),
                },
            };
            at += name.len() + 1;
        }
        Ok(value.clone())
    }
}

/// Functions that shape a value; a head is left as it is.
fn leaves_heads(name: &str) -> bool {
    matches!(
        name,
        "json" | "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate"
    )
}

/// The field that a pipe prints, where it is nothing but a field.
fn last_field(pipe: &Pipe) -> Option<&str> {
    match pipe.as_slice() {
        [command] => match command.terms.as_slice() {
            [
                Term::Field(fields, _) | Term::Variable(_, fields, _) | Term::Nested(_, fields, _),
            ] => fields.last().map(String::as_str),
            _ => None,
        },
        _ => None,
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

/// Whole numbers stay whole.
pub(super) fn number_value(number: f64) -> Value {
    #[allow(clippy::cast_possible_truncation)] // checked to be whole and small
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}
