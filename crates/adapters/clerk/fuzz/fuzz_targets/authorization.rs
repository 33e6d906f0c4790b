//! The header `Authorization`: one line per line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portal_clerk::fuzzing::bearer;
use portal_clerk::{AuthenticateRequestOptions, RequestAuthenticator, RequestParts};
use portal_clerk_fuzz::{INSTANCE, PAGE, block_on};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let request =
        text.split('\n').fold(RequestParts::new("GET", PAGE), |parts, line| parts.header("authorization", line));
    let lines: Vec<_> = text.split('\n').map(|line| line.trim_matches([' ', '\t'])).collect();
    let header = lines.join(", ");

    for (found, expected) in
        [(bearer(&request, false), as_clerk_reads(&header)), (bearer(&request, true), as_rfc_6750_reads(&header))]
    {
        assert_eq!(found, expected);
        assert!(found.is_none_or(|token| !token.is_empty() && header.contains(&token)));
    }

    let state = block_on(INSTANCE.authenticate_request(&request, &AuthenticateRequestOptions::API));
    assert!(state.session().is_none(), "nobody signs in without a signature");
    if bearer(&request, false).is_none() {
        assert!(state.reason().is_some(), "no token, and no session");
    }
});

/// `const [scheme, token] = value.split(" ")`, of which an empty text counts as none.
fn as_clerk_reads(header: &str) -> Option<String> {
    let pieces: Vec<_> = header.split(' ').collect();
    let piece = |at: usize| pieces.get(at).filter(|piece| !piece.is_empty()).map(|piece| (*piece).to_owned());
    match (piece(0)?, piece(1)) {
        (scheme, Some(token)) => (scheme == "Bearer").then_some(token),
        (bare, None) => Some(bare),
    }
}

/// `Bearer` in any case, at least one space, and a token that is not empty.
fn as_rfc_6750_reads(header: &str) -> Option<String> {
    let (scheme, rest) = (header.get(..7)?, header.get(7..)?);
    let token: String = rest.chars().skip_while(|character| *character == ' ').collect();
    (scheme.eq_ignore_ascii_case("bearer ") && !token.is_empty()).then_some(token)
}
