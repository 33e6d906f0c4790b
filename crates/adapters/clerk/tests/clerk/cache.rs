//! Verified tokens in memory.

use std::time::Duration;

use portal_clerk::{
    AuthStatus, ClerkAuthenticator, Clock, ProviderSessionId, ProviderUserId, TokenVerificationErrorReason as Reason,
};
use serde_json::json;

use crate::minting::{KEY, KID, NOW, OTHER};
use crate::server::{FakeClerk, Reply};
use crate::setup::{Setup, session, until, with_keys_of, with_public_key};

#[tokio::test]
async fn a_token_seen_before_costs_no_signature_check_and_no_call() {
    let server = FakeClerk::start(Reply::good()).await;
    let mut options = with_keys_of(server.url());
    options.token_cache_entries = 100;
    let (setup, token) = (Setup::new(options), session(&json!({})));
    for _ in 0..10 {
        assert_eq!(setup.get(&format!("Bearer {token}")).await.status(), AuthStatus::SignedIn);
    }
    let stats = setup.clerk.stats();
    assert_eq!((stats.signature_checks, stats.jwks_fetches, stats.cache_hits, stats.cache_misses), (1, 1, 9, 1));
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn time_is_checked_again_on_each_hit() {
    let setup = Setup::new(with_public_key());
    let token = session(&json!({}));
    assert_eq!(setup.refusal(&token).await, None);
    setup.advance(64);
    assert_eq!(setup.refusal(&token).await, None);
    assert_eq!(setup.clerk.stats().signature_checks, 1);
    setup.advance(1);
    assert_eq!(setup.refusal(&token).await, Some(Reason::TokenExpired));
    // A clock that goes back makes the token young again, and then too young.
    setup.clock.set(setup.clock.now().minus(Duration::from_secs(30)));
    assert_eq!(setup.refusal(&token).await, None);
    setup.clock.set(setup.clock.now().minus(Duration::from_mins(1)));
    assert_eq!(setup.refusal(&token).await, Some(Reason::TokenNotActiveYet));
}

#[tokio::test]
async fn a_long_lived_token_is_verified_again_after_five_minutes() {
    let setup = Setup::new(with_public_key());
    let token = session(&json!({ "exp": NOW + 86_400 }));
    for (advance, checks) in [(0, 1), (299, 1), (1, 2), (299, 2), (1, 3)] {
        setup.advance(advance);
        assert_eq!(setup.refusal(&token).await, None);
        assert_eq!(setup.clerk.stats().signature_checks, checks);
    }
}

#[tokio::test]
async fn a_refused_token_is_never_remembered() {
    let setup = Setup::new(with_public_key());
    let token = session(&json!({ "nbf": NOW + 60, "exp": NOW + 120 }));
    assert_eq!(setup.refusal(&token).await, Some(Reason::TokenNotActiveYet));
    setup.advance(60);
    assert_eq!(setup.refusal(&token).await, None);
    for _ in 0..2 {
        assert_eq!(setup.refusal(&OTHER.session(&json!({}))).await, Some(Reason::TokenInvalidSignature));
    }
    assert_eq!(setup.clerk.stats().cache_hits, 0);
}

#[tokio::test]
async fn one_changed_character_misses_the_cache() {
    let setup = Setup::new(with_public_key());
    let token = session(&json!({}));
    assert_eq!(setup.refusal(&token).await, None);
    for changed in [format!("{token}="), format!(" {token}"), token.replacen('e', "E", 1), format!("{token}.")] {
        assert!(setup.refusal(&changed).await.is_some());
    }
    assert_eq!(setup.clerk.stats().cache_hits, 0);
}

#[tokio::test]
async fn no_entries_switch_the_cache_off() {
    let mut options = with_public_key();
    options.token_cache_entries = 0;
    let setup = Setup::new(options);
    for _ in 0..3 {
        assert_eq!(setup.refusal(&session(&json!({}))).await, None);
    }
    let stats = setup.clerk.stats();
    assert_eq!((stats.signature_checks, stats.cache_hits, stats.cache_misses), (3, 0, 0));
}

#[tokio::test]
async fn a_key_that_is_gone_takes_its_tokens_along_and_others_stay() {
    let server = FakeClerk::start(Reply::keys(&[(&KEY, KID), (&OTHER, "ins_second")])).await;
    let mut options = with_keys_of(server.url());
    options.token_cache_entries = 100;
    let setup = Setup::new(options);
    let first = session(&json!({ "exp": NOW + 3_600 }));
    let header = crate::minting::header(&json!({ "kid": "ins_second" }));
    let second = OTHER.token(&header, &crate::minting::claims(&json!({ "exp": NOW + 3_600 })));
    assert_eq!((setup.refusal(&first).await, setup.refusal(&second).await), (None, None));
    // The set is refreshed beside a request, without the second key. The entries themselves are still young.
    server.set(Reply::good());
    setup.advance(240);
    assert_eq!(setup.refusal(&session(&json!({ "exp": NOW + 3_600, "jti": "another" }))).await, None);
    until(|| setup.clerk.stats().jwks_fetches == 2 && server.hits() == 2).await;
    let _ = setup.verify(&KEY.token(&crate::minting::header(&json!({ "kid": "ins_x" })), &json!({}))).await;

    let checks = setup.clerk.stats().signature_checks;
    assert_eq!(setup.refusal(&first).await, None);
    assert_eq!(setup.clerk.stats().signature_checks, checks, "the first key stayed");
    assert_eq!(setup.refusal(&second).await, Some(Reason::JwkKidMismatch));
}

#[tokio::test]
async fn what_is_to_be_forgotten_is_verified_again_and_nothing_else() {
    type Forget = Box<dyn Fn(&ClerkAuthenticator)>;
    let session_id = |text| ProviderSessionId::parse(text).unwrap();
    let user_id = |text| ProviderUserId::parse(text).unwrap();
    let (a_session, a_user) =
        (json!({ "sid": "sess_a", "sub": "user_a" }), json!({ "sid": "sess_b", "sub": "user_b" }));
    let all: [(&str, Forget, u64); 5] = [
        ("a session", Box::new(move |clerk| clerk.forget_session(&session_id("sess_a"))), 1),
        ("a session that is not there", Box::new(move |clerk| clerk.forget_session(&session_id("sess_c"))), 0),
        ("a person", Box::new(move |clerk| clerk.forget_user(&user_id("user_b"))), 1),
        ("a person who is not there", Box::new(move |clerk| clerk.forget_user(&user_id("user_c"))), 0),
        ("everybody", Box::new(ClerkAuthenticator::forget_all), 2),
    ];
    for (name, forget, again) in all {
        let setup = Setup::new(with_public_key());
        let tokens = [session(&a_session), session(&a_user)];
        for _ in 0..2 {
            for token in &tokens {
                assert_eq!(setup.refusal(token).await, None);
            }
        }
        assert_eq!(setup.clerk.stats().signature_checks, 2, "{name}");
        forget(&setup.clerk);
        for token in &tokens {
            assert_eq!(setup.refusal(token).await, None);
        }
        assert_eq!(setup.clerk.stats().signature_checks, 2 + again, "{name}");
    }
}
