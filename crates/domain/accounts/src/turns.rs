//! One at a time per person.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::lock::{Mutex as Turnstile, OwnedMutexGuard};
use portal_identity::ProviderUserId;

/// Lets one request of this process at a time make a person. The others wait here, where they hold no connection to the database: a
/// thousand of them would otherwise use up the pool while they wait for one row.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<ProviderUserId, Arc<Turnstile<()>>>>);

/// Held by whoever is at work.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    id: ProviderUserId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody of this process is at work on the person.
    pub(crate) async fn take(&self, id: ProviderUserId) -> Turn<'_> {
        let turnstile = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default().clone();
        let guard = Some(turnstile.lock_owned().await);
        Turn { turns: self, id, guard }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.guard.take());
        // Whoever waits holds the turnstile, too.
        if turns.get(&self.id).is_some_and(|turnstile| Arc::strong_count(turnstile) == 1) {
            turns.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    fn id(text: &str) -> ProviderUserId {
        ProviderUserId::parse(text).unwrap()
    }

    #[tokio::test]
    async fn one_at_a_time_per_person_and_nothing_stays() {
        let (turns, at_work) = (Turns::default(), AtomicUsize::new(0));
        let work = || async {
            let _turn = turns.take(id("user_a")).await;
            assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            at_work.fetch_sub(1, Ordering::SeqCst);
        };
        futures_util::future::join_all((0..50).map(|_| work())).await;
        assert!(turns.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn other_people_do_not_wait_and_whoever_gives_up_is_in_nobodys_way() {
        let turns = Turns::default();
        let first = turns.take(id("user_a")).await;
        drop(turns.take(id("user_b")).await);
        assert!(turns.take(id("user_a")).now_or_never().is_none(), "it is somebody else's turn");
        drop(first);
        drop(turns.take(id("user_a")).await);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
