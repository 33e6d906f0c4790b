//! Signed heads: the ports `SignedHeads` and `ChainReader::signed_heads`.

use super::{Ports, inspecting, record, signed, signing};
use crate::{Head, SignedHead, Trail};

async fn unsigned_behind(ports: Ports<'_>, after: Option<Trail>, limit: usize) -> Vec<Trail> {
    let mut tx = ports.begin().await;
    let found = tx.signed_heads().unsigned(&signing(), after, limit).await.expect("heads are read");
    tx.rollback().await.expect("the transaction ends");
    found
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

/// A chain wants a signature when it begins, when it grew since the last one, and at no other time.
pub async fn a_chain_that_grew_wants_a_signature(ports: Ports<'_>) {
    assert_eq!(unsigned(ports).await, []);
    let trails = [Trail::Platform, Trail::Account(ports.accounts[0])];
    for (round, rest) in [(1, 2), (3, 4)] {
        ports.written(&[record(round, None), record(rest, Some(ports.accounts[0]))]).await;
        assert_eq!(unsigned(ports).await, trails);
        for (place, trail) in trails.into_iter().enumerate() {
            assert!(add(ports, signed(trail, ports.head(trail).await)).await);
            assert_eq!(unsigned(ports).await, trails[place + 1..]);
        }
    }
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

/// What was planted for other numbers, or with another hash, does not take the place of a signature; a chain that was longer once is
/// looked at.
pub async fn what_was_planted_is_no_signature(ports: Ports<'_>) {
    for (number, trail) in [(1, Trail::Platform), (2, Trail::Account(ports.accounts[0]))] {
        ports.written(&[record(number, trail.account())]).await;
        let head = ports.head(trail).await;
        let planted = [Head { seq: 1, ..Head::EMPTY }, Head { seq: 2, ..Head::EMPTY }, Head { seq: 99, ..head }];
        for head in planted {
            assert!(add(ports, signed(trail, head)).await);
        }
        assert_eq!(unsigned(ports).await.last(), Some(&trail));
        assert!(add(ports, signed(trail, head)).await, "beside the planted one of its number");
        assert_eq!(unsigned(ports).await.last(), Some(&trail), "somebody says that it was longer");
        let numbers: Vec<_> = last_signed(ports, trail, 9).await.iter().map(|signed| signed.head.seq).collect();
        assert_eq!(numbers, [99, 2, 1, 1]);
        assert_eq!(last_signed(ports, trail, 1).await, [signed(trail, planted[2])]);
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

/// Of two signatures of one head the first stays, and the second is no error.
pub async fn a_head_is_signed_once(ports: Ports<'_>) {
    for (number, trail) in [(1, Trail::Platform), (2, Trail::Account(ports.accounts[0]))] {
        ports.written(&[record(number, trail.account())]).await;
        let head = signed(trail, ports.head(trail).await);
        let other = SignedHead { at: super::at(99), ..head };
        assert!(add(ports, head).await);
        assert!(!add(ports, other).await);
        let read = ports.chains.signed_heads(&inspecting(), trail, 1..=9, 9).await.expect("signed heads are read");
        assert_eq!(read, [head]);
    }
}
