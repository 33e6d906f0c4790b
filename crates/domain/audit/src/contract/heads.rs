//! Signed heads: the ports `SignedHeads` and `ChainReader::signed_heads`.

use super::{Ports, inspecting, record, signed, signed_anew, signing};
use crate::{FoundHead, Head, SignedHead, Trail};

async fn unsigned_behind(ports: Ports<'_>, after: Option<Trail>, limit: usize) -> Vec<Trail> {
    let mut tx = ports.begin().await;
    let found = tx.signed_heads().unsigned(&signing(), after, limit).await.expect("heads are read");
    tx.rollback().await.expect("the transaction ends");
    assert!(found.iter().all(|found| !found.is_noted), "{found:?}");
    found.into_iter().map(|found| found.trail).collect()
}

async fn heads(ports: Ports<'_>, after: Option<Trail>, limit: usize) -> Vec<FoundHead> {
    let mut tx = ports.begin().await;
    let found = tx.signed_heads().heads(&signing(), after, limit).await.expect("heads are read");
    tx.rollback().await.expect("the transaction ends");
    found
}

async fn note(ports: Ports<'_>, signed: &[(Trail, Head)]) {
    let mut tx = ports.begin().await;
    tx.signed_heads().note(&signing(), signed.to_vec()).await.expect("heads are noted");
    tx.commit().await.expect("a commit");
}

async fn unsigned(ports: Ports<'_>) -> Vec<Trail> {
    unsigned_behind(ports, None, 9).await
}

async fn last_signed(ports: Ports<'_>, trail: Trail, limit: usize) -> Vec<SignedHead> {
    let mut tx = ports.begin().await;
    let found = tx.signed_heads().last_signed(&signing(), trail, limit).await.expect("signed heads are read");
    tx.rollback().await.expect("the transaction ends");
    found
}

async fn add(ports: Ports<'_>, head: SignedHead) -> bool {
    let mut tx = ports.begin().await;
    let added = tx.signed_heads().add(&signing(), head).await.expect("a signed head is added");
    tx.commit().await.expect("a commit");
    added
}

/// A chain wants a signature when it begins and when it grew, until its head is noted as signed. What is noted of another head counts
/// for nothing.
pub async fn a_chain_that_grew_wants_a_signature(ports: Ports<'_>) {
    assert_eq!(unsigned(ports).await, []);
    let trails = [Trail::Platform, Trail::Account(ports.accounts[0])];
    let mut before = trails.map(|trail| (trail, Head::EMPTY));
    for (round, rest) in [(1, 2), (3, 4)] {
        ports.written(&[record(round, None), record(rest, Some(ports.accounts[0]))]).await;
        assert_eq!(unsigned(ports).await, trails);
        note(ports, &before).await;
        assert_eq!(unsigned(ports).await, trails, "those heads are over");
        for (place, trail) in trails.into_iter().enumerate() {
            before[place].1 = ports.head(trail).await;
            note(ports, &before[place..=place]).await;
            assert_eq!(unsigned(ports).await, trails[place + 1..]);
        }
    }
}

/// All heads are found with the two signed heads of the greatest numbers, in the order of their trails, some at a time, and whether
/// they are noted as signed.
pub async fn heads_are_found_with_their_signatures(ports: Ports<'_>) {
    assert_eq!(heads(ports, None, 9).await, []);
    let [first, second] = ports.accounts.map(Trail::Account);
    let trails = [Trail::Platform, first, second];
    let mut expected = Vec::new();
    for (number, trail) in (1..).zip(trails) {
        ports.written(&[record(number, trail.account())]).await;
        let head = ports.head(trail).await;
        expected.push(FoundHead { trail, is_noted: false, known: Some((head, Vec::new())) });
    }
    assert_eq!(heads(ports, None, 9).await, expected);
    for found in &mut expected[..2] {
        let (head, last) = found.known.as_mut().expect("a head");
        for seq in [1, 2, 3] {
            let signed = signed(found.trail, Head { seq, ..*head });
            assert!(add(ports, signed).await);
            last.insert(0, signed);
        }
        last.truncate(2);
        note(ports, &[(found.trail, *head)]).await;
        found.is_noted = true;
    }
    assert_eq!(heads(ports, None, 9).await, expected);
    assert_eq!(heads(ports, None, 1).await, expected[..1]);
    assert_eq!(heads(ports, None, 2).await, expected[..2]);
    assert_eq!(heads(ports, Some(Trail::Platform), 1).await, expected[1..2]);
    assert_eq!(heads(ports, Some(first), 9).await, expected[2..]);
    assert_eq!(heads(ports, Some(second), 9).await, []);
    assert_eq!(unsigned(ports).await, [second]);
}

