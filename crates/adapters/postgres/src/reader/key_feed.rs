//! What gateways hold of keys: pages of all that count, and what changed.
//!
//! A position is a snapshot of the server. What was committed since is what is visible now and was not visible then, which no transaction
//! escapes, however long it runs, and which names nothing twice.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use portal_accounts::AccountState;
use portal_api_keys::{AccountStanding, FeedHead, FeedPosition, FeedRecord, KeyChanges, KeyFeedReader, Kid};
use portal_authz::action::ReadKeyFeed;
use portal_authz::{Authorized, Platform};
use portal_kernel::{AccountId, Change, ChangeListener, Id, StoreError, Timestamp};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use crate::PgStore;
use crate::error::corrupt;
use crate::pool::refused;
use crate::row::key::{KeyRow, SecretRow, stored_key};
use crate::schema::{accounts, api_key_secrets, api_keys, key_locator};

/// How often whoever waits asks, whether somebody rings or not.
const INTERVAL: Duration = Duration::from_millis(500);

/// Who missed more than this reads everything anew.
const MOST_CHANGES: i64 = 10_000;

/// Kinds of changes that concern no key. Of a kind of a later version of the program nobody knows.
const OTHER_KINDS: [&str; 4] = ["user", "service-token", "session", "tokens"];

const HEAD: &str = "SELECT pg_current_snapshot()::text AS position, now() AS at";

/// One statement, so that rows and position are of one snapshot. Rows behind the position were deleted if it is before a mark that may have
/// been used for that; a minute more than the feed's hour, because the two do not read one clock. Where old marks were deleted themselves,
/// the oldest one that is left is later than any that was used.
const NEWS: &str = "SELECT pg_current_snapshot()::text AS position, now() AS at, kind, subject, \
     $2 < coalesce(\
         (SELECT oldest FROM change_marks WHERE at < now() - interval '59 minutes' ORDER BY at DESC LIMIT 1), \
         (SELECT oldest FROM change_marks ORDER BY at LIMIT 1), 0) AS pruned \
     FROM (SELECT 1) AS one LEFT JOIN (\
         SELECT seq, kind, subject FROM changes \
         WHERE xid >= $2 AND NOT pg_visible_in_snapshot(xid::text::xid8, $1::pg_snapshot) AND kind <> ALL ($3) \
         ORDER BY seq LIMIT $4) AS news ON true ORDER BY seq";

/// Rings for whoever waits for news of keys.
#[derive(Default)]
pub(crate) struct KeyBell(watch::Sender<()>);

impl ChangeListener for KeyBell {
    fn changed(&self, change: &Change) {
        if matches!(change, Change::Key(_) | Change::Account(_)) {
            self.missed();
        }
    }

    fn missed(&self) {
        self.0.send_replace(());
    }
}

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = Text)]
    position: String,
    #[diesel(sql_type = Timestamptz)]
    at: OffsetDateTime,
}

#[derive(QueryableByName)]
struct NewsRow {
    #[diesel(embed)]
    head: HeadRow,
    #[diesel(sql_type = Nullable<Text>)]
    kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    subject: Option<String>,
    #[diesel(sql_type = Bool)]
    pruned: bool,
}

impl TryFrom<HeadRow> for FeedHead {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Self, StoreError> {
        let position = row.position.parse().map_err(|_| corrupt("pg_current_snapshot", "text"))?;
        Ok(Self { position, at: Timestamp::new(row.at) })
    }
}

/// A snapshot of the server, taken apart as far as it is looked at here.
struct Seen {
    /// All transactions before this one had ended.
    oldest: i64,
    /// None from this one on had begun.
    next: i64,
}

impl Seen {
    /// None if the server would not take the text for a snapshot.
    fn parse(position: &FeedPosition) -> Option<Self> {
        let mut parts = position.as_str().split(':');
        let (oldest, next, running) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        if parts.next().is_some() || oldest < 1 || next < oldest {
            return None;
        }
        let mut last = oldest;
        for running in running.split(',').filter(|_| !running.is_empty()) {
            let running = running.parse().ok()?;
            if !(last..next).contains(&running) {
                return None;
            }
            last = running;
        }
        Some(Self { oldest, next })
    }
}

/// What was committed since a position, and where that is read up to.
struct News {
    keys: Vec<Uuid>,
    accounts: Vec<Uuid>,
    head: FeedHead,
}

fn id<I: Id>(ids: &mut Vec<Uuid>, id: I) {
    if !ids.contains(&id.uuid()) {
        ids.push(id.uuid());
    }
}

/// Every secret with its key and the state of its account.
#[diesel::dsl::auto_type(no_type_alias)]
fn secrets() -> _ {
    let of_secret = api_keys::account_id.eq(api_key_secrets::account_id).and(api_keys::id.eq(api_key_secrets::key_id));
    api_key_secrets::table
        .inner_join(api_keys::table.on(of_secret))
        .inner_join(accounts::table.on(accounts::id.eq(api_key_secrets::account_id)))
}

type Row = (KeyRow, SecretRow, String);

fn record((key, secret, state): Row) -> Result<FeedRecord, StoreError> {
    let (kid, account_is_active) = (secret.parsed_kid()?, state == AccountState::Active.as_str());
    Ok(FeedRecord { kid, stored: stored_key(key, &secret)?, account_is_active })
}

