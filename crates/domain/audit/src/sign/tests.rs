use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use portal_testkit::FixedClock;

use super::*;
use crate::testing::{Key, MemoryChains, MemoryStore, Stored, chain, chain_of, entry, forge, now};

struct World {
    chains: Arc<BTreeMap<Trail, MemoryChains>>,
    store: Arc<MemoryStore>,
}

impl World {
    fn new(chains: impl IntoIterator<Item = (Trail, Stored)>) -> Self {
        let chains = chains.into_iter().map(|(trail, stored)| (trail, MemoryChains(Mutex::new(stored)))).collect();
        let chains: Arc<BTreeMap<_, _>> = Arc::new(chains);
        let (transactions, read) = (AtomicUsize::new(usize::MAX), Arc::default());
        let store = MemoryStore { chains: chains.clone(), transactions, read };
        Self { chains, store: Arc::new(store) }
    }

    fn of_platform(stored: Stored) -> Self {
        Self::new([(Trail::Platform, stored)])
    }

    fn sign_heads(&self) -> SignHeads {
        SignHeads::new(self.store.clone(), Arc::new(Key(1)), Arc::new(Key(1)), Arc::new(FixedClock::default()))
    }

    /// What was told, and how many chains are not finished.
    async fn sign(&self) -> (Vec<SigningNews>, usize) {
        let mut told = Vec::new();
        let turn = self.sign_heads().run(|news| told.push(news)).await.unwrap();
        (told, turn.unfinished)
    }

    /// Of the platform's chain.
    async fn finding(&self) -> Option<Finding> {
        let signed = self.platform(|stored| stored.signed.len());
        let (told, _) = self.sign().await;
        let finding = told.iter().find_map(|news| match news {
            SigningNews::Broken { finding, .. } => Some(*finding),
            SigningNews::Signed(_) => None,
        });
        assert!(finding.is_none() || self.platform(|stored| stored.signed.len()) == signed, "nothing was signed");
        finding
    }

    fn platform<T>(&self, look: impl FnOnce(&mut Stored) -> T) -> T {
        look(&mut self.chains[&Trail::Platform].0.lock().unwrap())
    }
}

fn account(number: usize) -> Trail {
    format!("acc_{number:026}").parse().unwrap()
}

/// The numbers that were signed.
fn signed(told: &[SigningNews]) -> Vec<(Trail, i64)> {
    let signed = told.iter().filter_map(|news| match news {
        SigningNews::Signed(signed) => Some((signed.trail, signed.head.seq)),
        SigningNews::Broken { .. } => None,
    });
    signed.collect()
}

#[tokio::test]
async fn every_chain_that_grew_is_signed_at_its_end_and_no_other() {
    for before in [&[][..], &[2], &[2, 4]] {
        let world = World::new([
            (Trail::Platform, chain(8, before)),
            (account(1), chain_of(account(1), 3, &[3])),
            (account(2), Stored::default()),
            (account(3), chain_of(account(3), 5, &[])),
        ]);
        let (told, unfinished) = world.sign().await;
        assert_eq!((signed(&told), unfinished), (vec![(Trail::Platform, 8), (account(3), 5)], 0));
        assert_eq!(world.sign().await, (Vec::new(), 0));
        let stored = world.platform(|stored| stored.signed.last().copied()).unwrap();
        assert!(stored.is_valid(&Key(1)) && Some(stored.head) == world.platform(|stored| stored.head));
    }
}

#[tokio::test]
async fn a_chain_that_was_computed_anew_does_not_fit_its_signature_and_is_not_signed() {
    for (records, finding) in [(8, Finding::Changed { seq: 5 }), (4, Finding::Rewritten { seq: 4 })] {
        let mut stored = chain(records, &[4]);
        stored.links[1].entry.reason = Some("another".to_owned());
        forge(&mut stored);
        assert_eq!(World::of_platform(stored).finding().await, Some(finding));
    }
}

