//! Databases for tests: one migrated template per set of migrations, one copy of it per test.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use url::Url;

use crate::connect::PgTarget;
use crate::migrate::{FINGERPRINT, migrate};
use crate::pool::{PgSettings, PgStore, open};

pub use crate::migrate::{revert_all, revert_through};
pub use crate::statements::Statements;

/// The advisory lock of whoever migrates.
pub const MIGRATION_LOCK: i64 = crate::migrate::ADVISORY_LOCK;

/// Held while the template is made, so that test processes that start together make it once.
const TEMPLATE_LOCK: i64 = 5_122_943_702_118_470_027;

/// Boxed, because a test only prints it.
pub type TestError = Box<dyn std::error::Error + Send + Sync>;

/// A database of its own for one test. Dropped on success, kept and named when the test panics.
pub struct TestDatabase {
    url: Url,
    admin: Url,
    name: String,
}

impl TestDatabase {
    /// Copies the template, which the first caller makes. `admin_url` may create databases.
    pub async fn create(admin_url: &str) -> Result<Self, TestError> {
        let admin: Url = admin_url.parse()?;
        let mut conn = connect(&admin).await?;
        let template = ensure_template(&admin, &mut conn).await?;
        let name = unique_name();
        conn.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
        Ok(Self { url: with_database(&admin, &name), admin, name })
    }

    /// An empty database, without any migration.
    pub async fn create_empty(admin_url: &str) -> Result<Self, TestError> {
        let admin: Url = admin_url.parse()?;
        let name = unique_name();
        connect(&admin).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        Ok(Self { url: with_database(&admin, &name), admin, name })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Its URL, parsed.
    pub fn target(&self) -> Result<PgTarget, TestError> {
        Ok(PgTarget::parse(self.url())?)
    }

    /// A store on it with so many connections.
    pub fn store(&self, pool_size: u32) -> Result<PgStore, TestError> {
        let settings = PgSettings {
            target: self.target()?,
            direct: None,
            pool_size,
            acquire_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(10),
        };
        Ok(PgStore::new(&settings)?)
    }

    /// A session beside the store's, for what no port can do.
    pub async fn session(&self) -> Result<TestSession, TestError> {
        TestSession::open(self.url()).await
    }

    /// An outage of this database only: ends all its sessions and takes no new ones, or takes them again.
    pub async fn refuse_connections(&self, refuse: bool) -> Result<(), TestError> {
        let name = &self.name;
        let mut admin = connect(&self.admin).await?;
        admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !refuse)).await?;
        if refuse {
            let end = format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'");
            admin.batch_execute(&end).await?;
        }
        Ok(())
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) -> Result<(), TestError> {
        // By its full name: diesel offers everything an `execute`.
        TestSession::execute(&mut self.session().await?, sql).await
    }

    /// One number.
    pub async fn count(&self, sql: &str) -> Result<i64, TestError> {
        self.session().await?.count(sql).await
    }

    /// Text of one column.
    pub async fn texts(&self, sql: &str) -> Result<Vec<String>, TestError> {
        self.session().await?.texts(sql).await
    }
}

/// One connection; a transaction that it begins stays open until it ends it or is dropped.
pub struct TestSession {
    conn: AsyncPgConnection,
}

impl TestSession {
    /// Connects to any database.
    pub async fn open(url: &str) -> Result<Self, TestError> {
        Ok(Self { conn: connect(&url.parse()?).await? })
    }

    /// Runs statements.
    pub async fn execute(&mut self, sql: &str) -> Result<(), TestError> {
        Ok(self.conn.batch_execute(sql).await?)
    }

    /// One number, of a column named `count`.
    pub async fn count(&mut self, sql: &str) -> Result<i64, TestError> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let row: Row = diesel::sql_query(sql).get_result(&mut self.conn).await?;
        Ok(row.count)
    }

    /// Text of a column named `text`.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<String>, TestError> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            text: String,
        }
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut self.conn).await?;
        Ok(rows.into_iter().map(|row| row.text).collect())
    }
}

impl Drop for TestDatabase {
    #[expect(clippy::print_stderr, reason = "a failed test names its database")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the database of the failed test is kept: {}", self.url);
            return;
        }
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // A runtime of its own: the test's may already be shutting down.
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let mut conn = connect(&admin).await.ok()?;
                conn.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.ok()
            })
        });
        let _ = dropper.join();
    }
}

/// Makes a database unless it exists.
pub async fn ensure_database(admin_url: &str, name: &str) -> Result<(), TestError> {
    let mut conn = connect(&admin_url.parse()?).await?;
    if !exists(&mut conn, name).await? {
        conn.batch_execute(&format!("CREATE DATABASE {name}")).await?;
    }
    Ok(())
}

async fn ensure_template(admin: &Url, conn: &mut AsyncPgConnection) -> Result<String, TestError> {
    let template = format!("portal_template_{FINGERPRINT}");
    if exists(conn, &template).await? {
        return Ok(template);
    }
    conn.batch_execute(&format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await?;
    if !exists(conn, &template).await? {
        // Renamed when complete, so that a killed test run leaves no half-made template.
        let making = format!("{template}_making");
        conn.batch_execute(&format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)")).await?;
        conn.batch_execute(&format!("CREATE DATABASE {making}")).await?;
        migrate(&PgTarget::parse(with_database(admin, &making).as_str())?).await?;
        conn.batch_execute(&format!("ALTER DATABASE {making} RENAME TO {template}")).await?;
    }
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})")).await?;
    Ok(template)
}

async fn exists(conn: &mut AsyncPgConnection, name: &str) -> Result<bool, TestError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        found: bool,
    }
    let row: Row = diesel::sql_query("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS found")
        .bind::<diesel::sql_types::Text, _>(name)
        .get_result(conn)
        .await?;
    Ok(row.found)
}

async fn connect(url: &Url) -> Result<AsyncPgConnection, TestError> {
    let target = PgTarget::parse(url.as_str())?;
    Ok(open(&target, target.trust.connector()?, "SET client_min_messages = 'warning'").await?)
}

fn with_database(url: &Url, name: &str) -> Url {
    let mut url = url.clone();
    url.set_path(name);
    url
}

/// Not the process id: those of containers repeat, and failed tests leave their databases.
fn unique_name() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("portal_test_{:016x}_{}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}
