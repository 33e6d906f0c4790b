//! What is promised of what replicas tell each other.

use portal_kernel::{AccountId, ReplicaId};

use super::{Ports, id, look_up};
use crate::{ApiKey, Heard, HeardOf, LimitOf, Told};

fn told(key: &ApiKey, limit: &str, demand: u64, share: u64) -> Told {
    Told { of: LimitOf { account: key.account, key: key.id, limit: limit.to_owned() }, demand, share }
}

async fn exchange(ports: Ports<'_>, replica: u32, round: i64, told: &[Told]) -> Heard {
    let heard = ports.demands.exchange(&look_up(), id::<ReplicaId>(replica), round, told).await;
    let mut heard = heard.expect("a round");
    heard.limits.sort_by(|one, other| one.told.of.cmp(&other.told.of));
    heard
}

fn heard(others: usize, limits: &[(Told, usize)]) -> Heard {
    let limits = limits.iter().map(|(told, replicas)| HeardOf { told: told.clone(), replicas: *replicas });
    Heard { others, limits: limits.collect() }
}

/// Each replica hears what the others told last, added up, and neither what it tells itself nor what is not told any more.
pub async fn what_is_told_is_heard_by_the_others(ports: Ports<'_>) {
    let (one, two) = (ports.owner(1).await, ports.owner(2).await);
    let (key, other) = (one.key(1), two.key(2));
    ports.insert(&one, &key).await;
    ports.insert(&two, &other).await;
    let a = |demand, share| told(&key, "a", demand, share);
    let (b, foreign) = (told(&key, "b", 3, 30), told(&other, "a", 7, 1_000_000));
    assert_eq!(exchange(ports, 1, 1, &[a(5, 50), b.clone()]).await, heard(0, &[]));
    assert_eq!(exchange(ports, 2, 1, &[a(6, 60), foreign.clone()]).await, heard(1, &[(a(5, 50), 1), (b.clone(), 1)]));
    let expected = heard(2, &[(a(11, 110), 2), (b, 1), (foreign.clone(), 1)]);
    assert_eq!(exchange(ports, 3, 1, &[]).await, expected);
    assert_eq!(exchange(ports, 1, 2, &[a(9, 0)]).await, heard(2, &[(a(6, 60), 1), (foreign.clone(), 1)]));
    assert_eq!(exchange(ports, 3, 2, &[]).await, heard(2, &[(a(15, 60), 2), (foreign, 1)]));
    for (replica, others) in [(1, 2), (2, 2), (3, 2)] {
        assert_eq!(exchange(ports, replica, 3, &[]).await.others, others);
    }
    assert_eq!(exchange(ports, 1, 4, &[]).await, heard(2, &[]), "nothing is told any more");
}

/// What arrives after a later round of the same replica changes nothing.
pub async fn a_round_that_comes_late_changes_nothing(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let latest = told(&key, "a", 1, 10);
    exchange(ports, 1, 3, std::slice::from_ref(&latest)).await;
    for (round, late) in [(2, vec![told(&key, "a", 9, 90), told(&key, "b", 9, 90)]), (3, Vec::new())] {
        exchange(ports, 1, round, &late).await;
        assert_eq!(exchange(ports, 2, round, &[]).await, heard(1, &[(latest.clone(), 1)]));
    }
}

/// A replica that leaves is gone with what it told, and no other.
pub async fn who_leaves_is_forgotten(ports: Ports<'_>) {
    let owner = ports.owner(1).await;
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    for replica in [1, 2] {
        exchange(ports, replica, 1, &[told(&key, "a", 1, 10)]).await;
    }
    for _ in 0..2 {
        ports.demands.leave(&look_up(), id::<ReplicaId>(1)).await.expect("it leaves");
        assert_eq!(exchange(ports, 3, 1, &[]).await, heard(1, &[(told(&key, "a", 1, 10), 1)]));
    }
}

/// Nobody tells of a key in an account that it is not in.
pub async fn a_limit_is_of_a_key_in_its_own_account(ports: Ports<'_>) {
    let (owner, other) = (ports.owner(1).await, ports.owner(2).await);
    let key = owner.key(1);
    ports.insert(&owner, &key).await;
    let elsewhere: AccountId = other.account();
    let forged = told(&ApiKey { account: elsewhere, ..key }, "a", 1, 10);
    let outcome = ports.demands.exchange(&look_up(), id::<ReplicaId>(1), 1, &[forged]).await;
    assert!(outcome.is_err(), "{outcome:?}");
}
