//! Renders a tree for an object.

use serde_json::Value;

use super::functions::{self, Function, call};
use super::held::{Held, Shape};
use super::tree::{Command, Node, Pipe, Term, Tree};
use super::types::Form;
use super::values::{LABELS, print};
use super::{Library, Mistake};

/// How many bodies of templates and of their `if`, `with` and `range` may be open when another template
/// is asked for. What one template nests is bounded where it is parsed.
const MAX_DEPTH: usize = 256;

/// What was rendered, and what ended that.
pub(super) fn render(
    tree: &Tree,
    object: &Held,
    heads: bool,
    library: Library<'_>,
) -> (String, Option<Mistake>) {
    let mut scope = Scope {
        library,
        tree,
        heads,
        bodies: 0,
        variables: vec![("$".to_owned(), object.clone())],
        out: String::new(),
    };
    let mistake = scope.nodes(&tree.nodes, object).err();
    (scope.out, mistake)
}

/// A range over a number ends here.
const MOST_ITEMS: i64 = 1 << 20;

struct Scope<'a> {
    library: Library<'a>,
    tree: &'a Tree,
    /// Whether the values are heads of a table, which functions leave alone.
    heads: bool,
    /// How many are open.
    bodies: usize,
    /// The innermost last.
    variables: Vec<(String, Held)>,
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
    fn nodes(&mut self, nodes: &[Node], dot: &Held) -> Result<Flow, Mistake> {
        self.bodies += 1;
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.bodies -= 1;
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Held) -> Result<Flow, Mistake> {
        let known = self.variables.len();
        let mut flow = Flow::On;
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.names.is_empty() {
                    self.out.push_str(&print(&value));
                }
                return Ok(flow);
            }
            Node::If(pipe, body, otherwise) => {
                let taken = self.pipe(pipe, dot)?.is_true();
                flow = self.nodes(if taken { body } else { otherwise }, dot)?;
            }
            Node::With(pipe, body, otherwise) => {
                let value = self.pipe(pipe, dot)?;
                flow = match value.is_true() {
                    true => self.nodes(body, &value)?,
                    false => self.nodes(otherwise, dot)?,
                };
            }
            Node::Range(pipe, body, otherwise) => {
                flow = self.range(pipe, body, otherwise, dot)?;
            }
            Node::Template(name, pipe, at) => self.template(name, pipe.as_ref(), *at, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        self.variables.truncate(known);
        Ok(flow)
    }

    fn template(
        &mut self,
        name: &str,
        pipe: Option<&Pipe>,
        at: usize,
        dot: &Held,
    ) -> Result<(), Mistake> {
        let shown = match pipe {
            Some(pipe) => format!("{{{{template {name:?} {pipe}}}}}"),
            None => format!("{{{{template {name:?}}}}}"),
        };
        let wrong = |why: String| Mistake::new(format!("at <{shown}>: {why}"), at + 9);
        let tree = self.tree;
        let Some(nodes) = tree.named.get(name) else {
            return Err(wrong(format!("template {name:?} not defined")));
        };
        if self.bodies >= MAX_DEPTH {
            return Err(wrong(format!(
                "exceeded maximum template depth ({MAX_DEPTH})"
            )));
        }
        let value = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Held::nothing(),
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
        let done = self.nodes(nodes, &value);
        done.map_err(|mistake| mistake.within(name))?;
        self.variables = outer;
        Ok(())
    }

    fn range(
        &mut self,
        pipe: &Pipe,
        body: &[Node],
        otherwise: &[Node],
        dot: &Held,
    ) -> Result<Flow, Mistake> {
        let value = self.pipe(pipe, dot)?.pointed();
        let items = match (value.items(), value.value.as_i64()) {
            (Some(items), _) => items,
            (None, Some(_)) if pipe.names.len() > 1 => {
                let number = print(&value);
                let why = format!("can't use {number} to iterate over more than one variable");
                return Err(self.wrong_pipe(pipe, why));
            }
            (None, Some(count)) => (0..count.min(MOST_ITEMS))
                .map(|at| (Held::number(at), Held::number(at)))
                .collect(),
            _ if self.heads => Vec::new(),
            _ => {
                let why = format!("range can't iterate over {}", print(&value));
                return Err(self.wrong_pipe(pipe, why));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let known = self.variables.len();
        for (key, item) in items {
            let values = match pipe.names.len() {
                1 => vec![item.clone()],
                _ => vec![key, item.clone()],
            };
            for (name, value) in pipe.names.iter().zip(values) {
                match pipe.assigns {
                    true => self.assign(name, value),
                    false => {
                        self.variables.push((name.clone(), value));
                        true
                    }
                };
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// A pipe's value, kept in its variables.
    fn pipe(&mut self, pipe: &Pipe, dot: &Held) -> Result<Held, Mistake> {
        let value = self.value_of(pipe, dot)?;
        for name in &pipe.names {
            match pipe.assigns {
                true if !self.assign(name, value.clone()) => {
                    return Err(self.wrong_pipe(pipe, format!("undefined variable: {name}")));
                }
                true => {}
                false => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    /// Whether there is such a variable.
    fn assign(&mut self, name: &str, value: Held) -> bool {
        let mut known = self.variables.iter_mut().rev();
        let found = known.find(|(known, _)| known == name);
        found.map(|(_, held)| *held = value).is_some()
    }

    fn value_of(&mut self, pipe: &Pipe, dot: &Held) -> Result<Held, Mistake> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or_else(Held::nothing))
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Held,
        last: Option<Held>,
    ) -> Result<Held, Mistake> {
        let (first, rest) = (&command.terms[0], &command.terms[1..]);
        let has_arguments = !rest.is_empty() || last.is_some();
        match first {
            Term::Name(name, at) => self.function(name, *at, command, dot, last),
            Term::Field(fields, _) if *fields == ["Label"] && has_arguments => {
                let key = match rest {
                    [key] => self.term(key, command, dot)?,
                    _ => last.unwrap_or_else(Held::nothing),
                };
                let label = label_of(dot, &print(&key), self.heads);
                label.map_err(|why| self.wrong(Some(first), command, why))
            }
            Term::Field(..) | Term::Variable(..) | Term::Chain(..) if has_arguments => {
                let found = self.term(first, command, dot)?;
                let name = match first {
                    Term::Field(fields, _)
                    | Term::Variable(_, fields, _)
                    | Term::Chain(_, fields, _) => fields.last().map_or("", String::as_str),
                    _ => "",
                };
                let given = rest.len() + usize::from(last.is_some());
                let is_method = matches!(dot.shape, Shape::Row(_));
                let why = match &found.shape {
                    _ if is_method => {
                        format!("wrong number of args for {name}: want 0 got {given}")
                    }
                    Shape::Raw => format!("{name} is not a method but has arguments"),
                    _ => format!("{name} has arguments but cannot be invoked as function"),
                };
                Err(self.wrong(Some(first), command, why))
            }
            _ if has_arguments => {
                let why = format!("can't give argument to non-function {first}");
                Err(self.wrong(Some(first), command, why))
            }
            Term::Nil => Err(self.wrong(Some(first), command, "nil is not a command".into())),
            _ => self.term(first, command, dot),
        }
    }

    fn function(
        &mut self,
        name: &str,
        at: usize,
        command: &Command,
        dot: &Held,
        last: Option<Held>,
    ) -> Result<Held, Mistake> {
        let terms = if command.terms.is_empty() {
            &[][..]
        } else {
            &command.terms[1..]
        };
        let function = self.library.find(name);
        let given = terms.len() + usize::from(last.is_some());
        let counts = function.map_or(Ok(()), |function| {
            function.check_count(name, given, terms.len())
        });
        counts.map_err(|why| Mistake::new(format!("at <{name}>: {why}"), at))?;
        let mut args = Vec::new();
        for (number, term) in terms.iter().enumerate() {
            let value = self.term(term, command, dot)?;
            let fits = function.map_or(Ok(()), |f: &Function| f.check(number, &value, Some(term)));
            if !self.heads {
                fits.map_err(|why| self.wrong(Some(term), command, why))?;
            }
            let is_decided = matches!(name, "and" | "or") && value.is_true() == (name == "or");
            args.push(value);
            if is_decided {
                break;
            }
        }
        if let Some(last) = last.filter(|_| args.len() == terms.len()) {
            let fits = function.map_or(Ok(()), |f| f.check(args.len(), &last, None));
            if !self.heads {
                fits.map_err(|why| Mistake::new(format!("at <{name}>: {why}"), at))?;
            }
            args.push(last);
        }
        if self.heads && functions::leaves_heads(name) {
            let head = args.into_iter().find(|arg| arg.value.is_string());
            return Ok(head.unwrap_or_else(|| Held::text("")));
        }
        call(self.library, name, &args, terms).map_err(|why| {
            let why = format!("error calling {name}: {why}");
            Mistake::new(format!("at <{command}>: {why}"), command.at)
        })
    }

    /// A mistake about what a pipe ends with.
    fn wrong_pipe(&self, pipe: &Pipe, why: String) -> Mistake {
        let last = &pipe.commands[pipe.commands.len() - 1];
        self.wrong(last.terms.first(), last, why)
    }

    /// A mistake about a term.
    #[allow(clippy::unused_self)] // reads as the others do
    fn wrong(&self, term: Option<&Term>, command: &Command, why: String) -> Mistake {
        let shown = term.map_or_else(|| command.to_string(), ToString::to_string);
        let at = term.and_then(Term::at).unwrap_or(command.at);
        Mistake::new(format!("at <{shown}>: {why}"), at)
    }

    fn term(&mut self, term: &Term, command: &Command, dot: &Held) -> Result<Held, Mistake> {
        let is_strict = !matches!(self.library, Library::Formats);
        let fields = |start: Held, fields: &[String]| {
            fields.iter().try_fold(start, |held, name| {
                let held = if matches!(held.shape, Shape::Raw) {
                    held
                } else {
                    loosened(held)
                };
                let found = held.field(name)?;
                let is_missing =
                    found.shape == Shape::Nothing && matches!(held.form(), Form::Map(_));
                match is_missing && is_strict {
                    true => Err(format!("map has no entry for key {name:?}")),
                    false => Ok(found),
                }
            })
        };
        let found = match term {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Ok(Held::nothing()),
            Term::Bool(value) => Ok(Held::bool(*value)),
            Term::Text(text, ..) => Ok(Held::text(text.as_str())),
            Term::Number(number, text, _) if number.is_u64() && !number.is_i64() => {
                Err(format!("{text} overflows int"))
            }
            Term::Number(number, ..) => Ok(Held::new(
                Value::Number(number.clone()),
                if number.is_f64() { "float64" } else { "int" },
            )),
            Term::Field(names, _) => match names.as_slice() {
                [name] if name == "Label" && is_labelled(dot) && !self.heads => {
                    Err("wrong number of args for Label: want 1 got 0".to_owned())
                }
                names => fields(dot.clone(), names),
            },
            Term::Variable(name, names, _) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = known.map(|(_, value)| value.clone());
                match value {
                    Some(value) => fields(value, names),
                    None => Err(format!("undefined variable: {name}")),
                }
            }
            Term::Nested(pipe) => return self.pipe(pipe, dot),
            Term::Chain(inner, names, _) => {
                let value = self.term(inner, command, dot)?;
                // What was looked at last is told.
                let last = inner.innermost();
                return fields(value, names).map_err(|why| self.wrong(Some(last), command, why));
            }
            Term::Name(name, at) => {
                let alone = Command {
                    terms: vec![term.clone()],
                    at: *at,
                };
                return self.function(name, *at, &alone, dot, None);
            }
        };
        found.map_err(|why| self.wrong(Some(term), command, why))
    }
}

/// Behind a pointer that is not nil a field is looked for in what it points to.
fn loosened(held: Held) -> Held {
    match held.form() {
        Form::Pointer(inner) if matches!(super::types::form(inner), Form::Pointer(_)) => {
            held.pointed()
        }
        _ => held,
    }
}

/// Kinds of rows that tell a label.
const LABELLED: [&str; 5] = [
    "*formatter.ContainerContext",
    "*formatter.volumeContext",
    "*network.networkContext",
    "*secret.secretContext",
    "*config.configContext",
];

fn is_labelled(dot: &Held) -> bool {
    matches!(&dot.shape, Shape::Row(kind) if LABELLED.contains(&kind.as_str()))
}

/// `.Label "key"` of a row.
fn label_of(dot: &Held, key: &str, heads: bool) -> Result<Held, String> {
    if heads {
        return Ok(Held::text(key.replace(['-', '_', '.'], " ")));
    }
    if !is_labelled(dot) {
        return Err(match &dot.shape {
            Shape::Row(kind) => format!("can't evaluate field Label in type {kind}"),
            Shape::Go(of) => format!("can't evaluate field Label in type {of}"),
            _ => "Label is not a method but has arguments".to_owned(),
        });
    }
    let label = dot.value[LABELS].get(key).and_then(Value::as_str);
    Ok(Held::text(label.unwrap_or_default()))
}
