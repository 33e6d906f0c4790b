//! Chains as they are stored: the ports `AuditLog` and `ChainReader`.

use portal_kernel::StoreError;

use super::{Ports, assert_whole, at, bare, id, ids, inspecting, record};
use crate::{AuditEntry, AuditRecord, Effect, EffectResult, Head, LinkRange, Trail};

/// Nothing is read where nothing was recorded.
pub async fn an_empty_trail_has_no_head(ports: Ports<'_>) {
    for trail in [Trail::Platform, Trail::Account(ports.accounts[0])] {
        assert_eq!(ports.links(trail).await, []);
        assert_eq!(ports.chains.head(&inspecting(), trail).await.expect("an answer"), None);
    }
}

/// Records are read back as they were written, numbered from one, each with the hash that follows from those before it.
pub async fn records_are_read_back_as_written_and_chained(ports: Ports<'_>) {
    for account in [None, Some(ports.accounts[0])] {
        let records = [record(1, account), bare(2, account), record(3, account)];
        ports.written(&records[..2]).await;
        ports.written(&records[2..]).await;
        let links = ports.links(account.into()).await;
        assert_eq!(links.iter().map(|link| link.seq).collect::<Vec<_>>(), [1, 2, 3]);
        let entries: Vec<_> = links.iter().map(|link| link.entry.clone()).collect();
        assert_eq!(entries, records.map(AuditEntry::from));
        assert_whole(&links, account.into());
        assert_eq!(ports.head(account.into()).await, links[2].head());
    }
}

/// Records have the order in which they were committed, whatever their ids.
pub async fn the_order_is_that_of_the_commits(ports: Ports<'_>) {
    let account = Some(ports.accounts[0]);
    let mut earlier = ports.begin().await;
    earlier.audit().record(record(1, account)).await.expect("a record is added");
    ports.written(&[record(2, account)]).await;
    earlier.commit().await.expect("a commit");
    assert_eq!(ids(&ports.links(account.into()).await), [2, 1]);
}

/// Each account has a chain of its own, and so has the platform; one transaction may write to all of them.
pub async fn each_trail_is_a_chain_of_its_own(ports: Ports<'_>) {
    let trails = [Some(ports.accounts[1]), None, Some(ports.accounts[0])];
    let records: Vec<_> = (1..).zip(trails.iter().cycle().take(9)).map(|(n, account)| record(n, *account)).collect();
    ports.written(&records[..7]).await;
    ports.written(&records[7..]).await;
    for (first, account) in (1..).zip(trails) {
        let links = ports.links(account.into()).await;
        assert_eq!(ids(&links), [first, first + 3, first + 6]);
        assert_whole(&links, account.into());
    }
}

/// What is not committed takes no number.
pub async fn what_is_rolled_back_leaves_no_gap(ports: Ports<'_>) {
    let account = Some(ports.accounts[0]);
    for number in 1..=6 {
        let mut tx = ports.begin().await;
        tx.audit().record(record(number, account)).await.expect("a record is added");
        let ended = if number % 2 == 0 { tx.commit().await } else { tx.rollback().await };
        ended.expect("the transaction ends");
    }
    // The second is there: this commit fails, and with it the first of the two.
    let again = ports.append(&[record(9, account), record(2, account)]).await;
    assert!(matches!(again, Err(StoreError::Duplicate { .. })), "{again:?}");
    let links = ports.links(account.into()).await;
    assert_eq!(ids(&links), [2, 4, 6]);
    assert_whole(&links, account.into());
    assert_eq!(ports.head(account.into()).await, links[2].head());
}

/// More records than one statement can hold are one commit all the same.
pub async fn thousands_of_records_are_one_commit(ports: Ports<'_>) {
    let trail = Trail::Account(ports.accounts[0]);
    let records: Vec<_> = (1..=2_500).map(|number| record(number, trail.account())).collect();
    ports.written(&records).await;
    let range = LinkRange { trail, after: None, since: None, limit: 5_000 };
    let links = ports.chains.links(&inspecting(), range).await.expect("a chain is read");
    assert_eq!(links.len(), 2_500);
    assert_whole(&links, trail);
}

