//! Text to a tree.

use super::TemplateError;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// As it stands.
    Text(String),
    /// A value to print.
    Print(Pipeline),
    /// `if`, with `else if` nested in the second branch.
    If {
        /// What decides.
        condition: Pipeline,
        /// If it holds.
        then: Vec<Node>,
        /// If not.
        otherwise: Vec<Node>,
    },
}

/// Commands joined by `|`: each gets the value of the one before as its last argument.
pub type Pipeline = Vec<Vec<Term>>;

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// `.A.B`, or `.` with an empty path.
    Field(Vec<String>),
    /// A function's name.
    Name(String),
    /// In quotes.
    Text(String),
    /// Decimal.
    Number(i64),
    /// `true` or `false`.
    Bool(bool),
    /// In parentheses.
    Nested(Pipeline),
}

fn syntax(reason: impl Into<String>) -> TemplateError {
    TemplateError::Syntax(reason.into())
}

/// Reads a template.
pub fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = split(text)?.into_iter();
    let (nodes, end) = block(&mut pieces)?;
    match end {
        None => Ok(nodes),
        Some(word) => Err(syntax(format!("unexpected {{{{{word}}}}}"))),
    }
}

enum Piece {
    Text(String),
    Action(String),
}

/// Text and actions in turn, with `{{-` and `-}}` and comments worked off.
fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut is_trimmed = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let mut plain = if is_trimmed {
            before.trim_start()
        } else {
            before
        };
        let Some(after) = after else {
            pieces.push(Piece::Text(plain.to_owned()));
            return Ok(pieces);
        };
        let mut action_start = after;
        if let Some(stripped) = after.strip_prefix("- ") {
            plain = plain.trim_end();
            action_start = stripped;
        }
        pieces.push(Piece::Text(plain.to_owned()));
        let end = action_end(action_start).ok_or_else(|| syntax("unclosed action"))?;
        let mut action = &action_start[..end];
        rest = &action_start[end + 2..];
        is_trimmed = action.ends_with(" -");
        if is_trimmed {
            action = &action[..action.len() - 2];
        }
        if !action.trim().starts_with("/*") {
            pieces.push(Piece::Action(action.trim().to_owned()));
        }
    }
}

/// Where `}}` is, quotes skipped.
fn action_end(action: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in action.char_indices() {
        match (quote, c) {
            (Some('"'), _) if is_escaped => is_escaped = false,
            (Some('"'), '\\') => is_escaped = true,
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(c),
            (None, '}') if action[at..].starts_with("}}") => return Some(at),
            (None, _) => {}
        }
    }
    None
}

/// Nodes up to the end or to a word that closes a block (`else …`, `end`).
fn block(
    pieces: &mut impl Iterator<Item = Piece>,
) -> Result<(Vec<Node>, Option<String>), TemplateError> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                if !text.is_empty() {
                    nodes.push(Node::Text(text));
                }
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, tail) = action
            .split_once(char::is_whitespace)
            .unwrap_or((&action, ""));
        match word {
            "end" | "else" => return Ok((nodes, Some(action))),
            "if" => nodes.push(branch(tail, pieces)?),
            "range" | "with" | "define" | "template" | "block" | "break" | "continue" => {
                return Err(syntax(format!("{{{{{word}}}}} is not supported")));
            }
            _ => nodes.push(Node::Print(pipeline(&action)?)),
        }
    }
    Ok((nodes, None))
}

fn branch(
    condition: &str,
    pieces: &mut impl Iterator<Item = Piece>,
) -> Result<Node, TemplateError> {
    let condition = pipeline(condition)?;
    let (then, end) = block(pieces)?;
    let otherwise = match end.as_deref() {
        Some("end") => Vec::new(),
        Some("else") => {
            let (otherwise, end) = block(pieces)?;
            if end.as_deref() != Some("end") {
                return Err(syntax("unexpected end of {{else}}"));
            }
            otherwise
        }
        Some(word) => match word.strip_prefix("else if ") {
            Some(tail) => vec![branch(tail, pieces)?],
            None => return Err(syntax(format!("unexpected {{{{{word}}}}}"))),
        },
        None => return Err(syntax("unclosed {{if}}")),
    };
    Ok(Node::If {
        condition,
        then,
        otherwise,
    })
}

fn pipeline(text: &str) -> Result<Pipeline, TemplateError> {
    let mut reader = Reader { rest: text };
    let commands = reader.pipeline()?;
    match reader.skip_space().chars().next() {
        None => Ok(commands),
        Some(c) => Err(syntax(format!("unexpected {c:?} in action"))),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let mut commands = Vec::new();
        loop {
            let mut command = Vec::new();
            while let Some(term) = self.term()? {
                command.push(term);
            }
            if command.is_empty() {
                return Err(syntax("missing value for command"));
            }
            commands.push(command);
            match self.skip_space().strip_prefix('|') {
                Some(rest) => self.rest = rest,
                None => return Ok(commands),
            }
        }
    }

    fn term(&mut self) -> Result<Option<Term>, TemplateError> {
        let rest = self.skip_space();
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        match first {
            '|' | ')' => Ok(None),
            '(' => {
                self.rest = &rest[1..];
                let nested = self.pipeline()?;
                let rest = self.skip_space();
                self.rest = rest
                    .strip_prefix(')')
                    .ok_or_else(|| syntax("unclosed left paren"))?;
                Ok(Some(Term::Nested(nested)))
            }
            '"' => self.quoted().map(Some),
            '`' => {
                let (text, rest) = rest[1..]
                    .split_once('`')
                    .ok_or_else(|| syntax("unterminated raw string"))?;
                self.rest = rest;
                Ok(Some(Term::Text(text.to_owned())))
            }
            _ => {
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
                let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                if end == 0 {
                    return Err(syntax(format!("unexpected {first:?} in action")));
                }
                let (word, rest) = rest.split_at(end);
                self.rest = rest;
                word_term(word).map(Some)
            }
        }
    }

    fn quoted(&mut self) -> Result<Term, TemplateError> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Term::Text(out));
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('"' | '\\' | '\'')) => out.push(c),
                    _ => return Err(syntax("invalid escape in string")),
                },
                c => out.push(c),
            }
        }
        Err(syntax("unterminated quoted string"))
    }
}

fn word_term(word: &str) -> Result<Term, TemplateError> {
    if let Some(path) = word.strip_prefix('.') {
        if path.is_empty() {
            return Ok(Term::Field(Vec::new()));
        }
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(syntax(format!("bad field {word:?}")));
        }
        return Ok(Term::Field(path));
    }
    match word {
        "true" => return Ok(Term::Bool(true)),
        "false" => return Ok(Term::Bool(false)),
        _ => {}
    }
    if let Ok(number) = word.parse() {
        return Ok(Term::Number(number));
    }
    if word.contains(['.', '-', '+']) {
        return Err(syntax(format!("bad word {word:?}")));
    }
    Ok(Term::Name(word.to_owned()))
}
