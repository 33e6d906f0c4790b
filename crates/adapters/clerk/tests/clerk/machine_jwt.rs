//! Machine tokens that are JWTs, verified with the keys of the instance.

use portal_clerk::{ClerkOptions, SecretString, StrictChoices, TokenType};
use serde_json::{Value, json};

use crate::machine_setup::Machines;
use crate::minting::{ISSUER, KEY, KID, NOW, OTHER, encode};
use crate::server::{FakeClerk, Reply, nobody};
use crate::setup::{impatient, with_keys_of, with_public_key};

fn changed(mut object: Value, change: &Value) -> Value {
    let members = object.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    object
}

fn machine_header(change: &Value) -> Value {
    changed(json!({ "alg": "RS256", "kid": KID, "typ": "JWT", "cat": "cl_B7d4PD333AAA" }), change)
}

fn machine_claims(change: &Value) -> Value {
    let claims = json!({
        "sub": "mch_9", "jti": "mt_1", "iss": ISSUER, "aud": ["mch_1", "mch_2"], "scopes": "mch_1 mch_2", "exp": NOW + 60,
        "iat": NOW, "nbf": NOW - 10,
    });
    changed(claims, change)
}

fn machine(header: &Value, claims: &Value) -> String {
    KEY.token(&machine_header(header), &machine_claims(claims))
}

fn access_claims(change: &Value) -> Value {
    let claims = json!({
        "sub": "user_1", "jti": "oat_1", "iss": ISSUER, "client_id": "client_1", "scope": "openid email", "exp": NOW + 60,
        "iat": NOW,
    });
    changed(claims, change)
}

fn access(header: &Value, claims: &Value) -> String {
    let header = changed(json!({ "alg": "RS256", "kid": KID, "typ": "at+jwt" }), header);
    KEY.token(&header, &access_claims(claims))
}

fn strict() -> ClerkOptions {
    ClerkOptions { machine_id: Some("mch_1".to_owned()), ..with_public_key() }
}

fn exact() -> ClerkOptions {
    ClerkOptions { choices: StrictChoices::exact(), ..with_public_key() }
}

#[tokio::test]
async fn a_machines_token_gives_its_machine_scopes_and_custom_claims() {
    let none = json!({});
    let machines = Machines::new(strict());
    let auth = machines.ask(&machine(&none, &json!({ "level": 3 }))).await.unwrap();
    assert_eq!((auth.token_type, auth.id.as_str(), auth.subject.as_str()), (TokenType::M2mToken, "mt_1", "mch_9"));
    assert_eq!((auth.machine_id.as_ref().unwrap().as_str(), auth.user_id.as_ref()), ("mch_9", None));
    assert_eq!(auth.scopes, ["mch_1", "mch_2"]);
    let claims: Value = serde_json::from_str(auth.claims.as_ref().unwrap()).unwrap();
    assert_eq!(claims, json!({ "aud": ["mch_1", "mch_2"], "scopes": "mch_1 mch_2", "level": 3 }));
    assert_eq!(auth.expires_at.unwrap().unix_seconds(), NOW + 60);

    let machines = Machines::new(exact());
    for (change, scopes) in [
        (json!({ "scopes": null, "aud": ["mch_1", 1] }), &["mch_1"][..]),
        (json!({ "scopes": null, "aud": "mch_1" }), &["mch_1"]),
        (json!({ "scopes": "a  b" }), &["a", "", "b"]),
        (json!({ "scopes": 1 }), &[]),
        (json!({ "scopes": null, "aud": null }), &[]),
    ] {
        let auth = machines.ask(&machine(&none, &change)).await.unwrap();
        assert_eq!(auth.scopes, scopes, "{change}");
    }
    let auth = Machines::new(strict()).ask(&machine(&none, &json!({ "scopes": "mch_1  b" }))).await.unwrap();
    assert_eq!(auth.scopes, ["mch_1", "b"]);
    let bare = json!({ "scopes": null, "aud": null, "jti": null, "iss": null });
    let auth = machines.ask(&machine(&none, &bare)).await.unwrap();
    assert_eq!((auth.id.as_str(), auth.claims.as_ref()), ("", None));
}

