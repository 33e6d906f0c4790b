//! One test per advisory that this library could repeat.

use portal_clerk::{
    AuthReason, StrictChoices, Timestamp, TokenVerificationErrorReason as Reason, WebhookError, WebhookSecret,
    WebhookVerifier,
};
use serde_json::{Value, json};

use crate::minting::{KEY, NOW, OTHER, claims, encode, header};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, session, with_keys_of, with_public_key};

/// jsonwebtoken before 10.3 took a wrong-typed `exp` or `nbf` as absent (CVE-2026-25537).
#[tokio::test]
async fn t11_wrong_typed_times_are_refused() {
    let strict = Setup::new(with_public_key());
    let exact = {
        let mut options = with_public_key();
        options.choices = StrictChoices::exact();
        Setup::new(options)
    };
    let with = |name: &str, value: &str| {
        // As text, since some of these are no JSON numbers.
        let claims = claims(&json!({ name: "@" })).to_string().replace("\"@\"", value);
        let payload = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
        KEY.sign(&format!("{}.{payload}", encode(&header(&json!({})))), None)
    };
    let text = format!("\"{}\"", NOW + 60);
    let list = format!("[{}]", NOW + 60);
    for name in ["exp", "nbf", "iat"] {
        for wrong in [&text, "null", &list, "{}", "true", "\"\"", "\"never\""] {
            let token = with(name, wrong);
            assert_eq!(strict.refusal(&token).await, Some(Reason::TokenVerificationFailed), "{name}: {wrong}");
            assert_eq!(exact.refusal(&token).await, Some(Reason::TokenVerificationFailed), "{name}: {wrong}");
        }
        for wrong in
            ["-1", "-9223372036854775808", "9223372036854775807", "18446744073709551615", "1e300", "1767225660.5"]
        {
            let token = with(name, wrong);
            assert_eq!(strict.refusal(&token).await, Some(Reason::TokenVerificationFailed), "{name}: {wrong}");
        }
        for no_json in ["NaN", "Infinity", "01", "+1", "0x10", "01e999", ""] {
            let token = with(name, no_json);
            assert_eq!(strict.refusal(&token).await, Some(Reason::TokenInvalid), "{name}: {no_json}");
            assert_eq!(exact.refusal(&token).await, Some(Reason::TokenInvalid), "{name}: {no_json}");
        }
        for infinite in ["1e999", "-1e999"] {
            let token = with(name, infinite);
            assert_eq!(strict.refusal(&token).await, Some(Reason::TokenInvalid), "{name}: {infinite}");
            assert_eq!(exact.refusal(&token).await, None, "in Clerk's SDK it is never: {name}: {infinite}");
        }
    }
    assert_eq!(strict.refusal(&session(&json!({ "exp": null }))).await, Some(Reason::TokenVerificationFailed));
    assert_eq!(strict.refusal(&session(&json!({ "nbf": null, "iat": null }))).await, None);
}

