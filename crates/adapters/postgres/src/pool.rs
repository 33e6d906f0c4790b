//! The connection pool, and the store that every port is implemented on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolableConnection};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager};
use portal_kernel::StoreError;
use tokio::runtime::Handle;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::PgTarget;
use crate::error::store_error;
use crate::tls::TlsError;
use crate::tx::PgTx;

pub(crate) type Connection = bb8::PooledConnection<'static, AsyncDieselConnectionManager<AsyncPgConnection>>;

/// How to reach the database and how many connections to hold.
#[derive(Clone)]
pub struct PgSettings {
    /// Where.
    pub target: PgTarget,
    /// Connections at most; at least 2.
    pub pool_size: u32,
    /// How long a request waits for a free connection before the database counts as unavailable.
    pub acquire_timeout: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
}

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server.
    #[error("the database cannot be reached")]
    Server(#[source] tokio_postgres::Error),
    /// The session.
    #[error("the database session cannot be set up")]
    Session(#[source] ConnectionError),
}

/// All stores, on one pool. Cheap to share; make one per process.
pub struct PgStore {
    pool: Pool<AsyncPgConnection>,
    checkouts: AtomicU64,
}

/// What [`PgStore::probe`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `server_version_num`, for example 150018.
    pub version: i32,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// Whether the server only reads.
    pub read_only: bool,
}

impl PgStore {
    /// Prepares a pool without connecting: the database may come up later.
    ///
    /// Must be called on the main runtime. Connections are driven by it, never by the web worker that happens to open one: a busy
    /// worker would stall everybody who shares the connection.
    pub fn new(settings: &PgSettings) -> Result<Self, TlsError> {
        let runtime = Handle::current();
        let (target, tls) = (settings.target.clone(), settings.target.trust.connector()?);
        let setup = session_setup(settings.statement_timeout);
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(move |_| {
            let (runtime, target, tls, setup) = (runtime.clone(), target.clone(), tls.clone(), setup.clone());
            Box::pin(async move {
                let opened = runtime.spawn(async move { open(&target, tls, &setup).await }).await;
                opened.map_err(|lost| ConnectionError::BadConnection(lost.to_string()))?.map_err(|error| match error {
                    ConnectError::Session(error) => error,
                    other => ConnectionError::BadConnection(describe(&other)),
                })
            })
        });
        let pool = Pool::builder()
            .max_size(settings.pool_size.max(2))
            .connection_timeout(settings.acquire_timeout)
            .test_on_check_out(false)
            .build_unchecked(AsyncDieselConnectionManager::new_with_config("", config));
        Ok(Self { pool, checkouts: AtomicU64::new(0) })
    }

    /// How often a connection was taken from the pool: zero more of these means no query ran.
    pub fn checkouts(&self) -> u64 {
        AtomicU64::load(&self.checkouts, Ordering::Relaxed)
    }

    /// Asks the server for its state; an error means that it does not answer.
    pub async fn probe(&self) -> Result<Probe, StoreError> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Integer)]
            version: i32,
            #[diesel(sql_type = diesel::sql_types::Bool)]
            encrypted: bool,
            #[diesel(sql_type = diesel::sql_types::Bool)]
            read_only: bool,
        }
        let mut conn = self.connection().await?;
        let Row { version, encrypted, read_only } = diesel::sql_query(
            "SELECT current_setting('server_version_num')::integer AS version, \
             coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted, \
             current_setting('transaction_read_only')::boolean AS read_only",
        )
        .get_result(&mut conn)
        .await
        .map_err(store_error)?;
        Ok(Probe { version, encrypted, read_only })
    }

    /// Whether a pooler between us and the server gives a session to somebody else between two transactions. Prepared statements and
    /// LISTEN then fail in ways that are hard to see.
    pub async fn behind_transaction_pooler(&self) -> Result<bool, StoreError> {
        let mut mine = self.connection().await?;
        let before = backend(&mut mine).await?;
        // Another transaction stays open meanwhile, and so takes the session that a pooler would have freed.
        let mut other = self.open().await?;
        backend(&mut other.conn).await?;
        let after = backend(&mut mine).await?;
        AnsiTransactionManager::rollback_transaction(&mut *other.conn).await.map_err(store_error)?;
        Ok(before != after)
    }

    /// A live connection. Those that died while they lay idle (a restarted server) are thrown away on the way, without asking the server.
    pub(crate) async fn connection(&self) -> Result<Connection, StoreError> {
        loop {
            let mut conn = self.pool.get_owned().await.map_err(|error| StoreError::Unavailable(error.into()))?;
            if !conn.is_broken() {
                self.checkouts.fetch_add(1, Ordering::Relaxed);
                return Ok(conn);
            }
        }
    }

    pub(crate) async fn open(&self) -> Result<PgTx, StoreError> {
        let mut conn = self.connection().await?;
        AnsiTransactionManager::begin_transaction(&mut *conn).await.map_err(store_error)?;
        Ok(PgTx { conn })
    }
}

async fn backend(conn: &mut Connection) -> Result<i32, StoreError> {
    diesel::define_sql_function! { fn pg_backend_pid() -> diesel::sql_types::Integer }
    diesel::select(pg_backend_pid()).get_result(conn).await.map_err(store_error)
}

/// An error and its causes on one line: the pool keeps only text.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn session_setup(statement_timeout: Duration) -> String {
    // The check of the client's connection ends a statement whose caller is gone; English messages are what error.rs reads.
    format!(
        "SET application_name = 'portal'; SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = '30s'; SET client_connection_check_interval = '1s'; \
         SET lc_messages = 'C'; SET TIME ZONE 'UTC'",
        statement_timeout.as_millis(),
        (statement_timeout / 2).as_millis(),
    )
}

pub(crate) async fn open(
    target: &PgTarget,
    tls: MakeRustlsConnect,
    setup: &str,
) -> Result<AsyncPgConnection, ConnectError> {
    let (client, connection) = target.config.connect(tls).await.map_err(ConnectError::Server)?;
    let mut conn =
        AsyncPgConnection::try_from_client_and_connection(client, connection).await.map_err(ConnectError::Session)?;
    conn.batch_execute(setup)
        .await
        .map_err(|error| ConnectError::Session(ConnectionError::CouldntSetupConfiguration(error)))?;
    Ok(conn)
}