#[tokio::test]
async fn an_access_token_gives_its_user_client_and_scopes() {
    let machines = Machines::new(strict());
    for typ in ["at+jwt", "application/at+jwt"] {
        let auth = machines.ask(&access(&json!({ "typ": typ }), &json!({}))).await.unwrap();
        assert_eq!((auth.token_type, auth.id.as_str()), (TokenType::OauthToken, "oat_1"));
        assert_eq!(auth.user_id.as_ref().unwrap().as_str(), "user_1");
        assert_eq!((auth.client_id.as_deref(), auth.claims.as_ref()), (Some("client_1"), None));
        assert_eq!(auth.scopes, ["openid", "email"]);
    }
    let auth = machines.ask(&access(&json!({}), &json!({ "scp": ["a", "b"], "client_id": null }))).await.unwrap();
    assert_eq!((auth.client_id.as_deref(), auth.scopes.as_slice()), (None, &["a".to_owned(), "b".to_owned()][..]));
}

#[tokio::test]
async fn a_subject_of_another_kind_is_refused_or_has_no_id() {
    let none = json!({});
    let tokens = ["org_1", "agt_1", "user_../x"].map(|sub| access(&none, &json!({ "sub": sub })));
    for token in tokens.into_iter().chain([machine(&none, &json!({ "sub": "mch_" }))]) {
        assert_eq!(Machines::new(strict()).refusal(&token).await.0, "token-verification-failed");
        let auth = Machines::new(exact()).ask(&token).await.unwrap();
        assert_eq!((&auth.user_id, &auth.organization_id, &auth.machine_id), (&None, &None, &None), "{auth:?}");
    }
    let nobody = access(&none, &json!({ "sub": "" }));
    assert_eq!(Machines::new(strict()).refusal(&nobody).await.0, "token-verification-failed");
    assert_eq!(Machines::new(exact()).ask(&nobody).await.unwrap().subject, "");
}

#[tokio::test]
async fn the_category_is_judged_before_any_key_is_looked_up() {
    let url = nobody();
    for cat in [json!("cl_B7d4PD111AAA"), json!("cl_B7d4PD222AAA"), json!("cl_I7d4PD111III"), json!(""), json!(1)] {
        let machines = Machines::new(ClerkOptions { choices: StrictChoices::exact(), ..impatient(&url) });
        let token = machine(&json!({ "cat": cat }), &json!({}));
        let expected = "Invalid M2M JWT category. (code=token-invalid, status=n/a)";
        assert_eq!(machines.refusal(&token).await, ("token-invalid".to_owned(), expected.to_owned()), "{cat}");
    }
    assert!(Machines::new(exact()).ask(&machine(&json!({ "cat": null }), &json!({}))).await.is_ok());
}

