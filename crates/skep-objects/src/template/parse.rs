//! From tokens to a tree.

use std::collections::BTreeMap;

use super::Library;
use super::Mistake;
use super::lex::{Kind, Token, lex};
use super::literal::{letter, number, unquoted};
use super::tree::{Command, Node, Pipe, Term, Tree};

/// How deep templates and parentheses may nest.
const MAX_DEPTH: usize = 64;

type Parsed<T> = Result<T, Mistake>;

pub(super) fn parse(source: &str, library: Library<'_>) -> Parsed<Tree> {
    let mut parser = Parser {
        library,
        tokens: lex(source),
        at: 0,
        depth: 0,
        ranges: 0,
        variables: vec!["$".to_owned()],
        named: BTreeMap::new(),
    };
    let mut nodes = Vec::new();
    while parser.peek().kind != Kind::End {
        if parser.begins_definition() {
            parser.definition()?;
            continue;
        }
        match parser.part()? {
            Part::Node(node) => nodes.push(node),
            Part::Else => return Err(parser.wrong("unexpected {{else}}")),
            Part::End => return Err(parser.wrong("unexpected {{end}}")),
        }
    }
    Ok(Tree {
        nodes,
        named: parser.named,
    })
}

struct Parser<'a> {
    library: Library<'a>,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// How many ranges are open.
    ranges: usize,
    /// Variables that are known here.
    variables: Vec<String>,
    named: BTreeMap<String, Vec<Node>>,
}

enum Part {
    Node(Node),
    Else,
    End,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_spaces(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn next_word(&mut self) -> Token {
        self.skip_spaces();
        self.next()
    }

    fn wrong(&self, text: impl Into<String>) -> Mistake {
        Mistake::new(text, self.peek().at)
    }

    fn unexpected(&self, token: &Token, context: &str) -> Mistake {
        let shown = match token.kind {
            Kind::Error => return Mistake::new(token.text.as_str(), token.at),
            Kind::End => "EOF".to_owned(),
            Kind::Keyword | Kind::Dot | Kind::Nil => format!("<{}>", token.text),
            _ if token.text.len() > 10 => {
                let cut: String = token.text.chars().take(10).collect();
                format!("{cut:?}...")
            }
            _ => format!("{:?}", token.text),
        };
        Mistake::new(format!("unexpected {shown} in {context}"), token.at)
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_word();
        match token.kind == kind {
            true => Ok(token),
            false => Err(self.unexpected(&token, context)),
        }
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(self.wrong("the template nests too deep")),
            false => Ok(()),
        }
    }

