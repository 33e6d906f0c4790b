use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::Hash;
use crate::testing::{Key, MemoryChains, Stored, chain, entry, forge, now, operator, signer};

async fn verify(stored: Stored, elsewhere: &[SignedHead]) -> Verdict {
    let inspector = Inspector { chains: Arc::new(MemoryChains(Mutex::new(stored))), verifier: Arc::new(Key(1)) };
    inspector.verify(&operator(), Trail::Platform, elsewhere).await.unwrap()
}

async fn finding(stored: Stored) -> Option<Finding> {
    verify(stored, &[]).await.finding
}

/// Every length up to several pages, signed at every third record.
#[tokio::test]
async fn what_nobody_touched_is_good() {
    for records in 0..12_usize {
        let signed: Vec<_> = (1..=records).filter(|number| number % 3 == 0).collect();
        let verdict = verify(chain(records, &signed), &[]).await;
        let expected = Verdict {
            records: i64::try_from(records).unwrap(),
            vouched: signed.last().map_or(0, |last| i64::try_from(*last).unwrap()),
            signed: signed.len(),
            finding: None,
        };
        assert_eq!(verdict, expected);
    }
}

#[tokio::test]
async fn a_changed_record_is_found() {
    for place in 0..8 {
        let mut stored = chain(8, &[]);
        stored.links[place].entry.reason = Some("another".to_owned());
        let seq = stored.links[place].seq;
        assert_eq!(finding(stored).await, Some(Finding::Changed { seq }));
    }
}

#[tokio::test]
async fn a_record_that_is_gone_is_found() {
    for place in 0..7 {
        let mut stored = chain(8, &[]);
        let seq = stored.links.remove(place).seq;
        assert_eq!(finding(stored).await, Some(Finding::Missing { seq }));
    }
}

#[tokio::test]
async fn records_that_changed_places_are_found() {
    for (first, second) in [(0, 1), (0, 7), (2, 3), (3, 6)] {
        for hashes_too in [true, false] {
            let mut stored = chain(8, &[]);
            let (one, other) = (stored.links[first].clone(), stored.links[second].clone());
            let keep = |hash: Hash, moved: Hash| if hashes_too { moved } else { hash };
            stored.links[first] = Link { seq: one.seq, hash: keep(one.hash, other.hash), entry: other.entry };
            stored.links[second] = Link { seq: other.seq, hash: keep(other.hash, one.hash), entry: one.entry };
            assert_eq!(finding(stored).await, Some(Finding::Reordered { seq: one.seq }), "{first} {second}");
        }
    }
    let mut stored = chain(8, &[]);
    stored.links[2].seq = 99;
    assert_eq!(finding(stored).await, Some(Finding::Reordered { seq: 3 }), "moved to the end");
}

#[tokio::test]
async fn a_record_that_was_put_in_is_found() {
    let mut stored = chain(8, &[]);
    let added = Link { entry: entry(99), ..stored.links[2].clone() };
    stored.links.push(added);
    assert_eq!(finding(stored).await, Some(Finding::Surplus { seq: 3 }));
    let mut stored = chain(8, &[]);
    let added = stored.links[7].head().append(entry(99));
    stored.links.push(added);
    assert_eq!(finding(stored).await, Some(Finding::HeadDiffers { seq: 9 }));
}

#[tokio::test]
async fn a_chain_that_was_cut_off_is_found_by_its_head_or_else_by_a_signature() {
    let mut stored = chain(8, &[7]);
    stored.links.truncate(5);
    assert_eq!(finding(stored).await, Some(Finding::CutOff { seq: 5, expected: 8 }));
    let mut stored = chain(8, &[7]);
    stored.links.truncate(5);
    forge(&mut stored);
    assert_eq!(finding(stored).await, Some(Finding::BeyondEnd { seq: 5, signed: 7 }));
    let mut stored = chain(8, &[7]);
    (stored.links, stored.head) = (Vec::new(), None);
    assert_eq!(finding(stored).await, Some(Finding::BeyondEnd { seq: 0, signed: 7 }));
}

#[tokio::test]
async fn a_head_that_does_not_fit_is_found() {
    let mut stored = chain(8, &[]);
    stored.head = Some(Head { seq: 8, hash: Hash::ORIGIN });
    assert_eq!(finding(stored).await, Some(Finding::HeadDiffers { seq: 8 }));
    let mut stored = chain(8, &[]);
    stored.head = None;
    assert_eq!(finding(stored).await, Some(Finding::HeadDiffers { seq: 8 }));
}

#[tokio::test]
async fn a_chain_that_was_computed_anew_is_found_by_a_signature_in_the_store_or_elsewhere() {
    let mut stored = chain(8, &[4, 6]);
    stored.links[4].entry.reason = Some("another".to_owned());
    forge(&mut stored);
    assert_eq!(finding(stored).await, Some(Finding::Rewritten { seq: 6 }));
    // Also if the forger took the signatures out of the store.
    let mut stored = chain(8, &[4, 6]);
    let elsewhere = std::mem::take(&mut stored.signed);
    assert_eq!(verify(chain(8, &[]), &elsewhere).await, Verdict { records: 8, vouched: 6, signed: 2, finding: None });
    stored.links[4].entry.reason = Some("another".to_owned());
    forge(&mut stored);
    assert_eq!(verify(stored, &elsewhere).await.finding, Some(Finding::Rewritten { seq: 6 }));
}

