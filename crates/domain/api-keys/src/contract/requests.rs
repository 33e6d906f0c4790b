//! Requests with names: the port `IdempotencyLog`.

use std::time::Duration;

use futures_util::future::join;
use portal_kernel::{ApiKeyId, EarlierRequest, Fingerprint, IdempotencyKey, NamedRequest, Timestamp};

use super::{Owner, Ports, at, id};

/// A request of somebody in their own account, which makes what has that number.
fn request(who: &Owner, name: &str, number: u8, at: Timestamp) -> NamedRequest {
    NamedRequest {
        account: who.account(),
        caller: who.0.id,
        key: IdempotencyKey::parse(name).expect("a name"),
        fingerprint: Fingerprint([number; 32]),
        made: id::<ApiKeyId>(u32::from(number)).to_string(),
        at,
    }
}

fn earlier(request: &NamedRequest) -> EarlierRequest {
    EarlierRequest { fingerprint: request.fingerprint, made: request.made.clone() }
}

/// Claims it in a transaction of its own.
async fn claimed(ports: Ports<'_>, request: &NamedRequest) -> Option<EarlierRequest> {
    let mut tx = ports.begin().await;
    let earlier = tx.requests().claim(request.clone()).await.expect("an answer");
    tx.commit().await.expect("a commit");
    earlier
}

/// The first request with a name is written down; whatever comes with its name afterwards, also at once, is told of it, and changes nothing.
pub async fn a_request_is_claimed_once(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let longest = "~".repeat(255);
    for name in ["it's \"a\" name; --", "x", longest.as_str()].map(|name| name.replace(' ', "")) {
        let (first, other) = (request(&owner, &name, 1, at(1)), request(&owner, &name, 255, at(2)));
        let mut tx = ports.begin().await;
        assert_eq!(tx.requests().claim(first.clone()).await.expect("an answer"), None);
        assert_eq!(
            tx.requests().claim(first.clone()).await.expect("an answer"),
            Some(earlier(&first)),
            "its own transaction"
        );
        tx.commit().await.expect("a commit");
        for repeated in [&first, &other, &first] {
            assert_eq!(claimed(ports, repeated).await, Some(earlier(&first)));
        }
    }
}

/// What did not happen is not remembered.
pub async fn a_claim_that_is_rolled_back_is_free_again(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (first, second) = (request(&owner, "a", 1, at(1)), request(&owner, "a", 2, at(2)));
    let mut tx = ports.begin().await;
    assert_eq!(tx.requests().claim(first).await.expect("an answer"), None);
    tx.rollback().await.expect("a rollback");
    assert_eq!(claimed(ports, &second).await, None);
    assert_eq!(claimed(ports, &second).await, Some(earlier(&second)));
}

/// The same name is another one for somebody else, and in another account.
pub async fn names_belong_to_a_caller_in_an_account(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    let own = request(&owner, "a", 1, at(1));
    let elsewhere = NamedRequest { account: other.account(), ..request(&owner, "a", 2, at(1)) };
    let of_another = NamedRequest { caller: other.0.id, ..request(&owner, "a", 3, at(1)) };
    let louder = request(&owner, "A", 4, at(1));
    let all = [own, elsewhere, of_another, louder];
    for request in &all {
        assert_eq!(claimed(ports, request).await, None);
    }
    for request in &all {
        assert_eq!(claimed(ports, request).await, Some(earlier(request)));
    }
}

/// Of two transactions that claim a name at the same time, the second waits for the first and is told of it.
pub async fn of_two_concurrent_claims_the_second_hears_of_the_first(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (first, second) = (request(&owner, "a", 1, at(1)), request(&owner, "a", 2, at(1)));
    let (mut winner, mut loser) = (ports.begin().await, ports.begin().await);
    assert_eq!(winner.requests().claim(first.clone()).await.expect("an answer"), None);
    let (told, committed) = join(loser.requests().claim(second), winner.commit()).await;
    committed.expect("a commit");
    assert_eq!(told.expect("an answer"), Some(earlier(&first)));
    loser.rollback().await.expect("a rollback");
}

/// Whoever waits for a request that fails then is the first one.
pub async fn a_claim_that_waits_for_a_failing_one_is_the_first(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let (failing, waiting) = (request(&owner, "a", 1, at(1)), request(&owner, "a", 2, at(1)));
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    assert_eq!(first.requests().claim(failing).await.expect("an answer"), None);
    let (told, undone) = join(second.requests().claim(waiting.clone()), first.rollback()).await;
    undone.expect("a rollback");
    assert_eq!(told.expect("an answer"), None);
    second.commit().await.expect("a commit");
    assert_eq!(claimed(ports, &waiting).await, Some(earlier(&waiting)));
}

/// A request counts for a day, whether it was deleted since or not.
pub async fn a_name_is_free_again_after_a_day(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let first = request(&owner, "a", 1, at(1));
    assert_eq!(claimed(ports, &first).await, None);
    let day_later = first.at.plus(NamedRequest::REMEMBERED);
    let just_before = NamedRequest { at: day_later.minus(Duration::from_micros(1)), ..request(&owner, "a", 2, at(1)) };
    assert_eq!(claimed(ports, &just_before).await, Some(earlier(&first)));
    let second = NamedRequest { at: day_later, ..just_before };
    assert_eq!(claimed(ports, &second).await, None);
    assert_eq!(claimed(ports, &second).await, Some(earlier(&second)));
}

/// Those from before a moment are deleted, the oldest first and so many at most, and the others stay.
pub async fn old_requests_are_deleted_part_by_part(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let requests =
        [(5, "e"), (1, "a"), (4, "d"), (2, "b"), (3, "c")].map(|(second, name)| request(&owner, name, 1, at(second)));
    for request in &requests {
        assert_eq!(claimed(ports, request).await, None);
    }
    for (most, count, left) in [(2, 2, "cde"), (2, 1, "de"), (2, 0, "de")] {
        let mut tx = ports.begin().await;
        assert_eq!(tx.requests().forget(at(4), most).await.expect("an answer"), count);
        tx.commit().await.expect("a commit");
        let mut tx = ports.begin().await;
        for request in &requests {
            let known = tx.requests().claim(request.clone()).await.expect("an answer").is_some();
            assert_eq!(known, left.contains(request.key.as_str()), "{}", request.key);
        }
        tx.rollback().await.expect("a rollback");
    }
}
