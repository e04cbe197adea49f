//! Text in quotes, as Go's `%q` has it.

use std::fmt::Write as _;

/// A text in quotes, with what cannot be shown escaped.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        push(&mut out, c, '"', false);
    }
    out.push('"');
    out
}

/// The same in ASCII.
pub(super) fn quoted_ascii(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        push(&mut out, c, '"', true);
    }
    out.push('"');
    out
}

/// A letter in its quotes.
pub(super) fn quoted_letter(c: char, is_ascii: bool) -> String {
    let mut out = String::from("'");
    push(&mut out, c, '\'', is_ascii);
    out.push('\'');
    out
}

/// Whether Go shows a letter as it is.
pub(super) fn is_print(c: char) -> bool {
    let is_space = c != ' ' && c.is_whitespace();
    let is_format = matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}'
    );
    !(c.is_control() || is_space || is_format)
}

fn push(out: &mut String, c: char, quote: char, is_ascii: bool) {
    match c {
        c if c == quote || c == '\\' => out.extend(['\\', c]),
        c if is_print(c) && (c.is_ascii() || !is_ascii) => out.push(c),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        // Writing to a text cannot fail.
        c => {
            let _ = match u32::from(c) {
                code @ 0..0x80 => write!(out, "\\x{code:02x}"),
                code @ 0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                code => write!(out, "\\U{code:08x}"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_escaped() {
        assert_eq!(quoted("a \"b\"\n\x01é"), "\"a \\\"b\\\"\\n\\x01é\"");
        assert_eq!(quoted("\x07'\u{feff}\u{2028}"), "\"\\a'\\ufeff\\u2028\"");
        assert_eq!(quoted_ascii("é😀"), "\"\\u00e9\\U0001f600\"");
        assert_eq!(quoted_letter('\'', false), "'\\''");
    }
}
