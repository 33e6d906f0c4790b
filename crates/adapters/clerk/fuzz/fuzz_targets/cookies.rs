//! Cookies: a name, a suffix, then the lines of the header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portal_clerk::fuzzing::{cookie, suffixed_cookie};
use portal_clerk::{AuthenticateRequestOptions, RequestAuthenticator, RequestParts};
use portal_clerk_fuzz::{INSTANCE, PAGE, block_on};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut pieces = text.split('\n');
    let (name, suffix) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
    let lines: Vec<&str> = pieces.collect();

    for name in [name, &format!("{name}_{suffix}"), "__session", "__client_uat"] {
        assert_eq!(cookie(&lines, name), expected(&lines, name), "{name:?}");
    }
    assert_eq!(suffixed_cookie(&lines, name, suffix), expected(&lines, &format!("{name}_{suffix}")));

    let request = RequestParts::new("GET", PAGE).header("sec-fetch-dest", "document");
    let request = lines.iter().fold(request, |request, line| request.header("cookie", *line));
    let state = block_on(INSTANCE.authenticate_request(&request, &AuthenticateRequestOptions::DOCUMENT));
    assert!(state.session().is_none(), "nobody signs in without a signature");
});

/// The first cookie by that name, read byte by byte.
fn expected(lines: &[&str], name: &str) -> Option<String> {
    let (mut left, mut value, mut is_value) = (String::new(), String::new(), false);
    for line in lines {
        for character in line.chars().chain([';']) {
            match character {
                ';' => {
                    if is_value && trim(&left) == name {
                        return Some(decode(trim(&value))).filter(|value| !value.is_empty());
                    }
                    (left, value, is_value) = Default::default();
                }
                '=' if !is_value => is_value = true,
                _ if is_value => value.push(character),
                _ => left.push(character),
            }
        }
    }
    None
}

fn trim(text: &str) -> &str {
    text.trim_start_matches([' ', '\t']).trim_end_matches([' ', '\t'])
}

fn decode(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return value.to_owned() };
        bytes.push(u8::try_from(high * 16 + low).expect("two digits are a byte"));
    }
    String::from_utf8(bytes).unwrap_or_else(|_| value.to_owned())
}