#[tokio::test]
async fn a_forged_signature_is_found() {
    for (place, beyond) in [(4, false), (8, true)] {
        let mut stored = chain(8, &[]);
        let head = stored.links[place - 1].head();
        if beyond {
            stored.links.truncate(5);
            forge(&mut stored);
        }
        stored.signed = vec![SignedHead::new(&Key(2), Trail::Platform, head, now())];
        let seq = i64::try_from(place).unwrap();
        assert_eq!(finding(stored).await, Some(Finding::SignatureInvalid { seq }));
    }
    // A signature for the same place of another trail.
    let mut stored = chain(8, &[]);
    let other = "acc_00000000000000000000000001".parse().unwrap();
    let signed = SignedHead::new(&Key(1), other, stored.links[3].head(), now());
    stored.signed = vec![SignedHead { trail: Trail::Platform, ..signed }];
    assert_eq!(finding(stored).await, Some(Finding::SignatureInvalid { seq: 4 }));
}

#[tokio::test]
async fn what_a_signature_vouches_for_ends_before_a_finding() {
    let mut stored = chain(8, &[3, 7]);
    stored.links[5].entry.reason = Some("another".to_owned());
    let found = verify(stored, &[]).await;
    assert_eq!((found.records, found.vouched, found.signed), (5, 3, 1));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let chains = MemoryChains(Mutex::new(chain(8, &[])));
    let unreadable = [3, 4, 8];
    chains.0.lock().unwrap().unreadable = unreadable.into();
    let inspector = Inspector { chains: Arc::new(chains), verifier: Arc::new(Key(1)) };
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = inspector.records(&operator(), Trail::Platform, after, None).await.unwrap();
        let place = |record: &Result<Link, Unreadable>| match record {
            Ok(link) => (link.seq, link.entry.id),
            Err(record) => (record.seq, record.id),
        };
        let Some(last) = page.last() else { break };
        after = Some(place(last));
        read.extend(page);
    }
    let told: Vec<_> = read.iter().map(|record| record.as_ref().map_or_else(|at| -at.seq, |link| link.seq)).collect();
    assert_eq!(told, [1, 2, -3, -4, 5, 6, 7, -8]);
    assert_eq!(read[2], Err(Unreadable { seq: 3, id: entry(3).id }));
}

#[tokio::test]
async fn only_an_operator_inspects() {
    let inspector = Inspector { chains: Arc::new(MemoryChains::default()), verifier: Arc::new(Key(1)) };
    let who = signer();
    let outcome = inspector.verify(&who, Trail::Platform, &[]).await;
    assert!(matches!(outcome, Err(InspectError::Denied(_))), "{outcome:?}");
    assert!(inspector.accounts(&who, None).await.is_err());
    assert!(inspector.has_account(&who, "acc_00000000000000000000000001".parse().unwrap()).await.is_err());
    assert!(inspector.records(&who, Trail::Platform, None, None).await.is_err());
}

/// What somebody may do who can write every table, and holds no key.
#[derive(Debug, Clone)]
enum Tampering {
    Change(usize),
    Remove(usize),
    Swap(usize, usize),
    Truncate(usize),
    Insert(usize),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let place = 0..20_usize;
    prop_oneof![
        place.clone().prop_map(Tampering::Change),
        place.clone().prop_map(Tampering::Remove),
        (place.clone(), place.clone()).prop_map(|(one, other)| Tampering::Swap(one, other)),
        place.clone().prop_map(Tampering::Truncate),
        place.prop_map(Tampering::Insert),
    ]
}

fn tamper(links: &mut Vec<Link>, tampering: &Tampering) {
    match *tampering {
        Tampering::Change(place) => links[place].entry.subject.push('x'),
        Tampering::Remove(place) => drop(links.remove(place)),
        Tampering::Swap(one, other) => links.swap(one, other),
        Tampering::Truncate(place) => links.truncate(place),
        Tampering::Insert(place) => links.insert(place, Head::EMPTY.append(entry(99))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is done to signed records is found, also when all hashes, numbers and the head are computed anew.
    #[test]
    fn no_tampering_with_signed_records_goes_unnoticed(tampering in tampering(), forged in any::<bool>()) {
        let mut stored = chain(20, &[10, 20]);
        let before: Vec<_> = stored.links.iter().map(|link| link.entry.clone()).collect();
        tamper(&mut stored.links, &tampering);
        if forged {
            forge(&mut stored);
        } else {
            for (seq, link) in (1..).zip(&mut stored.links) {
                link.seq = seq;
            }
        }
        let after: Vec<_> = stored.links.iter().map(|link| link.entry.clone()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let finding = runtime.block_on(finding(stored));
        prop_assert_eq!(finding.is_none(), after == before, "{:?}", finding);
    }
}
