//! Texts as Docker's YAML has them: plain where that reads as the same text, else in quotes, and in
//! lines of their own where they have several.

/// Words that are no texts.
const WORDS: [&str; 37] = [
    "", "~", "null", "Null", "NULL", "<<", "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No",
    "NO", "true", "True", "TRUE", "false", "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF",
    ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "-.inf", "-.Inf", "-.INF",
];
const MARKS: &str = "#,[]{}&*!|>'\"%@`";

/// A text in a line, or behind `|` in lines that stand `indent` spaces in.
pub(super) fn text(text: &str, indent: usize) -> String {
    let is_shown = text.chars().all(|c| c == '\n' || is_shown(c));
    let is_block = text.contains('\n');
    let has_space_before_break = text.contains(" \n") || text.ends_with(' ');
    if !is_shown || is_block && (has_space_before_break || text.starts_with('\n')) {
        return double(text);
    }
    if is_block {
        return block(text, indent);
    }
    if is_something_else(text) {
        return double(text);
    }
    let first = text.chars().next().unwrap_or(' ');
    let second = text[first.len_utf8()..].chars().next().unwrap_or(' ');
    let is_marked = MARKS.contains(first)
        || matches!(first, '?' | '-' | ':') && second == ' '
        || text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
        || text == "---"
        || text.starts_with("--- ")
        || text == "..."
        || text.starts_with("... ");
    match is_marked {
        true => format!("'{}'", text.replace('\'', "''")),
        false => text.to_owned(),
    }
}

fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// In double quotes, with everything escaped that must be.
fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c if is_shown(c) => out.push(c),
            c if u32::from(c) <= 0xff => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Lines behind `|`, with what is said of spaces before them and of line ends behind them.
fn block(text: &str, indent: usize) -> String {
    let lead = if text.starts_with(' ') { "2" } else { "" };
    let body = text.trim_end_matches('\n');
    let end = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let mut out = format!("|{lead}{end}");
    let space = " ".repeat(indent);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&space);
            out.push_str(line);
        }
    }
    out
}

/// Whether a plain text would read as a number, a flag, a date or nothing.
fn is_something_else(text: &str) -> bool {
    WORDS.contains(&text) || is_number(text) || is_date(text)
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let whole =
        |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let prefixed = [
        ("0x", 16),
        ("0X", 16),
        ("0o", 8),
        ("0O", 8),
        ("0b", 2),
        ("0B", 2),
    ]
    .into_iter()
    .any(|(prefix, radix)| digits.strip_prefix(prefix).is_some_and(|d| whole(d, radix)));
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_float =
        begins && digits.chars().any(|c| c.is_ascii_digit()) && digits.parse::<f64>().is_ok();
    prefixed || is_float || is_to_base_60(&plain)
}

/// `1:30` is a number to the base of 60 in old YAML.
fn is_to_base_60(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, _) = digits.split_once('.').unwrap_or((digits, ""));
    let mut parts = whole.split(':');
    let is_count = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let first = parts.next().is_some_and(is_count);
    let rest: Vec<&str> = parts.collect();
    let is_part =
        |part: &&str| is_count(part) && part.len() <= 2 && part.parse::<u8>().is_ok_and(|n| n < 60);
    first && !rest.is_empty() && rest.iter().all(is_part)
}

/// `2006-01-02`, and a time of the day behind it.
fn is_date(text: &str) -> bool {
    let (date, _) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    let parts: Vec<&str> = date.split('-').collect();
    let is_count = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit())
    };
    matches!(parts[..], [year, month, day]
        if year.len() == 4 && is_count(year, 4) && is_count(month, 2) && is_count(day, 2))
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_text_is_plain_where_it_reads_as_itself() {
        for plain in [
            "a", "=", "::1", "1.2.3.4", "a:b", "-c", "a#b", "\\", "é", "it's", "x:1", "yEs", "a=b",
            "1.2.3",
        ] {
            assert_eq!(text(plain, 0), plain);
        }
        for quoted in ["a: b", "a #b", "- a", "*x", " a", "a ", "!x", "@a", "a:"] {
            assert_eq!(text(quoted, 0), format!("'{quoted}'"));
        }
        for quoted in [
            "true",
            "y",
            "No",
            "1",
            "1e3",
            "0x1f",
            "1:30",
            "1_0",
            ".5",
            "+1",
            "2020-01-01",
            "~",
            "",
            "<<",
            "null",
        ] {
            assert_eq!(text(quoted, 0), format!("\"{quoted}\""));
        }
        assert_eq!(text("tab\there", 0), "\"tab\\there\"");
        assert_eq!(text("'a'", 0), "'''a'''");
    }

    #[test]
    fn lines_stand_behind_a_bar() {
        assert_eq!(text("a\nb", 2), "|-\n  a\n  b");
        assert_eq!(text("a\n\nb\n", 2), "|\n  a\n\n  b");
        assert_eq!(text("a\n\n", 2), "|+\n  a\n");
        assert_eq!(text("  a\nb", 2), "|2-\n    a\n  b");
        assert_eq!(text("a \nb", 2), "\"a \\nb\"");
        assert_eq!(text("\na", 2), "\"\\na\"");
    }
}
