//! Messages of the provider's webhooks, and sessions that ended: the ports `WebhookInbox`, `ParkedWebhooks`, `SessionEpochs`, `SessionSightings` and
//! `EndedSessionReader`.

use futures_util::future::join;
use portal_authz::action::EndAllSessions;
use portal_authz::{Action, Authorized, Job, Platform, Principal, Unchecked};
use portal_identity::{ProviderSessionId, ProviderUserId};

use super::{Ports, at, cleared, looking_up};
use crate::{Epoch, InboxEntry, ParkedWebhook};

fn entry(id: &str) -> InboxEntry {
    InboxEntry { id: id.to_owned(), kind: "user.updated".to_owned(), received_at: at(3) }
}

fn operator<A: Action>() -> Authorized<A, Platform> {
    let who = Principal::System(Job::Operator);
    Unchecked::new(Platform).authorize(&who).expect("an operator may do this")
}

async fn parked(ports: Ports<'_>) -> Vec<ParkedWebhook> {
    ports.parked.all(&operator()).await.expect("a list of parked messages")
}

/// A message is taken once, and is free again if its transaction is rolled back.
pub async fn a_message_is_taken_once(ports: Ports<'_>) {
    for (commit, expected) in [(false, true), (true, true), (true, false)] {
        let mut tx = ports.begin().await;
        let taken = tx.inbox().take(&cleared(), vec![entry("msg_1")]).await.expect("an answer");
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
        assert_eq!(taken, [expected]);
    }
    assert_eq!(parked(ports).await, []);
}

/// Of messages that are taken together each is told by itself, in their order, and one that is there twice is new once.
pub async fn messages_are_taken_together(ports: Ports<'_>) {
    for (ids, expected) in [
        (&["msg_3", "msg_1", "msg_3", "msg_2"][..], &[true, true, false, true][..]),
        (&["msg_4", "msg_2", "msg_0"], &[true, false, true]),
        (&[], &[]),
    ] {
        let mut tx = ports.begin().await;
        let entries = ids.iter().map(|id| entry(id)).collect();
        assert_eq!(tx.inbox().take(&cleared(), entries).await.expect("an answer"), expected, "{ids:?}");
        tx.commit().await.expect("a commit");
    }
    let mut tx = ports.begin().await;
    let many: Vec<_> = (0..200).rev().map(|number| entry(&format!("many_{number}"))).collect();
    let taken = tx.inbox().take(&cleared(), many).await.expect("an answer");
    assert_eq!(taken, [true; 200]);
    tx.rollback().await.expect("a rollback");
}

/// Of two deliveries of one message at the same time the second waits, and finds it taken.
pub async fn of_two_concurrent_deliveries_one_takes_the_message(ports: Ports<'_>) {
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    assert_eq!(winner.inbox().take(&cleared(), vec![entry("msg_1")]).await.expect("an answer"), [true]);
    let both = vec![entry("msg_2"), entry("msg_1")];
    let late = async { loser.inbox().take(&cleared(), both).await.expect("an answer after the wait") };
    let (taken, committed) = join(late, winner.commit()).await;
    committed.expect("a commit");
    assert_eq!(taken, [true, false]);
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
            "msg_2" => {
                tx.inbox().park(&cleared(), entry, Vec::new(), "unreadable".to_owned()).await.map(|new| vec![new])
            }
            _ => tx.inbox().take(&cleared(), vec![entry]).await,
        };
        assert_eq!(taken.expect("an answer"), [true]);
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
    let both = vec![entry("msg_1"), entry("msg_2")];
    assert_eq!(tx.inbox().take(&cleared(), both).await.expect("an answer"), [false, true]);
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
    for second in [15, 18] {
        tx.provider_ids().settle(&cleared(), "sess_2".to_owned(), at(second)).await.expect("it is known when it ended");
    }
    tx.commit().await.expect("a commit");
    let later = ports.ended.ended_since(&looking_up(), at(16)).await.expect("a list of sessions");
    assert_eq!(later, Vec::<String>::new());
    for (id, expected) in [("sess_1", true), ("sess_2", true), ("sess_3", false)] {
        let session = ProviderSessionId::parse(id).expect("a session id");
        let ended = ports.ended.has_ended(&looking_up(), session).await.expect("an answer");
        assert_eq!(ended, expected, "{id}");
    }
}

