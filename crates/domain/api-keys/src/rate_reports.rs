//! Telling the other replicas which limits of keys are in demand, and hearing it from them: once a second, whatever is verified meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use portal_kernel::{Clock, ReplicaId, StoreError};

use crate::KeyRates;
use crate::ports::DemandBoard;
use crate::verify::look_up;

/// How long from one round to the next.
pub const EVERY: Duration = Duration::from_secs(1);

/// What this replica and the others tell each other.
pub struct RateReports {
    rates: Arc<KeyRates>,
    board: Arc<dyn DemandBoard>,
    clock: Arc<dyn Clock>,
    replica: ReplicaId,
    rounds: AtomicI64,
}

impl RateReports {
    /// A replica that has told nothing yet. The id must be of this process alone.
    pub fn new(rates: Arc<KeyRates>, board: Arc<dyn DemandBoard>, clock: Arc<dyn Clock>, replica: ReplicaId) -> Self {
        Self { rates, board, clock, replica, rounds: AtomicI64::new(0) }
    }

    /// One round. May be dropped unfinished: what was told then counts as told and as not told, whatever is less.
    pub async fn exchange(&self) -> Result<(), StoreError> {
        let began = self.clock.now();
        let told = self.rates.tell(began);
        let round = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        let cleared = look_up().map_err(|denied| StoreError::Other(denied.into()))?;
        let heard = self.board.exchange(&cleared, self.replica, round, &told).await?;
        self.rates.hear(&heard, began);
        Ok(())
    }

    /// Leaves what this replica used to the others at once. No round may follow.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let cleared = look_up().map_err(|denied| StoreError::Other(denied.into()))?;
        self.board.leave(&cleared, self.replica).await
    }
}

#[cfg(test)]
mod tests {
    use portal_testkit::FixedClock;

    use super::*;
    use crate::testing::stored;
    use crate::{Heard, HeardOf, KeyPolicy, LimitOf, MockDemandBoard, RateLimit, RateLimits, StoredKey, Told};

    fn counted() -> StoredKey {
        let rate_limits = RateLimits::new([RateLimit::new("a", 100, 60).unwrap()]).unwrap();
        StoredKey { policy: KeyPolicy { rate_limits, ..KeyPolicy::default() }, ..stored() }
    }

    fn reports(board: MockDemandBoard) -> (RateReports, Arc<KeyRates>) {
        let (rates, replica) = (Arc::new(KeyRates::new(10)), "rep_00000000000000000000000001".parse().unwrap());
        (RateReports::new(rates.clone(), Arc::new(board), Arc::new(FixedClock::default()), replica), rates)
    }

    #[tokio::test]
    async fn rounds_are_counted_and_tell_what_came_since_the_one_before() {
        let of = LimitOf { account: counted().account, key: counted().key, limit: "a".to_owned() };
        let mut board = MockDemandBoard::new();
        let others = HeardOf { told: Told { of: of.clone(), demand: 48, share: 500_000 }, replicas: 1 };
        let heard = Heard { others: 1, limits: vec![others] };
        board
            .expect_exchange()
            .withf(|_, _, round, told| *round == 1 && told.is_empty())
            .once()
            .returning(|_, _, _, _| Ok(Heard { others: 1, limits: Vec::new() }));
        let mine = Told { of, demand: 16, share: 950_000 };
        let expected = mine.clone();
        board
            .expect_exchange()
            .withf(move |_, _, round, told| *round == 2 && *told == [expected.clone()])
            .once()
            .return_once(|_, _, _, _| Ok(heard));
        let expected = Told { demand: 8, share: 50_000 + 900_000 / 7, ..mine };
        board
            .expect_exchange()
            .withf(move |_, _, round, told| *round == 3 && *told == [expected.clone()])
            .once()
            .returning(|_, _, _, _| Err(StoreError::Unavailable("gone".into())));
        let (reports, rates) = reports(board);
        reports.exchange().await.unwrap();
        assert!(rates.charge(&counted(), FixedClock::default().now()).allowed);
        reports.exchange().await.unwrap();
        reports.exchange().await.unwrap_err();
    }

    #[tokio::test]
    async fn a_request_waits_for_no_round_and_has_an_even_share_meanwhile() {
        let mut board = MockDemandBoard::new();
        board.expect_exchange().once().returning(|_, _, _, _| Ok(Heard { others: 3, limits: Vec::new() }));
        let (reports, rates) = reports(board);
        let now = FixedClock::default().now();
        let left =
            |rates: &KeyRates| rates.standing(counted().key, &counted().policy.rate_limits, now).standings[0].remaining;
        assert_eq!(left(&rates), 100);
        reports.exchange().await.unwrap();
        assert_eq!(left(&rates), 25);
    }
}
