//! Text and actions of a template, and the words within actions, as Go's text/template cuts them.

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
                rest[open + 2..].starts_with("- ") || rest[open + 2..].starts_with("-\n")
            });
            let mut shown = if trim { text.trim_start() } else { text };
            if trims_next {
                shown = shown.trim_end();
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
        let trims = self.rest().starts_with(" -}}");
        if !trims && !self.rest().starts_with("}}") {
            return Err("comment ends before closing delimiter".to_owned());
        }
        self.at += if trims { 4 } else { 2 };
        Ok(trims)
    }

    fn action(&mut self) -> Result<bool, String> {
        loop {
            let start = self.at;
            let trims = self.rest().starts_with(" -}}");
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
                ' ' | '\t' | '\r' | '\n' => self.space(start),
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
                    let end = self.rest().find('`');
                    self.at += end.ok_or("unterminated raw quoted string")? + 1;
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
        let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
        while self.peek().is_some_and(is_space) && !self.rest().starts_with(" -}}") {
            self.at += 1;
        }
        // The mark that trims needs a space before it.
        if self.source[start..].starts_with(" -}}") {
            self.at = start;
            return;
        }
        self.emit(Kind::Space, start);
    }

    fn quoted(&mut self, start: usize) -> Result<(), String> {
        let unended = || "unterminated quoted string".to_owned();
        loop {
            let c = self.peek().ok_or_else(unended)?;
            self.at += c.len_utf8();
            match c {
                '"' => break,
                '\n' => return Err(unended()),
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
        let body = &self.source[start..];
        let digits = body.trim_start_matches(['+', '-']);
        let is_hex = digits.starts_with("0x") || digits.starts_with("0X");
        let mut last = ' ';
        let end = body.find(|c: char| {
            let is_sign = matches!(c, '+' | '-');
            let belongs = if is_sign {
                last == ' ' || (!is_hex && matches!(last, 'e' | 'E'))
            } else {
                c == '.' || is_word(c)
            };
            last = c;
            !belongs
        });
        self.at = start + end.unwrap_or(body.len());
        let text = &self.source[start..self.at];
        let is_number = text == "." || super::parse::number(text).is_some();
        if !is_number {
            return Err(format!("bad number syntax: {text:?}"));
        }
        self.emit(Kind::Number, start);
        Ok(())
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
                matches!(
                    c,
                    ' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | '(' | ')'
                )
            })
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `U+0021 '!'`
fn code_of(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