#[tokio::test]
async fn what_does_not_fit_is_not_signed() {
    let spoilt = |spoil: fn(&mut Stored)| {
        let mut stored = chain(8, &[2]);
        spoil(&mut stored);
        World::of_platform(stored)
    };
    for (world, expected) in [
        (spoilt(|stored| drop(stored.links.remove(4))), Finding::Missing { seq: 5 }),
        (spoilt(|stored| stored.links[4].entry.subject.push('x')), Finding::Changed { seq: 5 }),
        (spoilt(|stored| stored.links.swap(4, 5)), Finding::Changed { seq: 5 }),
        (spoilt(|stored| stored.links.truncate(6)), Finding::CutOff { seq: 6, expected: 8 }),
        (spoilt(|stored| stored.head = Some(Head { seq: 8, ..Head::EMPTY })), Finding::HeadDiffers { seq: 8 }),
        (spoilt(|stored| stored.unreadable = vec![7]), Finding::Unreadable { seq: 5 }),
        (
            spoilt(|stored| {
                let twice = Link { entry: entry(99), ..stored.links[5].clone() };
                stored.links.push(twice);
            }),
            Finding::Surplus { seq: 6 },
        ),
        (
            spoilt(|stored| {
                stored.links[4].seq = 99;
                stored.links.truncate(5);
                stored.head = Some(Head { seq: 5, ..Head::EMPTY });
            }),
            Finding::Missing { seq: 5 },
        ),
    ] {
        if expected == (Finding::Changed { seq: 5 }) {
            // Two that changed places keep their numbers where they are.
            world.platform(|stored| (1..).zip(&mut stored.links).for_each(|(seq, link)| link.seq = seq));
        }
        assert_eq!(world.finding().await, Some(expected));
    }
}

#[tokio::test]
async fn a_chain_that_was_longer_when_it_was_signed_is_not_signed_again() {
    for left in [4, 5] {
        let mut stored = chain(8, &[4, 7]);
        stored.links.truncate(left);
        forge(&mut stored);
        let seq = i64::try_from(left).unwrap();
        assert_eq!(World::of_platform(stored).finding().await, Some(Finding::BeyondEnd { seq, signed: 7 }));
    }
}

#[tokio::test]
async fn a_broken_chain_keeps_no_other_from_being_signed() {
    let mut broken = chain(3, &[]);
    broken.links[0].entry.subject.push('x');
    let world = World::new([(Trail::Platform, broken), (account(1), chain_of(account(1), 3, &[]))]);
    let (told, _) = world.sign().await;
    assert_eq!(told[0], SigningNews::Broken { trail: Trail::Platform, finding: Finding::Changed { seq: 1 } });
    assert_eq!(signed(&told), [(account(1), 3)]);
}

/// What was found, one by one.
fn findings(told: &[SigningNews]) -> Vec<Finding> {
    let findings = told.iter().filter_map(|news| match news {
        SigningNews::Signed(_) => None,
        SigningNews::Broken { finding, .. } => Some(*finding),
    });
    findings.collect()
}

#[tokio::test]
async fn a_planted_signature_stops_nothing_vouches_for_nothing_and_is_told_while_it_is_not_behind() {
    for key in [2, 3, 4] {
        for seq in [2, 5, 8, 99] {
            for before in [&[4][..], &[4, 8]] {
                let mut stored = chain(8, before);
                let planted =
                    stored.links.iter().find(|link| link.seq == seq).map_or(Head { seq, ..Head::EMPTY }, Link::head);
                stored.signed.push(SignedHead::new(&Key(key), Trail::Platform, planted, now()));
                let world = World::of_platform(stored);
                let (told, _) = world.sign().await;
                let end = [(Trail::Platform, 8)];
                assert_eq!(signed(&told), end[before.len() - 1..], "{seq} {key}");
                let vouching =
                    world.platform(|stored| stored.signed.iter().filter(|signed| signed.is_valid(&Key(1))).count());
                assert_eq!(vouching, 2, "{seq} {key}");
                let is_behind = seq < if before.len() == 1 { 4 } else { 8 };
                assert_eq!(findings(&told).is_empty(), is_behind, "{seq} {key}");
                let (again, _) = world.sign().await;
                let invalid = (seq >= 8).then_some(Finding::SignatureInvalid { seq });
                assert_eq!((signed(&again), findings(&again)), (Vec::new(), Vec::from_iter(invalid)), "{seq} {key}");
            }
        }
    }
    let mut stored = chain(8, &[4]);
    let heads = (100..).map(|seq| SignedHead::new(&Key(2), Trail::Platform, Head { seq, ..Head::EMPTY }, now()));
    stored.signed.extend(heads.take(MOST_PLANTED));
    let seq = 99 + i64::try_from(MOST_PLANTED).unwrap();
    assert_eq!(World::of_platform(stored).finding().await, Some(Finding::SignatureInvalid { seq }));
}

#[tokio::test]
async fn a_head_that_is_noted_and_was_not_signed_is_signed_and_told() {
    let mut stored = chain(8, &[4]);
    stored.noted = stored.head;
    let world = World::of_platform(stored);
    let (told, _) = world.sign().await;
    assert_eq!((signed(&told), findings(&told)), (vec![(Trail::Platform, 8)], vec![Finding::Unsigned { seq: 8 }]));
    assert_eq!(world.sign().await.0, []);
}

