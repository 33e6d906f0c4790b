//! How JavaScript takes values that are not of the type they should be: what Clerk's SDK does without checks, for `exact`.

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::json::INFINITE;

/// Whether a value counts as one.
pub(crate) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => true,
    }
}

/// What a value is worth next to a number; none if it compares with nothing.
pub(crate) fn to_number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(0.0),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::Number(number) => double(number),
        Value::String(text) if text.trim().is_empty() => Some(0.0),
        Value::String(text) => number(text.trim()),
        Value::Array(list) => match list.as_slice() {
            [] => Some(0.0),
            [Value::Bool(_)] => None,
            [one] => to_number(one),
            _ => None,
        },
        Value::Object(_) => None,
    }
}

/// What a value looks like inside of a text.
pub(crate) fn to_text(value: &Value) -> Cow<'_, str> {
    let item = |item: &Value| if item.is_null() { String::new() } else { to_text(item).into_owned() };
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed("null"),
        Value::Bool(yes) => Cow::Borrowed(if *yes { "true" } else { "false" }),
        Value::Number(number) => Cow::Owned(number_text(double(number).unwrap_or_default())),
        Value::Array(list) => Cow::Owned(list.iter().map(item).collect::<Vec<_>>().join(",")),
        Value::Object(_) => Cow::Borrowed("[object Object]"),
    }
}

/// As JavaScript writes numbers.
pub(crate) fn number_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    match value.abs() {
        1e21.. => format!("{value:e}").replace('e', "e+"),
        ..1e-6 => format!("{value:e}"),
        _ => value.to_string(),
    }
}

/// Every number of JSON is a double; those from [`INFINITE`] on are infinite.
fn double(number: &Number) -> Option<f64> {
    let value = number.as_f64()?;
    Some(if value.abs() >= INFINITE { f64::INFINITY.copysign(value) } else { value })
}

/// A text without blanks around it as a number.
pub(crate) fn number(text: &str) -> Option<f64> {
    let whole = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().map(f64::from);
    match text.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => whole(&text[2..], 16),
        Some("0o") => whole(&text[2..], 8),
        Some("0b") => whole(&text[2..], 2),
        _ => match text.strip_prefix(['+', '-']).unwrap_or(text) {
            "Infinity" => text.parse().ok(),
            unsigned if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_worth_what_they_are_in_javascript() {
        for (value, worth) in [
            (json!(1.5), Some(1.5)),
            (json!(1e308), Some(f64::INFINITY)),
            (json!(null), Some(0.0)),
            (json!(false), Some(0.0)),
            (json!(true), Some(1.0)),
            (json!(""), Some(0.0)),
            (json!(" 17 "), Some(17.0)),
            (json!("-0x1"), None),
            (json!("0x1F"), Some(31.0)),
            (json!("1e3"), Some(1_000.0)),
            (json!("17 s"), None),
            (json!("inf"), None),
            (json!([]), Some(0.0)),
            (json!([null]), Some(0.0)),
            (json!([5]), Some(5.0)),
            (json!(["5"]), Some(5.0)),
            (json!([[5]]), Some(5.0)),
            (json!([true]), None),
            (json!([5, 6]), None),
            (json!({}), None),
        ] {
            assert_eq!(to_number(&value), worth, "{value}");
        }
    }

    #[test]
    fn every_value_has_a_text() {
        for (value, text) in [
            (json!("a"), "a"),
            (json!(-5), "-5"),
            (json!(-0.0), "0"),
            (json!(1.5), "1.5"),
            (json!(9_007_199_254_740_993_u64), "9007199254740992"),
            (json!(1e20), "100000000000000000000"),
            (json!(1.5e21), "1.5e+21"),
            (json!(1e-6), "0.000001"),
            (json!(1.5e-7), "1.5e-7"),
            (json!(-1e308), "-Infinity"),
            (json!(["a", 5, ["b"], null]), "a,5,b,"),
            (json!([]), ""),
            (json!([{}]), "[object Object]"),
            (json!(null), "null"),
            (json!(true), "true"),
        ] {
            assert_eq!(to_text(&value), text, "{value}");
        }
    }

    #[test]
    fn nothing_zero_and_empty_texts_count_for_nothing() {
        for (value, counts) in [
            (json!(null), false),
            (json!(false), false),
            (json!(""), false),
            (json!(-0.0), false),
            (json!([]), true),
            (json!({}), true),
            (json!("0"), true),
            (json!(-1), true),
        ] {
            assert_eq!(is_truthy(&value), counts, "{value}");
        }
    }
}
