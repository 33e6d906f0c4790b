//! Tokens, checked by a library that shares no code with the mint.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Header, TokenData, Validation};
use portal_dev_idp::{DevIdp, Organization, Person, SigningAlgorithm, SigningKey, TokenMint, TokenSpec, person};
use serde_json::{Value, json};

use crate::{AZP, NOW, idp, key, now};

fn spec(name: &str) -> TokenSpec {
    TokenMint::new(key()).session(&person(name).expect("a sample person"), AZP, now())
}

fn encode(spec: &TokenSpec) -> String {
    TokenMint::new(key()).encode(spec)
}

fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    // The token lives in the time of a stopped clock.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    validation
}

fn verify_with(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<TokenData<Value>, Error> {
    jsonwebtoken::decode::<Value>(token, key, &validation(algorithm))
}

/// As a verifier does it: the key set, the `kid` of the header, RS256 and nothing else.
fn verify(idp: &DevIdp, token: &str) -> Result<TokenData<Value>, Error> {
    let keys: JwkSet = serde_json::from_value(idp.jwks()).expect("a key set");
    let kid = jsonwebtoken::decode_header(token)?.kid.expect("a kid");
    let jwk = keys.find(&kid).expect("a known kid");
    verify_with(token, &DecodingKey::from_jwk(jwk)?, Algorithm::RS256)
}

fn refused(token: &str) -> ErrorKind {
    verify(&idp(), token).expect_err("the token must be refused").into_kind()
}

fn parts(token: &str) -> (Value, Value, Vec<u8>) {
    let parts: Vec<Vec<u8>> =
        token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url without padding")).collect();
    let [header, claims, signature] = parts.try_into().expect("three parts");
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
    (json(&header), json(&claims), signature)
}

fn claims(spec: &TokenSpec) -> Value {
    verify(&idp(), &encode(spec)).expect("a good signature").claims
}

#[test]
fn a_session_token_has_exactly_the_header_and_claims_of_clerk() {
    let idp = idp();
    let token = idp.session_token(&person("edith").unwrap(), AZP, now());
    let verified = verify(&idp, &token).unwrap();
    let mut claims = verified.claims;
    let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert!(jti.as_str().unwrap().len() >= 16);
    assert_eq!(
        claims,
        json!({
            "iss": "https://clerk.portal.localhost",
            "sub": "user_dev_edith",
            "sid": "sess_dev_edith",
            "azp": AZP,
            "iat": NOW,
            "nbf": NOW - 10,
            "exp": NOW + 60,
            "v": 2,
            "sts": "active",
            "fva": [0, -1],
            "o": { "id": "org_dev_acme", "slg": "acme", "rol": "editor", "per": "", "fpm": "" },
        })
    );
    let (header, ..) = parts(&token);
    let kid = idp.signing_key().kid();
    assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "kid": kid, "cat": "cl_B7d4PD111AAA" }));
    assert_eq!(idp.instance().issuer(), verified_issuer(&token));
}

fn verified_issuer(token: &str) -> String {
    parts(token).1["iss"].as_str().expect("an issuer").to_owned()
}

#[test]
fn somebody_without_organization_has_no_organization_claim() {
    assert_eq!(claims(&spec("stranger")).get("o"), None);
    let mut alice = person("alice").unwrap();
    alice.active_organization = None;
    let token = idp().session_token(&alice, AZP, now());
    assert_eq!(parts(&token).1.get("o"), None, "a personal workspace");
}

#[test]
fn two_tokens_of_one_second_differ() {
    let idp = idp();
    let alice = idp.person("alice").unwrap();
    assert_ne!(idp.fresh_session_token(&alice, AZP), idp.fresh_session_token(&alice, AZP));
    assert_eq!(parts(&idp.fresh_session_token(&alice, AZP)).1["iat"], NOW);
}

#[test]
fn people_added_at_run_time_get_tokens_too() {
    let idp = idp();
    let globex = Organization::new("Globex", "user_dev_zoe");
    idp.add_person(Person::new("zoe").member_of(globex, "org:viewer"));
    let token = idp.session_token(&idp.person("zoe").unwrap(), AZP, now());
    let claims = verify(&idp, &token).unwrap().claims;
    assert_eq!(claims["sub"], "user_dev_zoe");
    assert_eq!(claims["o"]["id"], "org_dev_globex");
    assert_eq!(claims["o"]["rol"], "viewer");
}

#[test]
fn an_unsigned_token_says_none_and_has_an_empty_signature() {
    let token = encode(&spec("alice").algorithm(SigningAlgorithm::None));
    let (header, claims, signature) = parts(&token);
    assert_eq!(header["alg"], "none");
    assert_eq!(claims["sub"], "user_dev_alice");
    assert!(token.ends_with('.') && signature.is_empty());
}

