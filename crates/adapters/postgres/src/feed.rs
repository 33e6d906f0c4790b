//! The change feed: a connection of its own that asks, several times a second, what was committed since it asked last.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use portal_kernel::{Change, ChangeFeed, ChangeListener};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Row};

use crate::connect::PgTarget;
use crate::pool::{ConnectError, OPEN_LIMIT};

/// How often the feed asks when nobody rings.
const INTERVAL: Duration = Duration::from_millis(250);

/// How long an answer counts as current, from the moment of the question. Together with [`INTERVAL`] it bounds how long a replica may
/// go on with what another one ended: below a second, whatever stalls.
const CURRENT: Duration = Duration::from_millis(900);

/// Questions are at least this far apart, however often the bell rings.
const SPACING: Duration = Duration::from_millis(10);

/// An answer that takes longer ends the connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The wait before a lost connection is opened again.
const RECONNECT: Duration = Duration::from_millis(250);

/// How often rows that nobody needs are deleted.
const PRUNING: Duration = Duration::from_mins(1);

/// A reader that was away for this long has everything forgotten. Rows are kept twice as long.
const LONGEST_ABSENCE: Duration = Duration::from_mins(30);

/// All rows whose transaction had not ended at the time of the last question, and the oldest that has not ended now: one statement,
/// so that both are of one snapshot.
const POLL: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, seq, kind, subject \
     FROM (SELECT 1) AS one LEFT JOIN changes ON xid >= $1 ORDER BY seq";

const PRUNE: &str = "INSERT INTO change_marks DEFAULT VALUES ON CONFLICT DO NOTHING; \
     DELETE FROM changes WHERE xid < \
         (SELECT oldest FROM change_marks WHERE at < now() - interval '1 hour' ORDER BY at DESC LIMIT 1); \
     DELETE FROM change_marks WHERE at < now() - interval '2 hours'";

const SETUP: &str = "SET application_name = 'portal-feed'; SET statement_timeout = '3s'; SET lock_timeout = '1s'; \
     LISTEN portal_changes";

const RING: &str = "NOTIFY portal_changes";

/// Where the transactions and the feed of one process meet.
#[derive(Default)]
pub(crate) struct Hub {
    listeners: RwLock<Vec<Arc<dyn ChangeListener>>>,
    rung: Notify,
    outgoing: AtomicBool,
}

impl Hub {
    /// To be called after a commit. The caches of this process hear of it at once, so that everybody reads what they wrote. Other
    /// processes are rung up by the feed, never by the transaction: PostgreSQL lets transactions that notify commit only one after the
    /// other.
    pub(crate) fn committed(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.tell(|listener| changes.iter().for_each(|change| listener.changed(change)));
        self.outgoing.store(true, Ordering::Release);
        self.rung.notify_one();
    }

    pub(crate) fn subscribe(&self, listener: Arc<dyn ChangeListener>) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    fn tell(&self, news: impl Fn(&dyn ChangeListener)) {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|listener| news(&**listener));
    }
}