/// Clerk's SEC-340: template and machine tokens bear the same signature as sessions.
#[tokio::test]
async fn t12_tokens_of_another_class_are_never_sessions() {
    let machine = json!({ "sub": "mch_2vYVtest", "scopes": "mch_1 mch_2", "sid": null, "azp": null });
    let template = json!({ "sid": null, "handshake": ["__session=forged"] });
    let none = json!({});
    for is_strict in [true, false] {
        let mut options = with_public_key();
        options.choices = if is_strict { StrictChoices::strict() } else { StrictChoices::exact() };
        let setup = Setup::new(options);
        // The last column: whether Clerk's SDK takes it where no request is asked about.
        let cases: [(&Value, Value, bool, bool); 12] = [
            (&none, json!({ "cat": "cl_B7d4PD111AAA" }), true, true),
            (&none, json!({ "cat": "cl_I7d4PD111III" }), true, true),
            (&none, json!({ "cat": null }), true, true),
            (&none, json!({ "cat": "cl_B7d4PD222AAA" }), false, true),
            (&template, json!({ "cat": "cl_B7d4PD222AAA" }), false, true),
            (&none, json!({ "cat": "cl_B7d4PD333AAA" }), false, false),
            (&machine, json!({ "cat": "cl_B7d4PD333AAA" }), false, false),
            (&machine, json!({ "cat": null }), false, true),
            (&machine, json!({ "cat": "cl_I7d4PD111III" }), false, true),
            (&none, json!({ "cat": "cl_unknown" }), false, true),
            (&none, json!({ "typ": "at+jwt" }), false, false),
            (&none, json!({ "typ": "application/at+jwt", "cat": null }), false, false),
        ];
        for (change, head, session, verifies) in &cases {
            let token = KEY.token(&header(head), &claims(change));
            let mismatch = (!session).then_some(AuthReason::TokenTypeMismatch);
            assert_eq!(setup.reason(&token).await, mismatch, "{head} {change}");
            let accepted = if is_strict { session } else { verifies };
            let invalid = (!accepted).then_some(Reason::TokenInvalid);
            assert_eq!(setup.refusal(&token).await, invalid, "{head} {change}");
            assert_eq!(
                setup.reason(&token).await,
                mismatch,
                "what verified is no session where one is asked for: {head} {change}"
            );
        }
        for opaque in ["ak_live_x", "mt_x", "oat_x"] {
            assert_eq!(setup.reason(opaque).await, Some(AuthReason::Token(Reason::TokenInvalid)), "{opaque}");
        }
        assert_eq!(setup.clerk.stats().cache_hits, 6, "only sessions are believed");
    }
    // Where the category says nothing, only the missing session id gives a template away.
    let strict = Setup::new(with_public_key());
    let token = KEY.token(&header(&json!({ "cat": "cl_I7d4PD111III" })), &claims(&template));
    assert_eq!(strict.reason(&token).await, Some(AuthReason::Token(Reason::TokenVerificationFailed)));
}

