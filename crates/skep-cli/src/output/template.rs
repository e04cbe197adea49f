//! Go templates, as far as `--format` needs them.
//!
//! Actions: fields (`.Spec.Name`), `$` and variables, pipes, parentheses, literals; `if/else if/else`,
//! `range` with `break` and `continue`, `with`, `end`, comments, trim marks. Functions: Docker's
//! `json`, `split`, `join`, `title`, `lower`, `upper`, `pad`, `truncate`, `println` and Go's `len`,
//! `index`, `slice`, `print`, `printf`, `html`, `urlquery`, `eq`, `ne`, `lt`, `le`, `gt`, `ge`,
//! `and`, `or`, `not`.

mod eval;
mod functions;
mod lex;
mod parse;
mod values;

use serde_json::Value;

use parse::Node;
pub(super) use values::LABELS;

/// Why a template does not compile or render, in the words of Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}{text}", name = "")]
pub struct TemplateError {
    line: usize,
    text: String,
}

impl TemplateError {
    /// The same for a template with a name.
    pub fn named(&self, name: &str) -> String {
        let text = self
            .text
            .replacen("executing \"\"", &format!("executing \"{name}\""), 1);
        format!("template: {name}:{}{text}", self.line)
    }
}

/// What went wrong, and how far into the template.
#[derive(Debug)]
pub(super) struct Mistake {
    text: String,
    at: usize,
}

impl Mistake {
    fn new(text: impl Into<String>, at: usize) -> Self {
        Self {
            text: text.into(),
            at,
        }
    }
}

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    nodes: Vec<Node>,
}

impl Template {
    /// Compiles.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        let nodes = lex::lex(source).and_then(|pieces| parse::parse(&pieces));
        match nodes {
            Ok(nodes) => Ok(Self {
                source: source.to_owned(),
                nodes,
            }),
            Err(mistake) => Err(TemplateError {
                line: place(source, mistake.at).0,
                text: format!(": {}", mistake.text),
            }),
        }
    }

    /// Renders for an object of the API.
    pub fn render(&self, object: &Value) -> Result<String, TemplateError> {
        self.render_as(object, None)
    }

    /// Renders for an object of which every field is there; `kind` is the name of its type.
    pub fn render_as(&self, object: &Value, kind: Option<&str>) -> Result<String, TemplateError> {
        let rendered = eval::render(&self.nodes, &self.source, object, kind, false);
        rendered.map_err(|mistake| self.error(&mistake))
    }

    /// Renders the heads of a table: functions leave them as they are.
    pub fn render_heads(&self, heads: &Value) -> Result<String, TemplateError> {
        let rendered = eval::render(&self.nodes, &self.source, heads, None, true);
        rendered.map_err(|mistake| self.error(&mistake))
    }

    fn error(&self, mistake: &Mistake) -> TemplateError {
        let (line, column) = place(&self.source, mistake.at);
        TemplateError {
            line,
            text: format!(":{column}: executing \"\" {}", mistake.text),
        }
    }
}

/// Line from 1 and column from 0.
fn place(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    (
        line,
        before.len() - before.rfind('\n').map_or(0, |end| end + 1),
    )
}

#[cfg(test)]
mod tests;
