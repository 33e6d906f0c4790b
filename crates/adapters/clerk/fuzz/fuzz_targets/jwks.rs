//! The document that lists signing keys, as JSON in which `@2048` stands for a modulus of that many bits, and so on.
#![no_main]

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use portal_clerk::fuzzing::{ListedKey, signing_keys};
use serde_json::Value;

/// Moduli that no short input could hold: of the sizes around the limits, and an even one.
const SIZES: [(&str, usize, u8); 6] = [
    ("@2040", 255, 0xc1),
    ("@2048", 256, 0xc1),
    ("@4096", 512, 0xc3),
    ("@8192", 1_024, 0xc5),
    ("@8200", 1_025, 0xc5),
    ("@even", 256, 0xc2),
];

fuzz_target!(|data: &[u8]| {
    let mut text = String::from_utf8_lossy(data).into_owned();
    if text.matches('@').count() > 20 {
        return;
    }
    for (name, length, byte) in SIZES {
        text = text.replace(name, &URL_SAFE_NO_PAD.encode(vec![byte; length]));
    }
    assert_eq!(signing_keys(text.as_bytes()), expected(&text));
});

/// Of all entries that are RSA keys for RS256 signatures, the last by each id.
fn expected(text: &str) -> Vec<ListedKey> {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let Value::Array(entries) = &document["keys"] else { return Vec::new() };
    let mut keys = BTreeMap::new();
    for entry in entries {
        let is_or_lacks = |name: &str, value: &str| entry.get(name).is_none_or(|found| found == value);
        let number = |name: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(entry.get(name)?.as_str()?.trim_end_matches('=')).ok()?;
            Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>())
        };
        let (Some(n), Some(e), Some(kid)) = (number("n"), number("e"), entry["kid"].as_str()) else { continue };
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        let in_size = (2_048..=8_192).contains(&bits(&n)) && (2..=33).contains(&bits(&e));
        if entry["kty"] == "RSA"
            && is_or_lacks("use", "sig")
            && is_or_lacks("alg", "RS256")
            && in_size
            && is_odd(&n)
            && is_odd(&e)
        {
            keys.insert(kid.to_owned(), ListedKey { kid: kid.to_owned(), n, e });
        }
    }
    keys.into_values().collect()
}

fn bits(number: &[u8]) -> u32 {
    let Some((first, rest)) = number.split_first() else { return 0 };
    (1..=8).rev().find(|bit| first >> (bit - 1) & 1 == 1).unwrap_or_default()
        + 8 * u32::try_from(rest.len()).expect("short")
}