#[test]
fn the_public_key_as_hmac_secret_fools_only_a_verifier_that_takes_the_algorithm_from_the_header() {
    let token = encode(&spec("alice").algorithm(SigningAlgorithm::Hs256WithPublicPem));
    let secret = DecodingKey::from_secret(key().public_pem().as_bytes());
    assert!(verify_with(&token, &secret, Algorithm::HS256).is_ok());
    assert_eq!(refused(&token), ErrorKind::InvalidAlgorithm);
}

#[test]
fn longer_digests_are_good_signatures_of_another_algorithm() {
    let public = DecodingKey::from_rsa_pem(key().public_pem().as_bytes()).unwrap();
    for (ours, theirs) in [(SigningAlgorithm::Rs384, Algorithm::RS384), (SigningAlgorithm::Rs512, Algorithm::RS512)] {
        let token = encode(&spec("alice").algorithm(ours));
        assert!(verify_with(&token, &public, theirs).is_ok());
        assert_eq!(refused(&token), ErrorKind::InvalidAlgorithm);
    }
}

#[test]
fn another_key_signs_under_the_kid_of_the_instance() {
    let attacker = std::sync::Arc::new(SigningKey::generate().unwrap());
    let token = encode(&spec("alice").signed_by(attacker.clone()));
    assert_eq!(parts(&token).0["kid"], key().kid());
    assert_eq!(refused(&token), ErrorKind::InvalidSignature);
    let own = DecodingKey::from_rsa_pem(attacker.public_pem().as_bytes()).unwrap();
    assert!(verify_with(&token, &own, Algorithm::RS256).is_ok());
}

#[test]
fn a_corrupt_signature_keeps_its_length() {
    let token = encode(&spec("alice").corrupt_signature());
    assert_eq!(parts(&token).2.len(), 256);
    assert_eq!(refused(&token), ErrorKind::InvalidSignature);
}

#[test]
fn a_header_can_lie_about_the_algorithm() {
    let (header, _, signature) = parts(&encode(&spec("alice").header("alg", "none")));
    assert_eq!(header["alg"], "none");
    assert_eq!(signature.len(), 256);
}

#[test]
fn any_header_field_and_any_claim_can_be_changed_or_removed() {
    let bent = spec("alice")
        .header("typ", "at+jwt")
        .header("kid", "ins_other")
        .without_header("cat")
        .claim("exp", "soon")
        .claim("aud", json!(["a", 1]))
        .without_claim("azp")
        .without_claim("sid");
    let (header, claims, _) = parts(&encode(&bent));
    assert_eq!(header, json!({ "alg": "RS256", "typ": "at+jwt", "kid": "ins_other" }));
    assert_eq!(claims["exp"], "soon");
    assert_eq!(claims["aud"], json!(["a", 1]));
    assert!(claims.get("azp").is_none() && claims.get("sid").is_none());
}

#[test]
fn version_1_has_flat_organization_claims_with_the_prefix() {
    let claims = claims(&spec("victor").version_1());
    assert!(claims.get("v").is_none() && claims.get("o").is_none());
    assert_eq!(claims["org_id"], "org_dev_acme");
    assert_eq!(claims["org_slug"], "acme");
    assert_eq!(claims["org_role"], "org:viewer");
    assert_eq!(claims["org_permissions"], json!([]));
    assert!(self::claims(&spec("stranger").version_1()).get("org_id").is_none());
}

#[test]
fn template_and_machine_tokens_are_well_signed_and_belong_to_another_class() {
    let template = encode(&spec("alice").template().claim("aud", "warehouse"));
    let verified = jsonwebtoken::decode_header(&template).unwrap();
    assert_eq!(category(&verified).as_deref(), Some("cl_B7d4PD222AAA"));
    let (_, claims, _) = parts(&template);
    assert!(["sid", "sts", "fva", "v", "o"].iter().all(|name| claims.get(*name).is_none()), "{claims}");
    assert_eq!(claims["sub"], "user_dev_alice");

    let machine = encode(&spec("alice").machine("mch_dev_worker"));
    let header = jsonwebtoken::decode_header(&machine).unwrap();
    assert_eq!(category(&header).as_deref(), Some("cl_B7d4PD333AAA"));
    let claims = verify(&idp(), &machine).unwrap().claims;
    assert_eq!(claims["sub"], "mch_dev_worker");
    assert!(claims.get("sid").is_none() && claims.get("azp").is_none());
}

fn category(header: &Header) -> Option<String> {
    header.extras.get("cat").expect("text")
}

#[test]
fn pending_and_driven_sessions_say_so() {
    assert_eq!(claims(&spec("alice").pending())["sts"], "pending");
    let impersonated = claims(&spec("alice").impersonated_by("user_dev_support"));
    assert_eq!(impersonated["act"]["sub"], "user_dev_support");
    assert!(impersonated["act"].get("type").is_none());
    assert_eq!(impersonated["sub"], "user_dev_alice");
    let driven = claims(&spec("alice").driven_by_agent("agent_dev_1"));
    assert_eq!(driven["act"], json!({ "sub": "agent_dev_1", "type": "agent" }));
    assert_eq!(claims(&spec("alice").organization("org_x", "x", "org:admin"))["o"]["rol"], "admin");
}
