//! Taking a compact token apart.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use portal_clerk::fuzzing::split;
use portal_clerk::{StrictChoices, TokenVerificationErrorReason as Reason};
use portal_clerk_fuzz::{INSTANCE, block_on};
use serde_json::Value;

const LONGEST: usize = 16 * 1_024;

fuzz_target!(|data: &[u8]| {
    let token = &*String::from_utf8_lossy(data);
    let strict = StrictChoices::strict();
    let mut with_duplicates = strict;
    with_duplicates.reject_duplicate_claims = false;

    let (in_strict, lax, in_exact) =
        (split(token, &strict), split(token, &with_duplicates), split(token, &StrictChoices::exact()));
    let found = lax.as_ref().ok().map(|parts| (parts.header.clone(), parts.claims.clone()));
    assert_eq!(found, expected(token));
    assert!(in_strict.is_err() || lax.is_ok(), "strict refuses more");
    assert!(lax.is_err() || in_exact.is_ok(), "exact refuses less");
    for parts in [&in_strict, &lax, &in_exact].into_iter().flatten() {
        let signed = std::str::from_utf8(parts.signed).expect("a part of a text");
        let rest = token.strip_prefix(signed).expect("what is signed comes first");
        assert_eq!(rest.trim_end_matches('='), format!(".{}", parts.signature));
        assert!(token.len() <= LONGEST && token.matches('.').count() == 2);
    }
    for refused in [in_strict, lax, in_exact].into_iter().filter_map(Result::err) {
        assert_eq!(refused.reason(), Reason::TokenInvalid);
    }

    assert!(block_on(INSTANCE.verify_token(token)).is_err(), "no input holds a signature");
});

/// Header and claims of three segments in the one spelling that base64url without padding has for them.
fn expected(token: &str) -> Option<(serde_json::Map<String, Value>, serde_json::Map<String, Value>)> {
    let segments: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = segments[..] else { return None };
    let canonical = |segment: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(segment).ok()?;
        (URL_SAFE_NO_PAD.encode(&bytes) == segment).then_some(bytes)
    };
    let object = |segment: &str| match serde_json::from_slice(&canonical(segment)?) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    };
    canonical(signature).filter(|_| token.len() <= LONGEST)?;
    Some((object(header)?, object(claims)?))
}
