use std::time::Duration;

use portal_authz::{Role, Scope};
use portal_kernel::ExposeSecret;
use portal_testkit::FixedClock;

use super::*;
use crate::Kid;
use crate::credential::read;
use crate::testing::{Ending, Fixture, MockApiKeysStore, member, operator, service_token};

const HOUR: Duration = Duration::from_hours(1);

fn gateway() -> ServiceTokenDraft {
    let ServiceToken { name, scopes, networks, expires_at, .. } = service_token();
    ServiceTokenDraft { name, scopes, networks, expires_at }
}

fn build(fixture: Fixture) -> (ServiceTokens, Arc<MockApiKeysStore>) {
    fixture.build_service_tokens()
}

#[test]
fn names_are_plain() {
    for text in ["", "Gateway", "a b", "a_b", "é", &"a".repeat(65)] {
        assert_eq!(ServiceName::parse(text), Err(InvalidServiceName), "{text:?}");
    }
}

#[test]
fn a_token_is_live_until_its_time_is_over_or_it_is_revoked() {
    let now = service_token().created_at;
    let later = now.plus(HOUR);
    let secret = |kid: &str| NewSecret {
        kid: Kid::parse(kid).unwrap(),
        digest: Digest::from_stored(&[1; 32]).unwrap(),
        pepper_version: PepperVersion::parse(1).unwrap(),
    };
    let rotation = Rotation { secret: secret("mnopqrstuvwx"), at: now, overlap: Overlap::parse(HOUR).unwrap() };
    let rotating = service_token().rotated(&rotation);
    let ending = ServiceToken { expires_at: Some(later), ..service_token() };
    let revoked = ServiceToken { revoked_at: Some(now), ..ending.clone() };
    for (token, at, expected) in [
        (service_token(), later, ServiceTokenState::Live),
        (rotating.clone(), now, ServiceTokenState::Rotating),
        (rotating, later, ServiceTokenState::Live),
        (ending.clone(), now, ServiceTokenState::Live),
        (ending, later, ServiceTokenState::Expired),
        (revoked, later, ServiceTokenState::Revoked),
    ] {
        assert_eq!(token.state(at), expected);
    }
}

#[tokio::test]
async fn an_operator_makes_a_token_and_it_is_recorded_for_the_platform() {
    let mut fixture = Fixture::default();
    fixture.tx.service_tokens.expect_insert().once().returning(|_, _| Ok(true));
    fixture
        .tx
        .audit
        .expect_record()
        .withf(|record| record.account.is_none() && record.provenance.reason.as_deref() == Some("new gateway"))
        .once()
        .returning(|_| Ok(()));
    let (tokens, store) = build(fixture);
    let who = operator(Some("new gateway".to_owned()));
    let (token, text) = tokens.create(&who, gateway()).await.unwrap();
    assert_eq!(read(SERVICE_PREFIX, text.expose_secret()), Some(token.secrets.newest.kid));
    assert_eq!((store.endings(), store.changes()), (vec![Ending::Committed], vec![Change::ServiceToken(token.id)]));
}

#[tokio::test]
async fn a_new_secret_is_shown_once_and_recorded() {
    let mut fixture = Fixture::default();
    let rotate = fixture.tx.service_tokens.expect_rotate().once();
    rotate.returning(|_, name, rotation| Ok((name == gateway().name).then(|| service_token().rotated(&rotation))));
    let action = AuditAction::ServiceTokenRotated;
    fixture.tx.audit.expect_record().withf(move |record| record.action == action).once().returning(|_| Ok(()));
    let (tokens, store) = build(fixture);
    let overlap = Overlap::parse(HOUR).unwrap();
    let (token, text) = tokens.rotate(&operator(None), gateway().name, overlap).await.unwrap();
    let KeySecrets { newest, previous } = token.secrets;
    assert_eq!(read(SERVICE_PREFIX, text.expose_secret()), Some(newest.kid));
    let end = Some(FixedClock::default().now().plus(HOUR));
    assert_eq!(previous, Some(KeySecret { expires_at: end, ..service_token().secrets.newest }));
    assert_eq!((store.endings(), store.changes()), (vec![Ending::Committed], vec![Change::ServiceToken(token.id)]));
}

#[tokio::test]
async fn where_no_live_token_has_the_name_nothing_is_rotated_or_revoked() {
    let absent = || {
        let mut fixture = Fixture::default();
        fixture.tx.service_tokens.expect_rotate().returning(|_, _, _| Ok(None));
        fixture.tx.service_tokens.expect_revoke().returning(|_, _, _| Ok(None));
        build(fixture)
    };
    let (tokens, store) = absent();
    let outcome = tokens.rotate(&operator(None), gateway().name, Overlap::NONE).await;
    assert!(matches!(outcome, Err(ServiceTokenError::NotFound)), "{outcome:?}");
    assert_eq!((store.endings(), store.changes()), (vec![Ending::RolledBack], vec![]));
    let (tokens, store) = absent();
    let outcome = tokens.revoke(&operator(None), gateway().name).await;
    assert!(matches!(outcome, Err(ServiceTokenError::NotFound)), "{outcome:?}");
    assert_eq!((store.endings(), store.changes()), (vec![Ending::RolledBack], vec![]));
}

#[tokio::test]
async fn nobody_but_an_operator_manages_tokens() {
    let (tokens, store) = build(Fixture::default());
    let who = member(Role::Owner);
    for outcome in [
        tokens.create(&who, gateway()).await.map(drop),
        tokens.rotate(&who, gateway().name, Overlap::NONE).await.map(drop),
        tokens.revoke(&who, gateway().name).await.map(drop),
        tokens.list(&who).await.map(drop),
    ] {
        assert!(matches!(outcome, Err(ServiceTokenError::Denied(Denied::Forbidden))), "{outcome:?}");
    }
    assert_eq!(store.endings(), []);
}

#[tokio::test]
async fn a_taken_name_an_empty_scope_list_and_an_end_that_has_come_are_refused() {
    let mut fixture = Fixture::default();
    fixture.tx.service_tokens.expect_insert().once().returning(|_, _| Ok(false));
    let (tokens, store) = build(fixture);
    let nothing = ServiceTokenDraft { scopes: Scopes::default(), ..gateway() };
    let outcome = tokens.create(&operator(None), nothing).await;
    assert!(matches!(outcome, Err(ServiceTokenError::NoScope)));
    let over = ServiceTokenDraft { expires_at: Some(tokens.clock.now()), ..gateway() };
    let outcome = tokens.create(&operator(None), over).await;
    assert!(matches!(outcome, Err(ServiceTokenError::AlreadyOver)));
    let wanted = ServiceTokenDraft { scopes: Scopes::from_iter([Scope::KeysVerify]), ..gateway() };
    let outcome = tokens.create(&operator(None), wanted).await;
    assert!(matches!(outcome, Err(ServiceTokenError::NameTaken)));
    assert_eq!(store.endings(), [Ending::RolledBack]);
}
