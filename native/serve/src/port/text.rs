//! Values as error messages show them: as Python does, so that a message is the same whoever answers.

use std::fmt::Write;

/// Text between quotes, on one line.
pub fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if is_shown(c) => out.push(c),
            c => {
                let _ = match u32::from(c) {
                    number @ ..0x100 => write!(out, "\\x{number:02x}"),
                    number @ 0x100..0x1_0000 => write!(out, "\\u{number:04x}"),
                    number => write!(out, "\\U{number:08x}"),
                };
            }
        }
    }
    out.push(quote);
    out
}

fn is_shown(c: char) -> bool {
    matches!(c, ' '..='~') || c > '\u{a0}' && c != '\u{ad}' && c.escape_debug().len() == 1
}

/// A number as `repr` writes it.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let exponent = exponent(value, &format!("{value:e}"));
    if value != 0.0 && !(-4..16).contains(&exponent) {
        return with_exponent(&format!("{value:e}"));
    }
    format!("{value:?}")
}

/// A number with up to six digits, as the format `g` writes it.
pub fn short_number(value: f64) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let rounded = format!("{value:.5e}");
    let exponent = exponent(value, &rounded);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let (digits, exponent) = rounded.split_once('e').expect("scientific notation");
        return with_exponent(&format!("{}e{exponent}", without_zeros(digits)));
    }
    let decimals = usize::try_from(5 - exponent).unwrap_or_default();
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn special(value: f64) -> String {
    let name = if value.is_nan() { "nan" } else { "inf" };
    if value < 0.0 { format!("-{name}") } else { name.to_owned() }
}

fn exponent(value: f64, scientific: &str) -> i32 {
    if value == 0.0 {
        return 0;
    }
    scientific.rsplit('e').next().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// `1e20` as `1e+20`, `1e-5` as `1e-05`.
fn with_exponent(scientific: &str) -> String {
    let (digits, exponent) = scientific.split_once('e').expect("scientific notation");
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_python_does() {
        for (text, shown) in [
            ("model-1", "'model-1'"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("a\nb\\\t\0\u{7f}\u{85}", "'a\\nb\\\\\\t\\x00\\x7f\\x85'"),
            ("Käse 茶 😀", "'Käse 茶 😀'"),
            ("\u{200b}\u{2028}\u{e000}\u{10ffff}", "'\\u200b\\u2028\\ue000\\U0010ffff'"),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }

    #[test]
    fn numbers_are_written_as_python_does() {
        for (value, repr, short) in [
            (0.0, "0.0", "0"),
            (-0.0, "-0.0", "-0"),
            (1.5, "1.5", "1.5"),
            (2.0, "2.0", "2"),
            (f64::from(1.1f32), "1.100000023841858", "1.1"),
            (-0.000_01, "-1e-05", "-1e-05"),
            (0.000_123_456_78, "0.00012345678", "0.000123457"),
            (1e15, "1000000000000000.0", "1e+15"),
            (1.5e16, "1.5e+16", "1.5e+16"),
            (123_456.7, "123456.7", "123457"),
            (999_999.9, "999999.9", "1e+06"),
            (1e100, "1e+100", "1e+100"),
            (f64::NAN, "nan", "nan"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
        ] {
            assert_eq!((number(value).as_str(), short_number(value).as_str()), (repr, short));
        }
    }
}