#[tokio::test]
async fn a_broken_chain_that_is_noted_as_signed_is_told_in_every_run() {
    let mut stored = chain(8, &[4]);
    stored.links[1].entry.reason = Some("another".to_owned());
    forge(&mut stored);
    stored.noted = stored.head;
    let world = World::new(
        (1..=SWEPT)
            .map(|number| (account(number), chain_of(account(number), 1, &[1])))
            .chain([(Trail::Platform, stored)]),
    );
    let sign_heads = world.sign_heads();
    for round in [false, true, false] {
        let mut told = Vec::new();
        let turn = sign_heads.run(|news| told.push(news)).await.unwrap();
        assert_eq!((findings(&told), turn.is_round), (vec![Finding::Changed { seq: 5 }], round));
    }
}

#[tokio::test]
async fn a_signature_that_the_store_does_not_keep_is_told() {
    let world = World::of_platform(Stored { swallows: true, ..chain(8, &[4]) });
    for _ in 0..2 {
        assert_eq!(world.finding().await, Some(Finding::Unsigned { seq: 8 }));
    }
}

#[tokio::test]
async fn one_run_looks_at_some_of_the_heads_that_are_noted_as_signed_and_all_are_looked_at_before_long() {
    let accounts = 2 * SWEPT + CHAINS / 2;
    let world = World::new((1..=accounts).map(|number| (account(number), chain_of(account(number), 1, &[1]))));
    let sign_heads = world.sign_heads();
    let mut rounds = Vec::new();
    let last = &world.chains[&account(accounts)];
    for _ in 0..3 {
        world.store.read.store(0, std::sync::atomic::Ordering::Relaxed);
        let mut told = Vec::new();
        let turn = sign_heads.run(|news| told.push(news)).await.unwrap();
        rounds.push((world.store.read.load(std::sync::atomic::Ordering::Relaxed), turn.is_round, told.len()));
        // Nobody signed it, whatever is noted.
        last.0.lock().unwrap().signed.clear();
    }
    assert_eq!(rounds, [(SWEPT, false, 0), (SWEPT, false, 0), (CHAINS / 2, true, 2)]);
}

#[tokio::test]
async fn a_long_chain_is_read_in_parts_and_signed_in_several_runs() {
    // Parts of this store have three records.
    let in_one_run = 3 * PAGES;
    let world = World::of_platform(chain(2 * in_one_run + 1, &[]));
    let mut ends = Vec::new();
    loop {
        let (told, unfinished) = world.sign().await;
        ends.extend(signed(&told).into_iter().map(|(_, seq)| usize::try_from(seq).unwrap()));
        if unfinished == 0 {
            break;
        }
    }
    assert_eq!(ends, [in_one_run, 2 * in_one_run, 2 * in_one_run + 1]);
    assert_eq!(world.platform(|stored| stored.longest), PAGE);
}

#[tokio::test]
async fn many_chains_are_found_in_parts_and_what_was_signed_before_a_failure_stays() {
    let chains = |count: usize| (1..=count).map(|number| (account(number), chain_of(account(number), 1, &[])));
    let world = World::new(chains(2 * CHAINS + 1));
    assert_eq!(signed(&world.sign().await.0).len(), 2 * CHAINS + 1);
    let world = World::new(chains(3));
    world.store.transactions.store(3, std::sync::atomic::Ordering::Relaxed);
    let mut told = 0;
    let outcome = world.sign_heads().run(|_| told += 1).await;
    assert!(matches!(outcome, Err(SignHeadsError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
    assert_eq!(told, 2, "one transaction finds them, and two sign");
}

#[tokio::test]
async fn what_somebody_else_signed_meanwhile_is_not_signed_again() {
    let world = World::of_platform(chain(4, &[]));
    let sign_heads = world.sign_heads();
    let mut tx = sign_heads.store.begin().await.unwrap();
    let cleared = Unchecked::new(Platform).authorize(&Principal::System(Job::Audit)).unwrap();
    let at = world.platform(|stored| stored.head).unwrap();
    let walk = Walk { sign_heads: &sign_heads, cleared: &cleared, trail: Trail::Platform, at, planted: None };
    assert!(matches!(walk.add(tx.signed_heads()).await.unwrap(), Outcome::Stored(signed, true) if signed.head == at));
    assert!(matches!(walk.add(tx.signed_heads()).await.unwrap(), Outcome::Done(head) if head == at));
    assert_eq!(world.platform(|stored| stored.signed.len()), 1);
}
