//! Clerk's order of checks on whole tokens.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portal_clerk::{
    ActiveOrganization, Actor, ActorKind, FactorVerificationAge, ProviderOrganizationId, SessionStatus, StrictChoices,
    TokenVerificationErrorReason as Reason,
};
use serde_json::{Value, json};

use crate::minting::{KEY, KID, NOW, OTHER, claims, encode, header};
use crate::server::{FakeClerk, Reply, nobody};
use crate::setup::{Setup, impatient, session, with_keys_of, with_public_key};

fn exact() -> Setup {
    let mut options = with_public_key();
    options.choices = StrictChoices::exact();
    Setup::new(options)
}

fn strict() -> Setup {
    Setup::new(with_public_key())
}

#[tokio::test]
async fn a_good_token_says_who_is_signed_in() {
    let auth = strict().verify(&session(&json!({ "act": { "sub": "user_2admin", "type": "agent" } }))).await.unwrap();
    assert_eq!(auth.user_id.as_str(), "user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr");
    assert_eq!(auth.session_id.as_ref().unwrap().as_str(), "sess_2GbDB4enNdCa5vS1zpC3Xzg9tK9");
    assert_eq!(auth.session_status, Some(SessionStatus::Active));
    assert_eq!(auth.actor, Some(Actor { subject: "user_2admin".into(), kind: ActorKind::Agent }));
    assert_eq!(auth.factor_verification_age, Some(FactorVerificationAge { first: Some(4), second: None }));
    assert_eq!((auth.issued_at.unwrap().unix_seconds(), auth.expires_at.unix_seconds()), (NOW, NOW + 60));
    let permissions = [
        "org:repositories:read",
        "org:repositories:create",
        "org:repositories:update",
        "org:projects:read",
        "org:projects:update",
        "org:projects:revoke",
    ];
    assert_eq!(
        auth.organization,
        Some(ActiveOrganization {
            id: ProviderOrganizationId::parse("org_2abc").unwrap(),
            slug: Some("acme".into()),
            role: Some("org:admin".into()),
            permissions: permissions.map(str::to_owned).to_vec(),
        })
    );
}

#[tokio::test]
async fn a_pending_session_verifies_and_says_so() {
    let auth = strict().verify(&session(&json!({ "sts": "pending" }))).await.unwrap();
    assert!(auth.is_pending());
}

#[tokio::test]
async fn a_token_in_clerks_smallest_form_passes_only_in_exact() {
    let small = KEY.token(&json!({ "alg": "RS256" }), &json!({ "sub": "user_1", "exp": NOW + 60 }));
    let auth = exact().verify(&small).await.unwrap();
    assert_eq!((auth.session_id.as_ref(), auth.organization.as_ref()), (None, None));
    assert_eq!(strict().refusal(&small).await, Some(Reason::TokenVerificationFailed));
}

/// Each token is wrong in every later step as well.
#[tokio::test]
async fn the_first_step_that_fails_decides() {
    let bad_claims = claims(&json!({ "sub": 1, "exp": NOW - 60, "sid": null, "iss": "https://evil.example" }));
    let sign = |change: &Value| OTHER.token(&header(change), &bad_claims);
    let down = Setup::new(impatient(&nobody()));
    let fits = strict();
    let all = json!({ "typ": "jwt", "alg": "none" });
    // Shape, before anything else.
    assert_eq!(down.refusal(&format!("{}.x", sign(&all))).await, Some(Reason::TokenInvalid));
    // Category, before the key.
    assert_eq!(
        down.refusal(&sign(&json!({ "cat": "cl_B7d4PD333AAA", "typ": "jwt", "alg": "none" }))).await,
        Some(Reason::TokenInvalid)
    );
    assert_eq!(down.clerk.stats().jwks_fetches, 0);
    // Key, before the type.
    assert_eq!(down.refusal(&sign(&all)).await, Some(Reason::RemoteJwkFailedToLoad));
    // Type, before the algorithm.
    assert_eq!(fits.refusal(&sign(&all)).await, Some(Reason::TokenInvalid));
    // Algorithm, before the signature.
    assert_eq!(fits.refusal(&sign(&json!({ "alg": "none" }))).await, Some(Reason::TokenInvalidAlgorithm));
    assert_eq!(fits.clerk.stats().signature_checks, 0);
    // Signature, before the claims.
    assert_eq!(fits.refusal(&sign(&json!({}))).await, Some(Reason::TokenInvalidSignature));
    // Claims.
    assert_eq!(fits.refusal(&KEY.token(&header(&json!({})), &bad_claims)).await, Some(Reason::TokenVerificationFailed));
}