/// Chains that want a signature are found in the order of their trails, some at a time.
pub async fn chains_that_want_a_signature_are_found_in_parts(ports: Ports<'_>) {
    let [first, second] = ports.accounts.map(Trail::Account);
    for (number, trail) in (1..).zip([second, Trail::Platform, first]) {
        ports.written(&[record(number, trail.account())]).await;
    }
    assert_eq!(unsigned_behind(ports, None, 1).await, [Trail::Platform]);
    assert_eq!(unsigned_behind(ports, None, 2).await, [Trail::Platform, first]);
    assert_eq!(unsigned_behind(ports, Some(Trail::Platform), 1).await, [first]);
    assert_eq!(unsigned_behind(ports, Some(first), 9).await, [second]);
    assert_eq!(unsigned_behind(ports, Some(second), 9).await, []);
}

/// What was planted for any number, with any hash, does not take the place of a signature, and no head is noted by it.
pub async fn what_was_planted_is_no_signature(ports: Ports<'_>) {
    for (number, trail) in [(1, Trail::Platform), (2, Trail::Account(ports.accounts[0]))] {
        ports.written(&[record(number, trail.account())]).await;
        let head = ports.head(trail).await;
        let planted = [head, Head { seq: 1, ..Head::EMPTY }, Head { seq: 2, ..Head::EMPTY }, Head { seq: 99, ..head }];
        for (number, head) in (100..).zip(planted) {
            assert!(add(ports, signed_anew(trail, head, number)).await);
        }
        assert_eq!(unsigned(ports).await.last(), Some(&trail));
        assert!(add(ports, signed(trail, head)).await, "beside the planted ones of its number");
        let numbers: Vec<_> = last_signed(ports, trail, 9).await.iter().map(|signed| signed.head.seq).collect();
        assert_eq!(numbers, [99, 2, 1, 1, 1]);
        assert_eq!(last_signed(ports, trail, 1).await, [signed_anew(trail, planted[3], 103)]);
    }
}

/// Whoever signs reads the head and the records behind any number, some at a time.
pub async fn records_are_read_for_signing(ports: Ports<'_>) {
    for trail in [Trail::Platform, Trail::Account(ports.accounts[0])] {
        let mut tx = ports.begin().await;
        assert_eq!(tx.signed_heads().head(&signing(), trail).await.expect("no head"), None);
        assert_eq!(tx.signed_heads().links(&signing(), trail, 0, 9).await.expect("no records"), []);
        tx.rollback().await.expect("the transaction ends");
        let records: Vec<_> = (1..=5).map(|number| record(number, trail.account())).collect();
        ports.written(&records).await;
        let links = ports.links(trail).await;
        let mut tx = ports.begin().await;
        let head = tx.signed_heads().head(&signing(), trail).await.expect("a head");
        assert_eq!(head, Some(ports.head(trail).await));
        for (after, limit, expected) in [(0, 9, &links[..]), (2, 9, &links[2..]), (2, 2, &links[2..4]), (5, 9, &[])] {
            let read = tx.signed_heads().links(&signing(), trail, after, limit).await.expect("records");
            assert_eq!(read, expected, "{after} {limit}");
        }
        tx.rollback().await.expect("the transaction ends");
    }
}

/// Signed heads are read back as they were added, by their numbers and in their order.
pub async fn signed_heads_are_read_back_by_number(ports: Ports<'_>) {
    for trail in [Trail::Platform, Trail::Account(ports.accounts[0])] {
        let mut added = Vec::new();
        for number in 1..=4 {
            let number = if trail == Trail::Platform { number } else { number + 4 };
            ports.written(&[record(number, trail.account())]).await;
            let head = signed(trail, ports.head(trail).await);
            assert!(add(ports, head).await);
            added.push(head);
        }
        let read = async |numbers, limit| {
            ports.chains.signed_heads(&inspecting(), trail, numbers, limit).await.expect("signed heads are read")
        };
        assert_eq!(read(1..=i64::MAX, 9).await, added);
        assert_eq!(read(2..=3, 9).await, added[1..3]);
        assert_eq!(read(2..=4, 1).await, added[1..2]);
        assert_eq!(read(5..=i64::MAX, 9).await, []);
    }
}

/// A signature that is there is not added again, and is no error; another one of the same head stands beside it.
pub async fn a_signature_is_added_once(ports: Ports<'_>) {
    for (number, trail) in [(1, Trail::Platform), (2, Trail::Account(ports.accounts[0]))] {
        ports.written(&[record(number, trail.account())]).await;
        let head = ports.head(trail).await;
        let both = [signed(trail, head), signed_anew(trail, head, 99)];
        for signed in both {
            assert!(add(ports, signed).await);
            assert!(!add(ports, SignedHead { at: super::at(98), ..signed }).await);
        }
        let read = ports.chains.signed_heads(&inspecting(), trail, 1..=9, 9).await.expect("signed heads are read");
        assert!(read.len() == 2 && both.iter().all(|signed| read.contains(signed)), "{read:?}");
    }
}
