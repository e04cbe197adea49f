//! Go templates: for `--format`, and for the placeholders of services and configs.
//!
//! All of the language and Go's own functions; what else there is to call says [`Library`]. Values are
//! JSON; what Go knows of their types is in `types.rs`. Where it is not known, the names of fields tell
//! what an absent one is (`values.rs`). Therefore texts are UTF-8 (a part of a letter, such as `"\xff"`
//! is, becomes a replacement character), and there are no complex numbers, no floats in hexadecimal,
//! and no `%+v` and `%#v` of structures. Templates nest 64 deep, and ask for each other 256 deep.

mod compare;
mod eval;
mod functions;
mod held;
mod json;
mod lex;
mod literal;
mod parse;
mod printf;
mod quote;
pub mod task;
mod tree;
mod types;
mod values;

use serde_json::Value;

use held::{Held, Shape};
use task::Payload;
use tree::Tree;

pub use json::{escaped, escaped_json, indented_json};
pub use printf::shortest;
pub use quote::quoted;
pub use values::LABELS;

/// Why a template does not compile or render, in the words of Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}{text}")]
pub struct TemplateError {
    name: String,
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

/// What templates can call beside Go's own functions.
#[derive(Debug, Clone, Copy)]
pub enum Library<'a> {
    /// What Docker's command line has: `json`, `split`, `join`, `title`, `lower`, `upper`, `pad`,
    /// `truncate`.
    Formats,
    /// What a service's spec has: another `join`. What is not in a map is a mistake.
    Specs,
    /// The same for what secrets and configs hold, and `env`, `secret`, `config`.
    Payloads(&'a Payload),
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
    name: &'static str,
    source: String,
    tree: Tree,
}

impl Template {
    /// Compiles a template of `--format`.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        Self::named("", source, Library::Formats)
    }

    /// Compiles a template with a name, which mistakes tell, and with what it can call.
    fn named(
        name: &'static str,
        source: &str,
        library: Library<'_>,
    ) -> Result<Self, TemplateError> {
        match parse::parse(source, library) {
            Ok(tree) => Ok(Self {
                name,
                source: source.to_owned(),
                tree,
            }),
            Err(mistake) => Err(TemplateError {
                name: name.to_owned(),
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
        self.render_shaped(object, shape, false, Library::Formats)
    }

    /// Renders for an object as it came, of which no type is known.
    pub fn render_raw(&self, object: &Value) -> Result<String, TemplateError> {
        self.render_shaped(object, Shape::Raw, false, Library::Formats)
    }

    /// Renders for an object of which every field is there; `kind` is the name of its type.
    pub fn render_as(&self, object: &Value, kind: &str) -> Result<String, TemplateError> {
        self.render_shaped(object, Shape::Row(kind.to_owned()), false, Library::Formats)
    }

    /// Renders the heads of a table: functions leave them as they are.
    pub fn render_heads(&self, heads: &Value) -> Result<String, TemplateError> {
        self.render_shaped(
            heads,
            Shape::Go("map[string]string"),
            true,
            Library::Formats,
        )
    }

    fn render_shaped(
        &self,
        object: &Value,
        shape: Shape,
        heads: bool,
        library: Library<'_>,
    ) -> Result<String, TemplateError> {
        let held = Held {
            value: object.clone(),
            shape,
        };
        let (text, mistake) = eval::render(&self.tree, &held, heads, library);
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
            name: self.name.to_owned(),
            line,
            text: format!(
                ":{column}: executing {:?} {}",
                mistake.name.as_deref().unwrap_or(self.name),
                mistake.text
            ),
            partial: String::new(),
        }
    }
}

/// Expands a text of a service, a secret or a config for an object of a type whose fields are known.
fn expand(
    text: &str,
    object: impl FnOnce() -> Value,
    of: &'static str,
    library: Library<'_>,
) -> Result<String, TemplateError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let template = Template::named("expansion", text, library)?;
    template.render_shaped(&object(), Shape::Go(of), false, library)
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
