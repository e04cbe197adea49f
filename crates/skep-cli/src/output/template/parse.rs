//! From pieces to a tree.

use super::TemplateError;
use super::lex::{Piece, Word};

/// A node of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// Prints what the pipe gives.
    Print(Pipe),
    Set(String, Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    /// Names of key and value, where given.
    Range(Vec<String>, Pipe, Vec<Node>, Vec<Node>),
}

/// Commands; each gets the last one's value as its last argument.
pub(super) type Pipe = Vec<Vec<Term>>;

/// An operand.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Name(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Text(String),
    Number(f64),
    Bool(bool),
    Nested(Pipe, Vec<String>),
}

/// How deep templates and parentheses may nest.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(pieces: &[Piece]) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        pieces,
        at: 0,
        depth: 0,
    };
    let (nodes, ending) = parser.nodes()?;
    match ending {
        None => Ok(nodes),
        Some((word, _)) => Err(TemplateError(format!("unexpected {{{{{word}}}}}"))),
    }
}

struct Parser<'a> {
    pieces: &'a [Piece],
    at: usize,
    depth: usize,
}

/// `end`, or `else` with what follows it.
type Ending = Option<(String, Vec<Word>)>;

impl Parser<'_> {
    fn nodes(&mut self) -> Result<(Vec<Node>, Ending), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TemplateError("the template nests too deep".to_owned()));
        }
        let mut nodes = Vec::new();
        let mut ending = None;
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text.clone())),
                Piece::Action(words) => match words.split_first() {
                    Some((Word::Name(name), rest)) if name == "end" || name == "else" => {
                        ending = Some((name.clone(), rest.to_vec()));
                        break;
                    }
                    Some((Word::Name(name), rest))
                        if matches!(name.as_str(), "if" | "with" | "range") =>
                    {
                        nodes.push(self.block(name, rest)?);
                    }
                    Some((Word::Variable(name, fields), rest))
                        if fields.is_empty() && rest.first() == Some(&Word::Assign) =>
                    {
                        nodes.push(Node::Set(name.clone(), pipe(&rest[1..])?));
                    }
                    Some(_) => nodes.push(Node::Print(pipe(words)?)),
                    None => return Err(TemplateError("missing value for command".to_owned())),
                },
            }
        }
        self.depth -= 1;
        Ok((nodes, ending))
    }

    fn block(&mut self, kind: &str, words: &[Word]) -> Result<Node, TemplateError> {
        let mut names = Vec::new();
        let mut rest = words;
        if kind == "range"
            && let Some(at) = words.iter().position(|word| *word == Word::Assign)
        {
            names = words[..at]
                .iter()
                .filter_map(|word| match word {
                    Word::Variable(name, _) => Some(name.clone()),
                    _ => None,
                })
                .collect();
            rest = &words[at + 1..];
        }
        let pipe = pipe(rest)?;
        let (body, ending) = self.nodes()?;
        let otherwise = match ending {
            Some((word, rest)) if word == "else" => match rest.split_first() {
                Some((Word::Name(kind), rest)) if kind == "if" || kind == "with" => {
                    vec![self.block(kind, rest)?]
                }
                _ => match self.nodes()? {
                    (nodes, Some((word, _))) if word == "end" => nodes,
                    _ => return Err(TemplateError("unexpected EOF".to_owned())),
                },
            },
            Some(_) => Vec::new(),
            None => return Err(TemplateError("unexpected EOF".to_owned())),
        };
        Ok(match kind {
            "if" => Node::If(pipe, body, otherwise),
            "with" => Node::With(pipe, body, otherwise),
            _ => Node::Range(names, pipe, body, otherwise),
        })
    }
}

fn pipe(words: &[Word]) -> Result<Pipe, TemplateError> {
    let mut words = words.iter();
    let (pipe, closed) = commands(&mut words, 0)?;
    if closed.is_some() {
        return Err(TemplateError("unexpected right paren".to_owned()));
    }
    Ok(pipe)
}

fn commands<'a>(
    words: &mut impl Iterator<Item = &'a Word>,
    depth: usize,
) -> Result<(Pipe, Option<Vec<String>>), TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError("the template nests too deep".to_owned()));
    }
    let mut pipe = vec![Vec::new()];
    let mut closed = None;
    while let Some(word) = words.next() {
        let term = match word {
            Word::Pipe => {
                pipe.push(Vec::new());
                continue;
            }
            Word::Open => {
                let mut inner = Vec::new();
                // The iterator is boxed so that recursion has one type.
                let mut rest: Box<dyn Iterator<Item = &'a Word>> = Box::new(words.by_ref());
                let (nested, fields) = nested(&mut rest, depth + 1)?;
                inner.extend(nested);
                match fields {
                    Some(fields) => Term::Nested(inner, fields),
                    None => return Err(TemplateError("unclosed left paren".to_owned())),
                }
            }
            Word::Close(fields) => {
                closed = Some(fields.clone());
                break;
            }
            Word::Name(name) => Term::Name(name.clone()),
            Word::Field(fields) => Term::Field(fields.clone()),
            Word::Variable(name, fields) => Term::Variable(name.clone(), fields.clone()),
            Word::Text(text) => Term::Text(text.clone()),
            Word::Number(number) => Term::Number(*number),
            Word::Bool(value) => Term::Bool(*value),
            Word::Assign | Word::Comma => {
                return Err(TemplateError("unexpected \":=\" in operand".to_owned()));
            }
        };
        if let Some(command) = pipe.last_mut() {
            command.push(term);
        }
    }
    if pipe.iter().any(Vec::is_empty) {
        return Err(TemplateError("missing value for command".to_owned()));
    }
    Ok((pipe, closed))
}

fn nested<'a>(
    words: &mut Box<dyn Iterator<Item = &'a Word> + '_>,
    depth: usize,
) -> Result<(Pipe, Option<Vec<String>>), TemplateError> {
    commands(words, depth)
}
