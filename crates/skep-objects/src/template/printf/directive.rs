//! One directive of a format, and what it makes of a value.

use serde_json::Value;

use super::WIDEST;
use crate::template::held::{Held, Shape};
use crate::template::quote::{is_print, quoted, quoted_ascii, quoted_letter};
use crate::template::types::Form;
use crate::template::values::print;

#[derive(Default)]
pub(super) struct Directive {
    left: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    zero: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// Types whose values tell by themselves what they print.
const TELLERS: [&str; 4] = ["time.Duration", "time.Time", "os.FileMode", "swarm.Version"];

impl Directive {
    pub(super) fn set(&mut self, flag: char) {
        match flag {
            '-' => self.left = true,
            '+' => self.plus = true,
            '#' => self.sharp = true,
            ' ' => self.space = true,
            _ => self.zero = true,
        }
    }

    /// A width; one below zero is a width to the left.
    pub(super) fn set_width(&mut self, width: i64) {
        self.left |= width < 0;
        let width = usize::try_from(width.unsigned_abs()).unwrap_or(WIDEST);
        self.width = Some(width.min(WIDEST));
    }

    /// Whether zeros fill the width up.
    fn has_zeros(&self) -> bool {
        self.zero && !self.left
    }

    /// A value.
    pub(super) fn shown(&self, held: &Held, verb: char) -> String {
        self.known(held, verb)
            .unwrap_or_else(|| self.bad_verb(held, verb))
    }

    /// `%!d(string=a)`
    fn bad_verb(&self, held: &Held, verb: char) -> String {
        match held.shape {
            Shape::Nothing => format!("%!{verb}(<nil>)"),
            _ => {
                let shown = self.known(held, 'v').unwrap_or_else(|| print(held));
                format!("%!{verb}({}={shown})", held.type_name())
            }
        }
    }

    fn known(&self, held: &Held, verb: char) -> Option<String> {
        if held.shape == Shape::Nothing {
            return matches!(verb, 'T' | 'v').then(|| self.padded("<nil>".to_owned()));
        }
        let name = held.type_name();
        if verb == 'T' {
            return Some(self.padded(name));
        }
        if TELLERS.contains(&name.as_str()) && matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') {
            return self.text(&print(held), verb);
        }
        match (&held.value, held.form()) {
            (Value::String(_), Form::Bytes) => {
                let bytes = held.bytes();
                match verb {
                    'v' | 'd' => self.composite(held, verb),
                    _ => self.text(&String::from_utf8_lossy(&bytes), verb),
                }
            }
            (Value::String(_), _) => self.text(&print(held), verb),
            (Value::Bool(value), _) => {
                matches!(verb, 't' | 'v').then(|| self.padded(value.to_string()))
            }
            (Value::Number(number), _) => match number.as_i64() {
                Some(whole) if !name.starts_with("float") => self.whole(whole, verb),
                _ => self.float(number.as_f64()?, verb),
            },
            _ => self.composite(held, verb),
        }
    }

    /// A list, a map, or something else that is made of values.
    fn composite(&self, held: &Held, verb: char) -> Option<String> {
        match held.items() {
            Some(items) if matches!(verb, 's' | 'q' | 'd' | 'x' | 'X' | 't' | 'f') => {
                let is_list = !held.value.is_object();
                let shown = items.into_iter().map(|(key, item)| match is_list {
                    true => self.shown(&item, verb),
                    false => format!("{}:{}", self.shown(&key, verb), self.shown(&item, verb)),
                });
                let all = shown.collect::<Vec<_>>().join(" ");
                Some(match is_list {
                    true => format!("[{all}]"),
                    false => format!("map[{all}]"),
                })
            }
            _ if matches!(verb, 'v' | 's') => Some(print(held)),
            _ => None,
        }
    }

    fn text(&self, text: &str, verb: char) -> Option<String> {
        let cut = |text: &str| -> String {
            let most = self.precision.unwrap_or(usize::MAX);
            text.chars().take(most).collect()
        };
        Some(self.padded(match verb {
            'v' if self.sharp => quoted(text),
            'v' | 's' => cut(text),
            'q' if self.sharp && can_backquote(text) => format!("`{}`", cut(text)),
            'q' if self.plus => quoted_ascii(&cut(text)),
            'q' => quoted(&cut(text)),
            'x' => self.bytes(text),
            'X' => self.bytes(text).to_uppercase(),
            _ => return None,
        }))
    }

    /// In hexadecimal.
    fn bytes(&self, text: &str) -> String {
        let most = self.precision.unwrap_or(usize::MAX);
        let bytes = text.bytes().take(most).map(|byte| format!("{byte:02x}"));
        let bytes: Vec<String> = bytes.collect();
        let prefix = if self.sharp && !bytes.is_empty() {
            "0x"
        } else {
            ""
        };
        match self.space {
            true => format!("{prefix}{}", bytes.join(&format!(" {prefix}"))),
            false => format!("{prefix}{}", bytes.concat()),
        }
    }

    pub(super) fn letter(&self, number: i64, verb: char) -> String {
        let known = u32::try_from(number).ok().and_then(char::from_u32);
        let letter = known.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.padded(match verb {
            'q' => quoted_letter(letter, self.plus),
            'U' if self.sharp && known.is_some_and(is_print) => {
                format!("U+{number:04X} '{letter}'")
            }
            'U' => format!("U+{number:04X}"),
            _ => letter.to_string(),
        })
    }

    /// As wide as is asked for.
    pub(super) fn padded(&self, text: String) -> String {
        let missing = self.missing(&text);
        match (self.left, self.zero) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => "0".repeat(missing) + &text,
            (false, false) => " ".repeat(missing) + &text,
        }
    }

    /// As wide as is asked for, with spaces only.
    pub(super) fn spaced(&self, text: String) -> String {
        let spaces = " ".repeat(self.missing(&text));
        match self.left {
            true => text + &spaces,
            false => spaces + &text,
        }
    }

    /// As wide as is asked for; zeros stand behind the sign.
    pub(super) fn padded_number(&self, sign: &str, digits: &str) -> String {
        let text = format!("{sign}{digits}");
        let missing = self.missing(&text);
        match (self.left, self.has_zeros()) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => format!("{sign}{}{digits}", "0".repeat(missing)),
            (false, false) => " ".repeat(missing) + &text,
        }
    }

    fn missing(&self, text: &str) -> usize {
        let width = self.width.unwrap_or(0);
        width.saturating_sub(text.chars().count())
    }

    /// How many digits a whole number has at least.
    pub(super) fn least_digits(&self, has_sign: bool) -> usize {
        match self.precision {
            Some(digits) => digits,
            None if self.has_zeros() => {
                let width = self.width.unwrap_or(0);
                width.saturating_sub(usize::from(has_sign))
            }
            None => 0,
        }
    }
}

fn can_backquote(text: &str) -> bool {
    let is_bad = |c: char| c == '`' || c == '\u{feff}' || (c.is_control() && c != '\t');
    !text.contains(is_bad)
}
