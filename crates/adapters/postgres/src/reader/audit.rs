//! Audit trails, as members read them and as they are stored.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use portal_audit::{
    AuditFilter, AuditReader, ChainReader, FoundEvent, Head, Inspecting, Link, LinkRange, SignedHead, Trail, TrailOf,
};
use portal_authz::Authorized;
use portal_authz::action::ReadAuditTrail;
use portal_kernel::{AccountId, AuditEventId, Id, Page, PageRequest, StoreError, Timestamp};
use uuid::Uuid;

use crate::PgStore;
use crate::pool::refused;
use crate::row::audit::{LinkRow, PlatformLinkRow, PlatformSignedHeadRow, SignedHeadRow, head};
use crate::schema::{
    accounts, audit_events, audit_heads, audit_signed_heads, platform_audit_events, platform_audit_heads,
    platform_audit_signed_heads,
};

/// A part of a chain, in the words of the database.
#[derive(Clone, Copy)]
pub(crate) struct LinksFrom {
    /// Behind the row with this number and id.
    pub(crate) after: Option<(i64, Uuid)>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit: usize,
}

impl From<LinkRange> for LinksFrom {
    fn from(LinkRange { after, since, limit, .. }: LinkRange) -> Self {
        Self { after: after.map(|(seq, id)| (seq, id.uuid())), since, limit }
    }
}

/// The part of a table of records that was asked for, in order.
macro_rules! part {
    ($table:ident, $query:expr, $from:expr) => {{
        let LinksFrom { after, since, limit } = $from;
        let mut query = $query.order(($table::seq, $table::id)).limit(rows(limit)).into_boxed();
        if let Some((seq, id)) = after {
            // The first of both is for the index.
            query = query.filter($table::seq.ge(seq)).filter($table::seq.gt(seq).or($table::id.gt(id)));
        }
        if let Some(since) = since {
            query = query.filter($table::at.ge(since.to_offset()));
        }
        query
    }};
}

/// Records of a chain in the order of their numbers, then of their ids.
pub(crate) async fn read_links(
    conn: &mut AsyncPgConnection,
    trail: Trail,
    from: LinksFrom,
) -> QueryResult<Vec<Result<Link, StoreError>>> {
    match trail {
        Trail::Account(account) => {
            let of_account = audit_events::table.filter(audit_events::account_id.eq(account.uuid()));
            let query = part!(audit_events, of_account.select(LinkRow::as_select()), from);
            let rows: Vec<LinkRow> = query.load(conn).await?;
            Ok(rows.into_iter().map(|row| row.link(trail)).collect())
        }
        Trail::Platform => {
            let all = platform_audit_events::table.select(PlatformLinkRow::as_select());
            let rows: Vec<PlatformLinkRow> = part!(platform_audit_events, all, from).load(conn).await?;
            Ok(rows.into_iter().map(|row| row.link(trail)).collect())
        }
    }
}

/// Numbers and ids of the same records.
async fn read_places(conn: &mut AsyncPgConnection, trail: Trail, from: LinksFrom) -> QueryResult<Vec<(i64, Uuid)>> {
    match trail {
        Trail::Account(account) => {
            let of_account = audit_events::table.filter(audit_events::account_id.eq(account.uuid()));
            part!(audit_events, of_account.select((audit_events::seq, audit_events::id)), from).load(conn).await
        }
        Trail::Platform => {
            let all = platform_audit_events::table.select((platform_audit_events::seq, platform_audit_events::id));
            part!(platform_audit_events, all, from).load(conn).await
        }
    }
}

