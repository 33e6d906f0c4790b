//! Tests of counting on one server.

use std::sync::atomic::{AtomicU32, Ordering};

use portal_kernel::Clock;
use portal_testkit::FixedClock;
use proptest::prelude::*;

use super::*;
use crate::KeyPolicy;
use crate::testing::stored;

fn key(number: u32) -> ApiKeyId {
    format!("key_{number:026}").parse().unwrap()
}

fn limits(of: &[(&str, u64, u64)]) -> RateLimits {
    RateLimits::new(of.iter().map(|(id, limit, window)| RateLimit::new(id, *limit, *window).unwrap())).unwrap()
}

fn charge(rates: &KeyRates, number: u32, limits: &RateLimits, now: Timestamp) -> Rates {
    let policy = KeyPolicy { rate_limits: limits.clone(), ..KeyPolicy::default() };
    rates.charge(&StoredKey { key: key(number), policy, ..stored() }, now)
}

fn at(millis: u64) -> Timestamp {
    FixedClock::default().now().plus(Duration::from_millis(millis))
}

fn left(rates: &Rates) -> Vec<u32> {
    rates.standings.iter().map(|standing| standing.remaining).collect()
}

/// How many requests pass at once.
fn burst(rates: &KeyRates, limits: &RateLimits, now: Timestamp) -> usize {
    (0..5_000).take_while(|_| charge(rates, 1, limits, now).allowed).count()
}

#[test]
fn so_many_pass_at_once_and_come_back_one_by_one() {
    let (rates, limits) = (KeyRates::new(10), limits(&[("minute", 4, 60)]));
    for remaining in [3, 2, 1, 0] {
        let charged = charge(&rates, 1, &limits, at(0));
        assert!(charged.allowed);
        assert_eq!(left(&charged), [remaining]);
        assert_eq!(charged.retry_after(at(0)), None);
    }
    let refused = charge(&rates, 1, &limits, at(5_000));
    assert!(!refused.allowed);
    assert_eq!((left(&refused), refused.standings[0].reset_at), (vec![0], at(15_000)));
    assert_eq!(refused.retry_after(at(5_000)), Some(Duration::from_secs(10)));
    assert!(!charge(&rates, 1, &limits, at(14_999)).allowed);
    assert!(charge(&rates, 1, &limits, at(15_000)).allowed);
    assert!(!charge(&rates, 1, &limits, at(15_000)).allowed, "only one came back");
    assert_eq!(burst(&rates, &limits, at(75_000)), 4);
}

#[test]
fn a_request_that_one_limit_refuses_charges_no_other() {
    let (rates, limits) = (KeyRates::new(10), limits(&[("day", 10, 86_400), ("second", 2, 1)]));
    assert_eq!(burst(&rates, &limits, at(0)), 2);
    for _ in 0..20 {
        let refused = charge(&rates, 1, &limits, at(0));
        assert_eq!((refused.allowed, left(&refused)), (false, vec![8, 0]));
    }
    let passed = (1..1_000).filter(|step| charge(&rates, 1, &limits, at(step * 10)).allowed).count();
    assert_eq!(passed, 8, "all of the day's are for requests that passed");
}

#[test]
fn looking_counts_nothing_and_says_what_a_request_would_meet() {
    let (rates, limits) = (KeyRates::new(10), limits(&[("a", 2, 60), ("b", 3, 60)]));
    for expected in [vec![2, 3], vec![1, 2], vec![0, 1]] {
        for _ in 0..5 {
            let seen = rates.standing(key(1), &limits, at(0));
            assert_eq!((seen.allowed, left(&seen)), (expected[0] > 0, expected.clone()));
        }
        charge(&rates, 1, &limits, at(0));
    }
    let untouched = rates.standing(key(2), &limits, at(0));
    assert!(untouched.standings.iter().all(|standing| standing.reset_at == at(0)), "nothing is to come back");
    assert!(charge(&rates, 1, &RateLimits::default(), at(0)).allowed);
}