#[tokio::test]
async fn every_check_of_a_session_token_holds_for_machines() {
    let none = json!({});
    let other = OTHER.token(&machine_header(&none), &machine_claims(&none));
    let unsigned =
        format!("{}.{}.e30", encode(&machine_header(&json!({ "alg": "none" }))), encode(&machine_claims(&none)));
    for (token, message) in [
        (machine(&json!({ "typ": "at+jwt" }), &none), "Invalid JWT type \"at+jwt\". Expected \"JWT\"."),
        (machine(&json!({ "alg": "HS256" }), &none), "Invalid JWT algorithm \"HS256\"."),
        (access(&json!({ "alg": "HS256" }), &none), "Invalid JWT algorithm \"HS256\"."),
        (unsigned, "Invalid JWT algorithm \"none\"."),
        (other, "JWT signature is invalid."),
        (machine(&none, &json!({ "exp": NOW - 5 })), "JWT is expired."),
        (access(&none, &json!({ "exp": NOW - 5 })), "JWT is expired."),
        (access(&none, &json!({ "exp": null })), "Invalid JWT expiry date claim (exp)"),
        (access(&none, &json!({ "sub": null })), "Subject claim (sub) is required"),
        (machine(&none, &json!({ "nbf": NOW + 6 })), "JWT cannot be used prior"),
        (machine(&none, &json!({ "iat": NOW + 6 })), "JWT issued at date claim (iat) is in the future."),
    ] {
        for options in [strict(), exact()] {
            let (reason, found) = Machines::new(options).refusal(&token).await;
            assert_eq!(reason, "token-verification-failed", "{found}");
            assert!(found.starts_with(message), "{found}");
            assert!(found.ends_with(" (code=token-verification-failed, status=n/a)"), "{found}");
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_a_machine_token_is_invalid() {
    for token in ["mt_a.b.c", "oat_a.b.c", "ak_a.e30.e30"] {
        assert_eq!(Machines::new(strict()).refusal(token).await.0, "token-invalid", "{token}");
    }
}

#[tokio::test]
async fn unreachable_keys_are_an_outage_and_an_unknown_one_is_not() {
    let token = machine(&json!({}), &json!({}));
    let out = Machines::new(ClerkOptions { choices: StrictChoices::exact(), ..impatient(&nobody()) });
    let out = out.ask(&token).await.unwrap_err();
    assert_eq!((out.reason.as_str().as_ref(), out.outage), ("token-verification-failed", true));

    let server = FakeClerk::start(Reply::keys(&[(&KEY, "ins_other")])).await;
    let machines = Machines::new(ClerkOptions { choices: StrictChoices::exact(), ..with_keys_of(server.url()) });
    let out = machines.ask(&token).await.unwrap_err();
    assert_eq!((out.reason.as_str().as_ref(), out.outage), ("token-verification-failed", false));
}

#[tokio::test]
async fn authorized_parties_do_not_count_for_machines_unless_exact() {
    let authorized_parties = vec!["https://portal.example".to_owned()];
    for token in [machine(&json!({}), &json!({})), access(&json!({}), &json!({}))] {
        let options = ClerkOptions { authorized_parties: authorized_parties.clone(), ..strict() };
        assert!(Machines::new(options).ask(&token).await.is_ok());
        let options = ClerkOptions { authorized_parties: authorized_parties.clone(), ..exact() };
        let (_, message) = Machines::new(options).refusal(&token).await;
        assert!(message.starts_with("Invalid JWT Authorized party claim (azp) undefined."), "{message}");
    }
}

#[tokio::test]
async fn a_machines_jwt_must_name_this_machine() {
    for (change, accepted) in [
        (json!({ "scopes": "mch_2 mch_1", "aud": null }), true),
        (json!({ "scopes": "mch_2", "aud": ["mch_1"] }), true),
        (json!({ "scopes": null, "aud": "mch_1" }), true),
        (json!({ "scopes": "mch_2", "aud": ["mch_2"] }), false),
        (json!({ "scopes": "mch_11", "aud": null }), false),
        (json!({ "scopes": null, "aud": null }), false),
    ] {
        let token = machine(&json!({}), &change);
        let verdict = Machines::new(strict()).ask(&token).await;
        assert_eq!(verdict.is_ok(), accepted, "{change}");
        if let Err(out) = verdict {
            assert_eq!(out.reason.as_str(), "token-verification-failed");
        }
        assert!(Machines::new(exact()).ask(&token).await.is_ok(), "{change}");
    }
    // The machine secret key says nothing about a token that Clerk is not asked about.
    let machine_secret_key = Some(SecretString::from("ak_s3cret"));
    let token = machine(&json!({}), &json!({}));
    for options in [with_public_key(), ClerkOptions { machine_secret_key, ..with_public_key() }] {
        assert_eq!(Machines::new(options).refusal(&token).await.0, "token-verification-failed");
    }
    // OAuth clients are not machines.
    assert!(Machines::new(with_public_key()).ask(&access(&json!({}), &json!({}))).await.is_ok());
}