/// Sessions that ended long ago are forgotten, the oldest first; whatever else was buried stays, as does an end that lies ahead.
pub async fn old_sessions_are_forgotten(ports: Ports<'_>) {
    let mut tx = ports.begin().await;
    for (id, second) in [("sess_1", 10), ("sess_2", 5), ("sess_3", 20), ("sess_4", 9_000), ("user_1", 1), ("sessx", 1)]
    {
        tx.provider_ids().bury(&cleared(), id.to_owned(), at(second)).await.expect("an id is buried");
        if let Ok(session) = ProviderSessionId::parse(id) {
            assert!(tx.sightings().see(&cleared(), session, at(second)).await.expect("an answer"));
        }
    }
    tx.commit().await.expect("a commit");
    let everything = ["sess_1", "sess_2", "sess_3", "sess_4", "user_1", "sessx"];
    for (most, left) in
        [(1, &["sess_1", "sess_3", "sess_4"][..]), (9, &["sess_3", "sess_4"]), (9, &["sess_3", "sess_4"])]
    {
        let mut tx = ports.begin().await;
        let forgotten = tx.provider_ids().forget_sessions(&cleared(), at(20), most).await.expect("an answer");
        let unseen = tx.sightings().forget(&cleared(), at(20), most).await.expect("an answer");
        tx.commit().await.expect("a commit");
        assert_eq!(forgotten, unseen);
        let mut tx = ports.begin().await;
        let mut buried = tx.provider_ids().lock(&cleared(), everything.map(str::to_owned).to_vec()).await.expect("ids");
        buried.retain(|id| id.starts_with("sess_"));
        buried.sort();
        assert_eq!(buried, left);
        for id in ["sess_1", "sess_2", "sess_3", "sess_4"] {
            let session = ProviderSessionId::parse(id).expect("a session id");
            let is_new = tx.sightings().see(&cleared(), session, at(30)).await.expect("an answer");
            assert_eq!(is_new, !left.contains(&id), "{id}");
        }
        let others = vec!["user_1".to_owned(), "sessx".to_owned()];
        assert_eq!(tx.provider_ids().lock(&cleared(), others).await.expect("ids").len(), 2, "for good");
        tx.rollback().await.expect("a rollback");
    }
}

/// An epoch is that of a person or of everybody, never moves back, and counts with its commit.
pub async fn an_epoch_only_ever_advances(ports: Ports<'_>) {
    let person = |name: &str| ProviderUserId::parse(name).expect("a provider id");
    let everybody: Authorized<EndAllSessions, Platform> = operator();
    for (name, second, commit) in
        [("user_1", 10, true), ("user_1", 30, true), ("user_1", 20, true), ("user_2", 40, true), ("user_1", 90, false)]
    {
        let mut tx = ports.begin().await;
        tx.epochs().advance(&cleared(), person(name), at(second)).await.expect("an epoch begins");
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
    }
    for (second, expected) in [(35, [35, 40, 35]), (34, [35, 40, 35]), (50, [50, 50, 50])] {
        let mut tx = ports.begin().await;
        tx.epochs().advance_all(&everybody, at(second)).await.expect("an epoch begins");
        tx.commit().await.expect("a commit");
        for (name, expected) in ["user_1", "user_2", "user_3"].into_iter().zip(expected) {
            let found = ports.ended.epoch_of(&looking_up(), person(name)).await.expect("an answer");
            assert_eq!(found, Some(at(expected)), "{name} after {second}");
        }
    }
    for (since, expected) in [(0, 3), (31, 2), (41, 1), (50, 1), (51, 0)] {
        let found = ports.ended.epochs_since(&looking_up(), at(since)).await.expect("a list of epochs");
        assert_eq!(found.len(), expected, "since {since}: {found:?}");
        assert!(since > 40 || found.contains(&Epoch { person: Some(person("user_2")), before: at(40) }));
        assert!(since > 50 || found.contains(&Epoch { person: None, before: at(50) }));
    }
}

/// Without an epoch of theirs or of everybody a person has none.
pub async fn there_is_no_epoch_at_first(ports: Ports<'_>) {
    let person = ProviderUserId::parse("user_1").expect("a provider id");
    assert_eq!(ports.ended.epoch_of(&looking_up(), person).await.expect("an answer"), None);
}

fn session() -> ProviderSessionId {
    ProviderSessionId::parse("sess_1").expect("a session id")
}

/// A session is seen for the first time once, and is new again if the transaction is rolled back.
pub async fn a_session_is_seen_for_the_first_time_once(ports: Ports<'_>) {
    for (commit, expected) in [(false, true), (true, true), (true, false)] {
        let mut tx = ports.begin().await;
        let is_new = tx.sightings().see(&cleared(), session(), at(1)).await.expect("an answer");
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
        assert_eq!(is_new, expected);
    }
}

/// Of two requests that see a session at the same time the second waits, and is told that it was seen.
pub async fn of_two_who_see_a_session_one_is_the_first(ports: Ports<'_>) {
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    assert!(winner.sightings().see(&cleared(), session(), at(1)).await.expect("an answer"));
    let late = async { loser.sightings().see(&cleared(), session(), at(1)).await.expect("an answer after the wait") };
    let (is_new, committed) = join(late, winner.commit()).await;
    committed.expect("a commit");
    assert!(!is_new);
    loser.rollback().await.expect("a rollback");
}