#[tokio::test]
async fn an_expired_token_of_another_party_is_of_another_party() {
    let mut options = with_public_key();
    options.authorized_parties = vec!["https://portal.example".into()];
    let setup = Setup::new(options);
    let expired = |azp: &str| session(&json!({ "exp": NOW - 60, "azp": azp }));
    assert_eq!(setup.refusal(&expired("https://evil.example")).await, Some(Reason::TokenInvalidAuthorizedParties));
    assert_eq!(setup.refusal(&expired("https://portal.example")).await, Some(Reason::TokenExpired));
    assert_eq!(setup.refusal(&session(&json!({ "azp": null }))).await, Some(Reason::TokenInvalidAuthorizedParties));
    assert_eq!(setup.refusal(&session(&json!({}))).await, None);
}

#[tokio::test]
async fn the_header_type_is_absent_or_exactly_jwt() {
    for (typ, refusal) in [
        (json!("JWT"), None),
        (json!(null), None),
        (json!("jwt"), Some(Reason::TokenInvalid)),
        (json!(""), Some(Reason::TokenInvalid)),
        (json!("JWS"), Some(Reason::TokenInvalid)),
        (json!(["JWT"]), Some(Reason::TokenInvalid)),
        (json!(1), Some(Reason::TokenInvalid)),
    ] {
        let token = KEY.token(&header(&json!({ "typ": typ })), &claims(&json!({})));
        assert_eq!(strict().refusal(&token).await, refusal, "{typ}");
        assert_eq!(exact().refusal(&token).await, refusal, "{typ}");
    }
    let null = KEY.token(&json!({ "alg": "RS256", "typ": null }), &claims(&json!({})));
    assert_eq!(exact().refusal(&null).await, Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn other_algorithms_are_refused_whatever_signed_them() {
    let signed = |alg: Value| format!("{}.{}", encode(&header(&json!({ "alg": alg }))), encode(&claims(&json!({}))));
    let mut tokens = Vec::new();
    for secret in [KEY.pem().into_bytes(), KEY.spki(), KEY.pkcs1(), Vec::new()] {
        let text = signed(json!("HS256"));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
        tokens.push(format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag)));
    }
    let text = signed(json!("ES256"));
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    tokens.push(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)));
    for alg in [
        json!("none"),
        json!("None"),
        json!(""),
        json!("rs256"),
        json!("PS256"),
        json!("EdDSA"),
        json!(null),
        json!(["RS256"]),
    ] {
        tokens.push(format!("{}.", signed(alg.clone())));
        tokens.push(KEY.sign(&signed(alg), None));
    }
    for token in tokens {
        assert_eq!(strict().refusal(&token).await, Some(Reason::TokenInvalidAlgorithm), "{token}");
        assert_eq!(exact().refusal(&token).await, Some(Reason::TokenInvalidAlgorithm), "{token}");
    }
}

#[tokio::test]
async fn longer_hashes_depend_on_what_the_key_is_for() {
    let mut any_hash = KEY.jwk(KID);
    any_hash.as_object_mut().unwrap().remove("alg");
    let any_hash = FakeClerk::start(Reply::json(200, &json!({ "keys": [any_hash] }))).await;
    let declared = FakeClerk::start(Reply::good()).await;
    for alg in ["RS384", "RS512"] {
        let token = KEY.token(&header(&json!({ "alg": alg })), &claims(&json!({})));
        let with = |url: &str| {
            let mut options = with_keys_of(url);
            options.choices = StrictChoices::exact();
            Setup::new(options)
        };
        assert_eq!(with(any_hash.url()).refusal(&token).await, None, "{alg}");
        assert_eq!(with(declared.url()).refusal(&token).await, Some(Reason::TokenVerificationFailed), "{alg}");
        assert_eq!(exact().refusal(&token).await, Some(Reason::TokenVerificationFailed), "{alg}");
        assert_eq!(
            Setup::new(with_keys_of(any_hash.url())).refusal(&token).await,
            Some(Reason::TokenInvalidAlgorithm),
            "{alg}"
        );
    }
}

