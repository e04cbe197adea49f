//! Lists: as a table, as JSON lines, or through a template of the user's.

use indexmap::IndexMap;
use serde_json::Value;

use super::{Template, table};
use crate::error::CliError;

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
}

impl Format {
    /// Reads `--format`; empty gives the default.
    pub fn read(given: &str) -> Self {
        match given {
            "" | "table" => Self::Table,
            "json" | "{{json .}}" => Self::Json,
            _ => match given.strip_prefix("table ") {
                Some(template) => Self::TableOf(unescape(template)),
                None => Self::Template(unescape(given)),
            },
        }
    }
}

/// `\t` and `\n` as users write them in quotes.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Prints a list. `columns` are heads and field names of the ordinary table; every row has a field
/// for each. `heads` gives the head of any field for tables of the user's.
pub fn print_rows(format: &Format, columns: &[(&str, &str)], rows: &[Row]) -> Result<(), CliError> {
    print!("{}", render(format, columns, rows)?);
    Ok(())
}

fn render(format: &Format, columns: &[(&str, &str)], rows: &[Row]) -> Result<String, CliError> {
    match format {
        Format::Table => {
            let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
            let cells = rows.iter().map(|row| {
                columns
                    .iter()
                    .map(|(_, field)| row.get(field).cloned().unwrap_or_default())
                    .collect()
            });
            Ok(table(
                &std::iter::once(heads).chain(cells).collect::<Vec<_>>(),
            ))
        }
        Format::Json => rows.iter().try_fold(String::new(), |text, row| {
            let mut sorted: Vec<_> = row.iter().collect();
            sorted.sort();
            let object: serde_json::Map<String, Value> = sorted
                .into_iter()
                .map(|(field, value)| ((*field).to_owned(), Value::from(value.as_str())))
                .collect();
            Ok(format!("{text}{}\n", Value::Object(object)))
        }),
        Format::Template(template) => {
            let template = compile(template)?;
            rows.iter().try_fold(String::new(), |text, row| {
                Ok(format!("{text}{}\n", apply(&template, row)?))
            })
        }
        Format::TableOf(text) => {
            let template = compile(text)?;
            let heads: Row = columns.iter().map(|(head, field)| (*field, *head)).fold(
                Row::new(),
                |mut row, (field, head)| {
                    if let Some((known, _)) = rows.first().and_then(|row| row.get_key_value(field))
                    {
                        row.insert(known, head.to_owned());
                    }
                    row
                },
            );
            let heads = complete(heads, rows.first());
            let lines = std::iter::once(&heads).chain(rows);
            let cells: Result<Vec<Vec<String>>, CliError> = lines
                .map(|row| {
                    Ok(apply(&template, row)?
                        .split('\t')
                        .map(str::to_owned)
                        .collect())
                })
                .collect();
            Ok(table(&cells?))
        }
    }
}

/// Fields without a column have their own name as head.
fn complete(mut heads: Row, sample: Option<&Row>) -> Row {
    for field in sample.into_iter().flat_map(IndexMap::keys) {
        heads.entry(field).or_insert_with(|| field.to_uppercase());
    }
    heads
}

fn compile(text: &str) -> Result<Template, CliError> {
    Template::compile(text)
        .map_err(|error| CliError::new(format!("template parsing error: {error}")).with_code(64))
}

fn apply(template: &Template, row: &Row) -> Result<String, CliError> {
    let object = row
        .iter()
        .map(|(field, value)| ((*field).to_owned(), Value::from(value.as_str())))
        .collect();
    template
        .render(&Value::Object(object))
        .map_err(|error| CliError::new(format!("template parsing error: {error}")))
}
