//! The connection pool, and the store that every port is implemented on.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::dsl::{count_star, min};
use diesel::{ConnectionError, ExpressionMethods, QueryDsl};
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolableConnection};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager};
use portal_accounts::UnconfirmedEndCount;
use portal_kernel::{StoreError, Timestamp};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::PgTarget;
use crate::error::{ends_connection, store_error};
use crate::feed::{Hub, PgFeed};
use crate::reader::key_feed::KeyBell;
use crate::schema::{memberships, unconfirmed_ends};
#[cfg(feature = "testing")]
use crate::statements::Statements;
use crate::tls::TlsError;
use crate::tx::PgTx;

pub(crate) type Connection = bb8::PooledConnection<'static, AsyncDieselConnectionManager<AsyncPgConnection>>;

/// How to reach the database and how many connections to hold.
#[derive(Clone)]
pub struct PgSettings {
    /// Where.
    pub target: PgTarget,
    /// The same database without a pooler in between, for the change feed; none if `target` is that.
    pub direct: Option<PgTarget>,
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
    /// Something accepts connections and then says nothing.
    #[error("the database did not answer within {0:?}")]
    NoAnswer(Duration),
}

/// Why the pool gave no connection.
#[derive(Debug, thiserror::Error)]
enum NoConnection {
    #[error("all {0} connections were in use for {1:?}")]
    Exhausted(u32, Duration),
    #[error("no connection can be opened")]
    Failed(#[source] Arc<ConnectError>),
    #[error("no connection could be opened within {0:?}")]
    Slow(Duration),
}

/// The latest attempt to connect, if it failed. The pool itself tells nobody.
type LastFailure = Arc<Mutex<Option<Arc<ConnectError>>>>;

/// All stores, on one pool. Cheap to share; make one per process.
pub struct PgStore {
    pool: Pool<AsyncPgConnection>,
    pool_size: u32,
    acquire_timeout: Duration,
    runtime: Handle,
    last_failure: LastFailure,
    checkouts: AtomicU64,
    direct: PgTarget,
    hub: Arc<Hub>,
    /// Rings when keys or accounts changed.
    pub(crate) key_bell: Arc<KeyBell>,
    #[cfg(feature = "testing")]
    statements: Statements,
}

/// An attempt to connect is given up after this, or after the time that a request waits if that is longer. The pool counts attempts
/// as connections, so those that hang would use it up for good.
pub(crate) const OPEN_LIMIT: Duration = Duration::from_secs(3);

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
        let (target, tls) = (settings.target.clone(), settings.target.trust.connector()?);
        let setup = session_setup(settings.statement_timeout);
        let limit = settings.acquire_timeout.max(OPEN_LIMIT);
        let last_failure = LastFailure::default();
        let remembered = last_failure.clone();
        #[cfg(feature = "testing")]
        let statements = Statements::default();
        #[cfg(feature = "testing")]
        let noting = statements.clone();
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(move |_| {
            let (target, tls, setup, remembered) = (target.clone(), tls.clone(), setup.clone(), remembered.clone());
            #[cfg(feature = "testing")]
            let noting = noting.clone();
            Box::pin(async move {
                let opened = tokio::time::timeout(limit, open(&target, tls, &setup)).await;
                let (conn, failure) = match opened.unwrap_or(Err(ConnectError::NoAnswer(limit))) {
                    Ok(conn) => (Ok(conn), None),
                    Err(error) => (Err(ConnectionError::BadConnection(error.to_string())), Some(Arc::new(error))),
                };
                #[cfg(feature = "testing")]
                let conn = conn.map(|conn| noting.of(conn));
                *remembered.lock().unwrap_or_else(PoisonError::into_inner) = failure;
                conn
            })
        });
        let (pool_size, acquire_timeout) = (settings.pool_size.max(2), settings.acquire_timeout);
        let pool = Pool::builder()
            .max_size(pool_size)
            .connection_timeout(acquire_timeout)
            .test_on_check_out(false)
            .build_unchecked(AsyncDieselConnectionManager::new_with_config("", config));
        let (runtime, checkouts) = (Handle::current(), AtomicU64::new(0));
        let direct = settings.direct.as_ref().unwrap_or(&settings.target).clone();
        let (hub, key_bell) = (Arc::<Hub>::default(), Arc::<KeyBell>::default());
        hub.subscribe(key_bell.clone());
        Ok(Self {
            pool,
            pool_size,
            acquire_timeout,
            runtime,
            last_failure,
            checkouts,
            direct,
            hub,
            key_bell,
            #[cfg(feature = "testing")]
            statements,
        })
    }

    /// The changes of all replicas, on a connection of its own. Make one per process, and run it.
    pub fn feed(&self) -> PgFeed {
        PgFeed::new(self.direct.clone(), self.hub.clone())
    }

    /// The statements of requests, if a test wants to know.
    #[cfg(feature = "testing")]
    pub fn statements(&self) -> &Statements {
        &self.statements
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
        .map_err(|error| refused(&mut conn, error))?;
        Ok(Probe { version, encrypted, read_only })
    }

    /// Role keys of the provider that members have and that gave them no role here.
    pub async fn unmapped_roles(&self) -> Result<Vec<String>, StoreError> {
        let mut conn = self.connection().await?;
        let keys: Vec<Option<String>> = memberships::table
            .filter(memberships::role.is_null())
            .select(memberships::provider_role)
            .distinct()
            .order(memberships::provider_role)
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        Ok(keys.into_iter().flatten().collect())
    }

    /// How many sessions ended here and may go on at the provider, and when the first of them is due to be told to it.
    pub async fn unconfirmed_ends(&self) -> Result<UnconfirmedEndCount, StoreError> {
        let mut conn = self.connection().await?;
        let (all, first_due): (i64, Option<OffsetDateTime>) = unconfirmed_ends::table
            .select((count_star(), min(unconfirmed_ends::try_at)))
            .first(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        Ok(UnconfirmedEndCount {
            all: u64::try_from(all).unwrap_or_default(),
            first_due: first_due.map(Timestamp::new),
        })
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
            let mut getting = pin!(self.pool.get_owned());
            // The pool spawns a task that opens a connection and hands it to whoever waits. On the runtime of the caller, a web worker,
            // the task would stop while that worker is busy, and with it everybody who waits; if the worker ended, for good.
            let got = std::future::poll_fn(|context| {
                let _main = self.runtime.enter();
                getting.as_mut().poll(context)
            });
            let mut conn = got.await.map_err(|_| StoreError::Unavailable(self.no_connection().into()))?;
            if !conn.is_broken() {
                self.checkouts.fetch_add(1, Ordering::Relaxed);
                return Ok(conn);
            }
        }
    }

    fn no_connection(&self) -> NoConnection {
        let failure = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match failure {
            _ if self.pool.state().connections >= self.pool_size => {
                NoConnection::Exhausted(self.pool_size, self.acquire_timeout)
            }
            Some(failure) => NoConnection::Failed(failure),
            None => NoConnection::Slow(self.acquire_timeout),
        }
    }

    pub(crate) async fn open(&self) -> Result<PgTx, StoreError> {
        let mut conn = self.connection().await?;
        AnsiTransactionManager::begin_transaction(&mut *conn).await.map_err(|error| refused(&mut conn, error))?;
        Ok(PgTx::new(conn, self.hub.clone()))
    }
}

/// What an error of a statement outside transactions, or of the end of one, means; a connection that it ends is not used again.
pub(crate) fn refused(conn: &mut AsyncPgConnection, error: diesel::result::Error) -> StoreError {
    if ends_connection(&error) {
        discard(conn);
    }
    store_error(error)
}

/// Has the pool close the connection instead of lending it again.
pub(crate) fn discard(conn: &mut AsyncPgConnection) {
    AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
}

async fn backend(conn: &mut Connection) -> Result<i32, StoreError> {
    diesel::define_sql_function! { fn pg_backend_pid() -> diesel::sql_types::Integer }
    diesel::select(pg_backend_pid()).get_result(conn).await.map_err(store_error)
}

fn session_setup(statement_timeout: Duration) -> String {
    // The check of the client's connection ends a statement whose caller is gone. English messages are what error.rs reads; an
    // ordinary role may not ask for them, and gets the server's, which hardly ever are in another language.
    format!(
        "SET application_name = 'portal'; SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = '30s'; SET client_connection_check_interval = '1s'; \
         SELECT set_config('lc_messages', 'C', false) WHERE has_parameter_privilege('lc_messages', 'SET'); \
         SET TIME ZONE 'UTC'",
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
