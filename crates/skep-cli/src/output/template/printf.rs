//! `print` and `printf` as Go's fmt has them.

use serde_json::Value;

use super::held::{Held, Shape};
use super::types::Form;
use super::values::print;

/// Everything behind one another; spaces between what are no texts.
pub(super) fn print_all(args: &[Held]) -> String {
    let mut text = String::new();
    let is_text = |held: &Held| held.value.is_string();
    for (at, held) in args.iter().enumerate() {
        if at > 0 && !is_text(held) && !is_text(&args[at - 1]) {
            text.push(' ');
        }
        text.push_str(&print(held));
    }
    text
}

/// Widths that are asked for end here.
const WIDEST: usize = 4096;

#[derive(Default)]
struct Directive {
    left: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// A format with its arguments.
pub(super) fn printf(format: &str, args: &[Held]) -> String {
    let mut text = String::new();
    let mut given = args.iter();
    let mut letters = format.chars().peekable();
    while let Some(c) = letters.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut directive = Directive::default();
        while let Some(flag) = letters.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
            match flag {
                '-' => directive.left = true,
                '+' => directive.plus = true,
                '#' => directive.sharp = true,
                ' ' => directive.space = true,
                _ => directive.zero = true,
            }
        }
        let mut number = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if letters.next_if_eq(&'*').is_some() {
                let held = given.next().and_then(|held| held.value.as_u64());
                return usize::try_from(held.unwrap_or(0)).unwrap_or(0).min(WIDEST);
            }
            let mut number = 0_usize;
            while let Some(digit) = letters.peek().and_then(|c| c.to_digit(10)) {
                letters.next();
                number = (number * 10 + digit as usize).min(WIDEST);
            }
            number
        };
        directive.width = number(&mut letters);
        if letters.next_if_eq(&'.').is_some() {
            directive.precision = Some(number(&mut letters));
        }
        match letters.next() {
            Some('%') => text.push('%'),
            None => text.push_str("%!(NOVERB)"),
            Some(verb) => match given.next() {
                Some(held) => text.push_str(&directive.padded(held, verb)),
                None => text.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    let extra: Vec<String> = given
        .map(|held| match held.shape {
            Shape::Nothing => "<nil>".to_owned(),
            _ => format!("{}={}", held.type_name(), print(held)),
        })
        .collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

impl Directive {
    fn padded(&self, held: &Held, verb: char) -> String {
        let is_number = held.value.is_number();
        let shown = self
            .shown(held, verb)
            .unwrap_or_else(|| bad_verb(held, verb));
        let missing = self.width.saturating_sub(shown.chars().count());
        match (self.left, self.zero && is_number) {
            (true, _) => shown + &" ".repeat(missing),
            (false, true) => {
                let sign = shown.len() - shown.trim_start_matches(['-', '+']).len();
                let (sign, digits) = shown.split_at(sign);
                format!("{sign}{}{digits}", "0".repeat(missing))
            }
            (false, false) => " ".repeat(missing) + &shown,
        }
    }

    fn shown(&self, held: &Held, verb: char) -> Option<String> {
        let cut = |text: String| match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        if verb == 'T' {
            return Some(match held.shape {
                Shape::Nothing => "<nil>".to_owned(),
                _ => held.type_name(),
            });
        }
        match (&held.value, verb) {
            (Value::Number(_), 'v') if self.precision.is_none() => Some(self.signed(print(held))),
            (_, 'v') => Some(print(held)),
            (Value::String(_), _) => {
                let text = match held.form() {
                    Form::Bytes => String::from_utf8_lossy(&held.bytes()).into_owned(),
                    _ => print(held),
                };
                Some(match verb {
                    's' => cut(text),
                    'q' if self.sharp => format!("`{text}`"),
                    'q' => format!("{:?}", cut(text)),
                    'x' => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                    'X' => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
                    _ => return None,
                })
            }
            (Value::Number(number), _) => {
                if matches!(verb, 's') && held.type_name() == "time.Duration" {
                    return Some(print(held));
                }
                match (number.as_i64(), held.type_name().as_str()) {
                    (Some(whole), of) if !of.starts_with("float") => self.whole(whole, verb),
                    _ => self.float(number.as_f64()?, verb),
                }
            }
            (Value::Bool(value), 't') => Some(value.to_string()),
            (Value::Array(_) | Value::Object(_), 's' | 'q' | 'd' | 'x') => {
                let items = held.items()?;
                let shown = |(key, item): (Held, Held)| {
                    let item = self
                        .shown(&item, verb)
                        .unwrap_or_else(|| bad_verb(&item, verb));
                    match held.value {
                        Value::Array(_) => item,
                        _ => format!("{}:{item}", print(&key)),
                    }
                };
                let items: Vec<String> = items.into_iter().map(shown).collect();
                Some(match held.value {
                    Value::Array(_) => format!("[{}]", items.join(" ")),
                    _ => format!("map[{}]", items.join(" ")),
                })
            }
            _ => None,
        }
    }

    fn signed(&self, text: String) -> String {
        match text.starts_with('-') {
            false if self.plus => format!("+{text}"),
            false if self.space => format!(" {text}"),
            _ => text,
        }
    }

    fn whole(&self, number: i64, verb: char) -> Option<String> {
        let (sign, size) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
        let prefix = |prefix: &'static str| if self.sharp { prefix } else { "" };
        let digits = match verb {
            'd' => size.to_string(),
            'x' => format!("{}{size:x}", prefix("0x")),
            'X' => format!("{}{size:X}", prefix("0X")),
            'o' => format!("{}{size:o}", prefix("0")),
            'O' => format!("0o{size:o}"),
            'b' => format!("{}{size:b}", prefix("0b")),
            'c' => return char::from_u32(u32::try_from(number).ok()?).map(String::from),
            'q' => {
                let letter = char::from_u32(u32::try_from(number).ok()?)?;
                return Some(format!("{letter:?}"));
            }
            'U' => return Some(format!("U+{number:04X}")),
            _ => return None,
        };
        let zeros = self.precision.unwrap_or(0).saturating_sub(digits.len());
        Some(self.signed(format!("{sign}{}{digits}", "0".repeat(zeros))))
    }

    fn float(&self, number: f64, verb: char) -> Option<String> {
        let digits = self.precision.unwrap_or(6).min(64);
        let text = match verb {
            'f' | 'F' => format!("{number:.digits$}"),
            'e' | 'E' => {
                let text = format!("{number:.digits$e}");
                let (mantissa, power) = text.split_once('e')?;
                let (sign, power) = match power.strip_prefix('-') {
                    Some(power) => ('-', power),
                    None => ('+', power),
                };
                format!(
                    "{mantissa}{}{sign}{power:0>2}",
                    if verb == 'e' { 'e' } else { 'E' }
                )
            }
            'g' | 'G' | 'v' => match self.precision {
                Some(digits) => format!("{number:.digits$}")
                    .trim_end_matches('0')
                    .trim_end_matches('.')
                    .to_owned(),
                None => number.to_string(),
            },
            _ => return None,
        };
        Some(self.signed(text))
    }
}

/// `%!d(string=a)`
fn bad_verb(held: &Held, verb: char) -> String {
    match held.shape {
        Shape::Nothing => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={})", held.type_name(), print(held)),
    }
}