/// A signature of any other length was once accepted (RUSTSEC-2024-0010), and any signature at all (CVE-2025-53548).
#[test]
fn t15_only_what_clerk_signed_is_a_webhook() {
    const BODY: &[u8] = br#"{"object":"event","type":"user.created","data":{}}"#;
    let secret = |text| WebhookSecret::parse(text).unwrap();
    let (old, new) = (secret("whsec_b2xkIHNlY3JldA=="), secret("whsec_bmV3IHNlY3JldA=="));
    let sent_at = Timestamp::from_unix_seconds(NOW).unwrap();
    let good = old.sign("msg_1", sent_at, BODY);
    let verdict = |verifier: &WebhookVerifier, id: &str, timestamp: i64, signature: &str, body: &[u8]| {
        let timestamp = timestamp.to_string();
        let headers = [("svix-id", id), ("svix-timestamp", &timestamp), ("svix-signature", signature)];
        verifier.verify(headers, body, sent_at).map(|verified| verified.event().unwrap().kind)
    };
    let (ok, invalid) = (Ok("user.created".to_owned()), Err(WebhookError::InvalidSignature));

    let one = WebhookVerifier::new(old.clone());
    let other = new.sign("msg_1", sent_at, BODY);
    let base64 = &good["v1,".len()..];
    for (signature, expected) in [
        (good.clone(), ok.clone()),
        (String::new(), Err(WebhookError::MissingHeader("svix-signature"))),
        (" ".into(), Err(WebhookError::MissingHeader("svix-signature"))),
        // Short, long, and of another spelling.
        ("v1,".into(), invalid.clone()),
        ("v1".into(), invalid.clone()),
        (",".into(), invalid.clone()),
        (base64.into(), invalid.clone()),
        (good[..good.len() - 1].into(), invalid.clone()),
        (good[..20].into(), invalid.clone()),
        (format!("{good}="), invalid.clone()),
        (format!("{good}AAAA"), invalid.clone()),
        (format!("v1,{base64}{base64}"), invalid.clone()),
        (good.trim_end_matches('=').into(), invalid.clone()),
        (format!("v1, {base64}"), invalid.clone()),
        (format!("V1,{base64}"), invalid.clone()),
        // Of another version.
        (format!("v1a,{base64}"), invalid.clone()),
        (format!("v2,{base64}"), invalid.clone()),
        (format!(",{base64}"), invalid.clone()),
        // Several.
        (format!("{other} {good}"), ok.clone()),
        (format!("{good} {other}"), ok.clone()),
        (format!("v1a,AAAA junk v1, ,,  v2,{base64} {good} v1"), ok.clone()),
        (format!("{other} {other} v1a,{base64}"), invalid.clone()),
        (format!("{other},{good}"), invalid.clone()),
    ] {
        assert_eq!(verdict(&one, "msg_1", NOW, &signature, BODY), expected, "{signature}");
    }

    // Altered after it was signed; a moved boundary between the parts is an alteration too.
    for (id, timestamp, body) in [
        ("msg_2", NOW, BODY),
        ("msg_", NOW, BODY),
        ("MSG_1", NOW, BODY),
        ("msg_1", NOW + 1, BODY),
        ("msg_1", NOW - 1, BODY),
        ("msg_1", NOW, &BODY[1..]),
        ("msg_1", NOW, b""),
        ("msg_1", NOW, br#"{"object":"event","type":"user.deleted","data":{}}"#),
        ("msg_1", NOW, br#"{"object":"event","type":"user.created","data":{}} "#),
    ] {
        assert_eq!(verdict(&one, id, timestamp, &good, body), invalid, "{id} {timestamp}");
    }
    let moved = old.sign("msg_1", sent_at, format!("{NOW}.{{}}").as_bytes());
    let shifted = format!("msg_1.{NOW}");
    assert_eq!(verdict(&one, &shifted, NOW, &moved, b"{}"), Err(WebhookError::UnreadableHeader("svix-id")));

    // Older or newer than five minutes, although signed.
    for (passed, expected) in
        [(300, ok.clone()), (-300, ok.clone()), (-301, Err(WebhookError::TooOld)), (301, Err(WebhookError::TooNew))]
    {
        let signature = old.sign("msg_1", Timestamp::from_unix_seconds(NOW + passed).unwrap(), BODY);
        assert_eq!(verdict(&one, "msg_1", NOW + passed, &signature, BODY), expected, "{passed}");
    }

    // Two secrets while one takes the place of the other.
    let both = WebhookVerifier::new(new).also_accepting(old);
    let third = secret("whsec_dGhpcmQ=").sign("msg_1", sent_at, BODY);
    for (signature, by_one, by_both) in [(&good, &ok, &ok), (&other, &invalid, &ok), (&third, &invalid, &invalid)] {
        assert_eq!(&verdict(&one, "msg_1", NOW, signature, BODY), by_one);
        assert_eq!(&verdict(&both, "msg_1", NOW, signature, BODY), by_both);
    }
}

/// The attacker's issuer (CVE-2026-31813): a token never says where its key is.
#[tokio::test]
async fn t16_keys_come_from_configuration_only() {
    let own = FakeClerk::start(Reply::good()).await;
    let evil = FakeClerk::start(Reply::keys(&[(&OTHER, "ins_test"), (&OTHER, "ins_evil")])).await;
    let urls = |path: &str| format!("{}{path}", evil.url());
    for kid in ["ins_test", "ins_evil"] {
        let head = header(&json!({
            "kid": kid, "jku": urls("/v1/jwks"), "x5u": urls("/cert"), "jwk": OTHER.jwk(kid), "x5c": ["MIIB"], "iss": urls(""),
        }));
        let token = OTHER.token(&head, &claims(&json!({ "iss": urls(""), "azp": urls("") })));
        for setup in [Setup::new(with_keys_of(own.url())), Setup::new(with_public_key())] {
            let refusal = setup.refusal(&token).await;
            assert!(matches!(refusal, Some(Reason::TokenInvalidSignature | Reason::JwkKidMismatch)), "{refusal:?}");
        }
    }
    assert_eq!(evil.hits(), 0);
    // The right key with a foreign issuer does not help either.
    let setup = Setup::new(with_keys_of(own.url()));
    for iss in [urls(""), "https://clerk.example.com.evil.example".into(), "http://clerk.example.com".into()] {
        assert_eq!(
            setup.refusal(&session(&json!({ "iss": iss }))).await,
            Some(Reason::TokenVerificationFailed),
            "{iss}"
        );
    }
    assert_eq!(evil.hits(), 0);
}
