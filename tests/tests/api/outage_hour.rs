//! An hour without the provider, keys and Backend API alike, by a clock that the test moves: over HTTP, by the program as it is.

use std::sync::Arc;
use std::time::Duration;

use e2e::{FOREIGN_KEY, Portal, PortalBuilder};
use portal_testkit::FixedClock;
use reqwest::Method;
use serde_json::json;

const HOUR: u64 = 3_600;
/// Between two requests of a person, who brings a new token each time: one lives for 60 s. Each step costs the pauses of one failed fetch.
const STEP: u64 = 120;
/// Requests that one fetch of the keys makes at most.
const TRIES: u64 = 3;

struct Hour {
    portal: Portal,
    clock: Arc<FixedClock>,
}

impl Hour {
    async fn begin() -> Self {
        let clock = Arc::new(FixedClock::default());
        Self { portal: PortalBuilder::default().clock(&clock).start().await, clock }
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A renewed token, in a header and in a cookie.
    async fn assert_signed_in(&self, name: &str) {
        let token = self.portal.token(name);
        let me = self.portal.get("/v1/me", &token).await;
        assert_eq!(me.status, 200, "{name}: {me:?}");
        let status = self.portal.get("/v1/auth/status", &token).await;
        assert_eq!(status.json()["status"], "signed-in", "{name}: {status:?}");
        assert_eq!(self.page("/portal", &token).await.status, 200, "{name}");
    }

    async fn page(&self, path: &str, token: &str) -> e2e::Answer {
        let cookies = format!("__clerk_db_jwt=dvb_1; __client_uat=1; __session={token}");
        let request = self.portal.request(Method::GET, path).header("accept", "text/html");
        self.portal.send(request.header("sec-fetch-dest", "document").header("cookie", cookies)).await
    }

    /// Signed by a key that the provider may have made during the hour.
    fn by_an_unknown_key(&self) -> String {
        let spec = self.portal.token_spec("alice").signed_by(FOREIGN_KEY.clone());
        self.portal.idp.mint().encode(&spec.header("kid", "ins_made_meanwhile"))
    }

    /// Cannot be judged: 503, never 401 and never a sign-in page.
    async fn assert_outage(&self, token: &str) {
        for path in ["/v1/me", "/v1/auth/status"] {
            let answer = self.portal.get(path, token).await;
            answer.assert_problem(503, "identity_unavailable");
            assert_eq!(answer.json()["reason"], "jwk-remote-failed-to-load");
        }
        let page = self.page("/portal", token).await;
        assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, "2"), "{page:?}");
    }

    /// The result of a handshake is with the Backend API.
    async fn assert_handshake_waits(&self) {
        let page = self.page("/portal?__clerk_handshake_nonce=n1", "").await;
        assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, "2"), "{page:?}");
        assert!(page.headers.get("location").is_none(), "{page:?}");
    }

    /// Bad tokens of a known key are bad, and no token at all is none.
    async fn assert_closed(&self) {
        let (mint, spec) = (self.portal.idp.mint(), || self.portal.token_spec("alice"));
        let now = spec().claims["iat"].as_i64().unwrap();
        for (spec, reason) in [
            (spec().signed_by(FOREIGN_KEY.clone()), "token-invalid-signature"),
            (spec().corrupt_signature(), "token-invalid-signature"),
            (
                spec().claim("exp", now - 6).claim("iat", now - 66).claim("nbf", now - 76),
                "session-token-expired-refresh-non-eligible-no-refresh-cookie",
            ),
            (spec().claim("iss", "https://clerk.evil.example"), "token-verification-failed"),
            (spec().claim("azp", "https://evil.example"), "token-invalid-authorized-parties"),
        ] {
            let answer = self.portal.get("/v1/me", &mint.encode(&spec)).await;
            answer.assert_problem(401, "unauthenticated");
            assert_eq!(answer.json()["reason"], reason);
        }
        let anonymous = self.portal.send(self.portal.request(Method::GET, "/v1/me")).await;
        anonymous.assert_problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_carry_people_through_an_hour_that_opens_nothing_and_ends_by_itself() {
    let hour = Hour::begin().await;
    let portal = &hour.portal;
    hour.assert_signed_in("alice").await;
    let (own, other) = (portal.personal_account("alice").await, portal.personal_account("adam").await);
    let (_, key) = portal.create_key("alice", &own).await;
    let gateway = portal.gateway("gateway").await;
    assert_eq!(portal.idp.jwks_requests(), 1);

    portal.idp.set_outage(true);
    for _ in 0..HOUR / STEP {
        hour.advance(STEP);
        hour.assert_signed_in("alice").await;
        hour.assert_outage(&hour.by_an_unknown_key()).await;
        hour.assert_closed().await;
        let account = portal.get(&format!("/v1/accounts/{own}"), &portal.token("alice")).await;
        assert_eq!(account.status, 200, "{account:?}");
        let account = portal.get(&format!("/v1/accounts/{other}"), &portal.token("alice")).await;
        account.assert_problem(404, "not_found");
        assert_eq!(portal.verify(&gateway, &key).await.json()["decision"], "allow");
    }
    hour.assert_handshake_waits().await;
    let path = format!("/v1/accounts/{own}/api-keys");
    let created = portal.post(&path, &portal.token("alice"), &json!({ "name": "made during the hour" })).await;
    assert_eq!(created.status, 201, "{created:?}");
    // Who comes for the first time with a known key is let in; what only the Backend API knows is missing.
    let newcomer = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!((newcomer.status.as_u16(), newcomer.json()["user"].get("email")), (200, None), "{newcomer:?}");
    let asked = portal.idp.jwks_requests();
    assert!(asked > HOUR / STEP / 2, "it never stops asking: {asked}");
    assert!(asked <= 1 + TRIES * HOUR / STEP, "once per step at most: {asked}");

    portal.idp.set_outage(false);
    hour.advance(60);
    hour.assert_signed_in("alice").await;
    hour.assert_closed().await;
    let unknown = portal.get("/v1/me", &hour.by_an_unknown_key()).await;
    unknown.assert_problem(401, "unauthenticated");
    assert_eq!(unknown.json()["reason"], "jwk-kid-mismatch");
    let newcomer = portal.get("/v1/me", &portal.token("stranger")).await;
    assert_eq!(newcomer.text_at("/user/email"), "stranger@example.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_starts_within_the_hour_lets_nobody_in_and_signs_nobody_out() {
    let hour = Hour::begin().await;
    let portal = &hour.portal;
    portal.idp.set_outage(true);
    for _ in 0..HOUR / STEP {
        hour.assert_outage(&portal.token("alice")).await;
        hour.assert_outage(&hour.by_an_unknown_key()).await;
        let anonymous = portal.send(portal.request(Method::GET, "/v1/me")).await;
        anonymous.assert_problem(401, "unauthenticated");
        hour.advance(STEP);
    }
    hour.assert_handshake_waits().await;
    let people = portal.database.count("SELECT count(*) AS count FROM users").await.unwrap();
    assert_eq!(people, 0, "nobody was let in");
    portal.idp.set_outage(false);
    hour.advance(1);
    hour.assert_signed_in("alice").await;
    hour.assert_closed().await;
}
