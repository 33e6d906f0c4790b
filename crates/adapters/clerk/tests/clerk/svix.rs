//! Deliveries signed by Svix's own library, as `tests/conformance/webhooks.json` records them: the same verdict, with and without
//! everything that can be bent.

use portal_clerk::{Timestamp, WebhookError, WebhookSecret, WebhookVerifier};
use serde::Deserialize;
use std::collections::BTreeMap;

const RECORDED: &str = include_str!("../../../../../tests/conformance/webhooks.json");

/// What the library takes and this one does not: a timestamp that is not digits alone, and two ways in which one signature could be
/// read as that of another delivery.
const STRICTER: [(&str, WebhookError); 5] = [
    ("an id with a dot", WebhookError::UnreadableHeader("svix-id")),
    ("something behind a comma", WebhookError::InvalidSignature),
    ("a timestamp with something behind it", WebhookError::UnreadableHeader("svix-timestamp")),
    ("a timestamp with zeros before it", WebhookError::InvalidSignature),
    ("a timestamp with a sign", WebhookError::UnreadableHeader("svix-timestamp")),
];

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    secrets: Vec<String>,
    now: i64,
    headers: BTreeMap<String, String>,
    body: String,
    accepted: bool,
}

impl Case {
    fn verify(&self) -> Result<(), WebhookError> {
        let mut secrets = self.secrets.iter().map(|text| WebhookSecret::parse(text).unwrap());
        let verifier = WebhookVerifier::new(secrets.next().unwrap());
        let verifier = secrets.fold(verifier, WebhookVerifier::also_accepting);
        let now = Timestamp::from_unix_seconds(self.now).unwrap();
        verifier.verify(&self.headers, self.body.as_bytes(), now).map(drop)
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str::<Recorded>(RECORDED).unwrap().cases
}

#[test]
fn t15_every_delivery_has_the_verdict_of_svix() {
    let cases = cases();
    let (mut accepted, mut refused, mut stricter) = (0, 0, 0);
    for case in &cases {
        let name = case.name.trim_end_matches(", two secrets");
        let known = STRICTER.iter().find(|(known, _)| *known == name);
        match (known, case.accepted) {
            (Some((_, error)), true) => {
                assert_eq!(case.verify(), Err(*error), "{}", case.name);
                stricter += 1;
            }
            (None, true) => {
                assert_eq!(case.verify(), Ok(()), "{}", case.name);
                accepted += 1;
            }
            (None, false) => {
                assert!(case.verify().is_err(), "{}", case.name);
                refused += 1;
            }
            (Some(_), false) => panic!("{}: Svix refuses it, too", case.name),
        }
    }
    assert!(accepted > 20 && refused > 50 && stricter == 9, "{accepted} {refused} {stricter}");
}

#[test]
fn every_byte_of_a_delivery_counts() {
    for case in cases().into_iter().filter(|case| case.verify().is_ok()) {
        for place in 0..case.body.len() {
            let mut body = case.body.clone().into_bytes();
            body[place] ^= 1;
            let Ok(body) = String::from_utf8(body) else { continue };
            let bent = Case {
                body,
                headers: case.headers.clone(),
                secrets: case.secrets.clone(),
                name: String::new(),
                ..case
            };
            assert_eq!(bent.verify(), Err(WebhookError::InvalidSignature), "{} at {place}", case.name);
        }
    }
}

#[test]
fn signing_gives_the_signatures_of_svix() {
    let mut compared = 0;
    for case in cases().into_iter().filter(|case| case.name.ends_with(", one secret")) {
        let sent_at: i64 = case.headers["svix-timestamp"].parse().unwrap();
        let secret = WebhookSecret::parse(&case.secrets[0]).unwrap();
        let signature =
            secret.sign(&case.headers["svix-id"], Timestamp::from_unix_seconds(sent_at).unwrap(), case.body.as_bytes());
        assert_eq!(signature, case.headers["svix-signature"], "{}", case.name);
        compared += 1;
    }
    assert_eq!(compared, 4);
}
