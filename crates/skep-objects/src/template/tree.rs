//! A template's tree, and how Go writes its parts in messages.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};

/// A template, with those that it defines.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) named: BTreeMap<String, Vec<Node>>,
}

/// A node of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// Prints what the pipe gives, unless that is kept in a variable.
    Print(Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    Range(Pipe, Vec<Node>, Vec<Node>),
    /// Another template by its name, and where that is asked for.
    Template(String, Option<Pipe>, usize),
    /// Ends a range.
    Break,
    /// Goes on with a range's next.
    Continue,
}

/// Commands; each gets the last one's value as its last argument.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipe {
    /// Variables that keep the value.
    pub(super) names: Vec<String>,
    /// Whether they are there already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
    pub(super) at: usize,
}

/// A function with arguments, or one operand; and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) terms: Vec<Term>,
    pub(super) at: usize,
}

/// An operand. Numbers are places in the template.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Dot,
    Nil,
    Bool(bool),
    Name(String, usize),
    Field(Vec<String>, usize),
    Variable(String, Vec<String>, usize),
    /// And as it is written.
    Text(String, String, usize),
    Number(serde_json::Number, String, usize),
    Nested(Pipe),
    /// Fields of what is no field by itself.
    Chain(Box<Term>, Vec<String>, usize),
}

impl Term {
    /// Where it is; nothing for what cannot be wrong.
    pub(super) fn at(&self) -> Option<usize> {
        match self {
            Self::Dot | Self::Nil | Self::Bool(_) => None,
            Self::Name(_, at)
            | Self::Field(_, at)
            | Self::Variable(_, _, at)
            | Self::Text(_, _, at)
            | Self::Number(_, _, at)
            | Self::Chain(_, _, at) => Some(*at),
            Self::Nested(pipe) => Some(pipe.at),
        }
    }

    /// The term within parentheses that is looked at last.
    pub(super) fn innermost(&self) -> &Self {
        match self {
            Self::Nested(pipe) => pipe
                .commands
                .last()
                .and_then(|command| command.terms.last())
                .map_or(self, Self::innermost),
            Self::Chain(term, ..) => term.innermost(),
            other => other,
        }
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let fields = |fields: &[String]| fields.iter().map(|field| format!(".{field}")).collect();
        match self {
            Self::Dot => f.write_str("."),
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Name(name, _) => f.write_str(name),
            Self::Field(names, _) => f.write_str(&fields(names) as &String),
            Self::Variable(name, names, _) => write!(f, "{name}{}", &fields(names) as &String),
            Self::Text(_, text, _) | Self::Number(_, text, _) => f.write_str(text),
            Self::Nested(pipe) => write!(f, "({pipe})"),
            Self::Chain(term, names, _) => write!(f, "{term}{}", &fields(names) as &String),
        }
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let terms: Vec<String> = self.terms.iter().map(ToString::to_string).collect();
        f.write_str(&terms.join(" "))
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if !self.names.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.names.join(", "))?;
        }
        let commands: Vec<String> = self.commands.iter().map(ToString::to_string).collect();
        f.write_str(&commands.join(" | "))
    }
}
