//! Text and actions of a template, and the words within actions.

use super::Mistake;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Printed as it is.
    Text(String),
    /// Between `{{` and `}}`; and where it begins.
    Action(Vec<Spanned>, usize),
}

/// A word, and where it begins and ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spanned {
    pub(super) word: Word,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// `if`, `json`, `end`, ...
    Name(String),
    /// `.A.B`; empty for `.` alone.
    Field(Vec<String>),
    /// `$x.A`.
    Variable(String, Vec<String>),
    /// A literal.
    Text(String),
    /// A literal.
    Number(f64),
    /// A literal.
    Bool(bool),
    /// The literal `nil`.
    Nil,
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`, and fields of what it closes.
    Close(Vec<String>),
    /// `:=` or `=`
    Assign,
    /// `,`
    Comma,
}

/// Cuts a template into pieces.
pub(super) fn lex(source: &str) -> Result<Vec<Piece>, Mistake> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while let Some(open) = source[at..].find("{{").map(|found| at + found) {
        let mut before = &source[at..open];
        if trim {
            before = before.trim_start();
        }
        let mut start = open + 2;
        if source[start..].starts_with("- ") {
            before = before.trim_end();
            start += 1;
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let end = action_end(&source[start..])
            .map(|found| start + found)
            .ok_or_else(|| Mistake::new("unclosed action", open))?;
        let mut action = &source[start..end];
        at = end + 2;
        trim = action.ends_with(" -");
        if trim {
            action = &action[..action.len() - 1];
        }
        if !action.trim().starts_with("/*") {
            pieces.push(Piece::Action(words(action, start)?, start));
        }
    }
    let tail = if trim {
        source[at..].trim_start()
    } else {
        &source[at..]
    };
    if !tail.is_empty() {
        pieces.push(Piece::Text(tail.to_owned()));
    }
    Ok(pieces)
}

/// Where `}}` is, outside of quotes.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn words(action: &str, offset: usize) -> Result<Vec<Spanned>, Mistake> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(c) = action[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (word, used) =
            word(&action[at..], c).map_err(|text| Mistake::new(text, offset + at))?;
        words.push(Spanned {
            word,
            start: offset + at,
            end: offset + at + used,
        });
        at += used;
    }
    Ok(words)
}

/// The word at the beginning of a text, and its length.
fn word(rest: &str, first: char) -> Result<(Word, usize), String> {
    Ok(match first {
        '|' => (Word::Pipe, 1),
        '(' => (Word::Open, 1),
        ',' => (Word::Comma, 1),
        ')' => {
            let (fields, used) = fields(&rest[1..]);
            (Word::Close(fields), used + 1)
        }
        ':' | '=' => (Word::Assign, if rest.starts_with(":=") { 2 } else { 1 }),
        '"' | '`' => quoted(rest)?,
        '.' => {
            let (fields, used) = fields(rest);
            (Word::Field(fields), used.max(1))
        }
        '$' => {
            let end = ident_end(&rest[1..]);
            let (fields, used) = fields(&rest[1 + end..]);
            (
                Word::Variable(rest[1..=end].to_owned(), fields),
                1 + end + used,
            )
        }
        '-' | '+' | '0'..='9' => {
            let end = rest[1..]
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .map_or(rest.len(), |at| at + 1);
            let number = rest[..end]
                .parse()
                .map_err(|_| format!("bad number syntax: {:?}", &rest[..end]))?;
            (Word::Number(number), end)
        }
        c if c.is_alphabetic() || c == '_' => {
            let end = ident_end(rest);
            let word = match &rest[..end] {
                "true" => Word::Bool(true),
                "false" => Word::Bool(false),
                "nil" => Word::Nil,
                name => Word::Name(name.to_owned()),
            };
            (word, end)
        }
        c => return Err(format!("unexpected {:?} in operand", c.to_string())),
    })
}

/// `.A.B` and how long it is.
fn fields(text: &str) -> (Vec<String>, usize) {
    let mut fields = Vec::new();
    let mut used = 0;
    while text[used..].starts_with('.') {
        let end = ident_end(&text[used + 1..]);
        if end == 0 {
            break;
        }
        fields.push(text[used + 1..used + 1 + end].to_owned());
        used += 1 + end;
    }
    (fields, used)
}

fn ident_end(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

fn quoted(text: &str) -> Result<(Word, usize), String> {
    let open = text.chars().next().unwrap_or('"');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == open {
            return Ok((Word::Text(value), at + 1));
        }
        if c == '\\' && open == '"' {
            match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(c) => value.push(c),
                None => break,
            }
        } else {
            value.push(c);
        }
    }
    Err("unterminated quoted string".to_owned())
}