#[test]
fn a_limit_is_known_by_its_id_and_no_key_spends_anothers() {
    let rates = KeyRates::new(10);
    assert_eq!(burst(&rates, &limits(&[("a", 3, 60), ("b", 9, 60)]), at(0)), 3);
    let reordered = limits(&[("b", 9, 60), ("c", 9, 60), ("a", 3, 60)]);
    assert_eq!(left(&rates.standing(key(1), &reordered, at(0))), [6, 9, 0]);
    assert_eq!(left(&rates.standing(key(2), &reordered, at(0))), [9, 9, 3]);
}

#[test]
fn a_change_resets_neither_what_stays_nor_what_was_spent() {
    let rates = KeyRates::new(10);
    let before = limits(&[("a", 10, 60), ("b", 10, 60)]);
    for _ in 0..6 {
        charge(&rates, 1, &before, at(0));
    }
    for (change, expected) in [
        (limits(&[("a", 10, 60), ("b", 20, 60)]), [4, 14]),
        (limits(&[("a", 10, 60), ("b", 20, 3_600)]), [4, 14]),
        (limits(&[("a", 10, 60), ("b", 4, 60)]), [4, 0]),
    ] {
        assert_eq!(left(&rates.standing(key(1), &change, at(0))), expected);
    }
    let narrowed = limits(&[("b", 4, 60)]);
    assert!(!charge(&rates, 1, &narrowed, at(0)).allowed);
    assert!(!charge(&rates, 1, &narrowed, at(14_999)).allowed);
    assert!(charge(&rates, 1, &narrowed, at(15_000)).allowed, "nobody waits for longer than a window");
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out() {
    let (rates, limits) = (KeyRates::new(10), limits(&[("a", 4, 60)]));
    let late = 86_400_000;
    assert_eq!(burst(&rates, &limits, at(late)), 4);
    assert!(!charge(&rates, 1, &limits, at(0)).allowed, "nor is anything given back");
    assert!(charge(&rates, 1, &limits, at(15_000)).allowed);
}

#[test]
fn threads_share_exactly_the_limit() {
    let (rates, limits) = (KeyRates::new(10), limits(&[("a", 1_000, 60), ("b", 1_500, 60)]));
    let passed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    passed.fetch_add(charge(&rates, 1, &limits, at(0)).allowed.into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 1_000);
    assert_eq!(left(&rates.standing(key(1), &limits, at(0))), [0, 500]);
}

#[test]
fn what_is_remembered_is_bounded_and_who_gives_way_begins_anew() {
    let (rates, limits) = (KeyRates::new(100), limits(&[("a", 1, 86_400)]));
    for number in 0..10_000 {
        assert!(charge(&rates, number, &limits, at(0)).allowed);
    }
    assert!(rates.counted.len() <= 100);
    let forgotten = (0..10_000).filter(|number| rates.standing(key(*number), &limits, at(0)).allowed).count();
    assert!(forgotten >= 9_900, "{forgotten}");
}

#[test]
fn a_share_is_never_nothing_and_never_more_than_all() {
    assert_eq!(Share::millionths(0).as_millionths(), 10);
    assert_eq!(Share::millionths(u64::MAX), Share::WHOLE);
    assert_eq!(Share::millionths(333_333).as_millionths(), 333_333);
}

proptest! {
    /// However requests come, no span of time sees more than a limit at once and what comes back meanwhile.
    #[test]
    fn no_span_of_time_sees_more_than_a_limit_and_what_comes_back(
        limit in 1_u64..20, window in 1_u64..10, steps in prop::collection::vec(0_u64..2_000, 1..200),
    ) {
        let (rates, limits) = (KeyRates::new(10), limits(&[("a", limit, window)]));
        let (mut now, mut passed) = (0, Vec::new());
        for step in steps {
            now += step;
            if charge(&rates, 1, &limits, at(now)).allowed {
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let most = limit + limit * (to - from) / (window * 1_000);
                prop_assert!(u64::try_from(last - first).unwrap() < most, "{from} to {to}");
            }
        }
    }
}
