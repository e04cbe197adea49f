//! Numbers of a format.

use super::directive::Directive;

impl Directive {
    pub(super) fn whole(&self, number: i64, verb: char) -> Option<String> {
        let size = number.unsigned_abs();
        let digits = match verb {
            'd' | 'v' => size.to_string(),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'o' | 'O' => format!("{size:o}"),
            'b' => format!("{size:b}"),
            'c' | 'q' | 'U' => return Some(self.letter(number, verb)),
            _ => return None,
        };
        if self.precision == Some(0) && number == 0 {
            return Some(" ".repeat(self.width.unwrap_or(0)));
        }
        let sign = self.sign(number < 0);
        let zeros = self.least_digits(!sign.is_empty());
        let zeros = "0".repeat(zeros.saturating_sub(digits.len()));
        let prefix = match verb {
            'O' => "0o",
            'x' if self.sharp => "0x",
            'X' if self.sharp => "0X",
            'b' if self.sharp => "0b",
            'o' if self.sharp && !zeros.starts_with('0') && digits != "0" => "0",
            _ => "",
        };
        // Zeros are in it already.
        Some(self.spaced(format!("{sign}{prefix}{zeros}{digits}")))
    }

    pub(super) fn float(&self, number: f64, verb: char) -> Option<String> {
        let size = number.abs();
        let digits = self.precision.unwrap_or(6).min(64);
        let text = match (verb, self.precision) {
            ('f' | 'F', _) => format!("{size:.digits$}"),
            ('e' | 'E', _) => exponent(&format!("{size:.digits$e}")),
            ('g' | 'G' | 'v', None) => shortest(size),
            ('g' | 'G' | 'v', Some(digits)) => significant(size, digits.clamp(1, 64)),
            _ => return None,
        };
        let text = match verb {
            'E' | 'G' => text.to_uppercase(),
            _ => text,
        };
        Some(self.padded_number(self.sign(number.is_sign_negative()), &text))
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }
}

/// A number with as many digits as it needs.
pub fn shortest(number: f64) -> String {
    let scientific = format!("{number:e}");
    match power(&scientific) {
        -4..6 => number.to_string(),
        _ => exponent(&scientific),
    }
}

fn significant(number: f64, digits: usize) -> String {
    let behind = digits - 1;
    let scientific = format!("{number:.behind$e}");
    let power = power(&scientific);
    let short = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let most = i32::try_from(digits).unwrap_or(i32::MAX);
    if number != 0.0 && (power < -4 || power >= most) {
        let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", short(mantissa)));
    }
    let behind = usize::try_from(most - 1 - power).unwrap_or(0);
    short(&format!("{number:.behind$}"))
}

/// The power of ten that a number is written with.
fn power(scientific: &str) -> i32 {
    let power = scientific.split_once('e').map(|(_, power)| power.parse());
    power.and_then(Result::ok).unwrap_or(0)
}

/// `1.5e7` as Go has it: `1.5e+07`.
fn exponent(scientific: &str) -> String {
    let (mantissa, power) = scientific.split_once('e').unwrap_or((scientific, "0"));
    match power.strip_prefix('-') {
        Some(power) => format!("{mantissa}e-{power:0>2}"),
        None => format!("{mantissa}e+{power:0>2}"),
    }
}
