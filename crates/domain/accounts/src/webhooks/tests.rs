use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use portal_identity::{
    MockWebhookVerifier, ProviderMembership, ProviderOrganization, ProviderOrganizationId, ProviderSessionId,
    ProviderUser, ProviderUserId,
};
use portal_kernel::{Begin, Change};
use portal_testkit::{CountingIds, FixedClock};

use super::*;
use crate::testing::memory::{MemoryStore, Rows};
use crate::testing::{Ending, MockAccountsStore, MockTx, provider_user, signing_in};
use crate::{MockParkedWebhooks, RoleMap, UserState};

/// Everything is the provider's, with the body as the id of the message.
fn verifier(news: impl Fn(&[u8]) -> WebhookNews + Send + Sync + 'static) -> MockWebhookVerifier {
    let mut verifier = MockWebhookVerifier::new();
    verifier.expect_verify().returning(|_, body, _| Ok(String::from_utf8_lossy(body).into_owned()));
    verifier.expect_read().returning(move |body| WebhookMessage { kind: "kind".to_owned(), news: news(body) });
    verifier
}

fn webhooks(verifier: MockWebhookVerifier, store: Arc<AccountsStore>) -> Webhooks {
    let (ids, clock) = (Arc::new(CountingIds::default()), Arc::new(FixedClock::default()));
    let facts = Arc::new(Facts { role_map: RoleMap::default(), ids, clock });
    let parked = Arc::new(MockParkedWebhooks::new());
    Webhooks { verifier: Arc::new(verifier), store, parked, facts, health: Arc::default(), intake: Intake::default() }
}

async fn receive(webhooks: &Webhooks, body: &str) -> Result<WebhookOutcome, ReceiveWebhookError> {
    webhooks.receive(&[], body.as_bytes(), Provenance::default()).await
}

fn operator() -> Caller {
    Caller { principal: Principal::System(Job::Operator), provenance: Provenance::default() }
}

fn member() -> ProviderMembership {
    ProviderMembership {
        id: ProviderMembershipId::parse("orgmem_1").unwrap(),
        organization: ProviderOrganization {
            id: ProviderOrganizationId::parse("org_1").unwrap(),
            name: "Acme".to_owned(),
            created_by: None,
            updated_at: provider_user().updated_at,
        },
        user: provider_user().id,
        role: "org:admin".to_owned(),
        updated_at: provider_user().updated_at,
    }
}

fn about_alice(_: &[u8]) -> WebhookNews {
    WebhookNews::Event(Box::new(ProviderEvent::User(provider_user())))
}

#[tokio::test]
async fn a_message_takes_effect_once_and_in_the_transaction_that_remembers_it() {
    let store = MemoryStore::default();
    let webhooks = webhooks(verifier(about_alice), Arc::new(store.clone()));
    assert_eq!(receive(&webhooks, "msg_1").await.unwrap(), WebhookOutcome::Applied);
    let after_one = store.rows.lock().await.clone();
    assert_eq!((after_one.users.len(), after_one.records.len(), after_one.inbox.len()), (1, 1, 1));
    assert_eq!(receive(&webhooks, "msg_1").await.unwrap(), WebhookOutcome::Repeated);
    let Rows { users, records, changes, .. } = store.rows.lock().await.clone();
    assert_eq!((users, records, changes), (after_one.users, after_one.records, after_one.changes));
    assert_eq!((webhooks.health.accepted(), webhooks.health.refused()), (2, 0));
    assert_eq!(webhooks.health.last_accepted(), 1_767_225_600, "the time of the clock");
}

#[tokio::test]
async fn the_last_message_is_known_that_came_to_another_process_and_never_an_older_one() {
    let mut webhooks = webhooks(verifier(about_alice), Arc::new(MemoryStore::default()));
    for (stored, expected) in [(None, 0), (Some(1_700_000_000), 1_700_000_000), (Some(1_600_000_000), 1_700_000_000)] {
        let mut parked = MockParkedWebhooks::new();
        parked.expect_last_received().return_once(move |_| Ok(stored.and_then(Timestamp::from_unix_seconds)));
        webhooks.parked = Arc::new(parked);
        webhooks.recall().await.unwrap();
        assert_eq!(webhooks.health.last_accepted(), expected);
    }
}

