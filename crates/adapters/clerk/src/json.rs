//! JSON values, with the one fact that `serde_json` drops: whether a name occurred twice.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub(crate) type Members = Map<String, Value>;

/// A value; of names that occur twice in an object the last counts.
pub(crate) struct Parsed {
    pub(crate) value: Value,
    /// In this value or in one inside it.
    pub(crate) has_duplicates: bool,
}

/// None if the text is not one JSON value, or nests too deeply.
pub(crate) fn parse(text: &[u8]) -> Option<Parsed> {
    let duplicates = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Node(&duplicates).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(Parsed { value, has_duplicates: duplicates.get() })
}

/// As [`parse`], and as JavaScript where that takes more: half of a surrogate pair is what text without it has in its place, and a
/// number beyond every double is [`INFINITE`].
pub(crate) fn parse_any(text: &[u8]) -> Option<Parsed> {
    parse(text).or_else(|| parse(&representable(text)))
}

/// From here on a number counts as infinite. Written so, it reads as exactly this.
pub(crate) const INFINITE: f64 = 1e308;

/// The same JSON, with values that Rust has in the place of those that only JavaScript has.
fn representable(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(first) = rest.first() {
        let (length, other) = match first {
            b'\\' if in_string => escape(rest),
            b'-' | b'0'..=b'9' if !in_string => number(rest),
            _ => (1, None),
        };
        in_string ^= *first == b'"';
        let (taken, after) = rest.split_at(length.min(rest.len()));
        written.extend_from_slice(other.unwrap_or(taken));
        rest = after;
    }
    written
}

/// The length of an escape, and what stands in its place.
fn escape(text: &[u8]) -> (usize, Option<&'static [u8]>) {
    let unit = |text: &[u8]| {
        let digits = text.strip_prefix(b"\\u")?.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match unit(text) {
        None => (2, None),
        Some(0xd800..=0xdbff) if matches!(text.get(6..).and_then(unit), Some(0xdc00..=0xdfff)) => (12, None),
        Some(0xd800..=0xdfff) => (6, Some(br"\ufffd")),
        Some(_) => (6, None),
    }
}

/// As [`escape`], of a number.
fn number(text: &[u8]) -> (usize, Option<&'static [u8]>) {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let length = text.iter().take_while(|byte| is_part(byte)).count();
    let is_json = serde_json::from_slice::<IgnoredAny>(&text[..length]).is_ok();
    let value = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.parse::<f64>().ok());
    let infinite = value.filter(|value| is_json && value.is_infinite());
    (length, infinite.map(|value| if value > 0.0 { &b"1e308"[..] } else { b"-1e308" }))
}

/// Builds one value and marks the cell when a name repeats.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if members.insert(name, value).is_some() {
                self.0.set(true);
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_reads_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,3.5,1e3,18446744073709551615,true,false,null,"x\u00e9\n"],"b":{"c":{}},"":""}"#;
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.value, serde_json::from_str::<Value>(text).unwrap());
        assert!(!parsed.has_duplicates);
    }

    #[test]
    fn a_repeated_name_is_noticed_at_any_depth_and_the_last_one_counts() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"x":1,"x":1},"a":2}"#,
            r#"{"a":2,"b":[{"x":1,"x":1}]}"#,
        ] {
            let parsed = parse(text.as_bytes()).unwrap();
            assert!(parsed.has_duplicates, "{text}");
            assert_eq!(parsed.value["a"], json!(2), "{text}");
        }
        assert!(!parse(br#"{"a":{"x":1},"b":{"x":1}}"#).unwrap().has_duplicates);
    }

    #[test]
    fn what_only_javascript_has_is_read_where_it_is_asked_for() {
        for (text, value) in [
            (r#"{"a":1e400,"b":[-1e400,1e30],"c":"1e400"}"#, json!({ "a": 1e308, "b": [-1e308, 1e30], "c": "1e400" })),
            (
                r#"["\ud800","\udc00\ud83d\ude00\ud83dx\\ud800\"1e400\ud800"]"#,
                json!(["\u{fffd}", "\u{fffd}😀\u{fffd}x\\ud800\"1e400\u{fffd}"]),
            ),
            (r#"{"\ud800":1}"#, json!({ "\u{fffd}": 1 })),
        ] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
            assert_eq!(parse_any(text.as_bytes()).unwrap().value, value, "{text}");
        }
        let digits = "9".repeat(400);
        assert_eq!(parse_any(digits.as_bytes()).unwrap().value.as_f64(), Some(INFINITE));
        for text in [
            "1e400x",
            "-",
            "1e",
            "01e400",
            "1.e400",
            "[1e400",
            "\"\\ud800",
            "\"\\ud8",
            "\\ud800",
            "\"\\",
            "{\"a\":+1e400}",
        ] {
            assert!(parse_any(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        let deep = [b"{\"a\":".repeat(200), b"1".to_vec(), b"}".repeat(200)].concat();
        for text in [
            &b""[..],
            b"{",
            b"[] []",
            b"nul",
            b"\"a",
            b"{}{}",
            b"{} x",
            b"{\"a\":NaN}",
            b"{\"a\":1e999}",
            b"\xff",
            &deep,
        ] {
            assert!(parse(text).is_none());
        }
    }
}
