//! One look at the key source.

use portal_clerk::JwksCheck;
use serde_json::json;

use crate::minting::{KEY, OTHER};
use crate::server::{FakeClerk, Reply, nobody};
use crate::setup::{Setup, impatient, with_keys_of, with_public_key};

#[tokio::test]
async fn a_working_key_source_tells_its_keys_and_its_clock() {
    let server = FakeClerk::start(Reply::good().with("date", "Wed, 31 Dec 2025 23:59:18 GMT")).await;
    let setup = Setup::new(with_keys_of(server.url()));
    let expected = JwksCheck::Reachable { keys: 1, clock_ahead_seconds: Some(42), jwt_key_is_listed: None };
    assert_eq!(setup.clerk.check_jwks().await, expected);
    assert_eq!(setup.clerk.stats().jwks_fetches, 0, "the check is none of the cache's business");

    server.set(Reply::good().with("date", "yesterday"));
    let expected = JwksCheck::Reachable { keys: 1, clock_ahead_seconds: None, jwt_key_is_listed: None };
    assert_eq!(setup.clerk.check_jwks().await, expected);
}

#[tokio::test]
async fn a_public_key_of_another_instance_is_noticed() {
    let server = FakeClerk::start(Reply::good()).await;
    for (key, listed) in [(&KEY, true), (&OTHER, false)] {
        let mut options = with_keys_of(server.url());
        options.jwt_key = Some(key.pem());
        let expected = JwksCheck::Reachable { keys: 1, clock_ahead_seconds: None, jwt_key_is_listed: Some(listed) };
        assert_eq!(Setup::new(options).clerk.check_jwks().await, expected);
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_secret() {
    assert_eq!(Setup::new(with_public_key()).clerk.check_jwks().await, JwksCheck::NotConfigured);
    let refused = Reply::json(401, &json!({ "errors": [{ "code": "clerk_key_invalid", "message": "no" }] }));
    let server = FakeClerk::start(refused).await;
    let setup = Setup::new(with_keys_of(server.url()));
    assert_eq!(setup.clerk.check_jwks().await, JwksCheck::SecretKeyInvalid);
    server.set(Reply::status(503, ""));
    let JwksCheck::Failed { reason } = setup.clerk.check_jwks().await else { panic!("a status of 503 is a failure") };
    assert_eq!(reason, "the key source answers with status 503");
    let JwksCheck::Failed { reason } = Setup::new(impatient(&nobody())).clerk.check_jwks().await else {
        panic!("nobody answered")
    };
    assert_eq!(reason, "the key source cannot be reached");
}
