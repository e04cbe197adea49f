//! JSON as Go's encoder writes it.

use std::io;

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// JSON in a line, as templates' `json` has it.
pub(super) fn plain_json(value: &Value) -> String {
    without_separators(&written(value, Compact))
}

/// The same without `<`, `>` and `&`, as Go's encoder writes it by itself.
pub fn escaped_json(value: &Value) -> String {
    escaped(&plain_json(value))
}

/// JSON with four spaces, as it came.
pub fn indented_json(value: &Value) -> String {
    written(value, PrettyFormatter::with_indent(b"    "))
}

/// JSON without what is dangerous in a page: it can only be in texts.
pub fn escaped(json: &str) -> String {
    without_separators(json)
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

fn without_separators(json: &str) -> String {
    json.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn written(value: &Value, formatter: impl Formatter) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    // Writing a value to memory cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Whole numbers have no point.
struct Compact;

impl Formatter for Compact {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        let text = match size != 0.0 && !(1e-6..1e21).contains(&size) {
            true => format!("{value:e}").replace('e', if size < 1.0 { "e" } else { "e+" }),
            false => value.to_string(),
        };
        writer.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_separators_are_gos() {
        let value = json!([1.0, 1e30, 1.5e-7, -0.25, "<\u{2028}&>"]);
        assert_eq!(plain_json(&value), "[1,1e+30,1.5e-7,-0.25,\"<\\u2028&>\"]");
        assert!(escaped_json(&value).ends_with(",\"\\u003c\\u2028\\u0026\\u003e\"]"));
        assert_eq!(indented_json(&json!({"a": 1})), "{\n    \"a\": 1\n}");
    }
}
