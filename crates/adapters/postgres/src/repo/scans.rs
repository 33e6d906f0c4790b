//! Scans of the identity provider.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_accounts::{
    AccountState, CompleteScan, Counterpart, ReconcileReader, ScanCursor, ScanCursors, ScanMove, ScanPosition, Stay,
    StayHere, UserState,
};
use portal_authz::action::Reconcile;
use portal_authz::{Authorized, Platform};
use portal_identity::{ProviderMembershipId, ProviderOrganizationId, ProviderUserId};
use portal_kernel::{AccountId, Id, StoreError, Timestamp, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::PgStore;
use crate::error::corrupt;
use crate::pool::refused;
use crate::schema::{accounts, memberships, scan_cursors, users};
use crate::tx::PgTx;

/// The one scan there is.
const NAME: &str = "provider";

#[async_trait]
impl ScanCursors for PgTx {
    async fn advance(
        &mut self,
        _: &Authorized<Reconcile, Platform>,
        from: ScanCursor,
        to: ScanMove,
        at: Timestamp,
    ) -> Result<Option<ScanCursor>, StoreError> {
        let cursor = from.after(to, at);
        let complete = cursor.last_complete;
        let moved = diesel::update(scan_cursors::table.find(NAME))
            .filter(scan_cursors::version.eq(from.version))
            .set((
                scan_cursors::position.eq(cursor.position.to_string()),
                scan_cursors::version.eq(cursor.version),
                scan_cursors::moved_at.eq(at.to_offset()),
                scan_cursors::failures.eq(count(cursor.failures)),
                scan_cursors::completed_at.eq(complete.map(|scan| scan.ended_at.to_offset())),
                scan_cursors::drift.eq(complete.map(|scan| count(scan.drift))),
            ))
            .execute(&mut self.conn)
            .await;
        let is_ours = self.noted(moved)? == 1;
        Ok(is_ours.then_some(cursor))
    }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A row of `scan_cursors`.
type CursorRow = (String, i64, OffsetDateTime, i32, Option<OffsetDateTime>, Option<i32>);

fn rows(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

#[async_trait]
impl ReconcileReader for PgStore {
    async fn cursor(&self, _: &Authorized<Reconcile, Platform>) -> Result<ScanCursor, StoreError> {
        let mut conn = self.connection().await?;
        let (position, version, moved_at, failures, completed_at, drift): CursorRow = scan_cursors::table
            .find(NAME)
            .select((
                scan_cursors::position,
                scan_cursors::version,
                scan_cursors::moved_at,
                scan_cursors::failures,
                scan_cursors::completed_at,
                scan_cursors::drift,
            ))
            .first(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let number = |column, number: i32| u32::try_from(number).map_err(|_| corrupt("scan_cursors", column));
        let complete = |(ended_at, drift)| {
            Ok::<_, StoreError>(CompleteScan { ended_at: Timestamp::new(ended_at), drift: number("drift", drift)? })
        };
        Ok(ScanCursor {
            position: ScanPosition::parse(&position).ok_or_else(|| corrupt("scan_cursors", "position"))?,
            version,
            moved_at: Timestamp::new(moved_at),
            failures: number("failures", failures)?,
            last_complete: completed_at.zip(drift).map(complete).transpose()?,
        })
    }

    async fn users(
        &self,
        _: &Authorized<Reconcile, Platform>,
        after: Option<UserId>,
        most: usize,
    ) -> Result<Vec<Counterpart<UserId, ProviderUserId>>, StoreError> {
        let mut conn = self.connection().await?;
        let found: Vec<(Uuid, String, OffsetDateTime)> = users::table
            .filter(users::id.gt(after.map_or(Uuid::nil(), UserId::uuid)))
            .filter(users::state.ne(UserState::Deleted.as_str()))
            .order(users::id)
            .limit(rows(most))
            .select((users::id, users::provider_id, users::created_at))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let counterpart = |(id, provider_id, created_at): (Uuid, String, OffsetDateTime)| {
            Ok(Counterpart {
                id: UserId::from_uuid(id),
                provider_id: ProviderUserId::parse(&provider_id).map_err(|_| corrupt("users", "provider_id"))?,
                created_at: Timestamp::new(created_at),
            })
        };
        found.into_iter().map(counterpart).collect()
    }

    async fn organizations(
        &self,
        _: &Authorized<Reconcile, Platform>,
        after: Option<AccountId>,
        most: usize,
    ) -> Result<Vec<Counterpart<AccountId, ProviderOrganizationId>>, StoreError> {
        let mut conn = self.connection().await?;
        let found: Vec<(Uuid, String, OffsetDateTime)> = accounts::table
            .filter(accounts::id.gt(after.map_or(Uuid::nil(), AccountId::uuid)))
            .filter(accounts::state.ne(AccountState::Deleted.as_str()))
            .filter(accounts::provider_organization_id.is_not_null())
            .order(accounts::id)
            .limit(rows(most))
            .select((accounts::id, accounts::provider_organization_id.assume_not_null(), accounts::created_at))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let counterpart = |(id, provider_id, created_at): (Uuid, String, OffsetDateTime)| {
            Ok(Counterpart {
                id: AccountId::from_uuid(id),
                provider_id: ProviderOrganizationId::parse(&provider_id)
                    .map_err(|_| corrupt("accounts", "provider_organization_id"))?,
                created_at: Timestamp::new(created_at),
            })
        };
        found.into_iter().map(counterpart).collect()
    }

    async fn memberships(
        &self,
        _: &Authorized<Reconcile, Platform>,
        after: Option<(AccountId, UserId)>,
        most: usize,
    ) -> Result<Vec<StayHere>, StoreError> {
        let mut conn = self.connection().await?;
        let (account, user) = after.map_or((Uuid::nil(), Uuid::nil()), |(account, user)| (account.uuid(), user.uuid()));
        let later = memberships::account_id.gt(account).or(memberships::user_id.gt(user));
        let found: Vec<(Uuid, Uuid, OffsetDateTime, String, String, String)> = memberships::table
            .inner_join(users::table.on(users::id.eq(memberships::user_id)))
            .inner_join(accounts::table.on(accounts::id.eq(memberships::account_id)))
            // The first of both is for the index.
            .filter(memberships::account_id.ge(account))
            .filter(later)
            .filter(memberships::provider_membership_id.is_not_null())
            .filter(accounts::provider_organization_id.is_not_null())
            .order((memberships::account_id, memberships::user_id))
            .limit(rows(most))
            .select((
                memberships::account_id,
                memberships::user_id,
                memberships::created_at,
                memberships::provider_membership_id.assume_not_null(),
                accounts::provider_organization_id.assume_not_null(),
                users::provider_id,
            ))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let counterpart =
            |(account, user, created_at, membership, organization, person): (_, _, _, String, String, String)| {
                let stay = Stay {
                    membership: ProviderMembershipId::parse(&membership)
                        .map_err(|_| corrupt("memberships", "provider_membership_id"))?,
                    organization: ProviderOrganizationId::parse(&organization)
                        .map_err(|_| corrupt("accounts", "provider_organization_id"))?,
                    user: ProviderUserId::parse(&person).map_err(|_| corrupt("users", "provider_id"))?,
                };
                let id = (AccountId::from_uuid(account), UserId::from_uuid(user));
                Ok(Counterpart { id, provider_id: stay, created_at: Timestamp::new(created_at) })
            };
        found.into_iter().map(counterpart).collect()
    }
}