    fn part(&mut self) -> Parsed<Part> {
        let token = self.next();
        match token.kind {
            Kind::Text => Ok(Part::Node(Node::Text(token.text))),
            Kind::Open => self.action(),
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    /// Parts up to an `end`, or an `else`, of which it tells.
    fn parts(&mut self) -> Parsed<(Vec<Node>, bool)> {
        self.deeper()?;
        let mut nodes = Vec::new();
        loop {
            if self.peek().kind == Kind::End {
                return Err(self.wrong("unexpected EOF"));
            }
            match self.part()? {
                Part::Node(node) => nodes.push(node),
                ending => {
                    self.depth -= 1;
                    return Ok((nodes, matches!(ending, Part::Else)));
                }
            }
        }
    }

    fn action(&mut self) -> Parsed<Part> {
        self.skip_spaces();
        if self.peek().kind != Kind::Keyword {
            let pipe = self.pipe("command", Kind::Close)?;
            return Ok(Part::Node(Node::Print(pipe)));
        }
        let keyword = self.next();
        let context = keyword.text.as_str();
        Ok(Part::Node(match context {
            "end" => {
                self.expect(Kind::Close, "end")?;
                return Ok(Part::End);
            }
            "else" => {
                self.skip_spaces();
                if !matches!(self.peek().text.as_str(), "if" | "with") {
                    self.expect(Kind::Close, "else")?;
                }
                return Ok(Part::Else);
            }
            "break" | "continue" => {
                let token = self.next_word();
                if token.kind != Kind::Close {
                    return Err(self.unexpected(&token, &format!("{{{{{context}}}}}")));
                }
                if self.ranges == 0 {
                    let text = format!("{{{{{context}}}}} outside {{{{range}}}}");
                    return Err(Mistake::new(text, token.at));
                }
                match context {
                    "break" => Node::Break,
                    _ => Node::Continue,
                }
            }
            "template" => self.template(keyword.at)?,
            // Templates are defined outside of everything.
            "define" => return Err(self.unexpected(&keyword, "command")),
            "block" => {
                let name = self.name("block clause")?;
                let pipe = self.pipe("block clause", Kind::Close)?;
                self.body_of(&name, "block clause")?;
                Node::Template(name, Some(pipe), keyword.at)
            }
            _ => self.control(context)?,
        }))
    }

    /// Whether a `define` comes next; then it is behind us.
    fn begins_definition(&mut self) -> bool {
        let begin = self.at;
        if self.peek().kind == Kind::Open {
            self.next();
            let token = self.next_word();
            if token.kind == Kind::Keyword && token.text == "define" {
                return true;
            }
        }
        self.at = begin;
        false
    }

    fn definition(&mut self) -> Parsed<()> {
        let name = self.name("define clause")?;
        self.expect(Kind::Close, "define clause")?;
        self.body_of(&name, "define clause")
    }

    /// The parts of a template with a name, which knows neither variables nor ranges around it.
    fn body_of(&mut self, name: &str, context: &str) -> Parsed<()> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, is_else) = self.parts()?;
        if is_else {
            return Err(self.wrong(format!("unexpected {{{{else}}}} in {context}")));
        }
        (self.variables, self.ranges) = (variables, ranges);
        match self.named.get(name).filter(|known| !is_empty(known)) {
            None => {
                self.named.insert(name.to_owned(), nodes);
            }
            Some(_) if is_empty(&nodes) => {}
            Some(_) => {
                let text = format!("template: multiple definition of template {name:?}");
                return Err(self.wrong(text));
            }
        }
        Ok(())
    }

    fn name(&mut self, context: &str) -> Parsed<String> {
        let token = self.expect(Kind::Quoted, context)?;
        unquoted(&token)
    }

    fn template(&mut self, at: usize) -> Parsed<Node> {
        let name = self.name("template clause")?;
        self.skip_spaces();
        let pipe = if self.peek().kind == Kind::Close {
            self.next();
            None
        } else {
            Some(self.pipe("template clause", Kind::Close)?)
        };
        Ok(Node::Template(name, pipe, at))
    }

    /// `if`, `with` and `range`, behind their names.
    fn control(&mut self, context: &str) -> Parsed<Node> {
        let known = self.variables.len();
        let pipe = self.pipe(context, Kind::Close)?;
        let is_range = context == "range";
        self.ranges += usize::from(is_range);
        let (body, is_else) = self.parts()?;
        self.ranges -= usize::from(is_range);
        let mut otherwise = Vec::new();
        if is_else {
            if !is_range && self.peek().kind == Kind::Keyword && self.peek().text == context {
                self.next();
                self.deeper()?;
                otherwise.push(self.control(context)?);
                self.depth -= 1;
            } else {
                let (nodes, again) = self.parts()?;
                if again {
                    return Err(self.wrong("expected end; found {{else}}"));
                }
                otherwise = nodes;
            }
        }
        self.variables.truncate(known);
        Ok(match context {
            "if" => Node::If(pipe, body, otherwise),
            "with" => Node::With(pipe, body, otherwise),
            _ => Node::Range(pipe, body, otherwise),
        })
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        self.deeper()?;
        self.skip_spaces();
        let mut pipe = Pipe {
            at: self.peek().at,
            ..Pipe::default()
        };
        self.declarations(&mut pipe, context)?;
        loop {
            self.skip_spaces();
            let kind = self.peek().kind;
            if kind == end {
                self.next();
                break;
            }
            if !begins_term(kind) {
                let token = self.next();
                return Err(self.unexpected(&token, context));
            }
            pipe.commands.push(self.command()?);
        }
        if pipe.commands.is_empty() {
            return Err(self.wrong(format!("missing value for {context}")));
        }
        let is_literal = |command: &Command| {
            matches!(
                command.terms[0],
                Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(..) | Term::Text(..)
            )
        };
        if let Some(at) = pipe.commands[1..].iter().position(is_literal) {
            let stage = at + 2;
            return Err(self.wrong(format!("non executable command in pipeline stage {stage}")));
        }
        self.depth -= 1;
        Ok(pipe)
    }

