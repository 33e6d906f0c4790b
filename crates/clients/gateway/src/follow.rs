//! Reads all keys, and then what changes of them: one question after the other.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portal_api_keys::{FeedHead, FeedPosition};
use portal_kernel::BoxError;

use crate::freshness::Freshness;
use crate::keys::Keys;
use crate::record::{AccountStanding, Answer};

/// So long the portal waits for something to tell. Well below the time for which an answer counts.
pub(crate) const WAIT: Duration = Duration::from_secs(2);

/// Before the first try after a failure; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// More than this nobody may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Changes since the position are missing.
    #[error("the portal does not keep everything since the position")]
    PositionTooOld,
    /// The portal says no, or that it is down.
    #[error("the portal answers {status}")]
    Refused {
        /// The status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// No answer, or none that can be read.
    #[error("the portal does not answer")]
    Failed(#[source] BoxError),
}

/// A page of all keys.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// What is in it.
    pub(crate) keys: Vec<Answer>,
    /// Where the next one begins; none on the last page.
    pub(crate) next: Option<String>,
    /// Of the first page: where changes begin.
    pub(crate) position: Option<FeedPosition>,
}

/// What changed.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    /// The keys.
    pub(crate) keys: Vec<Answer>,
    /// The accounts, which count for more.
    pub(crate) accounts: Vec<AccountStanding>,
    /// Where to go on, and the time of the database.
    pub(crate) head: FeedHead,
    /// From the question to that time, at least.
    pub(crate) waited: Duration,
}

/// Where keys come from.
pub(crate) trait Source: Send + Sync {
    /// The page behind that cursor.
    fn page(&self, cursor: Option<&str>) -> impl Future<Output = Result<Page, FetchError>> + Send;

    /// What changed since; waits for something for so long.
    fn changes(&self, since: &FeedPosition, wait: Duration)
    -> impl Future<Output = Result<Changes, FetchError>> + Send;
}

/// How far it has come.
enum Place {
    Nowhere,
    Among { position: FeedPosition, cursor: String },
    Behind { position: FeedPosition },
}

/// Asks a source, and tells what it hears.
pub(crate) struct Follower<S> {
    source: S,
    keys: Arc<Keys>,
    freshness: Arc<Freshness>,
    place: Place,
}

impl<S: Source> Follower<S> {
    pub(crate) fn new(source: S, keys: Arc<Keys>, freshness: Arc<Freshness>) -> Self {
        Self { source, keys, freshness, place: Place::Nowhere }
    }

    /// Whether all keys were read, and what changed since.
    #[cfg(test)]
    pub(crate) fn is_behind_nothing(&self) -> bool {
        matches!(self.place, Place::Behind { .. }) && self.freshness.now().is_some()
    }

    /// One question. After an error the next one goes on where this one was.
    pub(crate) async fn step(&mut self) -> Result<(), FetchError> {
        match &self.place {
            Place::Nowhere => {
                self.keys.begin_round();
                let page = self.source.page(None).await?;
                let position = page.position.clone().ok_or_else(|| FetchError::Failed("no position".into()))?;
                self.turn(page, position);
            }
            Place::Among { position, cursor } => {
                let page = self.source.page(Some(cursor)).await?;
                let position = position.clone();
                self.turn(page, position);
            }
            Place::Behind { position } => match self.hear(position.clone()).await {
                Ok(position) => self.place = Place::Behind { position },
                Err(error) => {
                    if matches!(error, FetchError::PositionTooOld) {
                        self.freshness.doubt();
                        self.place = Place::Nowhere;
                    }
                    return Err(error);
                }
            },
        }
        Ok(())
    }

    fn turn(&mut self, page: Page, position: FeedPosition) {
        for key in page.keys {
            self.keys.keep(key);
        }
        self.place = if let Some(cursor) = page.next {
            Place::Among { position, cursor }
        } else {
            self.keys.end_round();
            Place::Behind { position }
        };
    }

    async fn hear(&self, position: FeedPosition) -> Result<FeedPosition, FetchError> {
        // Whoever hears nothing so far is not kept waiting.
        let wait = if self.freshness.now().is_some() { WAIT } else { Duration::ZERO };
        let asked = Instant::now();
        let Changes { keys, accounts, head, waited } = self.source.changes(&position, wait).await?;
        for key in keys {
            self.keys.keep(key);
        }
        for account in accounts {
            self.keys.keep_account(account);
        }
        // The question arrived after it was asked, so this moment is not later than that of the answer's time.
        self.freshness.heard(head.at, asked + waited.min(asked.elapsed()));
        Ok(head.position)
    }

    /// Asks until the future is dropped. `told` is called after each question.
    pub(crate) async fn run(mut self, told: impl Fn()) {
        let mut failures = 0_u32;
        loop {
            let outcome = self.step().await;
            told();
            match outcome {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!("the portal tells of API keys again");
                    }
                    failures = 0;
                }
                Err(error) => {
                    if failures == 0 {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(%error, cause, "the portal does not tell of API keys");
                    }
                    tokio::time::sleep(pause(failures, &error)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }
}

/// Half of it at least: gateways that failed together do not come back together. What the portal asks for is waited for whole.
fn pause(failures: u32, error: &FetchError) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE);
    let share = RandomState::new().hash_one(failures) % 1_000;
    let jitter = longest.mul_f64(0.5 * f64::from(u16::try_from(share).unwrap_or_default()) / 1_000.0);
    let asked_for = match error {
        FetchError::Refused { retry_after, .. } => retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER),
        FetchError::PositionTooOld | FetchError::Failed(_) => Duration::ZERO,
    };
    (longest / 2).max(asked_for) + jitter
}

#[cfg(test)]
mod tests;