#[tokio::test]
async fn what_tells_nothing_is_remembered_and_changes_nothing() {
    let store = MemoryStore::default();
    let webhooks = webhooks(verifier(|_| WebhookNews::Nothing), Arc::new(store.clone()));
    assert_eq!(receive(&webhooks, "msg_1").await.unwrap(), WebhookOutcome::Ignored);
    assert_eq!(receive(&webhooks, "msg_1").await.unwrap(), WebhookOutcome::Repeated);
    assert!(store.rows.lock().await.users.is_empty());
}

#[tokio::test]
async fn a_session_that_ended_is_told_to_every_replica() {
    let store = MemoryStore::default();
    let ended = |_: &[u8]| {
        WebhookNews::Event(Box::new(ProviderEvent::SessionEnded(ProviderSessionId::parse("sess_1").unwrap())))
    };
    let webhooks = webhooks(verifier(ended), Arc::new(store.clone()));
    receive(&webhooks, "msg_1").await.unwrap();
    let rows = store.rows.lock().await;
    assert!(rows.buried.contains("sess_1"));
    assert_eq!(rows.changes, [Change::Session("sess_1".to_owned())]);
}

#[tokio::test]
async fn a_membership_that_ended_is_found_by_its_id_alone() {
    let store = MemoryStore::default();
    let joined = |_: &[u8]| WebhookNews::Event(Box::new(ProviderEvent::Membership(member())));
    let joining = webhooks(verifier(joined), Arc::new(store.clone()));
    let gone = |_: &[u8]| WebhookNews::MembershipDeleted(member().id);
    let leaving = webhooks(verifier(gone), Arc::new(store.clone()));
    let members = async || store.rows.lock().await.memberships.values().filter(|member| member.copy.is_some()).count();
    receive(&joining, "msg_1").await.unwrap();
    assert_eq!(members().await, 1);
    assert_eq!(receive(&leaving, "msg_2").await.unwrap(), WebhookOutcome::Applied);
    assert_eq!(members().await, 0);
    // What was told late changes nothing.
    receive(&joining, "msg_3").await.unwrap();
    assert_eq!(members().await, 0);
    // Nor if the end is told first.
    let store = MemoryStore::default();
    receive(&webhooks(verifier(gone), Arc::new(store.clone())), "msg_2").await.unwrap();
    receive(&webhooks(verifier(joined), Arc::new(store.clone())), "msg_1").await.unwrap();
    assert!(store.rows.lock().await.memberships.values().all(|member| member.copy.is_none()));
}

