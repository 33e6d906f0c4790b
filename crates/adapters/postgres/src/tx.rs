//! One transaction, which implements every repository itself.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::QueryResult;
use diesel::sql_types::{Array, SingleValue, Text};
use diesel_async::{AnsiTransactionManager, RunQueryDsl, TransactionManager};
use portal_accounts::{
    AccountRepository, AccountsTx, ProviderIds, ScanCursors, SessionEpochs, SessionSightings, UnconfirmedEnds,
    UnconfirmedMembers, UserRepository, WebhookInbox,
};
use portal_api_keys::{ApiKeyRepository, ApiKeysTx, CanaryRepository, ServiceTokenRepository};
use portal_audit::{AuditLog, AuditRecord, AuditTx, SignedHeads};
use portal_kernel::{Begin, Change, ChangeLog, Finish, IdempotencyLog, StoreError};

use crate::PgStore;
use crate::error::store_error;
use crate::feed::Hub;
use crate::pool::{Connection, refused};
use crate::schema::changes;

/// An open transaction on its own connection. Dropped unfinished, the connection goes back to the pool, which sees the open transaction
/// and closes it; the server rolls back.
pub(crate) struct PgTx {
    pub(crate) conn: Connection,
    failed: bool,
    hub: Arc<Hub>,
    /// Written when the transaction commits.
    changes: Vec<Change>,
    /// Appended to their chains when the transaction commits.
    pub(crate) records: Vec<AuditRecord>,
}

diesel::define_sql_function! {
    /// Several of them in one statement go through their arrays side by side.
    fn unnest<T: SingleValue>(array: Array<T>) -> T
}

/// Somebody wanted to commit what the server had refused.
#[derive(Debug, thiserror::Error)]
#[error("a statement of the transaction had failed before the commit")]
struct AlreadyFailed;

impl PgTx {
    pub(crate) fn new(conn: Connection, hub: Arc<Hub>) -> Self {
        Self { conn, failed: false, hub, changes: Vec::new(), records: Vec::new() }
    }

    /// Takes note of a statement's outcome. After an error the server accepts nothing but the end of the transaction.
    pub(crate) fn noted<T>(&mut self, outcome: QueryResult<T>) -> Result<T, StoreError> {
        self.failed |= outcome.is_err();
        outcome.map_err(store_error)
    }

    /// What waited for the commit. The records last, so that the heads of chains are locked for as short as possible, and behind every
    /// other lock.
    async fn write_behind(&mut self) -> Result<(), StoreError> {
        if !self.changes.is_empty() {
            let kinds: Vec<_> = self.changes.iter().map(Change::kind).collect();
            let subjects: Vec<_> = self.changes.iter().map(Change::subject).collect();
            let told = diesel::insert_into(changes::table)
                .values(diesel::select((unnest::<Text, _>(kinds), unnest::<Text, _>(subjects))))
                .into_columns((changes::kind, changes::subject))
                .execute(&mut self.conn)
                .await;
            self.noted(told)?;
        }
        self.append_records().await
    }
}

#[async_trait]
impl Finish for PgTx {
    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            // The server answers such a commit with a rollback, and calls it a success.
            self.rollback().await?;
            return Err(StoreError::Other(AlreadyFailed.into()));
        }
        if let Err(error) = self.write_behind().await {
            // A connection that cannot roll back is broken, and the pool closes it.
            let _ = self.rollback().await;
            return Err(error);
        }
        let committed = AnsiTransactionManager::commit_transaction(&mut *self.conn).await;
        // Also after an error: the server may have committed.
        self.hub.committed(&self.changes);
        committed.map_err(|error| refused(&mut self.conn, error))
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), StoreError> {
        AnsiTransactionManager::rollback_transaction(&mut *self.conn).await.map_err(store_error)
    }
}

#[async_trait]
impl ChangeLog for PgTx {
    async fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        // Whoever hears of it twice looks no closer.
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
        Ok(())
    }
}

impl AccountsTx for PgTx {
    fn provider_ids(&mut self) -> &mut dyn ProviderIds {
        self
    }

    fn epochs(&mut self) -> &mut dyn SessionEpochs {
        self
    }

    fn unconfirmed_ends(&mut self) -> &mut dyn UnconfirmedEnds {
        self
    }

    fn sightings(&mut self) -> &mut dyn SessionSightings {
        self
    }

    fn users(&mut self) -> &mut dyn UserRepository {
        self
    }

    fn accounts(&mut self) -> &mut dyn AccountRepository {
        self
    }

    fn unconfirmed(&mut self) -> &mut dyn UnconfirmedMembers {
        self
    }

    fn scans(&mut self) -> &mut dyn ScanCursors {
        self
    }

    fn inbox(&mut self) -> &mut dyn WebhookInbox {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }

    fn changes(&mut self) -> &mut dyn ChangeLog {
        self
    }
}

impl ApiKeysTx for PgTx {
    fn keys(&mut self) -> &mut dyn ApiKeyRepository {
        self
    }

    fn service_tokens(&mut self) -> &mut dyn ServiceTokenRepository {
        self
    }

    fn canary(&mut self) -> &mut dyn CanaryRepository {
        self
    }

    fn requests(&mut self) -> &mut dyn IdempotencyLog {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }

    fn changes(&mut self) -> &mut dyn ChangeLog {
        self
    }
}

impl AuditTx for PgTx {
    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }

    fn signed_heads(&mut self) -> &mut dyn SignedHeads {
        self
    }
}

#[async_trait]
impl Begin<dyn AccountsTx> for PgStore {
    async fn begin(&self) -> Result<Box<dyn AccountsTx>, StoreError> {
        Ok(Box::new(self.open().await?))
    }
}

#[async_trait]
impl Begin<dyn ApiKeysTx> for PgStore {
    async fn begin(&self) -> Result<Box<dyn ApiKeysTx>, StoreError> {
        Ok(Box::new(self.open().await?))
    }
}

#[async_trait]
impl Begin<dyn AuditTx> for PgStore {
    async fn begin(&self) -> Result<Box<dyn AuditTx>, StoreError> {
        Ok(Box::new(self.open().await?))
    }
}
