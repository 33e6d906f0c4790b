//! The schema's history, embedded in the program.

use diesel::migration::Migration;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use portal_kernel::BoxError;

use crate::connect::PgTarget;
use crate::pool::{ConnectError, open};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../../migrations");

/// Held while migrating, so that replicas that start together take turns. The number is arbitrary and ours.
pub const ADVISORY_LOCK: i64 = 7_308_044_219_305_320_053;

/// Why the schema was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A migration failed; those before it stay applied.
    #[error("a migration failed")]
    Failed(#[source] BoxError),
}

/// Applies what is missing and returns its names. Safe to run from every replica at the same time.
///
/// Needs a multi-threaded runtime: it blocks in place.
pub async fn migrate(target: &PgTarget) -> Result<Vec<String>, MigrateError> {
    let mut conn = connection(target).await?;
    conn.batch_execute("SELECT pg_advisory_lock(7308044219305320053)")
        .await
        .map_err(|error| MigrateError::Failed(error.into()))?;
    let mut harness = AsyncMigrationHarness::new(conn);
    let applied = harness.run_pending_migrations(MIGRATIONS).map_err(MigrateError::Failed)?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

/// Names of the migrations that are not applied.
pub async fn pending_migrations(target: &PgTarget) -> Result<Vec<String>, MigrateError> {
    let mut harness = AsyncMigrationHarness::new(connection(target).await?);
    let pending = harness.pending_migrations(MIGRATIONS).map_err(MigrateError::Failed)?;
    Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
}

async fn connection(target: &PgTarget) -> Result<AsyncPgConnection, MigrateError> {
    let tls = target.trust.connector().map_err(ConnectError::Tls)?;
    Ok(open(target, tls, "SET application_name = 'portal-migrate'; SET lc_messages = 'C'").await?)
}

/// Undoes everything and returns how many migrations that were.
#[cfg(feature = "testing")]
pub async fn revert_all(target: &PgTarget) -> Result<usize, MigrateError> {
    let mut harness = AsyncMigrationHarness::new(connection(target).await?);
    Ok(harness.revert_all_migrations(MIGRATIONS).map_err(MigrateError::Failed)?.len())
}

/// Changes when a migration is added, renamed or edited; names the template database of tests.
#[cfg(feature = "testing")]
pub(crate) const FINGERPRINT: &str = env!("MIGRATIONS_FINGERPRINT");
