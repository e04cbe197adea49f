//! Lists: as a table, as JSON lines, or through a template of the user's.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{Template, TemplateError, escaped_json, table};
use crate::error::CliError;
use skep_objects::template::LABELS;

/// One object of a list: what templates call its fields, in the order that JSON prints them.
pub type Row = IndexMap<&'static str, String>;

/// What `--format` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// The ordinary table.
    Table,
    /// One JSON object a line.
    Json,
    /// A table with columns of the user's.
    TableOf(String),
    /// A line an object.
    Template(String),
    /// A line a field.
    Raw,
}

impl Format {
    /// Reads `--format`; empty gives the default.
    pub fn read(given: &str) -> Self {
        match given {
            "" | "table" => Self::Table,
            "json" | "{{json .}}" => Self::Json,
            "raw" => Self::Raw,
            _ => match given.strip_prefix("table") {
                Some(template) => Self::TableOf(unescape(template.trim_matches(' '))),
                None => Self::Template(unescape(given)),
            },
        }
    }

    /// The template within, where there is one.
    pub fn template(&self) -> Option<&str> {
        match self {
            Self::TableOf(text) | Self::Template(text) => Some(text),
            Self::Table | Self::Json | Self::Raw => None,
        }
    }
}

/// `\t` and `\n` as users write them in quotes.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// One object of a list with what is no text about it.
#[derive(Debug, Clone, Default)]
pub struct Item {
    fields: Map<String, Value>,
    labels: Value,
}

impl Item {
    /// An object with labels that `.Label "name"` finds.
    pub fn new(row: Row, labels: &Value) -> Self {
        let texts = row.into_iter();
        Self {
            fields: texts
                .map(|(name, text)| (name.to_owned(), text.into()))
                .collect(),
            labels: labels.clone(),
        }
    }

    /// With a field that is no text.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// A field as tables print it.
    pub fn text(&self, name: &str) -> String {
        match self.fields.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }

    /// The object through a template; `kind` is its type's name.
    pub fn render(&self, template: &Template, kind: &str) -> Result<String, TemplateError> {
        template.render_as(&self.object(), kind)
    }

    /// Its fields, sorted.
    pub fn sorted(&self) -> Value {
        let mut all: Vec<_> = self.fields.iter().collect();
        all.sort_by_key(|(name, _)| *name);
        let sorted = all
            .into_iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        Value::Object(sorted.collect())
    }

    fn object(&self) -> Value {
        let mut fields = self.fields.clone();
        fields.insert(LABELS.to_owned(), self.labels.clone());
        Value::Object(fields)
    }

    fn json(&self) -> String {
        escaped_json(&self.sorted())
    }
}

/// How the objects of one kind are listed.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// What messages call the kind's type.
    pub kind: &'a str,
    /// Heads and fields of the ordinary table.
    pub columns: &'a [(&'a str, &'a str)],
    /// Heads of fields without a column of the ordinary table.
    pub heads: &'a [(&'a str, &'a str)],
    /// Labels and fields of `raw`; where there are none it is a template like others. `?` behind a
    /// label: nothing comes behind it where the field is empty.
    pub raw: &'a [(&'a str, &'a str)],
}

impl List<'_> {
    /// Prints objects.
    pub fn print(&self, format: &Format, items: &[Item]) -> Result<(), CliError> {
        print!("{}", self.render(format, items)?);
        Ok(())
    }

    /// What [`Self::print`] prints.
    pub fn render(&self, format: &Format, items: &[Item]) -> Result<String, CliError> {
        Ok(match format {
            Format::Table => {
                let heads = self
                    .columns
                    .iter()
                    .map(|(head, _)| (*head).to_owned())
                    .collect();
                let cells = items.iter().map(|item| {
                    let cells = self.columns.iter().map(|(_, field)| item.text(field));
                    cells.collect()
                });
                table(&std::iter::once(heads).chain(cells).collect::<Vec<_>>())
            }
            Format::Json => items.iter().map(|item| item.json() + "\n").collect(),
            Format::Raw => items.iter().map(|item| self.raw_text(item)).collect(),
            Format::Template(text) => {
                let template = compile(text)?;
                items.iter().try_fold(String::new(), |all, item| {
                    Ok::<_, CliError>(format!("{all}{}\n", self.apply(&template, item)?))
                })?
            }
            Format::TableOf(text) => {
                let template = compile(text)?;
                let mut lines = vec![String::new()];
                for item in items {
                    lines.push(self.apply(&template, item)?);
                }
                let heads = template.render_heads(&self.all_heads(items));
                lines[0] = heads.map_err(|error| bad(&error))?;
                let cells = lines
                    .iter()
                    .map(|line| line.split('\t').map(str::to_owned).collect());
                table(&cells.collect::<Vec<Vec<_>>>())
            }
        })
    }

    fn apply(&self, template: &Template, item: &Item) -> Result<String, CliError> {
        item.render(template, self.kind)
            .map_err(|error| bad(&error))
    }

    fn raw_text(&self, item: &Item) -> String {
        if self.raw.is_empty() {
            return "raw\n".to_owned();
        }
        let line = |(label, field): &(&str, &str)| {
            let text = item.text(field);
            // Some have a space only before something.
            match label.strip_suffix('?') {
                Some(label) if text.is_empty() => format!("{label}:\n"),
                _ => format!("{}: {text}\n", label.trim_end_matches('?')),
            }
        };
        let text: String = self.raw.iter().map(line).collect();
        text + "\n"
    }

    /// The head of each field; a field without one has its own name.
    fn all_heads(&self, items: &[Item]) -> Value {
        let mut heads = Map::new();
        for field in items
            .first()
            .into_iter()
            .flat_map(|item| item.fields.keys())
        {
            heads.insert(field.clone(), spaced(field).into());
        }
        let known = self.columns.iter().chain(self.heads);
        for (head, field) in known {
            heads.insert((*field).to_owned(), (*head).into());
        }
        heads.insert("Label".to_owned(), "".into());
        Value::Object(heads)
    }
}

/// `LocalVolumes` as `LOCAL VOLUMES`.
fn spaced(field: &str) -> String {
    let mut text = String::new();
    let mut was_lower = false;
    for c in field.chars() {
        if c.is_uppercase() && was_lower {
            text.push(' ');
        }
        was_lower = c.is_lowercase();
        text.extend(c.to_uppercase());
    }
    text
}

/// Prints a list of objects, whose type messages call `kind`. `columns` are heads and field names of the
/// ordinary table; every row has a field for each.
pub fn print_rows(
    format: &Format,
    kind: &str,
    columns: &[(&str, &str)],
    rows: &[Row],
    raw: &[(&str, &str)],
) -> Result<(), CliError> {
    let items: Vec<Item> = rows
        .iter()
        .map(|row| Item::new(row.clone(), &Value::Null))
        .collect();
    let list = List {
        kind,
        columns,
        heads: &[],
        raw,
    };
    list.print(format, &items)
}

fn compile(text: &str) -> Result<Template, CliError> {
    Template::compile(text).map_err(|error| bad(&error))
}

fn bad(error: &TemplateError) -> CliError {
    CliError::new(format!("template parsing error: {error}"))
}
