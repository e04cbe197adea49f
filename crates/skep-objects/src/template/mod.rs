//! Placeholders in service specs and in configs: the part of Go's text/template that they use.
//!
//! `{{.Service.Name}}`, `{{index .Service.Labels "k"}}`, `{{env "X"}}`, `{{if eq .Task.Slot "1"}}…
//! {{else}}…{{end}}`, pipes, `{{-` and `-}}`, comments. What is not known is refused, not skipped.

mod parse;
mod render;
pub mod task;

use std::collections::BTreeMap;

pub use parse::parse;

/// Why a template cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not a template.
    #[error("template: {0}")]
    Syntax(String),
    /// It asks for something that there is not.
    #[error("template: can't evaluate field {0}")]
    Field(String),
    /// A function that is not known here.
    #[error("template: function {0:?} not defined")]
    Function(String),
    /// A function was called with the wrong things.
    #[error("template: error calling {function}: {reason}")]
    Call {
        /// Which.
        function: String,
        /// What is wrong.
        reason: String,
    },
}

/// What a field or function yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// A truth value.
    Bool(bool),
    /// Labels.
    Map(BTreeMap<String, String>),
    /// Several texts.
    List(Vec<String>),
}

/// What a template can ask for.
pub trait Context {
    /// `.A.B` as `["A", "B"]`.
    fn field(&self, path: &[String]) -> Option<Value>;
    /// A function other than the built-in ones; `None` if there is no such function.
    fn function(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>>;
}

/// Expands a template.
pub fn expand(text: &str, context: &dyn Context) -> Result<String, TemplateError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let nodes = parse(text)?;
    let mut out = String::new();
    render::render(&nodes, context, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