#[tokio::test]
async fn a_membership_that_comes_while_its_end_is_stored_asks_for_another_attempt() {
    let mut tx = MockTx::default();
    tx.inbox.expect_take().once().returning(|_, _| Ok(vec![true]));
    let mut asked = 0;
    tx.accounts.expect_find_stay().times(2).returning(move |_, id| {
        asked += 1;
        let ProviderMembership { organization, user, .. } = member();
        Ok((asked == 2).then_some(Stay { membership: id, organization: organization.id, user }))
    });
    tx.provider_ids.expect_lock().once().returning(|_, _| Ok(Vec::new()));
    tx.provider_ids.expect_bury().never();
    let store = Arc::new(MockAccountsStore::new([tx]));
    let webhooks = webhooks(verifier(|_| WebhookNews::MembershipDeleted(member().id)), store.clone());
    assert!(matches!(receive(&webhooks, "msg_1").await, Err(ReceiveWebhookError::Store(StoreError::Stale))));
    assert_eq!(store.endings(), [Ending::RolledBack]);
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_and_replayed_once_it_can() {
    let store = MemoryStore::default();
    let shared = Arc::new(store.clone());
    let broken = webhooks(verifier(|_| WebhookNews::Unreadable("no id")), shared.clone());
    assert_eq!(receive(&broken, "msg_1").await.unwrap(), WebhookOutcome::Parked);
    assert_eq!(receive(&broken, "msg_1").await.unwrap(), WebhookOutcome::Repeated);
    assert_eq!(broken.health.parked(), 1);
    let again = broken.replay(&operator(), "msg_1").await.unwrap_err();
    assert!(matches!(again, ReplayWebhookError::ParkedAgain(reason) if reason == "no id"));
    let mended = webhooks(verifier(about_alice), shared);
    assert!(matches!(mended.replay(&signing_in(), "msg_1").await, Err(ReplayWebhookError::Denied(_))));
    assert!(store.rows.lock().await.records.is_empty(), "what failed left no record");
    mended.replay(&operator(), "msg_1").await.unwrap();
    assert_eq!(store.rows.lock().await.users.len(), 1);
    let first = store.rows.lock().await.records[0].clone();
    assert_eq!((first.action, first.account), (AuditAction::WebhookReplayed, None));
    assert_eq!((first.subject.to_string().as_str(), first.actor.id.as_str()), ("msg_1", "operator"));
    assert!(matches!(mended.replay(&operator(), "msg_1").await, Err(ReplayWebhookError::NotParked)));
}

/// A transaction in which taking the message fails.
fn failing(error: StoreError) -> MockTx {
    let mut tx = MockTx::default();
    tx.inbox.expect_take().return_once(|_, _| Err(error));
    tx
}

#[tokio::test]
async fn an_outage_asks_for_another_attempt() {
    for error in [
        StoreError::Unavailable("down".into()),
        StoreError::Retryable("deadlock".into()),
        StoreError::Stale,
        StoreError::Other("a defect, which may be mended".into()),
    ] {
        let store = Arc::new(MockAccountsStore::new([failing(error)]));
        let webhooks = webhooks(verifier(about_alice), store.clone());
        assert!(matches!(receive(&webhooks, "msg_1").await, Err(ReceiveWebhookError::Store(_))));
        assert_eq!(store.endings(), [Ending::RolledBack]);
        assert_eq!(webhooks.health.accepted(), 0);
    }
}

/// Lets the others come while one is stored, and refuses a transaction in which a message named `broken` is taken.
struct Refusing(MemoryStore, Mutex<Vec<Vec<String>>>);

#[async_trait::async_trait]
impl Begin<dyn AccountsTx> for Arc<Refusing> {
    async fn begin(&self) -> Result<Box<dyn AccountsTx>, StoreError> {
        tokio::task::yield_now().await;
        let (mut tx, refusing, stored) = (MockTx::default(), self.clone(), self.0.clone());
        tx.inbox.expect_take().returning(move |_, entries| {
            let ids: Vec<_> = entries.into_iter().map(|entry| entry.id).collect();
            refusing.1.lock().unwrap().push(ids.clone());
            let mut rows = stored.rows.try_lock().expect("one transaction at a time");
            if ids.iter().any(|id| id == "broken") {
                return Err(StoreError::Corrupt("a text that is in no row".into()));
            }
            Ok(ids.into_iter().map(|id| rows.inbox.insert(id, None).is_none()).collect())
        });
        tx.inbox.expect_park().returning(|_, _, _, _| Ok(true));
        Ok(Box::new(tx))
    }
}

#[tokio::test]
async fn messages_that_come_together_share_a_transaction_and_a_broken_one_harms_no_other() {
    use WebhookOutcome::{Ignored, Parked, Repeated};
    let refusing = Arc::new(Refusing(MemoryStore::default(), Mutex::default()));
    let webhooks = webhooks(verifier(|_| WebhookNews::Nothing), Arc::new(refusing.clone()));
    let receive_all = async |ids: &[&str]| {
        let outcomes = join_all(ids.iter().map(|id| receive(&webhooks, id))).await;
        outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let taken = || std::mem::take(&mut *refusing.1.lock().unwrap());
    assert_eq!(receive_all(&["a", "b", "c", "b", "a"]).await, [Ignored, Ignored, Ignored, Repeated, Repeated]);
    assert_eq!(taken(), [vec!["a"], vec!["b", "c", "b", "a"]]);
    assert_eq!(receive_all(&["d", "e", "broken", "f"]).await, [Ignored, Ignored, Parked, Ignored]);
    let groups = taken();
    assert_eq!(groups[..2], [vec!["d"], vec!["e", "broken", "f"]]);
    assert_eq!(groups[2..].iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1], "then each alone: {groups:?}");
    assert_eq!(refusing.0.rows.lock().await.inbox.len(), 6);
}

#[tokio::test]
async fn messages_that_come_together_have_their_effects_in_their_order_and_their_own_records() {
    let store = MemoryStore::default();
    let version = provider_user().updated_at;
    let news = move |body: &[u8]| {
        let (number, second) = (body[1], i64::from(body[3] - b'0'));
        let id = ProviderUserId::parse(&format!("user_{}", char::from(number))).unwrap();
        let first_name = Some(String::from_utf8_lossy(body).into_owned());
        let updated_at = version.plus(Duration::from_secs(second.unsigned_abs()));
        WebhookNews::Event(Box::new(ProviderEvent::User(ProviderUser {
            id,
            first_name,
            updated_at,
            banned: second == 2,
            ..provider_user()
        })))
    };
    let webhooks = webhooks(verifier(news), Arc::new(store.clone()));
    let request = |number: usize| Some(format!("req_{number:026}").parse().unwrap());
    let messages = ["m0:0", "m1:1", "m2:0", "m1:3", "m1:2", "m2:2"].iter().enumerate();
    let received = messages.map(|(number, id)| {
        let provenance = Provenance { request_id: request(number), ..Provenance::default() };
        webhooks.receive(&[], id.as_bytes(), provenance).map(Result::unwrap)
    });
    assert_eq!(join_all(received).await, [WebhookOutcome::Applied; 6]);
    let rows = store.rows.lock().await;
    let mut people: Vec<_> =
        rows.users.values().map(|user| (user.profile().first_name.clone().unwrap(), user.state)).collect();
    people.sort_by(|(a, _), (b, _)| a.cmp(b));
    let expected = [("m0:0", UserState::Active), ("m1:3", UserState::Active), ("m2:2", UserState::Paused)];
    assert_eq!(people, expected.map(|(name, state)| (name.to_owned(), state)));
    let records: Vec<_> = rows.records.iter().map(|record| (record.action, record.provenance.request_id)).collect();
    let provisioned = [0, 1, 2].map(|number| (AuditAction::UserProvisioned, request(number)));
    assert_eq!(records[..3], provisioned);
    assert_eq!(records[3..], [(AuditAction::UserPaused, request(5))]);
}

#[tokio::test]
async fn what_can_never_be_stored_is_put_aside() {
    for error in [StoreError::Corrupt("a row".into()), StoreError::Duplicate { constraint: "x".to_owned() }] {
        let mut parking = MockTx::default();
        parking.inbox.expect_park().once().returning(|_, entry, body, _| {
            assert_eq!((entry.id.as_str(), entry.kind.as_str(), &*body), ("msg_1", "kind", &b"msg_1"[..]));
            Ok(true)
        });
        let store = Arc::new(MockAccountsStore::new([failing(error), parking]));
        let webhooks = webhooks(verifier(about_alice), store.clone());
        assert_eq!(receive(&webhooks, "msg_1").await.unwrap(), WebhookOutcome::Parked);
        assert_eq!(store.endings(), [Ending::RolledBack, Ending::Committed]);
    }
}

#[tokio::test]
async fn nothing_is_read_of_what_is_not_the_providers() {
    let mut forged = MockWebhookVerifier::new();
    forged.expect_verify().returning(|_, _, _| Err(WebhookRefused("webhook-signature-invalid")));
    forged.expect_screen().returning(|_, _| Err(WebhookRefused("webhook-too-old")));
    let store = Arc::new(MockAccountsStore::new([]));
    let webhooks = webhooks(forged, store);
    assert!(matches!(receive(&webhooks, "msg_1").await, Err(ReceiveWebhookError::Refused(_))));
    assert_eq!((webhooks.health.accepted(), webhooks.health.refused()), (0, 1));
    assert!(matches!(webhooks.screen(&[]), Err(ReceiveWebhookError::Refused(_))));
    assert_eq!((webhooks.health.accepted(), webhooks.health.refused()), (0, 2));
}

/// Keeps what the lines that it is given say.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Vec::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            fields.push(format!("{field}={value:?} "));
        });
        self.0.lock().unwrap().push(fields.concat());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn refused_deliveries_are_logged_in_one_line_per_reason_however_many_come() {
    let mut forged = MockWebhookVerifier::new();
    let mut sent = 0;
    forged.expect_screen().returning(move |_, _| {
        sent += 1;
        Err(WebhookRefused(if sent % 4 == 0 { "webhook-too-old" } else { "webhook-signature-invalid" }))
    });
    let webhooks = webhooks(forged, Arc::new(MockAccountsStore::new([])));
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        for _ in 0..1_000 {
            webhooks.screen(&[]).unwrap_err();
        }
        assert_eq!(*lines.0.lock().unwrap(), [""; 0]);
        for _ in 0..2 {
            webhooks.health.log_refusals();
        }
    });
    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, (reason, times)) in lines.iter().zip([("webhook-signature-invalid", 750), ("webhook-too-old", 250)]) {
        assert!(line.contains(&format!("reason=\"{reason}\" times={times} ")), "{line}");
    }
}
