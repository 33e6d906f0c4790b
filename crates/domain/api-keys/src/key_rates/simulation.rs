//! Replicas that share limits, on simulated time: reports are slow, get lost before or after they are written, and stay away.

use std::collections::{BTreeMap, BTreeSet};

use portal_kernel::Clock;
use portal_testkit::FixedClock;
use proptest::prelude::*;

use super::*;
use crate::KeyPolicy;
use crate::testing::stored;

/// Time goes on by so much.
const STEP: Duration = Duration::from_millis(100);

/// Rounds are as many steps apart.
const ROUND: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Heard,
    /// Neither written nor heard.
    Lost,
    /// Written, and its writer does not know.
    Unheard,
}

/// A statement that is under way.
struct Round {
    began: Timestamp,
    told: Vec<Told>,
    heard: Heard,
    fate: Fate,
    written_at: usize,
    heard_at: usize,
}

struct Node {
    rates: KeyRates,
    phase: usize,
    under_way: Option<Round>,
    met: bool,
}

/// What is written, of each replica.
#[derive(Default)]
struct Board(BTreeMap<usize, (Timestamp, Vec<Told>)>);

impl Board {
    fn seen_by(&self, reader: usize, now: Timestamp) -> Heard {
        let live = self.0.iter().filter(|(node, (at, _))| **node != reader && at.plus(LIVE_FOR) > now);
        let live: Vec<_> = live.map(|(_, (_, told))| told).collect();
        let mut limits: BTreeMap<LimitOf, HeardOf> = BTreeMap::new();
        for told in live.iter().copied().flatten() {
            let sum = limits
                .entry(told.of.clone())
                .or_insert_with(|| HeardOf { told: Told { demand: 0, share: 0, ..told.clone() }, replicas: 0 });
            sum.told.demand += told.demand;
            sum.told.share += told.share;
            sum.replicas += 1;
        }
        Heard { others: live.len(), limits: limits.into_values().collect() }
    }
}

struct World {
    key: StoredKey,
    nodes: Vec<Node>,
    board: Board,
    step: usize,
    /// When each request passed.
    passed: Vec<Timestamp>,
    /// When a replica met the limit first.
    met: Vec<Timestamp>,
}

impl World {
    /// All of them know of each other.
    fn new(nodes: usize, limit: u64, window: u64) -> Self {
        let rate_limits = RateLimits::new([RateLimit::new("a", limit, window).unwrap()]).unwrap();
        let key = StoredKey { policy: KeyPolicy { rate_limits, ..KeyPolicy::default() }, ..stored() };
        let node = |number| Node { rates: KeyRates::new(10), phase: number * 3 % ROUND, under_way: None, met: false };
        let (nodes, board) = ((0..nodes).map(node).collect(), Board::default());
        let mut world = Self { key, nodes, board, step: 0, passed: Vec::new(), met: Vec::new() };
        for _ in 0..3 * ROUND {
            world.go_on(|_| (Fate::Heard, 0));
        }
        world
    }

    fn now(&self) -> Timestamp {
        FixedClock::default().now().plus(STEP * u32::try_from(self.step).unwrap())
    }

    /// One step of the reports; `fate` of a replica's round, and how many steps it takes.
    fn go_on(&mut self, mut fate: impl FnMut(usize) -> (Fate, usize)) {
        self.step += 1;
        let now = self.now();
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            if self.step % ROUND == node.phase {
                // What is still under way is not waited for, and may be written later than this one is heard: then it is refused.
                node.under_way = None;
                let (fate, takes) = fate(number);
                let told = node.rates.tell(now);
                let heard = self.board.seen_by(number, now);
                let (written_at, heard_at) = (self.step + takes, self.step + 2 * takes);
                node.under_way = Some(Round { began: now, told, heard, fate, written_at, heard_at });
            }
            let Some(round) = &mut node.under_way else { continue };
            if round.written_at == self.step && round.fate != Fate::Lost {
                self.board.0.insert(number, (now, round.told.clone()));
            }
            if round.heard_at == self.step && round.fate == Fate::Heard {
                node.rates.hear(&round.heard, round.began);
                node.under_way = None;
            }
        }
    }

    fn request(&mut self, number: usize) -> bool {
        let (now, node) = (self.now(), &mut self.nodes[number]);
        if !std::mem::replace(&mut node.met, true) {
            self.met.push(now);
        }
        let allowed = node.rates.charge(&self.key, now).allowed;
        self.passed.extend(allowed.then_some(now));
        allowed
    }

    fn share(&self, number: usize) -> u64 {
        self.nodes[number].rates.shares.of(self.key.key, "a").as_millionths()
    }

    fn shares(&self) -> u64 {
        (0..self.nodes.len()).map(|number| self.share(number)).sum()
    }

    /// In every span of time. `silent` of the replicas may have been without reports.
    fn assert_bound(&self, silent: usize) {
        let limit = self.key.policy.rate_limits.iter().next().unwrap();
        let (most, window) = (u128::from(limit.limit()), limit.window().as_nanos());
        let (nodes, silent) = (self.nodes.len() as u128, silent as u128);
        for (first, from) in self.passed.iter().enumerate() {
            for (last, to) in self.passed.iter().enumerate().skip(first) {
                let span = to.since(*from).as_nanos();
                let met = self.met.iter().filter(|at| *from <= **at && *at <= to).count() as u128;
                let whole = most * (window + span) * (nodes + silent) / (window * nodes);
                let bound = whole + nodes - 1 + met * most.div_ceil(nodes);
                let passed = (last - first + 1) as u128;
                assert!(passed <= bound, "{passed} of {limit:?} in {span} ns, by {met} that met it first; {bound} may");
            }
        }
    }
}

