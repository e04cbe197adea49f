//! Go templates, as far as `--format` needs them: their language, Go's functions and Docker's `json`,
//! `split`, `join`, `title`, `lower`, `upper`, `pad` and `truncate`.
//!
//! Values are JSON; what Go knows of their types is in `types.rs`. Where it is not known, the names of
//! fields tell what an absent one is (`values.rs`). Therefore texts are UTF-8 (a part of a letter, such
//! as `"\xff"` is, becomes a replacement character), and there are no complex numbers, no floats
//! in hexadecimal, and no `%#v` of anything but texts. Templates nest 64 deep, and ask for each
//! other 256 deep.

mod compare;
mod eval;
mod functions;
mod held;
mod lex;
mod literal;
mod parse;
mod printf;
mod tree;
mod types;
mod values;

use serde_json::Value;

use held::{Held, Shape};
pub(crate) use printf::shortest;
use tree::Tree;
pub(super) use values::LABELS;

/// Why a template does not compile or render, in the words of Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}{text}", name = "")]
pub struct TemplateError {
    line: usize,
    text: String,
    /// What was rendered before.
    pub partial: String,
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
    /// The template it is in, if that has a name of its own.
    name: Option<String>,
}

impl Mistake {
    fn new(text: impl Into<String>, at: usize) -> Self {
        Self {
            text: text.into(),
            at,
            name: None,
        }
    }

    /// In a template of this name, or in one that was asked for there.
    fn within(mut self, name: &str) -> Self {
        self.name.get_or_insert_with(|| name.to_owned());
        self
    }
}

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    tree: Tree,
}

impl Template {
    /// Compiles.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        match parse::parse(source) {
            Ok(tree) => Ok(Self {
                source: source.to_owned(),
                tree,
            }),
            Err(mistake) => Err(TemplateError {
                line: place(source, mistake.at).0,
                text: format!(": {}", mistake.text),
                partial: String::new(),
            }),
        }
    }

    /// Renders for an object of the API, of Go's type `of`, where its fields are known.
    pub fn render(&self, object: &Value, of: &str) -> Result<String, TemplateError> {
        let shape = match types::known(of) {
            Some(of) => Shape::Go(of),
            None => Shape::Guess(String::new()),
        };
        self.render_shaped(object, shape, false)
    }

    /// Renders for an object as it came, of which no type is known.
    pub fn render_raw(&self, object: &Value) -> Result<String, TemplateError> {
        self.render_shaped(object, Shape::Raw, false)
    }

    /// Renders for an object of which every field is there; `kind` is the name of its type.
    pub fn render_as(&self, object: &Value, kind: &str) -> Result<String, TemplateError> {
        self.render_shaped(object, Shape::Row(kind.to_owned()), false)
    }

    /// Renders the heads of a table: functions leave them as they are.
    pub fn render_heads(&self, heads: &Value) -> Result<String, TemplateError> {
        self.render_shaped(heads, Shape::Go("map[string]string"), true)
    }

    fn render_shaped(
        &self,
        object: &Value,
        shape: Shape,
        heads: bool,
    ) -> Result<String, TemplateError> {
        let held = Held {
            value: object.clone(),
            shape,
        };
        let (text, mistake) = eval::render(&self.tree, &held, heads);
        match mistake {
            None => Ok(text),
            Some(mistake) => Err(TemplateError {
                partial: text,
                ..self.error(&mistake)
            }),
        }
    }

    fn error(&self, mistake: &Mistake) -> TemplateError {
        let (line, column) = place(&self.source, mistake.at);
        TemplateError {
            line,
            text: format!(
                ":{column}: executing {:?} {}",
                mistake.name.as_deref().unwrap_or_default(),
                mistake.text
            ),
            partial: String::new(),
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
