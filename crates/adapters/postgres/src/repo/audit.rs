//! The trail: records wait for the commit, which appends them to their chains.

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use portal_audit::{AuditEntry, AuditLog, AuditRecord, Hash, Head, Link, Trail};
use portal_kernel::{Id, StoreError};

use crate::prepared::Prepared;
use crate::row::audit::{LinkRow, PlatformLinkRow, head};
use crate::schema::{audit_events, audit_heads, platform_audit_events, platform_audit_heads};
use crate::tx::PgTx;

/// Rows in one statement: it has sixteen parameters per row, and the protocol knows 65,535 of them.
const ROWS: usize = 1_000;

#[async_trait]
impl AuditLog for PgTx {
    async fn record(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        self.records.push(record);
        Ok(())
    }
}

impl PgTx {
    /// Chain by chain in one order, so that transactions that meet at several chains do not wait for each other in a circle. A chain is
    /// locked from here to the commit: its records are committed in the order of their numbers.
    pub(crate) async fn append_records(&mut self) -> Result<(), StoreError> {
        let mut trails: BTreeMap<Trail, Vec<AuditEntry>> = BTreeMap::new();
        for record in std::mem::take(&mut self.records) {
            let entry = AuditEntry::from(record);
            trails.entry(entry.trail).or_default().push(entry);
        }
        for (trail, entries) in trails {
            let mut head = self.take_head(trail).await?;
            let mut links = Vec::with_capacity(entries.len());
            for entry in entries {
                let link = head.append(entry);
                head = link.head();
                links.push(link);
            }
            self.insert_links(trail, links).await?;
            self.move_head(trail, head).await?;
        }
        Ok(())
    }

    /// Where the chain ends, locked; one statement, whether or not the chain exists.
    async fn take_head(&mut self, trail: Trail) -> Result<Head, StoreError> {
        let (seq, hash) = (Head::EMPTY.seq, Hash::ORIGIN.as_bytes().as_slice());
        match trail {
            Trail::Account(account) => {
                let take = diesel::insert_into(audit_heads::table)
                    .values((
                        audit_heads::account_id.eq(account.uuid()),
                        audit_heads::seq.eq(seq),
                        audit_heads::hash.eq(hash),
                    ))
                    .on_conflict(audit_heads::account_id)
                    .do_update()
                    .set(audit_heads::seq.eq(audit_heads::seq))
                    .returning((audit_heads::seq, audit_heads::hash));
                let taken = Prepared(take).get_result(&mut self.conn).await;
                head("audit_heads", self.noted(taken)?)
            }
            Trail::Platform => {
                let take = diesel::insert_into(platform_audit_heads::table)
                    .values((
                        platform_audit_heads::only_row.eq(true),
                        platform_audit_heads::seq.eq(seq),
                        platform_audit_heads::hash.eq(hash),
                    ))
                    .on_conflict(platform_audit_heads::only_row)
                    .do_update()
                    .set(platform_audit_heads::seq.eq(platform_audit_heads::seq))
                    .returning((platform_audit_heads::seq, platform_audit_heads::hash));
                let taken = Prepared(take).get_result(&mut self.conn).await;
                head("platform_audit_heads", self.noted(taken)?)
            }
        }
    }

    async fn insert_links(&mut self, trail: Trail, links: Vec<Link>) -> Result<(), StoreError> {
        let mut links = links.into_iter().peekable();
        while links.peek().is_some() {
            let links = links.by_ref().take(ROWS);
            let inserted = match trail {
                Trail::Account(account) => {
                    let of_account = |link| (audit_events::account_id.eq(account.uuid()), LinkRow::from(link));
                    let rows: Vec<_> = links.map(of_account).collect();
                    diesel::insert_into(audit_events::table).values(rows).execute(&mut self.conn).await
                }
                Trail::Platform => {
                    let rows: Vec<_> = links.map(PlatformLinkRow::from).collect();
                    diesel::insert_into(platform_audit_events::table).values(rows).execute(&mut self.conn).await
                }
            };
            self.noted(inserted)?;
        }
        Ok(())
    }

    async fn move_head(&mut self, trail: Trail, head: Head) -> Result<(), StoreError> {
        let hash = head.hash.as_bytes().as_slice();
        let moved = match trail {
            Trail::Account(account) => {
                let moved = diesel::update(audit_heads::table.find(account.uuid()))
                    .set((audit_heads::seq.eq(head.seq), audit_heads::hash.eq(hash)));
                Prepared(moved).execute(&mut self.conn).await
            }
            Trail::Platform => {
                let moved = diesel::update(platform_audit_heads::table.find(true))
                    .set((platform_audit_heads::seq.eq(head.seq), platform_audit_heads::hash.eq(hash)));
                Prepared(moved).execute(&mut self.conn).await
            }
        };
        self.noted(moved).map(drop)
    }
}
