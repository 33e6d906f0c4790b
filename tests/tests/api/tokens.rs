//! Session tokens that do not count, each with its reason.

use e2e::{FOREIGN_KEY, Portal, PortalBuilder};
use portal_dev_idp::{SigningAlgorithm, TokenSpec};
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_token_is_401_with_its_reason() {
    let portal = Portal::start().await;
    let good = || portal.token_spec("alice");
    let now = || good().claims["iat"].as_i64().expect("iat is a number");
    let mint = |spec: TokenSpec| portal.idp.mint().encode(&spec);
    let expired = "session-token-expired-refresh-non-eligible-no-refresh-cookie";
    let mut unlike = good();
    unlike.claims.remove("azp");
    let cases = [
        ("not a token", "nonsense".to_owned(), "token-invalid"),
        ("two segments", "a.b".to_owned(), "token-invalid"),
        ("expired", mint(good().claim("exp", now() - 6).claim("iat", now() - 66).claim("nbf", now() - 76)), expired),
        ("not yet valid", mint(good().claim("nbf", now() + 60)), "session-token-nbf"),
        ("issued in the future", mint(good().claim("iat", now() + 60)), "session-token-iat-in-the-future"),
        (
            "wrong key",
            mint(good().signed_by(FOREIGN_KEY.clone()).header("kid", good().header["kid"].clone())),
            "token-invalid-signature",
        ),
        ("changed signature", mint(good().corrupt_signature()), "token-invalid-signature"),
        ("unknown kid", mint(good().header("kid", "ins_unknown")), "jwk-kid-mismatch"),
        ("alg none", mint(good().algorithm(SigningAlgorithm::None)), "token-invalid-algorithm"),
        ("alg HS256", mint(good().algorithm(SigningAlgorithm::Hs256WithPublicPem)), "token-invalid-algorithm"),
        ("template", mint(good().template()), "token-type-mismatch"),
        ("machine", mint(good().machine("mch_1")), "token-type-mismatch"),
        ("OAuth access token", mint(good().header("typ", "at+jwt")), "token-type-mismatch"),
        ("wrong azp", mint(good().claim("azp", "https://evil.example")), "token-invalid-authorized-parties"),
        ("no azp", mint(unlike), "token-invalid-authorized-parties"),
        ("other issuer", mint(good().claim("iss", "https://clerk.evil.example")), "token-verification-failed"),
        ("no session", mint(good().without_claim("sid")), "token-verification-failed"),
        ("no subject", mint(good().without_claim("sub")), "token-verification-failed"),
    ];
    for (what, token, reason) in cases {
        let answer = portal.get("/v1/me", &token).await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.json()["reason"], reason, "{what}: {answer:?}");
        assert!(answer.header("www-authenticate").contains("invalid_token"), "{what}");
        assert!(!answer.text.contains(&token), "{what}: the token is repeated");
    }
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM users").await.unwrap(), 0, "nobody was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_401_without_an_error_in_the_challenge() {
    let portal = Portal::start().await;
    let answer = portal.send(portal.request(Method::GET, "/v1/me")).await;
    answer.assert_problem(401, "unauthenticated");
    assert_eq!(answer.json()["reason"], "dev-browser-missing");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_five_seconds_off_signs_nobody_out() {
    let portal = Portal::start().await;
    let now = portal.token_spec("alice").claims["iat"].as_i64().expect("iat is a number");
    let late = portal.token_spec("alice").claim("exp", now - 2);
    let early = portal.token_spec("alice").claim("iat", now + 3).claim("nbf", now + 3);
    for spec in [late, early] {
        let answer = portal.get("/v1/me", &portal.idp.mint().encode(&spec)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_claims_and_the_pem_are_understood() {
    let portal = Portal::start().await;
    let version_1 = portal.idp.mint().encode(&portal.token_spec("alice").version_1());
    let me = portal.get("/v1/me", &version_1).await;
    assert_eq!(me.text_at("/active_account/name"), "Acme", "{me:?}");

    let pem = e2e::SIGNING_KEY.public_pem().to_owned();
    let networkless = PortalBuilder::default().set("CLERK_JWT_KEY", pem).start().await;
    assert_eq!(networkless.get("/v1/me", &networkless.token("alice")).await.status, 200);
    assert_eq!(networkless.idp.jwks_requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acts_for_somebody_reads_and_changes_nothing() {
    let portal = Portal::start().await;
    let mint = |spec: &TokenSpec| portal.idp.mint().encode(spec);
    let impersonator = mint(&portal.token_spec("stranger").impersonated_by("user_support"));
    portal.get("/v1/me", &impersonator).await.assert_problem(403, "user_not_provisioned");
    assert_eq!(portal.database.count("SELECT count(*) AS count FROM users").await.unwrap(), 0);

    let account = portal.personal_account("stranger").await;
    let agent = mint(&portal.token_spec("stranger").driven_by_agent("agent_1"));
    for token in [impersonator, agent] {
        assert_eq!(portal.get(&format!("/v1/accounts/{account}"), &token).await.status, 200);
        let body = serde_json::json!({ "name": "mine" });
        let created = portal.post(&format!("/v1/accounts/{account}/api-keys"), &token, &body).await;
        created.assert_problem(403, "forbidden");
    }
}
