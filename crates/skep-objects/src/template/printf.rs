//! `print` and `printf` as Go's fmt has them.

use super::held::{Held, Shape};
use super::values::print;
use directive::Directive;

mod directive;
mod numbers;

pub use numbers::shortest;

/// What an argument of a function prints: there is nothing but nil.
pub(super) fn argument(held: &Held) -> String {
    match held.shape {
        Shape::Nothing => "<nil>".to_owned(),
        _ => print(held),
    }
}

/// Everything behind one another; spaces between what are no texts.
pub(super) fn print_all(args: &[Held]) -> String {
    let mut text = String::new();
    let is_text = |held: &Held| held.value.is_string();
    for (at, held) in args.iter().enumerate() {
        if at > 0 && !is_text(held) && !is_text(&args[at - 1]) {
            text.push(' ');
        }
        text.push_str(&argument(held));
    }
    text
}

/// Widths that are asked for end here.
pub(super) const WIDEST: usize = 4096;

/// A format with its arguments.
pub(super) fn printf(format: &str, args: &[Held]) -> String {
    let mut reader = Reader {
        rest: format,
        args,
        next: 0,
        is_good: true,
        reordered: false,
        out: String::new(),
    };
    while let Some(at) = reader.rest.find('%') {
        reader.out.push_str(&reader.rest[..at]);
        reader.rest = &reader.rest[at + 1..];
        reader.directive();
    }
    reader.out.push_str(reader.rest);
    let extra: Vec<String> = args[reader.next.min(args.len())..]
        .iter()
        .map(|held| match held.shape {
            Shape::Nothing => "<nil>".to_owned(),
            _ => format!("{}={}", held.type_name(), print(held)),
        })
        .collect();
    if !extra.is_empty() && !reader.reordered {
        reader
            .out
            .push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    reader.out
}

struct Reader<'a> {
    rest: &'a str,
    args: &'a [Held],
    /// Which argument is next.
    next: usize,
    /// Whether the directive names an argument that is there.
    is_good: bool,
    /// Whether any argument was named.
    reordered: bool,
    out: String,
}

impl Reader<'_> {
    /// What is behind a `%`.
    fn directive(&mut self) {
        self.is_good = true;
        let mut directive = Directive::default();
        while let Some(flag) = self.take(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
            directive.set(flag);
        }
        let mut named = self.named();
        if self.take(|c| c == '*').is_some() {
            match self.number_argument() {
                Some(width) => directive.set_width(width),
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            named = false;
        } else if let Some(width) = self.digits() {
            directive.width = Some(width);
            // A width behind the name of an argument is of nothing.
            self.is_good &= !named;
        }
        if self.take(|c| c == '.').is_some() {
            self.is_good &= !named;
            named = self.named();
            if self.take(|c| c == '*').is_some() {
                let number = self.number_argument();
                directive.precision = number.and_then(|number| usize::try_from(number).ok());
                if directive.precision.is_none() {
                    self.out.push_str("%!(BADPREC)");
                }
                named = false;
            } else {
                directive.precision = Some(self.digits().unwrap_or(0));
            }
        }
        if !named {
            self.named();
        }
        let Some(verb) = self.take(|_| true) else {
            self.out.push_str("%!(NOVERB)");
            return;
        };
        let text = match (verb, self.args.get(self.next)) {
            ('%', _) => "%".to_owned(),
            _ if !self.is_good => format!("%!{verb}(BADINDEX)"),
            (_, None) => format!("%!{verb}(MISSING)"),
            (_, Some(held)) => {
                self.next += 1;
                directive.shown(held, verb)
            }
        };
        self.out.push_str(&text);
    }

    fn take(&mut self, is_wanted: impl Fn(char) -> bool) -> Option<char> {
        let next = self.rest.chars().next().filter(|c| is_wanted(*c))?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn digits(&mut self) -> Option<usize> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!digits.is_empty()).then(|| digits.parse().unwrap_or(WIDEST).min(WIDEST))
    }

    /// `[2]`: which argument is next; whether that is said.
    fn named(&mut self) -> bool {
        let Some(inner) = self.rest.strip_prefix('[') else {
            return false;
        };
        self.reordered = true;
        let Some((number, rest)) = inner.split_once(']') else {
            self.is_good = false;
            self.rest = inner;
            return false;
        };
        self.rest = rest;
        let place = number.parse::<usize>().ok();
        let place = place.and_then(|number| number.checked_sub(1));
        match place {
            Some(place) if place < self.args.len() => self.next = place,
            _ => self.is_good = false,
        }
        place.is_some()
    }

    /// The next argument, for a width or a precision.
    fn number_argument(&mut self) -> Option<i64> {
        let held = self.args.get(self.next)?;
        self.next += 1;
        let most = i64::try_from(WIDEST).unwrap_or(i64::MAX);
        held.value.as_i64().filter(|size| size.abs() <= most)
    }
}