/// How many requests come to each replica in each step, for so many steps.
fn demands() -> impl Strategy<Value = Vec<(usize, Vec<u32>)>> {
    prop::collection::vec((1_usize..60, prop::collection::vec(0_u32..5, 5)), 1..6)
}

/// What becomes of each round, and how long it takes.
fn fates() -> impl Strategy<Value = Vec<(Fate, usize)>> {
    let fate = prop_oneof![4 => Just(Fate::Heard), 1 => Just(Fate::Lost), 1 => Just(Fate::Unheard)];
    prop::collection::vec((fate, 0_usize..5), 50)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// However demand moves, and whichever single reports get lost, all shares together are one limit at most, and what passes is within
    /// the bound.
    #[test]
    fn shares_are_never_more_than_the_limit_while_nobody_is_silent(
        nodes in 1_usize..=5, limit in 1_u64..60, window in 1_u64..20, demands in demands(), fates in fates(),
    ) {
        let mut world = World::new(nodes, limit, window);
        let (mut fates, mut failed) = (fates.into_iter().cycle(), vec![0; nodes]);
        for (steps, demand) in demands {
            for _ in 0..steps {
                world.go_on(|number| {
                    let (fate, takes) = fates.next().unwrap();
                    // Three in a row would make it silent.
                    let fate = if failed[number] == 2 { Fate::Heard } else { fate };
                    failed[number] = if fate == Fate::Heard { 0 } else { failed[number] + 1 };
                    (fate, takes)
                });
                prop_assert!(world.shares() <= 1_000_000, "{}", world.shares());
                for (number, requests) in demand.iter().enumerate().take(nodes) {
                    for _ in 0..*requests {
                        world.request(number);
                    }
                }
            }
        }
        world.assert_bound(0);
    }

    /// Who can report nothing has the share that it had if nobody reported, and the others share the limit without it.
    #[test]
    fn each_silent_replica_adds_its_even_share_at_most(
        nodes in 2_usize..=5, limit in 1_u64..60, window in 1_u64..20, demands in demands(), fates in fates(),
        silent in prop::collection::btree_set(0_usize..5, 1..5), from in 0_usize..80, length in 30_usize..120,
    ) {
        let mut world = World::new(nodes, limit, window);
        let silent: BTreeSet<_> = silent.into_iter().filter(|number| *number < nodes).collect();
        let began = world.step + from;
        let (mut fates, mut failed) = (fates.into_iter().cycle(), vec![0; nodes]);
        for (steps, demand) in demands {
            for _ in 0..steps {
                let is_away = (began..began + length).contains(&world.step);
                world.go_on(|number| {
                    let (fate, takes) = fates.next().unwrap();
                    if is_away && silent.contains(&number) {
                        return (Fate::Lost, takes);
                    }
                    let fate = if failed[number] == 2 { Fate::Heard } else { fate };
                    failed[number] = if fate == Fate::Heard { 0 } else { failed[number] + 1 };
                    (fate, takes)
                });
                let most = 1_000_000 + 1_000_000 * silent.len() as u64 / nodes as u64;
                prop_assert!(world.shares() <= most, "{} of {}", world.shares(), most);
                for (number, requests) in demand.iter().enumerate().take(nodes) {
                    for _ in 0..*requests {
                        world.request(number);
                    }
                }
            }
        }
        world.assert_bound(silent.len());
    }
}

fn heard(_: usize) -> (Fate, usize) {
    (Fate::Heard, 1)
}

#[test]
fn shares_follow_demand_within_seconds_and_are_even_again_without_any() {
    let mut world = World::new(3, 3_000, 60);
    let even = world.share(0);
    assert_eq!(even, 333_333);
    for busy in [0, 2, 1] {
        for _ in 0..10 * ROUND {
            world.request(busy);
            world.go_on(heard);
        }
        let shares: Vec<_> = (0..3).map(|number| world.share(number)).collect();
        assert!(shares[busy] >= 900_000, "{busy} of {shares:?}");
        assert!(shares.iter().all(|share| *share >= 33_333), "{shares:?}");
    }
    for _ in 0..20 * ROUND {
        world.go_on(heard);
    }
    assert_eq!([world.share(0), world.share(1), world.share(2)], [even; 3]);
    assert!(world.board.0.values().all(|(_, told)| told.is_empty()), "nothing more is told");
    world.assert_bound(0);
}

#[test]
fn one_replica_uses_the_whole_limit_and_nothing_is_told_of_it() {
    let mut world = World::new(1, 5, 60);
    let passed = (0..10).filter(|_| world.request(0)).count();
    world.go_on(heard);
    assert_eq!((passed, world.share(0)), (5, 1_000_000));
    assert!(world.nodes[0].rates.tell(world.now()).is_empty());
}

#[test]
fn a_limit_below_the_number_of_replicas_still_lets_each_of_them_serve() {
    let mut world = World::new(5, 1, 3_600);
    let passed = (0..5).filter(|number| world.request(*number)).count();
    assert_eq!(passed, 5);
    for _ in 0..100 {
        world.go_on(heard);
        let again = (0..5).filter(|number| world.request(*number)).count();
        assert_eq!(again, 0);
    }
}

#[test]
fn who_hears_nothing_falls_back_to_an_even_share_by_its_own_clock() {
    let mut world = World::new(2, 1_000, 60);
    for _ in 0..6 * ROUND {
        world.request(0);
        world.go_on(heard);
    }
    assert!(world.share(0) > 900_000 && world.share(1) < 100_000);
    // Nobody runs its rounds any more; only requests are left.
    world.step += 50;
    world.request(0);
    world.request(1);
    assert_eq!([world.share(0), world.share(1)], [500_000; 2]);
}
