//! Messages of the provider's webhooks.

use std::collections::BTreeSet;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::RunQueryDsl;
use portal_accounts::{InboxEntry, Merging, ParkedWebhook, ParkedWebhooks, WebhookInbox};
use portal_authz::action::ManageWebhooks;
use portal_authz::{Authorized, Platform};
use portal_kernel::{StoreError, Timestamp};
use time::OffsetDateTime;

use crate::PgStore;
use crate::pool::refused;
use crate::schema::webhook_inbox;
use crate::tx::{PgTx, unnest};

/// A list for a person to read.
const LONGEST_LIST: i64 = 1_000;

#[async_trait]
impl WebhookInbox for PgTx {
    async fn take(&mut self, _: &Merging, entries: Vec<InboxEntry>) -> Result<Vec<bool>, StoreError> {
        let mut sorted = entries.clone();
        // Whoever takes several takes them in this order.
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        let ids: Vec<_> = sorted.iter().map(|entry| &*entry.id).collect();
        let kinds: Vec<_> = sorted.iter().map(|entry| &*entry.kind).collect();
        let times: Vec<_> = sorted.iter().map(|entry| entry.received_at.to_offset()).collect();
        let rows = diesel::select((unnest::<Text, _>(ids), unnest::<Text, _>(kinds), unnest::<Timestamptz, _>(times)));
        let inserted = diesel::insert_into(webhook_inbox::table)
            .values(rows)
            .into_columns((webhook_inbox::id, webhook_inbox::kind, webhook_inbox::received_at))
            .on_conflict_do_nothing()
            .returning(webhook_inbox::id)
            .get_results(&mut self.conn)
            .await;
        let mut new: BTreeSet<String> = self.noted(inserted)?.into_iter().collect();
        Ok(entries.iter().map(|entry| new.remove(&entry.id)).collect())
    }

    async fn park(
        &mut self,
        _: &Merging,
        entry: InboxEntry,
        body: Vec<u8>,
        reason: String,
    ) -> Result<bool, StoreError> {
        let row = (
            webhook_inbox::id.eq(entry.id),
            webhook_inbox::kind.eq(entry.kind),
            webhook_inbox::received_at.eq(entry.received_at.to_offset()),
            webhook_inbox::body.eq(body),
            webhook_inbox::reason.eq(reason),
        );
        let inserted = diesel::insert_into(webhook_inbox::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(&mut self.conn)
            .await;
        Ok(self.noted(inserted)? == 1)
    }

    async fn unpark(
        &mut self,
        _: &Authorized<ManageWebhooks, Platform>,
        id: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let locked = webhook_inbox::table
            .find(&id)
            .filter(webhook_inbox::reason.is_not_null())
            .select(webhook_inbox::body.assume_not_null())
            .for_update()
            .first(&mut self.conn)
            .await
            .optional();
        let body = self.noted(locked)?;
        let taken = diesel::update(webhook_inbox::table.find(&id))
            .set((webhook_inbox::body.eq(None::<Vec<u8>>), webhook_inbox::reason.eq(None::<String>)))
            .execute(&mut self.conn)
            .await;
        self.noted(taken)?;
        Ok(body)
    }
}

#[async_trait]
impl ParkedWebhooks for PgStore {
    async fn all(&self, _: &Authorized<ManageWebhooks, Platform>) -> Result<Vec<ParkedWebhook>, StoreError> {
        let mut conn = self.connection().await?;
        let rows: Vec<(String, String, OffsetDateTime, String)> = webhook_inbox::table
            .filter(webhook_inbox::reason.is_not_null())
            .order((webhook_inbox::received_at, webhook_inbox::id))
            .limit(LONGEST_LIST)
            .select((
                webhook_inbox::id,
                webhook_inbox::kind,
                webhook_inbox::received_at,
                webhook_inbox::reason.assume_not_null(),
            ))
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let parked = |(id, kind, received_at, reason)| ParkedWebhook {
            entry: InboxEntry { id, kind, received_at: Timestamp::new(received_at) },
            reason,
        };
        Ok(rows.into_iter().map(parked).collect())
    }

    async fn last_received(&self, _: &Merging) -> Result<Option<Timestamp>, StoreError> {
        let mut conn = self.connection().await?;
        let last: Option<OffsetDateTime> = webhook_inbox::table
            .select(diesel::dsl::max(webhook_inbox::received_at))
            .first(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        Ok(last.map(Timestamp::new))
    }
}