/// How far a chain has come.
pub(crate) async fn read_head(
    conn: &mut AsyncPgConnection,
    trail: Trail,
) -> QueryResult<Option<Result<Head, StoreError>>> {
    let (table, found) = match trail {
        Trail::Account(account) => {
            let row = audit_heads::table.find(account.uuid()).select((audit_heads::seq, audit_heads::hash));
            ("audit_heads", row.first(conn).await.optional()?)
        }
        Trail::Platform => {
            let row =
                platform_audit_heads::table.find(true).select((platform_audit_heads::seq, platform_audit_heads::hash));
            ("platform_audit_heads", row.first(conn).await.optional()?)
        }
    };
    Ok(found.map(|row| head(table, row)))
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl AuditReader for PgStore {
    async fn page(
        &self,
        of: &Authorized<ReadAuditTrail, TrailOf>,
        filter: AuditFilter,
        request: PageRequest<AuditEventId>,
    ) -> Result<Page<FoundEvent, AuditEventId>, StoreError> {
        let mut conn = self.connection().await?;
        let account = of.account.uuid();
        let (closing, marker) = diesel::alias!(audit_events as closing, audit_events as marker);
        let closes = closing
            .field(audit_events::account_id)
            .eq(audit_events::account_id)
            .and(closing.field(audit_events::closes).eq(audit_events::id.nullable()));
        let mut query = audit_events::table
            .left_join(closing.on(closes))
            .filter(audit_events::account_id.eq(account))
            .filter(audit_events::closes.is_null())
            .order(audit_events::seq.desc())
            .limit(rows(request.size.rows() + 1))
            .select((LinkRow::as_select(), closing.field(audit_events::effect).nullable()))
            .into_boxed();
        if let Some(user) = of.by {
            let in_person = audit_events::actor_kind.eq("user").and(audit_events::actor_id.eq(user.to_string()));
            query = query.filter(in_person);
        }
        if let Some(action) = filter.action {
            query = query.filter(audit_events::action.eq(action.as_str()));
        }
        if let Some(actor) = filter.actor {
            query = query.filter(audit_events::actor_id.eq(actor));
        }
        if let Some(since) = filter.since {
            query = query.filter(audit_events::at.ge(since.to_offset()));
        }
        if let Some(until) = filter.until {
            query = query.filter(audit_events::at.lt(until.to_offset()));
        }
        if let Some(after) = request.after {
            // By its number, which follows the commits: ids are made before, and on many machines.
            let seq = marker
                .filter(marker.field(audit_events::account_id).eq(account))
                .filter(marker.field(audit_events::id).eq(after.uuid()))
                .select(marker.field(audit_events::seq))
                .single_value();
            query = query.filter(audit_events::seq.nullable().lt(seq));
        }
        let rows: Vec<(LinkRow, Option<String>)> = query.load(&mut conn).await.map_err(|e| refused(&mut conn, e))?;
        let trail = Trail::Account(of.account);
        let event = |(row, closed): (LinkRow, _)| Ok(FoundEvent { entry: row.link(trail)?.entry, closed });
        let events = rows.into_iter().map(event).collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Page::from_surplus(events, request.size, |event| event.entry.id))
    }
}

#[async_trait]
impl ChainReader for PgStore {
    async fn accounts(
        &self,
        _: &Inspecting,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut conn = self.connection().await?;
        let mut query = accounts::table.order(accounts::id).limit(rows(limit)).select(accounts::id).into_boxed();
        if let Some(after) = after {
            query = query.filter(accounts::id.gt(after.uuid()));
        }
        let ids = query.load(&mut conn).await.map_err(|error| refused(&mut conn, error))?;
        Ok(ids.into_iter().map(AccountId::from_uuid).collect())
    }

    async fn has_account(&self, _: &Inspecting, account: AccountId) -> Result<bool, StoreError> {
        let mut conn = self.connection().await?;
        let found = diesel::select(exists(accounts::table.find(account.uuid()))).get_result(&mut conn).await;
        found.map_err(|error| refused(&mut conn, error))
    }

    async fn places(&self, _: &Inspecting, range: LinkRange) -> Result<Vec<(i64, AuditEventId)>, StoreError> {
        let mut conn = self.connection().await?;
        let found = read_places(&mut conn, range.trail, range.into()).await;
        let places = found.map_err(|error| refused(&mut conn, error))?;
        Ok(places.into_iter().map(|(seq, id)| (seq, AuditEventId::from_uuid(id))).collect())
    }

    async fn links(&self, _: &Inspecting, range: LinkRange) -> Result<Vec<Link>, StoreError> {
        let mut conn = self.connection().await?;
        let found = read_links(&mut conn, range.trail, range.into()).await;
        found.map_err(|error| refused(&mut conn, error))?.into_iter().collect()
    }

    async fn head(&self, _: &Inspecting, trail: Trail) -> Result<Option<Head>, StoreError> {
        let mut conn = self.connection().await?;
        let found = read_head(&mut conn, trail).await;
        found.map_err(|error| refused(&mut conn, error))?.transpose()
    }

    async fn signed_heads(
        &self,
        _: &Inspecting,
        trail: Trail,
        numbers: RangeInclusive<i64>,
        limit: usize,
    ) -> Result<Vec<SignedHead>, StoreError> {
        let mut conn = self.connection().await?;
        let (first, last) = numbers.into_inner();
        match trail {
            Trail::Account(account) => {
                let rows = audit_signed_heads::table
                    .filter(audit_signed_heads::account_id.eq(account.uuid()))
                    .filter(audit_signed_heads::seq.between(first, last))
                    .order(audit_signed_heads::seq)
                    .limit(rows(limit))
                    .select(SignedHeadRow::as_select())
                    .load(&mut conn)
                    .await
                    .map_err(|error| refused(&mut conn, error))?;
                rows.into_iter().map(|row| row.signed_head(trail)).collect()
            }
            Trail::Platform => {
                let rows = platform_audit_signed_heads::table
                    .filter(platform_audit_signed_heads::seq.between(first, last))
                    .order(platform_audit_signed_heads::seq)
                    .limit(rows(limit))
                    .select(PlatformSignedHeadRow::as_select())
                    .load(&mut conn)
                    .await
                    .map_err(|error| refused(&mut conn, error))?;
                rows.into_iter().map(|row| row.signed_head(trail)).collect()
            }
        }
    }
}
