//! Text and actions of a template, and the words within actions, as Go's text/template cuts them.

use super::quote::{is_print, quoted};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Open,
    Close,
    Space,
    /// `if`, `end`, `define`, ...
    Keyword,
    Name,
    /// `.A`
    Field,
    /// `.` alone
    Dot,
    Variable,
    /// `"a"` or `` `a` ``, with its quotes.
    Quoted,
    Number,
    Letter,
    Bool,
    Nil,
    Pipe,
    LeftParen,
    RightParen,
    Declare,
    Assign,
    /// Any other sign.
    Sign,
    /// What is wrong here.
    Error,
    End,
}

/// A piece of a template, and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) at: usize,
}

const KEYWORDS: [&str; 10] = [
    "block", "break", "continue", "define", "else", "end", "if", "range", "template", "with",
];

/// What Go's templates take for spaces.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts a template; the last token is an end or an error.
pub(super) fn lex(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        source,
        at: 0,
        depth: 0_usize,
        tokens: Vec::new(),
    };
    let last = match lexer.all() {
        Ok(()) => (Kind::End, String::new()),
        Err(why) => (Kind::Error, why),
    };
    lexer.push(last.0, last.1, lexer.at);
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// Parentheses that are open.
    depth: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, kind: Kind, text: impl Into<String>, at: usize) {
        let text = text.into();
        self.tokens.push(Token { kind, text, at });
    }

    /// A token that ends here.
    fn emit(&mut self, kind: Kind, start: usize) {
        let text = self.source[start..self.at].to_owned();
        self.push(kind, text, start);
    }

    fn all(&mut self) -> Result<(), String> {
        let mut trim = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let text = &rest[..open.unwrap_or(rest.len())];
            let trims_next = open.is_some_and(|open| {
                let marked = rest[open + 2..].strip_prefix('-');
                marked.is_some_and(|behind| behind.starts_with(SPACES))
            });
            let mut shown = if trim {
                text.trim_start_matches(SPACES)
            } else {
                text
            };
            if trims_next {
                shown = shown.trim_end_matches(SPACES);
            }
            if !shown.is_empty() {
                let (shown, at) = (shown.to_owned(), self.at);
                self.push(Kind::Text, shown, at);
            }
            let Some(open) = open else {
                self.at = self.source.len();
                return Ok(());
            };
            let start = self.at + open;
            self.at = start + 2 + usize::from(trims_next) * 2;
            if self.rest().starts_with("/*") {
                trim = self.comment()?;
                continue;
            }
            self.push(Kind::Open, "{{", start);
            self.depth = 0;
            trim = self.action()?;
        }
    }

    /// Whether the text behind is trimmed.
    fn comment(&mut self) -> Result<bool, String> {
        let end = self.rest().find("*/").ok_or("unclosed comment")?;
        self.at += end + 2;
        let trims = trims_behind(self.rest());
        if !trims && !self.rest().starts_with("}}") {
            return Err("comment ends before closing delimiter".to_owned());
        }
        self.at += if trims { 4 } else { 2 };
        Ok(trims)
    }

    fn action(&mut self) -> Result<bool, String> {
        loop {
            let start = self.at;
            let trims = trims_behind(self.rest());
            if trims || self.rest().starts_with("}}") {
                if self.depth > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.at += if trims { 4 } else { 2 };
                self.push(Kind::Close, "}}", start);
                return Ok(trims);
            }
            let Some(first) = self.peek() else {
                return Err("unclosed action".to_owned());
            };
            self.at += first.len_utf8();
            match first {
                c if SPACES.contains(&c) => self.space(start),
                '=' => self.emit(Kind::Assign, start),
                ':' => {
                    if self.peek() != Some('=') {
                        return Err("expected :=".to_owned());
                    }
                    self.at += 1;
                    self.emit(Kind::Declare, start);
                }
                '|' => self.emit(Kind::Pipe, start),
                '"' => self.quoted(start)?,
                '`' => {
                    let Some(end) = self.rest().find('`') else {
                        self.at = start;
                        return Err("unterminated raw quoted string".to_owned());
                    };
                    self.at += end + 1;
                    self.emit(Kind::Quoted, start);
                }
                '\'' => self.letter(start)?,
                '$' => self.word(start, Kind::Variable)?,
                '.' if !self.peek().is_none_or(|next| next.is_ascii_digit()) => {
                    if self.ends_here() {
                        self.emit(Kind::Dot, start);
                    } else {
                        self.word(start, Kind::Field)?;
                    }
                }
                '.' | '+' | '-' | '0'..='9' => self.number(start)?,
                '(' => {
                    self.depth += 1;
                    self.emit(Kind::LeftParen, start);
                }
                ')' => {
                    let left = self.depth.checked_sub(1);
                    self.depth = left.ok_or("unexpected right paren")?;
                    self.emit(Kind::RightParen, start);
                }
                c if is_word(c) => self.word(start, Kind::Name)?,
                c if c.is_ascii() && !c.is_ascii_control() => self.emit(Kind::Sign, start),
                c => return Err(format!("unrecognized character in action: {}", code_of(c))),
            }
        }
    }

    fn space(&mut self, start: usize) {
        let is_space = |c: char| SPACES.contains(&c);
        while self.peek().is_some_and(is_space) && !trims_behind(self.rest()) {
            self.at += 1;
        }
        // The mark that trims needs a space before it.
        if trims_behind(&self.source[start..]) {
            self.at = start;
            return;
        }
        self.emit(Kind::Space, start);
    }

    fn quoted(&mut self, start: usize) -> Result<(), String> {
        let unended = || "unterminated quoted string".to_owned();
        loop {
            let c = self.peek().filter(|c| *c != '\n').ok_or_else(unended)?;
            self.at += c.len_utf8();
            match c {
                '"' => break,
                '\\' => {
                    let next = self.peek().filter(|next| *next != '\n');
                    self.at += next.ok_or_else(unended)?.len_utf8();
                }
                _ => {}
            }
        }
        self.emit(Kind::Quoted, start);
        Ok(())
    }

    fn letter(&mut self, start: usize) -> Result<(), String> {
        let unended = || "unterminated character constant".to_owned();
        loop {
            let c = self.peek().filter(|c| *c != '\n').ok_or_else(unended)?;
            self.at += c.len_utf8();
            match c {
                '\'' => break,
                '\\' => self.at += self.peek().ok_or_else(unended)?.len_utf8(),
                _ => {}
            }
        }
        self.emit(Kind::Letter, start);
        Ok(())
    }

    fn number(&mut self, start: usize) -> Result<(), String> {
        self.at = start;
        let mut is_number = self.scan_number();
        // A sign behind it makes it complex, which nothing takes.
        if is_number && matches!(self.peek(), Some('+' | '-')) {
            self.scan_number();
            is_number = false;
        }
        if !is_number {
            let text = &self.source[start..self.at];
            return Err(format!("bad number syntax: {}", quoted(text)));
        }
        self.emit(Kind::Number, start);
        Ok(())
    }

    /// Goes over what can be of a number, and tells whether a number may end there.
    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        let mut exponent = "eE";
        if self.accept("0") {
            if self.accept("xX") {
                (digits, exponent) = ("0123456789abcdefABCDEF_", "pP");
            } else if self.accept("oO") {
                (digits, exponent) = ("01234567_", "");
            } else if self.accept("bB") {
                (digits, exponent) = ("01_", "");
            }
        }
        self.accept_all(digits);
        if self.accept(".") {
            self.accept_all(digits);
        }
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_all("0123456789_");
        }
        self.accept("i");
        match self.peek().filter(|c| is_word(*c)) {
            Some(c) => {
                self.at += c.len_utf8();
                false
            }
            None => true,
        }
    }

    /// Goes over one of these letters, if one is next.
    fn accept(&mut self, letters: &str) -> bool {
        let next = self.peek().filter(|c| letters.contains(*c));
        self.at += next.map_or(0, char::len_utf8);
        next.is_some()
    }

    fn accept_all(&mut self, letters: &str) {
        while self.accept(letters) {}
    }

    /// A name, with what comes before it.
    fn word(&mut self, start: usize, kind: Kind) -> Result<(), String> {
        let rest = self.rest();
        self.at += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if !self.ends_here() {
            let next = self.peek().unwrap_or_default();
            return Err(format!("bad character {}", code_of(next)));
        }
        let kind = match &self.source[start..self.at] {
            "true" | "false" if kind == Kind::Name => Kind::Bool,
            "nil" if kind == Kind::Name => Kind::Nil,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => kind,
        };
        self.emit(kind, start);
        Ok(())
    }

    /// Whether what comes next can follow a word.
    fn ends_here(&self) -> bool {
        self.rest().starts_with("}}")
            || self.peek().is_none_or(|c| {
                SPACES.contains(&c) || matches!(c, '.' | ',' | '|' | ':' | '(' | ')')
            })
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Whether text begins with the mark that trims what comes behind an action.
fn trims_behind(text: &str) -> bool {
    text.strip_prefix(SPACES)
        .is_some_and(|rest| rest.starts_with("-}}"))
}

/// `U+0021 '!'`
fn code_of(c: char) -> String {
    match is_print(c) {
        true => format!("U+{:04X} '{c}'", u32::from(c)),
        false => format!("U+{:04X}", u32::from(c)),
    }
}
