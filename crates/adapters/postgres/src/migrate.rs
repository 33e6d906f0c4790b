//! The schema's history, embedded in the program.

use std::time::Duration;

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use portal_kernel::BoxError;

use crate::connect::PgTarget;
use crate::pool::{ConnectError, OPEN_LIMIT, open};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../../migrations");

/// Held while migrating, so that replicas that start together take turns. The number is arbitrary and ours.
pub(crate) const ADVISORY_LOCK: i64 = 7_308_044_219_305_320_053;

/// How often a replica asks whether it is its turn.
const TURN: Duration = Duration::from_millis(200);

diesel::define_sql_function! { fn pg_try_advisory_lock(key: BigInt) -> Bool }
diesel::define_sql_function! { fn to_regclass(name: Text) -> Nullable<Oid> }

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

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
    wait_for_turn(&mut conn).await?;
    let pending = pending(&mut conn).await?;
    AsyncMigrationHarness::new(conn).run_pending_migrations(MIGRATIONS).map_err(MigrateError::Failed)?;
    Ok(pending)
}

/// Names of the migrations that are not applied. Writes nothing, and does not wait for a server that says nothing.
pub async fn pending_migrations(target: &PgTarget) -> Result<Vec<String>, MigrateError> {
    let mut conn = connection(target).await?;
    let asked = tokio::time::timeout(OPEN_LIMIT, pending(&mut conn)).await;
    asked.unwrap_or(Err(MigrateError::Connect(ConnectError::NoAnswer(OPEN_LIMIT))))
}

/// Asks again and again instead of waiting in one statement: `CREATE INDEX CONCURRENTLY` waits for all statements that are older than
/// it, so that the replica that runs one and those that wait for their turn would wait for each other.
async fn wait_for_turn(conn: &mut AsyncPgConnection) -> Result<(), MigrateError> {
    let question = diesel::select(pg_try_advisory_lock(ADVISORY_LOCK));
    while !question.get_result::<bool>(conn).await.map_err(failed)? {
        tokio::time::sleep(TURN).await;
    }
    Ok(())
}

pub(crate) async fn pending(conn: &mut AsyncPgConnection) -> Result<Vec<String>, MigrateError> {
    // diesel's own question makes its table if there is none: a write, in which replicas that ask together fail.
    let table = diesel::select(to_regclass("__diesel_schema_migrations").is_not_null());
    let applied: Vec<String> = if table.get_result(conn).await.map_err(failed)? {
        __diesel_schema_migrations::table
            .select(__diesel_schema_migrations::version)
            .load(conn)
            .await
            .map_err(failed)?
    } else {
        Vec::new()
    };
    let known: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(MigrateError::Failed)?;
    let mut names: Vec<_> = known.iter().map(Migration::name).collect();
    names.retain(|name| !applied.contains(&name.version().to_string()));
    names.sort_by_key(|name| name.version().to_string());
    Ok(names.iter().map(ToString::to_string).collect())
}

fn failed(error: diesel::result::Error) -> MigrateError {
    MigrateError::Failed(error.into())
}

async fn connection(target: &PgTarget) -> Result<AsyncPgConnection, MigrateError> {
    let tls = target.trust.connector().map_err(ConnectError::Tls)?;
    let opened = tokio::time::timeout(OPEN_LIMIT, open(target, tls, "SET application_name = 'portal-migrate'")).await;
    Ok(opened.unwrap_or(Err(ConnectError::NoAnswer(OPEN_LIMIT)))?)
}

/// Undoes everything and returns how many migrations that were.
#[cfg(feature = "testing")]
pub async fn revert_all(target: &PgTarget) -> Result<usize, MigrateError> {
    let mut harness = AsyncMigrationHarness::new(connection(target).await?);
    Ok(harness.revert_all_migrations(MIGRATIONS).map_err(MigrateError::Failed)?.len())
}

/// Undoes the migrations back to the one of that version, and this one, too.
#[cfg(feature = "testing")]
pub async fn revert_through(target: &PgTarget, version: &str) -> Result<(), MigrateError> {
    let mut harness = AsyncMigrationHarness::new(connection(target).await?);
    loop {
        let reverted = harness.revert_last_migration(MIGRATIONS).map_err(MigrateError::Failed)?;
        if reverted.to_string() == version {
            return Ok(());
        }
    }
}

/// Changes when a migration is added, renamed or edited; names the template database of tests.
#[cfg(feature = "testing")]
pub(crate) const FINGERPRINT: &str = env!("MIGRATIONS_FINGERPRINT");
