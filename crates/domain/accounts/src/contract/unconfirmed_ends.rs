//! Ends of sessions that the provider did not confirm: the port `UnconfirmedEnds`, and what `EndedSessionReader` tells of them.

use portal_identity::ProviderSessionId;
use portal_kernel::AccountId;

use super::{Ports, at, cleared, id, provision};
use crate::{UnconfirmedEnd, UnconfirmedEndCount};

fn end(account: AccountId, number: u32) -> UnconfirmedEnd {
    let session = ProviderSessionId::parse(&format!("sess_{number}")).expect("a session id");
    UnconfirmedEnd { session, account, attempts: 0 }
}

async fn add(ports: Ports<'_>, end: &UnconfirmedEnd, second: u64) {
    let mut tx = ports.begin().await;
    tx.provider_ids().bury(&cleared(), end.session.to_string(), at(90_000)).await.expect("an id is buried");
    tx.unconfirmed_ends().add(&cleared(), end.clone(), at(second)).await.expect("an end is added");
    tx.commit().await.expect("a commit");
}

/// Looks, and leaves it to others.
async fn due(ports: Ports<'_>, second: u64) -> Option<UnconfirmedEnd> {
    let mut tx = ports.begin().await;
    let claimed = tx.unconfirmed_ends().claim(&cleared(), at(second)).await.expect("an answer");
    tx.rollback().await.expect("a rollback");
    claimed
}

async fn count(ports: Ports<'_>) -> (u64, Option<portal_kernel::Timestamp>) {
    let UnconfirmedEndCount { all, first_due } = ports.ended.unconfirmed(&cleared()).await.expect("a count");
    (all, first_due)
}

/// What is due is claimed, whatever waits longest first; with how often it was tried, and not before its time.
pub async fn the_end_that_waits_longest_is_claimed(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    assert_eq!((count(ports).await, due(ports, 900).await), ((0, None), None));
    let (late, early) = (end(user.personal_account, 1), end(user.personal_account, 2));
    add(ports, &late, 20).await;
    add(ports, &early, 10).await;
    assert_eq!(count(ports).await, (2, Some(at(10))));
    for (second, expected) in [(9, None), (10, Some(&early)), (30, Some(&early))] {
        assert_eq!(due(ports, second).await.as_ref(), expected, "at {second}");
    }
    let tried = UnconfirmedEnd { attempts: 3, ..early };
    for commit in [false, true] {
        let mut tx = ports.begin().await;
        tx.unconfirmed_ends().put_off(&cleared(), tried.clone(), at(40)).await.expect("it is put off");
        let ended = if commit { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
        assert_eq!(count(ports).await, (2, Some(at(if commit { 20 } else { 10 }))));
    }
    assert_eq!(due(ports, 30).await, Some(late));
    let mut tx = ports.begin().await;
    tx.provider_ids().settle(&cleared(), "sess_1".to_owned(), at(30)).await.expect("it is settled");
    tx.commit().await.expect("a commit");
    assert_eq!((due(ports, 39).await, due(ports, 40).await), (None, Some(tried)));
}

/// An end that is there is not added again.
pub async fn an_unconfirmed_end_is_added_once(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let first = end(user.personal_account, 1);
    add(ports, &first, 10).await;
    add(ports, &UnconfirmedEnd { attempts: 5, ..first.clone() }, 5).await;
    assert_eq!((count(ports).await, due(ports, 10).await), ((1, Some(at(10))), Some(first)));
}

/// An end is claimed by the id as it was written, which a token may have told and no provider made.
pub async fn an_end_is_claimed_whatever_its_id_is(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let session = ProviderSessionId::as_written("../Zoë's?");
    let odd = UnconfirmedEnd { session, ..end(user.personal_account, 1) };
    add(ports, &odd, 10).await;
    assert_eq!(due(ports, 10).await, Some(odd.clone()));
    let mut tx = ports.begin().await;
    tx.provider_ids().settle(&cleared(), odd.session.to_string(), at(10)).await.expect("it is settled");
    tx.commit().await.expect("a commit");
    assert_eq!((count(ports).await, due(ports, 10).await), ((0, None), None));
}

/// Once an id is settled its end is confirmed, and that of no other one; nothing else that was buried is an end to confirm.
pub async fn a_settled_end_is_confirmed(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    let (confirmed, other) = (end(user.personal_account, 1), end(user.personal_account, 2));
    add(ports, &confirmed, 10).await;
    add(ports, &other, 20).await;
    let mut tx = ports.begin().await;
    tx.provider_ids().bury(&cleared(), "user_1".to_owned(), at(90_000)).await.expect("an id is buried");
    tx.provider_ids().bury(&cleared(), "sess_3".to_owned(), at(15)).await.expect("an id is buried");
    for id in ["sess_1", "sess_3", "sess_4"] {
        tx.provider_ids().settle(&cleared(), id.to_owned(), at(15)).await.expect("it is settled");
    }
    tx.unconfirmed_ends().put_off(&cleared(), confirmed, at(5)).await.expect("nothing is there to put off");
    tx.commit().await.expect("a commit");
    assert_eq!((count(ports).await, due(ports, 90_000).await), ((1, Some(at(20))), Some(other)));
}

/// All are put off together, and none comes earlier for it.
pub async fn all_ends_are_put_off_at_once(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for (number, second) in [(1, 10), (2, 20), (3, 50)] {
        add(ports, &end(user.personal_account, number), second).await;
    }
    let mut tx = ports.begin().await;
    tx.unconfirmed_ends().put_off_all(&cleared(), at(40)).await.expect("all are put off");
    tx.commit().await.expect("a commit");
    assert_eq!((count(ports).await, due(ports, 39).await), ((3, Some(at(40))), None));
    for number in [1, 2] {
        let mut tx = ports.begin().await;
        let id = format!("sess_{number}");
        tx.provider_ids().settle(&cleared(), id, at(40)).await.expect("it is settled");
        tx.commit().await.expect("a commit");
    }
    assert_eq!(count(ports).await, (1, Some(at(50))));
}

/// Of two who claim at the same time each gets another one, and nobody waits: a third gets none, and putting off leaves theirs alone.
pub async fn of_two_who_claim_each_gets_another(ports: Ports<'_>) {
    let user = provision(ports.store, 1).await;
    for (number, second) in [(1, 10), (2, 20)] {
        add(ports, &end(user.personal_account, number), second).await;
    }
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    for (tx, number) in [(&mut first, 1), (&mut second, 2)] {
        let claimed = tx.unconfirmed_ends().claim(&cleared(), at(30)).await.expect("an answer");
        assert_eq!(claimed, Some(end(user.personal_account, number)));
    }
    assert_eq!(due(ports, 30).await, None);
    let mut third = ports.begin().await;
    third.unconfirmed_ends().put_off_all(&cleared(), at(40)).await.expect("there is none to put off");
    third.commit().await.expect("a commit");
    first.rollback().await.expect("a rollback");
    assert_eq!(due(ports, 30).await, Some(end(user.personal_account, 1)));
    second.rollback().await.expect("a rollback");
}

/// An end is told of in a trail, which is an account's.
pub async fn an_unconfirmed_end_needs_an_account(ports: Ports<'_>) {
    let mut tx = ports.begin().await;
    let added = tx.unconfirmed_ends().add(&cleared(), end(id(9), 1), at(10)).await;
    assert!(added.is_err());
    tx.rollback().await.expect("a rollback");
}
