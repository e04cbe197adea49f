//! Go templates, as far as `--format` needs them.
//!
//! Actions: fields (`.Spec.Name`), `$` and variables, pipes, parentheses, literals; `if/else if/else`,
//! `range`, `with`, `end`, comments, trim marks. Functions: Docker's `json`, `split`, `join`,
//! `title`, `lower`, `upper`, `pad`, `truncate`, `println` and Go's `len`, `index`, `print`,
//! `printf`, `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `and`, `or`, `not`.

mod eval;
mod functions;
mod lex;
mod parse;

use serde_json::Value;

use parse::Node;

/// Why a template does not compile or render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: :1: {0}")]
pub struct TemplateError(pub(super) String);

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template(Vec<Node>);

impl Template {
    /// Compiles.
    pub fn compile(text: &str) -> Result<Self, TemplateError> {
        parse::parse(&lex::lex(text)?).map(Self)
    }

    /// Renders for an object.
    pub fn render(&self, object: &Value) -> Result<String, TemplateError> {
        eval::render(&self.0, object)
    }
}

#[cfg(test)]
mod tests;