impl PgStore {
    /// None if the position is none of this server, or too old.
    async fn news(&self, since: &FeedPosition) -> Result<Option<News>, StoreError> {
        let Some(seen) = Seen::parse(since) else { return Ok(None) };
        let mut conn = self.connection().await?;
        let rows: Vec<NewsRow> = diesel::sql_query(NEWS)
            .bind::<Text, _>(since.as_str())
            .bind::<BigInt, _>(seen.oldest)
            .bind::<Array<Text>, _>(OTHER_KINDS.as_slice())
            .bind::<BigInt, _>(MOST_CHANGES + 1)
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        drop(conn);
        let too_many = i64::try_from(rows.len()).is_ok_and(|rows| rows > MOST_CHANGES);
        let (mut keys, mut accounts, mut head) = (Vec::new(), Vec::new(), None);
        for row in rows {
            if row.pruned || too_many {
                return Ok(None);
            }
            if let Some((kind, subject)) = row.kind.zip(row.subject) {
                match Change::parse(&kind, &subject) {
                    Some(Change::Key(key)) => id(&mut keys, key),
                    Some(Change::Account(account)) => id(&mut accounts, account),
                    // Of a later version of the program: it may concern anything.
                    _ => return Ok(None),
                }
            }
            head = Some(row.head);
        }
        let head: FeedHead = head.ok_or_else(|| corrupt("changes", "position"))?.try_into()?;
        // A later one is of another server, which may lack what this position has seen.
        let is_ours =
            Seen::parse(&head.position).is_some_and(|here| seen.oldest <= here.oldest && seen.next <= here.next);
        Ok(is_ours.then_some(News { keys, accounts, head }))
    }

    async fn changed_keys(&self, keys: &[Uuid]) -> Result<Vec<FeedRecord>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.connection().await?;
        let rows: Vec<Row> = secrets()
            .filter(api_keys::id.eq_any(keys))
            .order(api_key_secrets::kid)
            .select((KeyRow::as_select(), SecretRow::as_select(), accounts::state))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        rows.into_iter().map(record).collect()
    }

    async fn changed_accounts(&self, accounts: &[Uuid]) -> Result<Vec<AccountStanding>, StoreError> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.connection().await?;
        let rows: Vec<(Uuid, String)> = accounts::table
            .filter(accounts::id.eq_any(accounts))
            .order(accounts::id)
            .select((accounts::id, accounts::state))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let standing = |(account, state): (Uuid, String)| AccountStanding {
            account: AccountId::from_uuid(account),
            is_active: state == AccountState::Active.as_str(),
        };
        Ok(rows.into_iter().map(standing).collect())
    }
}

#[async_trait]
impl KeyFeedReader for PgStore {
    async fn head(&self, _: &Authorized<ReadKeyFeed, Platform>) -> Result<FeedHead, StoreError> {
        let mut conn = self.connection().await?;
        let row: HeadRow =
            diesel::sql_query(HEAD).get_result(&mut conn).await.map_err(|error| refused(&mut conn, error))?;
        row.try_into()
    }

    async fn live(
        &self,
        _: &Authorized<ReadKeyFeed, Platform>,
        after: Option<Kid>,
        most: usize,
    ) -> Result<Vec<FeedRecord>, StoreError> {
        let mut conn = self.connection().await?;
        // By the locator, which alone is sorted by kid.
        let of_kid =
            key_locator::account_id.eq(api_key_secrets::account_id).and(key_locator::kid.eq(api_key_secrets::kid));
        let mut live = secrets()
            .inner_join(key_locator::table.on(of_kid))
            .filter(accounts::state.ne(AccountState::Deleted.as_str()))
            .filter(api_keys::revoked_at.is_null().and(api_key_secrets::revoked_at.is_null()))
            .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(now)))
            .filter(api_key_secrets::expires_at.is_null().or(api_key_secrets::expires_at.gt(now)))
            .order(key_locator::kid)
            .limit(i64::try_from(most).unwrap_or(i64::MAX))
            .select((KeyRow::as_select(), SecretRow::as_select(), accounts::state))
            .into_boxed();
        if let Some(after) = &after {
            live = live.filter(key_locator::kid.gt(after.as_str()));
        }
        let rows: Vec<Row> = live.load(&mut conn).await.map_err(|error| refused(&mut conn, error))?;
        rows.into_iter().map(record).collect()
    }

    async fn changes(
        &self,
        _: &Authorized<ReadKeyFeed, Platform>,
        mut since: FeedPosition,
        wait: Duration,
    ) -> Result<Option<KeyChanges>, StoreError> {
        let asked = Instant::now();
        let mut bell = self.key_bell.0.subscribe();
        loop {
            // Whoever rings from here on is heard after the question.
            bell.mark_unchanged();
            let waited = asked.elapsed();
            let Some(News { keys, accounts, head }) = self.news(&since).await? else { return Ok(None) };
            let left = wait.saturating_sub(asked.elapsed());
            if !keys.is_empty() || !accounts.is_empty() || left.is_zero() {
                // Accounts last: of two answers about one the later counts.
                let keys = self.changed_keys(&keys).await?;
                let accounts = self.changed_accounts(&accounts).await?;
                return Ok(Some(KeyChanges { keys, accounts, head, waited }));
            }
            since = head.position;
            // Whether somebody rang or the time came: ask.
            let _ = timeout(left.min(INTERVAL), bell.changed()).await;
        }
    }
}
