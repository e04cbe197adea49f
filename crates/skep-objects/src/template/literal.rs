//! Numbers, letters and texts as Go writes them.

use serde_json::Number;

use super::Mistake;
use super::lex::Token;
use super::quote::quoted;

/// A number; what is wrong with it otherwise.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let illegal = || format!("illegal number syntax: {}", quoted(text));
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let known = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter();
    let with_prefix = known
        .filter_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)))
        .next();
    let (radix_digits, radix) = match (with_prefix, lower.strip_prefix('0')) {
        (Some(found), _) => found,
        (None, Some(rest)) if !rest.is_empty() => (rest, 8),
        _ => (lower.as_str(), 10),
    };
    let has_digit_before = lower.len() > radix_digits.len();
    if !underscores_fit(radix_digits, has_digit_before) {
        return Err(illegal());
    }
    if let Ok(size) = u64::from_str_radix(&radix_digits.replace('_', ""), radix) {
        let signed = i128::from(size) * if is_negative { -1 } else { 1 };
        match (i64::try_from(signed), u64::try_from(signed)) {
            (Ok(number), _) => return Ok(number.into()),
            (_, Ok(number)) => return Ok(number.into()),
            _ => {}
        }
    }
    let float = match with_prefix {
        None => lower.replace('_', "").parse::<f64>().ok(),
        Some(_) => None,
    };
    let float = float
        .and_then(|size| Number::from_f64(if is_negative { -size } else { size }))
        .ok_or_else(illegal)?;
    match lower.contains(['.', 'e']) {
        true => Ok(float),
        false => Err(format!("integer overflow: {}", quoted(text))),
    }
}

/// Whether each `_` is between digits.
fn underscores_fit(digits: &str, has_digit_before: bool) -> bool {
    let mut was_digit = has_digit_before;
    for c in digits.chars() {
        if c == '_' && !was_digit {
            return false;
        }
        was_digit = c.is_ascii_hexdigit();
    }
    was_digit || !digits.ends_with('_')
}

/// The code of a letter in quotes.
pub(super) fn letter(token: &Token) -> Result<u32, Mistake> {
    let inner = &token.text[1..];
    let mut letters = inner.chars();
    let code = match letters.next() {
        Some('\\') => match escape(&mut letters, '\'') {
            Some(Escaped::Byte(byte)) => u32::from(byte),
            Some(Escaped::Letter(letter)) => u32::from(letter),
            None => return Err(invalid(token)),
        },
        Some('\'') | None => return Err(invalid(token)),
        Some(c) => u32::from(c),
    };
    match letters.as_str() {
        "'" => Ok(code),
        _ => Err(Mistake::new(
            format!("malformed character constant: {}", token.text),
            token.at,
        )),
    }
}

/// What is between quotes, of either kind. Bytes that are no UTF-8 are replaced.
pub(super) fn unquoted(token: &Token) -> Result<String, Mistake> {
    let inner = &token.text[1..token.text.len() - 1];
    if token.text.starts_with('`') {
        return Ok(inner.replace('\r', ""));
    }
    let mut bytes = Vec::new();
    let mut letters = inner.chars();
    while let Some(c) = letters.next() {
        let mut utf8 = [0; 4];
        match c {
            '\\' => match escape(&mut letters, '"').ok_or_else(|| invalid(token))? {
                Escaped::Byte(byte) => bytes.push(byte),
                Escaped::Letter(letter) => bytes.extend(letter.encode_utf8(&mut utf8).bytes()),
            },
            c => bytes.extend(c.encode_utf8(&mut utf8).bytes()),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn invalid(token: &Token) -> Mistake {
    Mistake::new("invalid syntax", token.at)
}

enum Escaped {
    Byte(u8),
    Letter(char),
}

/// What comes behind a backslash; only the own quote can be escaped.
fn escape(letters: &mut std::str::Chars<'_>, quote: char) -> Option<Escaped> {
    let first = letters.next()?;
    let mut code = |radix: u32, count: usize| {
        let digits = letters.as_str().get(..count)?;
        *letters = letters.as_str()[count..].chars();
        let is_digits = digits.chars().all(|c| c.is_digit(radix));
        u32::from_str_radix(digits, radix)
            .ok()
            .filter(|_| is_digits)
    };
    Some(match first {
        'x' => Escaped::Byte(u8::try_from(code(16, 2)?).ok()?),
        'u' => Escaped::Letter(char::from_u32(code(16, 4)?)?),
        'U' => Escaped::Letter(char::from_u32(code(16, 8)?)?),
        '0'..='7' => {
            let rest = code(8, 2)?;
            Escaped::Byte(u8::try_from(first.to_digit(8)? * 64 + rest).ok()?)
        }
        'a' => Escaped::Letter('\x07'),
        'b' => Escaped::Letter('\x08'),
        'f' => Escaped::Letter('\x0c'),
        'n' => Escaped::Letter('\n'),
        'r' => Escaped::Letter('\r'),
        't' => Escaped::Letter('\t'),
        'v' => Escaped::Letter('\x0b'),
        '\\' => Escaped::Letter('\\'),
        c if c == quote => Escaped::Letter(c),
        _ => return None,
    })
}
