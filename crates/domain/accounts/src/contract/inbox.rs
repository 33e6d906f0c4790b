//! Messages of the provider's webhooks, and sessions that ended: the ports `WebhookInbox`, `ParkedWebhooks` and `EndedSessionReader`.

use futures_util::future::join;
use portal_authz::action::ManageWebhooks;
use portal_authz::{Authorized, Job, Platform, Principal, Unchecked};
use portal_identity::ProviderSessionId;

use super::{Ports, at, cleared, looking_up};
use crate::{InboxEntry, ParkedWebhook};

fn entry(id: &str) -> InboxEntry {
    InboxEntry { id: id.to_owned(), kind: "user.updated".to_owned(), received_at: at(3) }
}

fn operator() -> Authorized<ManageWebhooks, Platform> {
    let who = Principal::System(Job::Operator);
    Unchecked::new(Platform).authorize(&who).expect("an operator may manage webhooks")
}

async fn parked(ports: Ports<'_>) -> Vec<ParkedWebhook> {
    ports.parked.all(&operator()).await.expect("a list of parked messages")
}

/// A message is taken once, and is free again if its transaction is rolled back.
pub async fn a_message_is_taken_once(ports: Ports<'_>) {
    for (commit, expected) in [(false, true), (true, true), (true, false)] {
        let mut tx = ports.begin().await;
        let taken = tx.inbox().take(&cleared(), entry("msg_1")).await.expect("an answer");
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
        assert_eq!(taken, expected);
    }
    assert_eq!(parked(ports).await, []);
}

/// Of two deliveries of one message at the same time the second waits, and finds it taken.
pub async fn of_two_concurrent_deliveries_one_takes_the_message(ports: Ports<'_>) {
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    assert!(winner.inbox().take(&cleared(), entry("msg_1")).await.expect("an answer"));
    let late = async { loser.inbox().take(&cleared(), entry("msg_1")).await.expect("an answer after the wait") };
    let (taken, committed) = join(late, winner.commit()).await;
    committed.expect("a commit");
    assert!(!taken);
    loser.rollback().await.expect("a rollback");
}

/// When the youngest message came is known, whether it was taken or parked.
pub async fn the_youngest_message_is_known(ports: Ports<'_>) {
    let last = async || ports.parked.last_received(&cleared()).await.expect("an answer");
    assert_eq!(last().await, None);
    for (id, second, expected) in [("msg_1", 5, 5), ("msg_2", 9, 9), ("msg_3", 7, 9)] {
        let entry = InboxEntry { received_at: at(second), ..entry(id) };
        let mut tx = ports.begin().await;
        let taken = match id {
            "msg_2" => tx.inbox().park(&cleared(), entry, Vec::new(), "unreadable".to_owned()).await,
            _ => tx.inbox().take(&cleared(), entry).await,
        };
        assert!(taken.expect("an answer"));
        tx.commit().await.expect("a commit");
        assert_eq!(last().await, Some(at(expected)));
    }
}

/// A parked message is listed with its reason and came before, until it is unparked: then it is taken, and cannot be unparked again.
pub async fn a_parked_message_is_kept_until_it_is_unparked(ports: Ports<'_>) {
    let (body, reason) = (b"{\"n\":\0}".to_vec(), "it's unreadable; --".to_owned());
    let mut tx = ports.begin().await;
    assert!(tx.inbox().park(&cleared(), entry("msg_1"), body.clone(), reason.clone()).await.expect("an answer"));
    assert!(!tx.inbox().park(&cleared(), entry("msg_1"), body.clone(), reason.clone()).await.expect("an answer"));
    assert!(!tx.inbox().take(&cleared(), entry("msg_1")).await.expect("an answer"));
    assert!(tx.inbox().take(&cleared(), entry("msg_2")).await.expect("an answer"));
    tx.commit().await.expect("a commit");
    assert_eq!(parked(ports).await, [ParkedWebhook { entry: entry("msg_1"), reason }]);
    for (id, expected) in [("msg_2", None), ("msg_3", None), ("msg_1", Some(body)), ("msg_1", None)] {
        let mut tx = ports.begin().await;
        let found = tx.inbox().unpark(&operator(), id.to_owned()).await.expect("an answer");
        tx.commit().await.expect("a commit");
        assert_eq!(found, expected, "{id}");
    }
    assert_eq!(parked(ports).await, []);
}

/// A session that ended is found by its id, and by when; nothing else that was buried is.
pub async fn an_ended_session_is_found(ports: Ports<'_>) {
    let mut tx = ports.begin().await;
    for (id, second) in [("sess_1", 10), ("sess_2", 20), ("user_1", 20), ("session_3", 20)] {
        tx.provider_ids().bury(&cleared(), id.to_owned(), at(second)).await.expect("an id is buried");
    }
    tx.commit().await.expect("a commit");
    for (since, expected) in [(0, &["sess_1", "sess_2"][..]), (20, &["sess_2"]), (21, &[])] {
        let mut found = ports.ended.ended_since(&looking_up(), at(since)).await.expect("a list of sessions");
        found.sort();
        assert_eq!(found, expected, "since {since}");
    }
    let mut tx = ports.begin().await;
    tx.provider_ids().settle(&cleared(), "sess_2".to_owned(), at(15)).await.expect("it is known when it ended");
    tx.commit().await.expect("a commit");
    let later = ports.ended.ended_since(&looking_up(), at(16)).await.expect("a list of sessions");
    assert_eq!(later, Vec::<String>::new());
    for (id, expected) in [("sess_1", true), ("sess_2", true), ("sess_3", false)] {
        let session = ProviderSessionId::parse(id).expect("a session id");
        let ended = ports.ended.has_ended(&looking_up(), session).await.expect("an answer");
        assert_eq!(ended, expected, "{id}");
    }
}
