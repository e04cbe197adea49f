//! From pieces to a tree.

use super::Mistake;
use super::functions::is_function;
use super::lex::{Piece, Spanned, Word};

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
    /// Ends a range.
    Break,
    /// Goes on with a range's next.
    Continue,
}

/// Commands; each gets the last one's value as its last argument.
pub(super) type Pipe = Vec<Command>;

/// A function with arguments, or one operand.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) terms: Vec<Term>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// An operand.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Name(String),
    /// Fields, and where the first begins.
    Field(Vec<String>, usize),
    Variable(String, Vec<String>, usize),
    Text(String),
    Number(f64),
    Bool(bool),
    Nil,
    /// A pipe in parentheses, with fields of its value and where they begin.
    Nested(Pipe, Vec<String>, usize),
}

/// How deep templates and parentheses may nest.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(pieces: &[Piece]) -> Result<Vec<Node>, Mistake> {
    let mut parser = Parser {
        pieces,
        at: 0,
        depth: 0,
    };
    let (nodes, ending) = parser.nodes()?;
    match ending {
        None => Ok(nodes),
        Some(ending) => Err(Mistake::new(
            format!("unexpected {{{{{}}}}}", ending.word),
            ending.at,
        )),
    }
}

struct Parser<'a> {
    pieces: &'a [Piece],
    at: usize,
    depth: usize,
}

/// `end`, or `else` with what follows it.
struct Ending {
    word: String,
    rest: Vec<Spanned>,
    at: usize,
}

impl Parser<'_> {
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<Ending>), Mistake> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Mistake::new("the template nests too deep", 0));
        }
        let mut nodes = Vec::new();
        let mut ending = None;
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text.clone())),
                Piece::Action(words, at) => match words.split_first() {
                    Some((
                        Spanned {
                            word: Word::Name(name),
                            ..
                        },
                        rest,
                    )) if name == "end" || name == "else" => {
                        ending = Some(Ending {
                            word: name.clone(),
                            rest: rest.to_vec(),
                            at: *at,
                        });
                        break;
                    }
                    _ => nodes.push(self.action(words, *at)?),
                },
            }
        }
        self.depth -= 1;
        Ok((nodes, ending))
    }

    fn action(&mut self, words: &[Spanned], at: usize) -> Result<Node, Mistake> {
        let Some((first, rest)) = words.split_first() else {
            return Err(Mistake::new("missing value for command", at));
        };
        match &first.word {
            Word::Name(name) if matches!(name.as_str(), "if" | "with" | "range") => {
                self.block(name, rest, at)
            }
            Word::Name(name) if name == "break" && rest.is_empty() => Ok(Node::Break),
            Word::Name(name) if name == "continue" && rest.is_empty() => Ok(Node::Continue),
            Word::Variable(name, fields)
                if fields.is_empty()
                    && rest.first().is_some_and(|next| next.word == Word::Assign) =>
            {
                Ok(Node::Set(name.clone(), pipe(&rest[1..], at)?))
            }
            _ => Ok(Node::Print(pipe(words, at)?)),
        }
    }

    fn block(&mut self, kind: &str, words: &[Spanned], at: usize) -> Result<Node, Mistake> {
        let eof = || Mistake::new("unexpected EOF", at);
        let mut names = Vec::new();
        let mut rest = words;
        if kind == "range"
            && let Some(at) = words.iter().position(|next| next.word == Word::Assign)
        {
            names = words[..at]
                .iter()
                .filter_map(|next| match &next.word {
                    Word::Variable(name, _) => Some(name.clone()),
                    _ => None,
                })
                .collect();
            rest = &words[at + 1..];
        }
        let pipe = pipe(rest, at)?;
        let (body, ending) = self.nodes()?;
        let ending = ending.ok_or_else(eof)?;
        let otherwise = match ending.rest.split_first() {
            _ if ending.word == "end" => Vec::new(),
            Some((
                Spanned {
                    word: Word::Name(kind),
                    ..
                },
                rest,
            )) if kind == "if" || kind == "with" => {
                vec![self.block(kind, rest, ending.at)?]
            }
            _ => match self.nodes()? {
                (nodes, Some(last)) if last.word == "end" => nodes,
                _ => return Err(eof()),
            },
        };
        Ok(match kind {
            "if" => Node::If(pipe, body, otherwise),
            "with" => Node::With(pipe, body, otherwise),
            _ => Node::Range(names, pipe, body, otherwise),
        })
    }
}

fn pipe(words: &[Spanned], at: usize) -> Result<Pipe, Mistake> {
    let mut reader = Reader { words, at: 0 };
    let (pipe, closed) = reader.commands(at, 0)?;
    if closed.is_some() {
        return Err(Mistake::new("unexpected right paren", at));
    }
    Ok(pipe)
}

/// The fields behind a closing parenthesis, and where they begin; nothing at the end.
type Closed = Option<(Vec<String>, usize)>;

struct Reader<'a> {
    words: &'a [Spanned],
    at: usize,
}

impl Reader<'_> {
    /// Commands up to the end or a closing parenthesis, of which it tells the fields and place.
    fn commands(&mut self, at: usize, depth: usize) -> Result<(Pipe, Closed), Mistake> {
        if depth > MAX_DEPTH {
            return Err(Mistake::new("the template nests too deep", at));
        }
        let mut pipe: Pipe = vec![empty_command()];
        let mut closed = None;
        while let Some(next) = self.words.get(self.at).cloned() {
            self.at += 1;
            let term = match next.word {
                Word::Pipe => {
                    pipe.push(empty_command());
                    continue;
                }
                Word::Close(fields) => {
                    closed = Some((fields, next.start + 1));
                    break;
                }
                Word::Open => match self.commands(next.start, depth + 1)? {
                    (inner, Some((fields, place))) => Term::Nested(inner, fields, place),
                    _ => return Err(Mistake::new("unclosed left paren", next.start)),
                },
                Word::Name(name) if !is_function(&name) => {
                    return Err(Mistake::new(
                        format!("function {name:?} not defined"),
                        next.start,
                    ));
                }
                Word::Name(name) => Term::Name(name),
                Word::Field(fields) => Term::Field(fields, next.start),
                Word::Variable(name, fields) => {
                    let place = next.start + 1 + name.len();
                    Term::Variable(name, fields, place)
                }
                Word::Text(text) => Term::Text(text),
                Word::Number(number) => Term::Number(number),
                Word::Bool(value) => Term::Bool(value),
                Word::Nil => Term::Nil,
                Word::Assign | Word::Comma => {
                    return Err(Mistake::new("unexpected \":=\" in operand", next.start));
                }
            };
            let end = self
                .words
                .get(self.at - 1)
                .map_or(next.end, |last| last.end);
            if let Some(command) = pipe.last_mut() {
                if command.terms.is_empty() {
                    command.start = next.start;
                }
                command.end = end;
                command.terms.push(term);
            }
        }
        if pipe.iter().any(|command| command.terms.is_empty()) {
            return Err(Mistake::new("missing value for command", at));
        }
        Ok((pipe, closed))
    }
}

fn empty_command() -> Command {
    Command {
        terms: Vec::new(),
        start: 0,
        end: 0,
    }
}