/// Parts of a chain begin behind a record, and are as long as was asked.
pub async fn a_chain_is_read_in_parts(ports: Ports<'_>) {
    for account in [None, Some(ports.accounts[0])] {
        let records: Vec<_> = (1..=7).map(|number| record(number, account)).collect();
        ports.written(&records).await;
        let (mut after, mut read) = (None, Vec::new());
        loop {
            let range = LinkRange { trail: account.into(), after, since: None, limit: 3 };
            let part = ports.chains.links(&inspecting(), range).await.expect("a part is read");
            assert!(part.len() <= 3);
            let Some(end) = part.last() else { break };
            after = Some((end.seq, end.entry.id));
            read.extend(part);
        }
        assert_eq!(ids(&read), [1, 2, 3, 4, 5, 6, 7]);
        let range = LinkRange { trail: account.into(), after: Some((5, id(0))), since: None, limit: 9 };
        let part = ports.chains.links(&inspecting(), range).await.expect("a part is read");
        assert_eq!(ids(&part), [5, 6, 7], "what has the same number and a greater id is not left out");
        let range = LinkRange { trail: account.into(), after: None, since: Some(at(6)), limit: 9 };
        let part = ports.chains.links(&inspecting(), range).await.expect("a part is read");
        assert_eq!(ids(&part), [6, 7]);
        let places: Vec<_> = part.iter().map(|link| (link.seq, link.entry.id)).collect();
        assert_eq!(ports.chains.places(&inspecting(), range).await.expect("places are read"), places);
    }
}

/// All accounts are found, in the order of their ids.
pub async fn accounts_are_read_in_parts(ports: Ports<'_>) {
    let [first, second] = ports.accounts;
    let some =
        async |after, limit| ports.chains.accounts(&inspecting(), after, limit).await.expect("accounts are read");
    assert_eq!(some(None, 9).await, [first, second]);
    assert_eq!(some(None, 1).await, [first]);
    assert_eq!(some(Some(first), 1).await, [second]);
    assert_eq!(some(Some(second), 9).await, []);
    for (account, expected) in [(first, true), (second, true), (id(77), false)] {
        assert_eq!(ports.chains.has_account(&inspecting(), account).await.expect("an answer"), expected);
    }
}

fn closing(number: u32, opened: &AuditRecord) -> AuditRecord {
    let effect = Effect::Closed { opened: opened.id, result: EffectResult::Succeeded };
    AuditRecord { id: id(number), effect, ..opened.clone() }
}

/// Only what was opened in the same trail can be closed, and only once.
pub async fn an_attempt_is_closed_once(ports: Ports<'_>) {
    for account in [None, Some(ports.accounts[0])] {
        let opened = AuditRecord { effect: Effect::Opened, ..record(1, account) };
        ports.append(&[closing(2, &opened)]).await.expect_err("nothing was opened");
        ports.written(std::slice::from_ref(&opened)).await;
        let elsewhere = AuditRecord { account: Some(ports.accounts[1]), ..closing(2, &opened) };
        ports.append(&[elsewhere]).await.expect_err("it was opened in another trail");
        ports.written(&[closing(2, &opened)]).await;
        let again = ports.append(&[closing(3, &opened)]).await;
        assert!(matches!(again, Err(StoreError::Duplicate { .. })), "{again:?}");
        let links = ports.links(account.into()).await;
        assert_eq!(ids(&links), [1, 2]);
        assert_eq!((links[1].entry.effect.as_str(), links[1].entry.closes), ("succeeded", Some(opened.id)));
        assert_whole(&links, account.into());
        assert_ne!(ports.head(account.into()).await, Head::EMPTY);
    }
}