#[tokio::test]
async fn a_critical_extension_is_refused_in_strict() {
    for crit in [json!(["exp"]), json!([]), json!("b64")] {
        let token = KEY.token(&header(&json!({ "crit": crit })), &claims(&json!({})));
        assert_eq!(strict().refusal(&token).await, Some(Reason::TokenInvalid), "{crit}");
        assert_eq!(exact().refusal(&token).await, None, "{crit}");
    }
}

#[tokio::test]
async fn any_change_of_a_signed_byte_or_of_the_signature_is_noticed() {
    let (setup, token) = (exact(), session(&json!({})));
    assert_eq!(setup.refusal(&OTHER.session(&json!({}))).await, Some(Reason::TokenInvalidSignature));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for changed in [format!("{signed}."), format!("{signed}.AAAA"), format!("{signed}.{signature}{signature}")] {
        let refusal = setup.refusal(&changed).await;
        assert!(matches!(refusal, Some(Reason::TokenInvalidSignature | Reason::TokenInvalid)), "{refusal:?}");
    }
    for at in (0..token.len()).step_by(7) {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(setup.refusal(&changed).await.is_some(), "byte {at}");
    }
}

#[tokio::test]
async fn padded_and_non_canonical_signatures() {
    let token = session(&json!({}));
    for padded in [format!("{token}=="), format!("{token}=")] {
        assert_eq!(strict().refusal(&padded).await, Some(Reason::TokenInvalid));
        assert_eq!(exact().refusal(&padded).await, None);
    }
    // 256 bytes leave four bits over in the last character; only one of sixteen spellings is right.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.iter().position(|c| *c == *token.as_bytes().last().unwrap()).unwrap();
    assert_eq!(last % 16, 0);
    let other = format!("{}{}", &token[..token.len() - 1], char::from(alphabet[last + 1]));
    assert_eq!(strict().refusal(&other).await, Some(Reason::TokenInvalid));
    assert_eq!(exact().refusal(&other).await, Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn a_claim_that_is_there_twice_is_refused_in_strict() {
    let text = claims(&json!({})).to_string();
    let twice = format!("{},\"sub\":\"user_other\"}}", text.strip_suffix('}').unwrap());
    let token = KEY.sign(&format!("{}.{}", encode(&header(&json!({}))), URL_SAFE_NO_PAD.encode(twice)), None);
    assert_eq!(strict().refusal(&token).await, Some(Reason::TokenInvalid));
    assert_eq!(exact().verify(&token).await.unwrap().user_id.as_str(), "user_other");
}

#[tokio::test]
async fn the_configured_skew_holds_for_all_times_and_zero_is_honoured() {
    for (skew, at) in [(5, NOW), (0, NOW)] {
        let mut options = with_public_key();
        options.clock_skew = std::time::Duration::from_secs(skew);
        let setup = Setup::new(options);
        let skew = i64::try_from(skew).unwrap();
        assert_eq!(setup.refusal(&session(&json!({ "exp": at - skew }))).await, Some(Reason::TokenExpired));
        assert_eq!(setup.refusal(&session(&json!({ "exp": at - skew + 1 }))).await, None);
        assert_eq!(setup.refusal(&session(&json!({ "nbf": at + skew }))).await, None);
        assert_eq!(setup.refusal(&session(&json!({ "nbf": at + skew + 1 }))).await, Some(Reason::TokenNotActiveYet));
        assert_eq!(setup.refusal(&session(&json!({ "iat": at + skew }))).await, None);
        assert_eq!(setup.refusal(&session(&json!({ "iat": at + skew + 1 }))).await, Some(Reason::TokenIatInTheFuture));
    }
}

#[tokio::test]
async fn the_time_comes_from_the_clock_port() {
    let (setup, token) = (strict(), session(&json!({})));
    assert_eq!(setup.refusal(&token).await, None);
    setup.advance(64);
    assert_eq!(setup.refusal(&token).await, None);
    setup.advance(1);
    assert_eq!(setup.refusal(&token).await, Some(Reason::TokenExpired));
}