/// Why the feed lost its connection.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("a question of the change feed failed")]
    Question(#[from] tokio_postgres::Error),
    #[error("a question of the change feed was not answered within {ANSWER_LIMIT:?}")]
    NoAnswer(#[from] tokio::time::error::Elapsed),
}

/// The feed of one process. Nothing is current until [`PgFeed::run`] runs.
pub struct PgFeed {
    target: PgTarget,
    hub: Arc<Hub>,
    epoch: Instant,
    /// Milliseconds after `epoch`.
    current_until: AtomicU64,
}

/// Tells one run of a server from another.
const SERVER: &str = "SELECT pg_postmaster_start_time()::text AS started";

/// How far the feed has read.
#[derive(Default)]
struct Position {
    /// When the server that was asked started, as it says.
    server: String,
    /// The oldest transaction that had not ended at the last question; none before the first.
    oldest: Option<i64>,
    /// What was told already of the rows that the next question finds again.
    told: HashSet<i64>,
    asked: Option<Instant>,
}

impl PgFeed {
    pub(crate) fn new(target: PgTarget, hub: Arc<Hub>) -> Self {
        Self { target, hub, epoch: Instant::now(), current_until: AtomicU64::new(0) }
    }

    /// Reads until the future is dropped, over any number of lost connections.
    pub async fn run(self: Arc<Self>) -> Infallible {
        let mut position = Position::default();
        let mut down = false;
        loop {
            let error = match self.follow(&mut position, &mut down).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if !std::mem::replace(&mut down, true) {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "changes are not read; caches do not answer until they are");
            }
            sleep(RECONNECT).await;
        }
    }

    async fn follow(&self, position: &mut Position, down: &mut bool) -> Result<Infallible, FeedError> {
        let client = self.connect().await?;
        // One that took the place of the server before may lack the last of what that one had.
        let server: String = timeout(ANSWER_LIMIT, client.query_one(SERVER, &[])).await??.try_get("started")?;
        if position.server != server {
            *position = Position { server, ..Position::default() };
        }
        timeout(ANSWER_LIMIT, client.batch_execute(SETUP)).await??;
        let poll = timeout(ANSWER_LIMIT, client.prepare(POLL)).await??;
        let mut pruned: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            // Before the question: what was committed until now is in the answer.
            let outgoing = self.hub.outgoing.swap(false, Ordering::AcqRel);
            let rows = timeout(ANSWER_LIMIT, client.query(&poll, &[&position.oldest.unwrap_or(i64::MAX)])).await??;
            self.apply(&rows, asked, position)?;
            if std::mem::take(down) {
                tracing::info!("changes are read again");
            }
            if outgoing {
                timeout(ANSWER_LIMIT, client.batch_execute(RING)).await??;
            }
            if pruned.is_none_or(|pruned| pruned.elapsed() >= PRUNING) {
                // A server that only reads keeps its rows; that is no reason to stop reading them.
                if let Err(error) = timeout(ANSWER_LIMIT, client.batch_execute(PRUNE)).await? {
                    tracing::debug!(%error, "old changes were not deleted");
                }
                pruned = Some(Instant::now());
            }
            sleep(SPACING).await;
            // Whether somebody rang or the time came: ask.
            let _ = timeout(INTERVAL, self.hub.rung.notified()).await;
        }
    }

    async fn connect(&self) -> Result<Client, FeedError> {
        let tls = self.target.trust.connector().map_err(ConnectError::Tls)?;
        let opened = timeout(OPEN_LIMIT, self.target.config.connect(tls)).await;
        let (client, mut connection) =
            opened.map_err(|_| ConnectError::NoAnswer(OPEN_LIMIT))?.map_err(ConnectError::Server)?;
        let hub = self.hub.clone();
        // Ends when the client is dropped.
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    hub.rung.notify_one();
                }
            }
        });
        Ok(client)
    }

    fn apply(&self, rows: &[Row], asked: Instant, position: &mut Position) -> Result<(), FeedError> {
        let oldest: i64 = match rows.first() {
            Some(row) => row.try_get("oldest")?,
            None => return Ok(()),
        };
        // A smaller one is that of another server, which may lack what this one had told.
        let known = position.oldest.is_some_and(|before| before <= oldest)
            && position.asked.is_some_and(|before| asked.duration_since(before) < LONGEST_ABSENCE);
        let mut found = HashSet::with_capacity(position.told.len());
        if known {
            for row in rows {
                let Some(seq) = row.try_get::<_, Option<i64>>("seq")? else { continue };
                if !position.told.contains(&seq) {
                    match Change::parse(row.try_get("kind")?, row.try_get("subject")?) {
                        Some(change) => self.hub.tell(|listener| listener.changed(&change)),
                        // Of a later version of the program: it may concern anything.
                        None => self.hub.tell(|listener| listener.missed()),
                    }
                }
                found.insert(seq);
            }
        } else {
            self.hub.tell(|listener| listener.missed());
        }
        (position.oldest, position.told, position.asked) = (Some(oldest), found, Some(asked));
        let until = asked.saturating_duration_since(self.epoch) + CURRENT;
        self.current_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        Ok(())
    }
}

impl ChangeFeed for PgFeed {
    fn is_current(&self) -> bool {
        self.epoch.elapsed().as_millis() < u128::from(self.current_until.load(Ordering::Acquire))
    }

    fn subscribe(&self, listener: Arc<dyn ChangeListener>) {
        self.hub.subscribe(listener);
    }
}