    /// `$a :=`, `$a =` and `$a, $b :=` before a pipe.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        while self.peek().kind == Kind::Variable {
            let begin = self.at;
            let name = self.next().text;
            self.skip_spaces();
            let next = self.peek().clone();
            let is_comma = next.kind == Kind::Sign && next.text == ",";
            if !is_comma && !matches!(next.kind, Kind::Assign | Kind::Declare) {
                self.at = begin;
                return Ok(());
            }
            self.next();
            pipe.assigns = next.kind == Kind::Assign;
            pipe.names.push(name.clone());
            self.variables.push(name);
            if !is_comma {
                return Ok(());
            }
            self.skip_spaces();
            if context != "range" || pipe.names.len() > 1 {
                return Err(self.wrong(format!("too many declarations in {context}")));
            }
            if self.peek().kind != Kind::Variable {
                return Err(self.wrong("range can only initialize variables"));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut terms = Vec::new();
        let mut at = None;
        loop {
            self.skip_spaces();
            let begin = self.peek().at;
            if let Some(term) = self.operand()? {
                at.get_or_insert(begin);
                terms.push(term);
            }
            let token = self.peek().clone();
            match token.kind {
                Kind::Space => {}
                Kind::Close | Kind::RightParen => break,
                Kind::Pipe => {
                    self.next();
                    break;
                }
                _ => {
                    self.next();
                    return Err(self.unexpected(&token, "operand"));
                }
            }
        }
        let at = at.ok_or_else(|| self.wrong("empty command"))?;
        Ok(Command { terms, at })
    }

    /// A term with the fields behind it.
    fn operand(&mut self) -> Parsed<Option<Term>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let at = self.peek().at;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.next().text[1..].to_owned());
        }
        if fields.is_empty() {
            return Ok(Some(term));
        }
        Ok(Some(match term {
            Term::Field(mut first, _) => {
                first.append(&mut fields);
                Term::Field(first, at)
            }
            Term::Variable(name, ..) => Term::Variable(name, fields, at),
            Term::Bool(_) | Term::Text(..) | Term::Number(..) | Term::Nil | Term::Dot => {
                return Err(self.wrong(format!("unexpected . after term {:?}", term.to_string())));
            }
            other => Term::Chain(Box::new(other), fields, at),
        }))
    }

    fn term(&mut self) -> Parsed<Option<Term>> {
        self.skip_spaces();
        if !begins_term(self.peek().kind) {
            return Ok(None);
        }
        let token = self.next();
        Ok(Some(match token.kind {
            Kind::Name if self.library.find(&token.text).is_none() => {
                let text = format!("function {:?} not defined", token.text);
                return Err(Mistake::new(text, token.at));
            }
            Kind::Name => Term::Name(token.text, token.at),
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable if !self.variables.contains(&token.text) => {
                let text = format!("undefined variable {:?}", token.text);
                return Err(Mistake::new(text, token.at));
            }
            Kind::Variable => Term::Variable(token.text, Vec::new(), token.at),
            Kind::Field => Term::Field(vec![token.text[1..].to_owned()], token.at),
            Kind::Bool => Term::Bool(token.text == "true"),
            Kind::LeftParen => Term::Nested(self.pipe("parenthesized pipeline", Kind::RightParen)?),
            Kind::Quoted => Term::Text(unquoted(&token)?, token.text, token.at),
            Kind::Letter => Term::Number(letter(&token)?.into(), token.text, token.at),
            _ => {
                let number = number(&token.text).map_err(|why| Mistake::new(why, token.at))?;
                Term::Number(number, token.text, token.at)
            }
        }))
    }
}

fn begins_term(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Bool
            | Kind::Letter
            | Kind::Dot
            | Kind::Field
            | Kind::Name
            | Kind::Number
            | Kind::Nil
            | Kind::Quoted
            | Kind::Variable
            | Kind::LeftParen
    )
}

/// Whether nodes are nothing but spaces: such a template gives way to one of its name.
fn is_empty(nodes: &[Node]) -> bool {
    let is_space = |node: &Node| matches!(node, Node::Text(text) if text.trim().is_empty());
    nodes.iter().all(is_space)
}
