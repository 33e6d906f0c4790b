//! The public key in PEM form.

use portal_clerk::{
    ClerkOptions, InvalidClerkSetting, InvalidRsaKey, SecretString, TokenVerificationErrorReason as Reason,
};
use serde_json::json;

use crate::minting::{KEY, OTHER, PUBLISHABLE_KEY, armour, claims, header};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, session, with_keys_of, with_public_key};

fn with(jwt_key: impl Into<String>) -> ClerkOptions {
    let mut options = ClerkOptions::new(PUBLISHABLE_KEY);
    options.jwt_key = Some(jwt_key.into());
    options
}

/// A sequence, or whatever the tag says, in DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}

#[tokio::test]
async fn all_usual_spellings_of_the_key_verify() {
    let pem = KEY.pem();
    for spelling in [
        pem.clone(),
        pem.trim().to_owned(),
        pem.replace('\n', "\r\n"),
        pem.replace('\n', "\\n"),
        pem.replace('\n', "\\r\\n"),
        format!("  {pem}\n\n"),
        armour("RSA PUBLIC KEY", &KEY.pkcs1()),
        pem.lines().filter(|line| !line.starts_with('-')).collect(),
    ] {
        assert_eq!(Setup::new(with(spelling.clone())).refusal(&session(&json!({}))).await, None, "{spelling}");
    }
}

#[test]
fn what_is_no_public_rsa_key_stops_the_start() {
    let spki = KEY.spki();
    let small = der(0x30, &[der(2, &[0xc1; 129][..]), der(2, &[1, 0, 1])].concat());
    for (text, error) in [
        (String::new(), InvalidRsaKey::NotPem),
        ("not a key".into(), InvalidRsaKey::NotPem),
        ("-----BEGIN PUBLIC KEY-----".into(), InvalidRsaKey::NotPem),
        (armour("PRIVATE KEY", &spki), InvalidRsaKey::NotPem),
        (armour("CERTIFICATE", &spki), InvalidRsaKey::NotPem),
        (armour("PUBLIC KEY", &spki).replace("END PUBLIC", "END RSA PUBLIC"), InvalidRsaKey::NotPem),
        (armour("PUBLIC KEY", b"nothing"), InvalidRsaKey::NotRsa),
        (armour("PUBLIC KEY", &spki[..spki.len() - 1]), InvalidRsaKey::NotRsa),
    ] {
        assert_eq!(with(text.clone()).validate().unwrap_err(), InvalidClerkSetting::JwtKey(error), "{text}");
    }
    let error = with(armour("RSA PUBLIC KEY", &small)).validate().unwrap_err();
    assert_eq!(error.setting(), "clerk.jwt_key");
}

#[tokio::test]
async fn the_key_id_of_a_token_plays_no_part() {
    let setup = Setup::new(with_public_key());
    for kid in [json!(null), json!("ins_other"), json!(1), json!("../../etc")] {
        let token = KEY.token(&header(&json!({ "kid": kid })), &claims(&json!({})));
        assert_eq!(setup.refusal(&token).await, None, "{kid}");
    }
}

#[tokio::test]
async fn the_public_key_wins_over_the_secret_key() {
    let server = FakeClerk::start(Reply::keys(&[(&OTHER, "ins_test")])).await;
    let mut options = with_keys_of(server.url());
    options.jwt_key = Some(KEY.pem());
    options.secret_key = Some(SecretString::from("sk_test_x"));
    let setup = Setup::new(options);
    assert_eq!(setup.refusal(&session(&json!({}))).await, None);
    assert_eq!(setup.refusal(&OTHER.session(&json!({}))).await, Some(Reason::TokenInvalidSignature));
    assert_eq!(server.hits(), 0);
}
