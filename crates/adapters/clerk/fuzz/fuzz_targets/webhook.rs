//! A delivery: a byte of options, then `svix-id`, `svix-timestamp` and `svix-signature`, one line each, then the body.
//!
//! In the third line, `@` stands for the signature of the instance and `~` for that of somebody else: no input could hold them.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use portal_clerk::{Timestamp, VerifiedWebhook, WebhookError, WebhookSecret, WebhookVerifier};
use portal_clerk_fuzz::NOW;

const OWN: &[u8] = b"own secret";
const OTHER: &[u8] = b"other secret";
const TOLERANCE: u64 = 300;

static SECRETS: LazyLock<[WebhookSecret; 2]> = LazyLock::new(|| {
    [OWN, OTHER].map(|key| WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode(key))).expect("a good secret"))
});

const UPPER_CASE: u8 = 1;
const REPEATED_ID: u8 = 2;
const WITHOUT_TIMESTAMP: u8 = 4;
const BOTH_SECRETS: u8 = 8;

fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = data.split_first() else { return };
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (id, timestamp, template, body) = (line(), line(), line(), line());
    if template.iter().filter(|byte| matches!(byte, b'@' | b'~')).count() > 50 {
        return;
    }
    let (own, other) = (signature(OWN, id, timestamp, body), signature(OTHER, id, timestamp, body));
    let mut signatures = Vec::new();
    for byte in template {
        match byte {
            b'@' => signatures.extend_from_slice(own.as_bytes()),
            b'~' => signatures.extend_from_slice(other.as_bytes()),
            byte => signatures.push(*byte),
        }
    }

    let name = |name: &str| if flags & UPPER_CASE != 0 { name.to_ascii_uppercase() } else { name.to_owned() };
    let mut headers = vec![(name("svix-id"), id), (name("svix-signature"), &signatures)];
    if flags & WITHOUT_TIMESTAMP == 0 {
        headers.push((name("svix-timestamp"), timestamp));
    }
    if flags & REPEATED_ID != 0 {
        headers.push(("svix-id".to_owned(), id));
    }
    let both = flags & BOTH_SECRETS != 0;
    let known = if both { vec![own.as_str(), &other] } else { vec![own.as_str()] };
    let [first, second] = &*SECRETS;
    let verifier = WebhookVerifier::new(first.clone());
    let verifier = if both { verifier.also_accepting(second.clone()) } else { verifier };

    let found = verify(&verifier, &headers, body);
    let complete = flags & (WITHOUT_TIMESTAMP | REPEATED_ID) == 0;
    let expected = if complete { expected(id, timestamp, &signatures, &known) } else { None };
    assert_eq!(found.as_ref().ok().map(|found| (found.id(), found.timestamp().unix_seconds())), expected);
    let Ok(found) = found else { return };

    assert_eq!(found.body(), body);
    if let Ok(event) = found.event() {
        let text = std::str::from_utf8(body).expect("an event is text");
        // Members that no event has are skipped unread, so that a whole reading may still fail.
        if let Ok(whole) = serde_json::from_str::<serde_json::Value>(text) {
            assert_eq!((&whole["type"], &whole["data"]), (&event.kind.as_str().into(), &event.data));
        }
    }
    let longer = [body, b" "].concat();
    assert_eq!(verify(&verifier, &headers, &longer), Err(WebhookError::InvalidSignature));
    assert_eq!(verify(&verifier, &headers, &[b" ", body].concat()), Err(WebhookError::InvalidSignature));
    if let Some((_, shorter)) = body.split_first() {
        assert_eq!(verify(&verifier, &headers, shorter), Err(WebhookError::InvalidSignature));
    }
    let stranger = WebhookVerifier::new(WebhookSecret::parse("whsec_c3RyYW5nZXI=").expect("a good secret"));
    assert_eq!(verify(&stranger, &headers, body), Err(WebhookError::InvalidSignature));
});

fn verify<'a>(
    verifier: &WebhookVerifier,
    headers: &'a [(String, &'a [u8])],
    body: &'a [u8],
) -> Result<VerifiedWebhook<'a>, WebhookError> {
    let now = Timestamp::from_unix_seconds(NOW).expect("a moment");
    verifier.verify(headers.iter().map(|(name, value)| (name.as_str(), *value)), body, now)
}

/// Of the headers without white space around them.
fn signature(key: &[u8], id: &[u8], timestamp: &[u8], body: &[u8]) -> String {
    let trimmed = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    let content = [trimmed(id).as_bytes(), trimmed(timestamp).as_bytes(), body].join(&b"."[..]);
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &content))
}

/// Id and second of a delivery that is to be accepted.
fn expected<'a>(id: &'a [u8], timestamp: &[u8], signatures: &[u8], known: &[&str]) -> Option<(&'a str, i64)> {
    let id = std::str::from_utf8(id).ok()?.trim();
    let timestamp = std::str::from_utf8(timestamp).ok()?.trim();
    let signatures = std::str::from_utf8(signatures).ok()?.trim();
    let digits = !timestamp.is_empty() && timestamp.chars().all(|digit| digit.is_ascii_digit());
    let seconds: i64 = timestamp.parse().ok().filter(|_| digits)?;
    let fits = |entry: &str| entry.strip_prefix("v1,").is_some_and(|signature| known.contains(&signature));
    let accepted =
        !id.is_empty() && !id.contains('.') && seconds.abs_diff(NOW) <= TOLERANCE && signatures.split(' ').any(fits);
    accepted.then_some((id, seconds))
}
