//! Group commit: what waits at the same moment goes into one transaction.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot::{Sender, channel};
use futures_util::future::{Either, select};
use futures_util::lock::Mutex as Turnstile;

/// In one group at most: each holds locks that others may wait for.
pub(crate) const MOST_TOGETHER: usize = 64;

/// Lets one group at a time be at work, and gathers the next one meanwhile. Nobody waits for company: a job that comes alone goes alone.
pub(crate) struct Together<J, O> {
    waiting: Mutex<VecDeque<(J, Sender<O>)>>,
    turn: Turnstile<()>,
}

impl<J, O> Default for Together<J, O> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Turnstile::default() }
    }
}

impl<J, O> Together<J, O> {
    /// What became of the job, in a group that this caller or another one worked on. None if the group came to nothing, or whoever was
    /// working on it gave up: then it is unknown whether the job was done.
    ///
    /// `work` takes the jobs of a group in the order in which they came, and answers in that order.
    pub(crate) async fn go<F>(&self, job: J, work: impl Fn(Vec<J>) -> F) -> Option<O>
    where
        F: Future<Output = Option<Vec<O>>>,
    {
        let (tell, mut told) = channel();
        self.waiting().push_back((job, tell));
        loop {
            let turn = match select(&mut told, self.turn.lock()).await {
                Either::Left((outcome, _)) => return outcome.ok(),
                Either::Right((turn, _)) => turn,
            };
            let (jobs, tells): (Vec<_>, Vec<_>) = self.next_group().into_iter().unzip();
            // Of a group that came to nothing nobody is told anything, and everybody hears that.
            for (tell, outcome) in tells.into_iter().zip(work(jobs).await.unwrap_or_default()) {
                // Whoever gave up meanwhile hears nothing.
                let _ = tell.send(outcome);
            }
            // Unless so many were before it, the job was in that group.
            drop(turn);
        }
    }

    /// Not empty for somebody who has not been told anything.
    fn next_group(&self) -> Vec<(J, Sender<O>)> {
        let mut waiting = self.waiting();
        // What somebody gave up is done when it is asked for again.
        waiting.retain(|(_, tell)| !tell.is_canceled());
        let group = waiting.len().min(MOST_TOGETHER);
        waiting.drain(..group).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(J, Sender<O>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;

    /// Groups as they were worked on.
    #[derive(Default)]
    struct Log(Mutex<Vec<Vec<usize>>>);

    impl Log {
        async fn double(&self, jobs: Vec<usize>) -> Option<Vec<usize>> {
            self.0.lock().unwrap().push(jobs.clone());
            yield_now().await;
            Some(jobs.into_iter().map(|job| job * 2).collect())
        }

        fn groups(&self) -> Vec<Vec<usize>> {
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn whoever_comes_alone_goes_alone_and_whoever_waits_goes_together() {
        let (together, log) = (Together::default(), Log::default());
        assert_eq!(together.go(7, |jobs| log.double(jobs)).await, Some(14));
        assert_eq!(log.groups(), [vec![7]]);
        let outcomes = join_all((0..4).map(|job| together.go(job, |jobs| log.double(jobs)))).await;
        assert_eq!(outcomes, [Some(0), Some(2), Some(4), Some(6)], "each has its own");
        assert_eq!(log.groups()[1..], [vec![0], vec![1, 2, 3]]);
    }

    #[tokio::test]
    async fn groups_have_a_limit_and_everybody_has_a_turn() {
        let (together, log, many) = (Together::default(), Log::default(), 1 + 2 * MOST_TOGETHER);
        let outcomes = join_all((0..many).map(|job| together.go(job, |jobs| log.double(jobs)))).await;
        assert_eq!(outcomes, (0..many).map(|job| Some(job * 2)).collect::<Vec<_>>());
        let sizes: Vec<_> = log.groups().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, MOST_TOGETHER, MOST_TOGETHER]);
    }

    #[tokio::test]
    async fn of_a_group_that_comes_to_nothing_everybody_hears_that() {
        let (together, log) = (Together::<usize, usize>::default(), Log::default());
        let fails = |jobs: Vec<usize>| {
            let log = &log;
            async move {
                log.double(jobs.clone()).await;
                (jobs.len() == 1).then(|| vec![0])
            }
        };
        let outcomes = join_all((0..4).map(|job| together.go(job, fails))).await;
        assert_eq!(outcomes, [Some(0), None, None, None]);
        assert_eq!(together.go(9, fails).await, Some(0), "the next one goes on");
    }

    #[tokio::test]
    async fn a_group_whose_worker_gives_up_comes_to_nothing_and_holds_nobody_up() {
        let (together, log) = (Together::default(), Log::default());
        let (mut first, mut worker) =
            (Box::pin(together.go(0, |jobs| log.double(jobs))), Box::pin(together.go(1, |jobs| log.double(jobs))));
        let mut waiting = Box::pin(together.go(2, |jobs| log.double(jobs)));
        assert!(first.as_mut().now_or_never().is_none() && worker.as_mut().now_or_never().is_none());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(first.await, Some(0));
        assert!(worker.as_mut().now_or_never().is_none(), "it works for both");
        assert_eq!(log.groups(), [vec![0], vec![1, 2]]);
        drop(worker);
        assert_eq!(waiting.await, None);
        assert_eq!(together.go(3, |jobs| log.double(jobs)).await, Some(6));
    }

    #[tokio::test]
    async fn what_was_given_up_before_its_turn_is_not_done() {
        let (together, log) = (Together::default(), Log::default());
        let mut first = Box::pin(together.go(0, |jobs| log.double(jobs)));
        let mut given_up = Box::pin(together.go(1, |jobs| log.double(jobs)));
        assert!(first.as_mut().now_or_never().is_none() && given_up.as_mut().now_or_never().is_none());
        drop(given_up);
        assert_eq!(first.await, Some(0));
        assert_eq!(together.go(2, |jobs| log.double(jobs)).await, Some(4));
        assert_eq!(log.groups(), [vec![0], vec![2]]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_waits_for_ever_among_threads() {
        let together = Arc::new(Together::default());
        let at_work = Arc::new(AtomicUsize::new(0));
        let callers = (0..500).map(|job: usize| {
            let (together, at_work) = (together.clone(), at_work.clone());
            tokio::spawn(async move {
                together
                    .go(job, |jobs| {
                        let at_work = at_work.clone();
                        async move {
                            assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "one group at a time");
                            yield_now().await;
                            at_work.fetch_sub(1, Ordering::SeqCst);
                            Some(jobs)
                        }
                    })
                    .await
            })
        });
        for (job, outcome) in join_all(callers).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap(), Some(job));
        }
    }
}
