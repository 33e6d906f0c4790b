//! Signed heads: the ports `SignedHeads` and `ChainReader::signed_heads`.

use super::{Ports, inspecting, record, signed, signing};
use crate::{Head, SignedHead, Trail};

async fn unsigned(ports: Ports<'_>, limit: usize) -> Vec<(Trail, Head)> {
    let mut tx = ports.begin().await;
    let mut found = tx.signed_heads().unsigned(&signing(), limit).await.expect("heads are read");
    tx.rollback().await.expect("the transaction ends");
    found.sort_by_key(|(trail, _)| *trail);
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
    assert_eq!(unsigned(ports, 9).await, []);
    let trails = [Trail::Platform, Trail::Account(ports.accounts[0])];
    for (round, rest) in [(1, 2), (3, 4)] {
        ports.written(&[record(round, None), record(rest, Some(ports.accounts[0]))]).await;
        let heads = [ports.head(trails[0]).await, ports.head(trails[1]).await];
        assert_eq!(unsigned(ports, 9).await, [(trails[0], heads[0]), (trails[1], heads[1])]);
        assert_eq!(unsigned(ports, 1).await.len(), 1);
        assert!(add(ports, signed(trails[0], heads[0])).await);
        assert_eq!(unsigned(ports, 9).await, [(trails[1], heads[1])]);
        assert!(add(ports, signed(trails[1], heads[1])).await);
        assert_eq!(unsigned(ports, 9).await, []);
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
